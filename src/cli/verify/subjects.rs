//! Whom it is done with: what names stand for, and who has to be brought in first.

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

/// A subject as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// By id.
    Id(String),
    /// By name.
    Name(String),
}

impl Asked {
    /// The id, where that is what was given.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Id(id) => Some(id),
            Self::Name(_) => None,
        }
    }

    /// In words.
    pub fn text(&self) -> String {
        match self {
            Self::Id(id) => id.clone(),
            Self::Name(name) => format!("{name:?}"),
        }
    }
}

/// A subject that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// It can be a member.
    Known(Target),
    /// A user of this name isn't in the project, and is to be invited.
    Outside(String),
}

/// What a subject was before.
pub enum Found {
    /// This is what it held.
    There(Before),
    /// It is to be brought in by this name.
    Outside(String),
}

/// Why there is nothing to begin with.
pub enum Unfit {
    /// A step failed, which was said.
    Failed,
    /// It is refused to begin, for this reason.
    Refused(String),
}

/// Looks the project up, where it was named, and writes its id into the place.
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

/// Looks up those subjects that were named. Each comes once.
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

/// A refusal of the controller's, in words.
fn refusal(Refusal { reason, message }: Refusal) -> String {
    format!("{reason:?}: {message}")
}

fn outside(who: &str) -> String {
    format!(
        "User {who} isn't in the project, and Infisical takes users in by an invitation only, which sends mail: choose a \
         member, or say --subject-name with the e-mail address and --invite-users"
    )
}

/// What each subject held before, off a list.
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

/// Invites a user, without any rights. Whom an invitation that failed left in the project is removed again.
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

/// What is going to be done with a subject, in words.
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
