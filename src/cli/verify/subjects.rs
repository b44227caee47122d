//! The subjects of the check: what each held before, and restoring it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::ServerCheck;
use super::arguments::VerifyProvider;
use super::driver::row;
use super::membership::held;
use super::report::{MeasuredRequest, StopReason, UnexpectedResult};
use crate::controller::names::NotUnique;
use crate::core::member::{Change, Member, Project, Target, Term};
use crate::core::record::entries;
use crate::provider::Listing;
use crate::provider::quota::Permit;

/// The waits between attempts to restore the former state.
const PAUSES: [Duration; 5] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// How long a list may lag behind a write.
const LAG: Duration = Duration::from_millis(250);

/// Roles that administer members. A subject with one of them may be the one that signs in, or the last one that can
/// correct mistakes. An Infisical of October 2024 allows both to be removed (docs/reference/infisical.md, "Errors",
/// "delete yourself"), and so does a ZITADEL (docs/reference/zitadel.md, "Answers", "last owner, or yourself").
const ADMINISTERS: [&str; 5] = ["admin", "member", "PROJECT_OWNER", "PROJECT_OWNER_GLOBAL", "PROJECT_GRANT_OWNER"];

/// A subject before the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// It has an id, and held this.
    Known(OriginalMembership),
    /// A user who is to be invited by this name.
    ToInvite(String),
}

/// What a subject held before anything was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalMembership {
    pub target: Target,
    /// Its row, whose entries were permanent; `None`: there was no membership.
    pub member: Option<Member>,
}

impl OriginalMembership {
    /// Reads the state from a list. A state that could not be restored exactly is refused with advice.
    fn read(listing: &Listing, target: Target) -> Result<Self, String> {
        let subject = &target.subject_id;
        let before =
            Self { member: row(listing, subject).map_err(|failure| failure.to_string())?, target: target.clone() };
        let Some(member) = &before.member else { return Ok(before) };
        let roles = before.roles();
        if let Some(role) = roles.iter().find(|role| ADMINISTERS.contains(&role.as_str())) {
            return Err(format!(
                "{subject} has the role {role:?}, which administers members and is not revoked even for a moment: the \
                 subject may be the one that signs in, or the last one that can correct mistakes; choose another subject"
            ));
        }
        let temporary = member.entries.iter().find(|entry| entry.term != Term::Permanent);
        // The literal `custom` (docs/reference/infisical.md, "Roles in answers").
        let verbatim = member.entries.iter().find(|entry| entry.verbatim.is_some());
        let obstacle = match (temporary, verbatim) {
            _ if member.memberships > 1 => format!("has {} memberships", member.memberships),
            (Some(entry), _) => format!("has the temporary role {:?}", entry.role),
            (_, Some(entry)) => format!("has the role {:?} in a form that the server does not accept", entry.role),
            _ if roles.len() < member.entries.len() => "has one role twice".to_owned(),
            _ if roles.is_empty() => "has a membership without a role".to_owned(),
            _ => return Ok(before),
        };
        Err(format!(
            "{subject} {obstacle}, which could not be restored exactly: choose another subject, preferably one without any role in the project"
        ))
    }

    pub fn roles(&self) -> BTreeSet<String> {
        entries(self.member.as_ref()).iter().map(|entry| entry.role.clone()).collect()
    }

    /// A description.
    fn text(&self) -> String {
        held(self.member.as_ref())
    }
}

impl ServerCheck {
    /// Looks up the subjects, and reads what they hold. Each subject is returned once.
    pub async fn find_subjects(&mut self, project: &Project, listing: &Listing) -> Result<Vec<Subject>, StopReason> {
        let VerifyProvider { subject_id, subject_name, .. } = self.config.arguments.clone();
        let mut subjects: Vec<Subject> = Vec::new();
        for id in &subject_id {
            subjects.push(self.known(listing, id)?);
        }
        for name in &subject_name {
            subjects.push(self.look_up(project, listing, name).await?);
        }
        let is_first = |(index, subject): &(usize, &Subject)| !subjects[..*index].contains(subject);
        Ok(subjects.iter().enumerate().filter(is_first).map(|(_, subject)| subject.clone()).collect())
    }

    fn known(&self, listing: &Listing, id: &str) -> Result<Subject, StopReason> {
        let target = self.config.target(Some(id)).map_err(StopReason::Refused)?;
        let target = target.ok_or_else(|| StopReason::Refused(format!("subject {id:?} is not an id")))?;
        let before = OriginalMembership::read(listing, target).map_err(StopReason::Refused)?;
        if self.driver.provider.signed_in_as().is_some_and(|ourselves| ourselves == before.target.subject_id) {
            return Err(StopReason::Refused(format!("{id} is the account that signs in: choose another subject")));
        }
        if self.config.only_by_invitation() && before.member.is_none() {
            return Err(not_a_member(id));
        }
        self.report.print(format_args!("      {id} holds {}", before.text()));
        Ok(Subject::Known(before))
    }

    async fn look_up(&mut self, project: &Project, listing: &Listing, name: &str) -> Result<Subject, StopReason> {
        let kind = self.config.kind();
        let what = format!("look up {kind:?} {name:?}");
        let found = self.driver.find_subject(project, kind, name).await;
        if let (Ok(Err(NotUnique::None(_))), true) = (&found, self.config.only_by_invitation()) {
            if !self.config.arguments.invite_users {
                return Err(not_a_member(&format!("{name:?}")));
            }
            let none = "no user in the project: to be invited".to_owned();
            self.report.step(&what, "one id, or no user in the project", Ok(none))?;
            return Ok(Subject::ToInvite(name.to_owned()));
        }
        let id = self.report.require(&what, "one id", found.and_then(|found| Ok(found?)))?;
        self.known(listing, &id)
    }

    /// Invites a user, without any permissions. If a failed invitation left the user in the project, the user is
    /// removed again.
    pub async fn invite(&mut self, name: &str) -> Result<OriginalMembership, StopReason> {
        let project = self.config.project().map_err(StopReason::Refused)?;
        let kind = self.config.kind();
        let before = |subject_id| OriginalMembership {
            target: Target { project: project.clone(), subject_kind: kind, subject_id },
            member: None,
        };
        let (driver, place) = (&self.driver, &project);
        let invite = async |permit: &Permit| driver.provider.invite(permit, place, name).await;
        let invited = driver.request(Some(MeasuredRequest::Write), invite).await;
        let ended = self.report.step(&format!("{name:?} is invited"), "a new member without rights", invited.clone());
        if let Ok(id) = invited {
            // If the user wants to stop, the next step reports it, and the new member is removed like any other.
            return Ok(before(id));
        }
        // However the invitation failed, it may have left the user in the project.
        match self.driver.find_subject(&project, kind, name).await {
            Ok(Err(NotUnique::None(_))) => {}
            Ok(Ok(id)) => self.restore(&before(id)).await,
            _ => self.report.print(format_args!(
                "LEFT  it is not known whether User {name:?} is in project {} now. To undo it: remove {name:?} there.",
                project.id
            )),
        }
        Err(ended.err().unwrap_or(StopReason::GivenUp))
    }

    /// Restores what a subject held, however long the server takes to accept it.
    pub async fn restore(&mut self, before: &OriginalMembership) {
        let mut restored = Ok(String::new());
        for (attempt, pause) in PAUSES.into_iter().enumerate() {
            tokio::time::sleep(pause).await;
            restored = self.try_to_restore(before, attempt > 0).await;
            if restored.is_ok() {
                break;
            }
        }
        let (what, is_left) = (format!("what {} held is restored", before.target.subject_id), restored.is_err());
        // Whether the user wants to stop no longer matters.
        let _ = self.report.step(&what, &before.text(), restored);
        if is_left {
            self.report_what_is_left(before).await;
        }
    }

    /// Writes the former list itself: the plan of an object tolerates roles that give no access, and has no order.
    async fn try_to_restore(&self, before: &OriginalMembership, again: bool) -> Result<String, UnexpectedResult> {
        let OriginalMembership { target, member } = before;
        let shown = self.driver.observe(target).await?;
        if member.is_some() && held(shown.as_ref()) == before.text() {
            return Ok(before.text());
        }
        // A membership that no list shows may exist nevertheless, after a write without a response: it is removed.
        let change = Change::Create(entries(member.as_ref()).to_vec()).stated_again(shown.as_ref());
        let provider = &self.driver.provider;
        let write = async |permit: &Permit| match again {
            true => provider.repair(permit, target, None, &change, shown.as_ref()).await,
            false => provider.apply(permit, target, None, &change).await,
        };
        self.driver.request(Some(MeasuredRequest::Write), write).await?;
        tokio::time::sleep(LAG).await;
        self.driver.expect(target, &before.text()).await
    }

    async fn report_what_is_left(&self, before: &OriginalMembership) {
        let Target { project, subject_kind, subject_id } = &before.target;
        let left = match self.driver.observe(&before.target).await {
            Ok(shown) => format!("holds {}", held(shown.as_ref())),
            Err(_) => format!("may hold {}, {} or nothing", self.config.role, self.config.other_role),
        };
        let grant = project.grant_id.as_ref().map(|grant| format!("grant {grant} of ")).unwrap_or_default();
        let place = format!("{grant}project {}", project.id);
        let undo = match before.member {
            None => format!("remove {subject_kind:?} {subject_id} from {place}"),
            Some(_) => format!("give {subject_kind:?} {subject_id} exactly {} in {place}", before.text()),
        };
        self.report.print(format_args!("LEFT  {subject_kind:?} {subject_id} {left}. To undo it: {undo}."));
    }
}

fn not_a_member(user: &str) -> StopReason {
    StopReason::Refused(format!(
        "User {user} is not in the project, and Infisical adds users by an invitation only, which sends mail: choose a \
         member, or use --subject-name with the e-mail address and --invite-users"
    ))
}
