//! The subjects of the check: resolving their names, and inviting them if necessary.

use super::arguments::{Config, Kind};
use super::before::Before;
use super::object::Place;
use super::report::Report;
use super::server::{Server, said};
use super::stop::Ended;
use crate::controller::names::{NotOne, one_project, one_subject};
use crate::core::member::{Project, Target};
use crate::core::policy::Refusal;
use crate::provider::Listing;

/// A subject as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// By id.
    Id(String),
    /// By name.
    Name(String),
}

impl Asked {
    /// The id, if the user gave one.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Id(id) => Some(id),
            Self::Name(_) => None,
        }
    }

    /// A description for the report.
    pub fn text(&self) -> String {
        match self {
            Self::Id(id) => id.clone(),
            Self::Name(name) => format!("{name:?}"),
        }
    }
}

/// A subject after its name was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// It can be a member.
    Known(Target),
    /// No user of this name is in the project; the user is to be invited.
    Outside(String),
}

/// The state of a subject before the check.
pub enum Found {
    /// The roles that it held.
    There(Before),
    /// It is to be invited by this name.
    Outside(String),
}

/// Why the check does not begin.
pub enum Unfit {
    /// A step failed, which was reported.
    Failed,
    /// The check is refused, for this reason.
    Refused(String),
}

/// Looks up the project, if it was given by name, and writes its id into the place.
pub async fn find_project(place: &mut Place, server: &Server, report: &mut Report) -> Result<Project, Unfit> {
    if let Some(name) = place.project.name.clone() {
        let found = server.find_project(&name, place.project.organization_id.as_deref()).await;
        let came = found.map_err(|error| said(&error)).and_then(|ids| one_project(ids, &name).map_err(refusal));
        if !report.step(&format!("look project {name:?} up"), "one id", &came) {
            return Err(Unfit::Failed);
        }
        (place.project.name, place.project.id) = (None, came.ok());
    }
    place.project().map_err(Unfit::Refused)
}

/// Looks up the subjects that were given by name. Each subject is returned once.
pub async fn find(
    config: &Config,
    project: &Project,
    server: &Server,
    report: &mut Report,
) -> Result<Vec<Subject>, Unfit> {
    let kind = config.place.subject_kind;
    let mut subjects = Vec::new();
    for asked in &config.subjects {
        let subject = match asked {
            Asked::Id(id) => known(config, id)?,
            Asked::Name(name) => {
                let what = format!("look {kind:?} {name:?} up");
                let found = server.find_subject(project, kind, name).await;
                match found.map(|ids| one_subject(ids, kind, name, project)) {
                    Ok(Ok(id)) => {
                        report.step(&what, "one id", &Ok(id.clone()));
                        known(config, &id)?
                    }
                    Ok(Err(NotOne::None(_))) if config.only_by_invitation() => {
                        if !config.invite_users {
                            return Err(Unfit::Refused(outside(&format!("{name:?}"))));
                        }
                        let none = "nobody in the project: to be invited".to_owned();
                        report.step(&what, "one id, or nobody in the project", &Ok(none));
                        Subject::Outside(name.clone())
                    }
                    Ok(Err(NotOne::None(why) | NotOne::Several(why))) => {
                        report.step(&what, "one id", &Err(refusal(why)));
                        return Err(Unfit::Failed);
                    }
                    Err(error) => {
                        report.step(&what, "one id", &Err(said(&error)));
                        return Err(Unfit::Failed);
                    }
                }
            }
        };
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    Ok(subjects)
}

fn known(config: &Config, id: &str) -> Result<Subject, Unfit> {
    let object = super::object::Object::new(&config.place, id).map_err(Unfit::Refused)?;
    Ok(Subject::Known(object.target().clone()))
}

/// The text of a refusal by the controller's code.
fn refusal(Refusal { reason, message }: Refusal) -> String {
    format!("{reason:?}: {message}")
}

fn outside(who: &str) -> String {
    format!(
        "User {who} isn't in the project, and Infisical takes users in by an invitation only, which sends mail: choose a \
         member, or say --subject-name with the e-mail address and --invite-users"
    )
}

/// What each subject held before, according to a list.
pub fn read(config: &Config, listing: &Listing, subjects: &[Subject]) -> Result<Vec<Found>, String> {
    let read = |subject: &Subject| match subject {
        Subject::Outside(name) => Ok(Found::Outside(name.clone())),
        Subject::Known(target) => match Before::read(listing, target)? {
            before if config.only_by_invitation() && !before.is_member() => Err(outside(&target.subject_id)),
            before => Ok(Found::There(before)),
        },
    };
    subjects.iter().map(read).collect()
}

/// Invites a user, without any rights. If a failed invitation left the user in the project, the user is removed again.
pub async fn bring_in(config: &Config, server: &Server, name: &str, report: &mut Report) -> Result<Before, Ended> {
    let what = format!("{name:?} is invited");
    let expected = "a new member without a right";
    let project = config.place.project().map_err(|message| {
        report.step(&what, expected, &Err(message));
        Ended::GivenUp
    })?;
    let target = |subject_id| Target { project: project.clone(), subject_kind: config.place.subject_kind, subject_id };
    match server.invite(&project, name).await {
        Ok(id) => {
            report.step(&what, expected, &Ok(id.clone()));
            let target = target(id);
            server.brought_in(&target);
            Ok(Before::nothing(target))
        }
        Err(error) => {
            report.step(&what, expected, &Err(said(&error)));
            match server.find_subject(&project, config.place.subject_kind, name).await.as_deref() {
                Ok([]) => {}
                Ok([id]) => {
                    let target = target(id.clone());
                    server.brought_in(&target);
                    Before::nothing(target).put_back(server, report, false).await;
                }
                _ => report.say(format_args!(
                    "LEFT  nobody knows whether User {name:?} is in project {} now. To undo it by hand: remove {name:?} there.",
                    project.id
                )),
            }
            Err(Ended::GivenUp)
        }
    }
}

/// A description of what will be done with a subject.
pub fn announced(config: &Config, asked: &Asked) -> String {
    let Config { role, other_role, temporary, place, .. } = config;
    let who = format!("{:?} {}", place.subject_kind, asked.text());
    let gets = format!("it gets {role} and {other_role} for moments and {role} for {temporary}");
    match config.provider {
        Kind::Infisical if config.only_by_invitation() => {
            let invited = match (asked, config.invite_users) {
                (Asked::Name(_), true) => {
                    ". Who isn't in the project is invited first, which SENDS MAIL, and is removed in the end"
                }
                _ => "",
            };
            format!(
                "{who}: what it holds is replaced for the time of this, it stays a member, {gets}, and in the end it holds \
                 what it held before{invited}"
            )
        }
        _ => format!(
            "{who}: what it holds is taken away for the time of this, {gets}, and in the end it holds what it held before"
        ),
    }
}
