//! What a subject held before the check, and restoring it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::object::{held, roles};
use super::report::Report;
use super::server::{Failure, Server};
use crate::core::member::{Change, Entry, Member, Target, Term};
use crate::provider::{Listing, Urgency};

/// The waits between attempts to restore the former state.
const PAUSES: [Duration; 5] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// Roles that administer members. A subject with one of them may be the one that signs in, or the last one that can
/// correct mistakes. An Infisical of October 2024 allows both to be removed (docs/reference/infisical.md, "Errors",
/// "delete yourself"), and so does a ZITADEL (docs/reference/zitadel.md, "Answers", "last owner, or yourself").
const ADMINISTERS: [&str; 5] = ["admin", "member", "PROJECT_OWNER", "PROJECT_OWNER_GLOBAL", "PROJECT_GRANT_OWNER"];

/// What a subject held before anything was changed.
#[derive(Clone, Debug)]
pub struct Before {
    /// The target.
    pub target: Target,
    entries: Option<Vec<Entry>>,
}

impl Before {
    /// The state of a subject that was not a member.
    pub fn nothing(target: Target) -> Self {
        Self { target, entries: None }
    }

    /// Whether there was a membership.
    pub fn is_member(&self) -> bool {
        self.entries.is_some()
    }

    /// Reads the state from a list. A state that could not be restored exactly is refused with advice.
    pub fn read(listing: &Listing, target: &Target) -> Result<Self, String> {
        let subject = &target.subject_id;
        let refused = |why: String| {
            Err(format!(
                "{subject} {why}, which couldn't be put back exactly: choose another subject, best one without any role here"
            ))
        };
        let Some(member) = listing.members.iter().find(|member| member.subject_id == *subject) else {
            return match listing.partial {
                true => Err(format!(
                    "the list of members came back incomplete, so that nobody knows what {subject} holds: try again"
                )),
                false => Ok(Self { target: target.clone(), entries: None }),
            };
        };
        let names: BTreeSet<&str> = member.entries.iter().map(|entry| entry.role.as_str()).collect();
        if member.memberships > 1 {
            return refused(format!("has {} memberships", member.memberships));
        }
        if let Some(entry) = member.entries.iter().find(|entry| entry.term != Term::Permanent) {
            return refused(format!("has the temporary role {:?}", entry.role));
        }
        // The literal `custom` (docs/reference/infisical.md, "Roles in answers").
        if let Some(entry) = member.entries.iter().find(|entry| entry.verbatim.is_some()) {
            return refused(format!("has the role {:?} in a form that the server takes from nobody", entry.role));
        }
        if let Some(role) = names.iter().find(|name| ADMINISTERS.contains(name)) {
            return Err(format!(
                "{subject} has the role {role:?}, which administers members and isn't taken away even for a moment: it may \
                 be the one that signs in, or the last who can put things right; choose another subject"
            ));
        }
        if names.len() < member.entries.len() {
            return refused("has one role twice".to_owned());
        }
        if names.is_empty() {
            return refused("has a membership without a role".to_owned());
        }
        Ok(Self { target: target.clone(), entries: Some(member.entries.clone()) })
    }

    /// The roles; none if there was no membership.
    pub fn roles(&self) -> BTreeSet<String> {
        self.entries.iter().flatten().map(|entry| entry.role.clone()).collect()
    }

    /// A description for the report.
    pub fn text(&self) -> String {
        match &self.entries {
            None => "no membership".to_owned(),
            Some(entries) => roles(entries.iter().map(|entry| (entry.role.as_str(), entry.term))),
        }
    }

    /// Restores the former state, however long the server takes to accept it. `proven`: the last change is known to
    /// have been carried out.
    pub async fn put_back(&self, server: &Server, report: &mut Report, proven: bool) {
        if server.sent(&self.target).is_none() {
            return;
        }
        let what = format!("what {} held is put back", self.target.subject_id);
        let mut came = None;
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            let tried = self.try_to_put_back(server, proven).await;
            let done = tried.is_ok();
            came = Some(tried);
            if done {
                break;
            }
        }
        match came {
            Some(Ok(shown)) => {
                report.step(&what, &self.text(), &Ok(held(shown.as_ref())));
            }
            Some(Err(failure)) => {
                report.step(&what, &self.text(), &Err(failure.to_string()));
                self.say_what_is_left(server, report).await;
            }
            None => {}
        }
    }

    async fn try_to_put_back(&self, server: &Server, proven: bool) -> Result<Option<Member>, Failure> {
        let shown = server.observe(&self.target).await?;
        if self.is_held(shown.as_ref()) && (proven || self.entries.is_some()) {
            return Ok(shown);
        }
        let change = match (&self.entries, &shown) {
            // A membership that a list does not show may exist nevertheless, after a write without a response.
            (None, _) => Change::Remove,
            (Some(entries), None) => Change::Create(entries.clone()),
            (Some(entries), Some(member)) if member.memberships > 1 => Change::Recreate(entries.clone()),
            (Some(entries), Some(_)) => Change::Replace(entries.clone()),
        };
        let receipt = server.write(&self.target, &change, Urgency::Revoke).await?;
        server.confirm(&self.target, &change, receipt, true).await?;
        let shown = server.observe(&self.target).await?;
        if self.is_held(shown.as_ref()) { Ok(shown) } else { Err(Failure::Unshown { change, shown }) }
    }

    fn is_held(&self, shown: Option<&Member>) -> bool {
        let key = |entries: &[Entry]| {
            let mut key: Vec<(String, bool)> =
                entries.iter().map(|entry| (entry.role.clone(), entry.term == Term::Permanent)).collect();
            key.sort_unstable();
            key
        };
        match (&self.entries, shown) {
            (None, None) => true,
            (Some(entries), Some(member)) => member.memberships == 1 && key(entries) == key(&member.entries),
            _ => false,
        }
    }

    async fn say_what_is_left(&self, server: &Server, report: &Report) {
        let left = match server.observe(&self.target).await {
            Ok(shown) => held(shown.as_ref()),
            Err(_) => {
                let sent: Vec<String> = server.sent(&self.target).unwrap_or_default().into_iter().collect();
                format!("nobody knows what of: {}", sent.join(", "))
            }
        };
        let Target { project, subject_kind, subject_id } = &self.target;
        let of_grant = project.grant_id.as_ref().map(|grant| format!("grant {grant} of ")).unwrap_or_default();
        let place = format!("{of_grant}project {}", project.id);
        let undo = match &self.entries {
            None => format!("remove {subject_kind:?} {subject_id} from {place}"),
            Some(_) => format!("give {subject_kind:?} {subject_id} exactly {} in {place}", self.text()),
        };
        report.say(format_args!("LEFT  {subject_kind:?} {subject_id} holds {left}. To undo it by hand: {undo}."));
    }
}
