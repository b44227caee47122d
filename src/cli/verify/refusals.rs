//! Errors that can be provoked without harm. Each is expected to have the right reason.

use uuid::Uuid;

use super::arguments::{Config, Kind};
use super::credentials;
use super::object::{Object, held, wanted};
use super::report::Report;
use super::server::{Failure, Server, said};
use super::stop::{Ended, Stop};
use crate::api::Reason;
use crate::controller::names::{NotOne, one_project, one_subject};
use crate::core::member::{Change, Member, Project, Target, Urgency};
use crate::provider::{Error, Provider};

/// A role that no project has. (ZITADEL would accept any name with the prefix PROJECT.)
const NO_ROLE: &str = "verify-provider-no-such-role";

/// Provokes all errors, for a target that holds nothing, or the other role if the subject stays a member.
pub async fn provoke(
    config: &Config,
    server: &Server,
    target: &Target,
    stop: &Stop,
    report: &mut Report,
) -> Result<(), Ended> {
    unknown_role(config, server, target, stop, report).await?;
    unknown_subject(config, server, stop, report).await?;
    unknown_names(server, target, stop, report).await?;
    // The server looks a grant up by its own id, whatever the project is.
    let elsewhere = Project { id: nobody(config.provider), grant_id: None, ..target.project.clone() };
    unknown_place("a project id that nobody has", elsewhere, server, target, stop, report).await?;
    if config.provider == Kind::Zitadel {
        let elsewhere = Project { grant_id: Some(nobody(config.provider)), ..target.project.clone() };
        unknown_place("a grant id that nobody has", elsewhere, server, target, stop, report).await?;
        // v2 finds a grant by its members, whatever organization is named.
        let organization_id = Some(nobody(config.provider));
        let elsewhere = Project { organization_id, grant_id: None, ..target.project.clone() };
        unknown_place("an organization id that nobody has", elsewhere, server, target, stop, report).await?;
    }
    wrong_token(config, server, stop, report).await
}

/// A name that no subject and no project has. It is not an e-mail address, so that it cannot be invited.
const NO_NAME: &str = "verify-provider-no-such-name";

/// An id of the right form that nobody has.
fn nobody(provider: Kind) -> String {
    match provider {
        Kind::Infisical => Uuid::new_v4().to_string(),
        // 18 digits like ZITADEL's own ids, from a time long before ZITADEL existed.
        Kind::Zitadel => format!("1{:017}", Uuid::new_v4().as_u128() % 10_u128.pow(17)),
    }
}

async fn unknown_role(
    config: &Config,
    server: &Server,
    target: &Target,
    stop: &Stop,
    report: &mut Report,
) -> Result<(), Ended> {
    stop.check()?;
    let what = "a role that nobody has";
    let before = match server.observe(target).await {
        Ok(before) => before,
        Err(error) => return judge(report, what, &[Reason::RoleNotFound], Err(Failure::from(error))),
    };
    let came = grant(config, server, &target.subject_id, NO_ROLE, before.as_ref()).await;
    judge(report, what, &[Reason::RoleNotFound], came)?;
    let expected = held(before.as_ref());
    let came = match server.observe(target).await {
        Ok(shown) if held(shown.as_ref()) == expected => Ok(expected.clone()),
        Ok(shown) => Err(held(shown.as_ref())),
        Err(error) => Err(said(&error)),
    };
    report.step("and nothing of it was written", &expected, &came);
    Ok(())
}

async fn unknown_subject(config: &Config, server: &Server, stop: &Stop, report: &mut Report) -> Result<(), Ended> {
    stop.check()?;
    let what = "a subject id that nobody has";
    if config.only_by_invitation() {
        report.left_out(what, "Infisical takes users in by their e-mail addresses only");
        return Ok(());
    }
    let subject = nobody(config.provider);
    let came = grant(config, server, &subject, &config.role, None).await;
    judge(report, what, &[Reason::SubjectNotFound], came)
}

/// Looks up names that nobody has. A credential that may not look names up receives that error.
async fn unknown_names(server: &Server, target: &Target, stop: &Stop, report: &mut Report) -> Result<(), Ended> {
    stop.check()?;
    let Target { project, subject_kind, .. } = target;
    let came = match server.find_subject(project, *subject_kind, NO_NAME).await {
        Err(error) => Err(error.into()),
        Ok(ids) => match one_subject(ids.clone(), *subject_kind, NO_NAME, project) {
            Err(NotOne::None(none)) => Err(Failure::Provider(Error::SubjectNotFound { message: none.message })),
            _ => Ok(ids.join(" and ")),
        },
    };
    judge(report, "a subject name that nobody has", &[Reason::SubjectNotFound, Reason::Forbidden], came)?;
    let came = match server.find_project(NO_NAME, project.organization_id.as_deref()).await {
        Err(error) => Err(error.into()),
        Ok(ids) if !ids.is_empty() => Ok(ids.join(" and ")),
        Ok(none) => match one_project(none, NO_NAME) {
            Err(none) => Err(Failure::Provider(Error::ProjectNotFound { gone: false, message: none.message })),
            Ok(id) => Ok(id),
        },
    };
    judge(report, "a project name that nobody has", &[Reason::ProjectNotFound, Reason::Forbidden], came)
}

/// Requests a role as an object would. If the server grants it against expectation, it is removed again: `before` is
/// what the subject holds.
async fn grant(
    config: &Config,
    server: &Server,
    subject: &str,
    role: &str,
    before: Option<&Member>,
) -> Result<String, Failure> {
    let rejected = |message| Failure::Provider(Error::Rejected { message });
    let mut object = Object::new(&config.place, subject).map_err(rejected)?;
    object.declare(&[wanted(role)]).map_err(rejected)?;
    let came = server.converge(&mut object, false).await;
    if !matches!(came, Err(Failure::Provider(_))) {
        let undo = before.map_or(Change::Remove, |member| Change::Replace(member.entries.clone()));
        server.write(object.target(), &undo, Urgency::Revoke).await?;
    }
    came.map(|converged| held(converged.shown.as_ref()))
}

async fn unknown_place(
    what: &str,
    project: Project,
    server: &Server,
    target: &Target,
    stop: &Stop,
    report: &mut Report,
) -> Result<(), Ended> {
    stop.check()?;
    // A caller without rights in other projects may receive the second error, or nothing.
    let reasons = [Reason::ProjectNotFound, Reason::Forbidden];
    let came = match server.list(&project, target.subject_kind).await {
        Ok(listing) if listing.partial => {
            report.step(what, &any_of(&reasons), &Ok("a list that is known to be incomplete".to_owned()));
            return Ok(());
        }
        Ok(listing) => Ok(format!("a list of {}", listing.members.len())),
        Err(error) => Err(Failure::from(error)),
    };
    judge(report, what, &reasons, came)
}

/// A wrong *token* is refused once without harm; a wrong secret at a sign-in could do harm.
async fn wrong_token(config: &Config, server: &Server, stop: &Stop, report: &mut Report) -> Result<(), Ended> {
    stop.check()?;
    let permit = server.permit().await;
    let came = credentials::with_a_wrong_token(config).verify(&permit).await;
    drop(permit);
    let came = came.map(|verified| format!("a yes ({})", verified.api)).map_err(Failure::from);
    judge(report, "an access token that nobody has", &[Reason::Unauthorized], came)?;
    if config.credentials.client_secret_file.is_some() {
        report.left_out(
            "a wrong client secret",
            "a server may lock the credential out for everybody who uses it, newer versions of Infisical after three",
        );
    }
    Ok(())
}

fn judge(report: &mut Report, what: &str, reasons: &[Reason], came: Result<String, Failure>) -> Result<(), Ended> {
    let (given_up, came) = match came {
        Ok(came) => (false, Err(came)),
        Err(Failure::Provider(error)) if reasons.contains(&error.reason()) => (false, Ok(said(&error))),
        Err(failure) => (failure.is_final(), Err(failure.to_string())),
    };
    report.step(what, &any_of(reasons), &came);
    if given_up { Err(Ended::GivenUp) } else { Ok(()) }
}

fn any_of(reasons: &[Reason]) -> String {
    let reasons: Vec<String> = reasons.iter().map(|reason| format!("{reason:?}")).collect();
    reasons.join(" or ")
}
