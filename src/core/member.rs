//! What a provider holds for one subject in one project: the values that the roster, the plan and the providers share.
//!
//! Nothing here depends on a wire format, a clock or a client.

use jiff::{SignedDuration, Timestamp};

use crate::api::SubjectKind;

/// A span of time, `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// The first instant.
    pub start: Timestamp,
    /// The first instant after the window.
    pub end: Timestamp,
}

impl Window {
    /// Whether `at` is in the window.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// The length of the window; negative if it ends before it starts.
    pub fn length(&self) -> SignedDuration {
        self.end.duration_since(self.start)
    }
}

/// How long a role is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Term {
    /// Without an end.
    Permanent,
    /// Within a window.
    Temporary(Window),
}

impl Term {
    /// The window; `None`: it is permanent.
    pub fn window(&self) -> Option<Window> {
        match self {
            Self::Permanent => None,
            Self::Temporary(window) => Some(*window),
        }
    }

    /// The first instant at which the role is no longer held. `None`: it has no end.
    pub fn end(&self) -> Option<Timestamp> {
        self.window().map(|window| window.end)
    }

    /// The start of the window, unless the record of it contains only its end ([`crate::core::status::term_of`]).
    pub fn known_start(&self) -> Option<Timestamp> {
        self.window().map(|window| window.start).filter(|start| *start != Timestamp::MIN)
    }

    /// Whether the term has ended at `now`.
    pub fn ended(&self, now: Timestamp) -> bool {
        self.end().is_some_and(|end| end <= now)
    }

    /// The term that ends later. A permanent term ends last; if the ends are equal, the earlier start is kept.
    pub fn later(self, other: Self) -> Self {
        match (self, other) {
            (Self::Permanent, _) | (_, Self::Permanent) => Self::Permanent,
            (Self::Temporary(a), Self::Temporary(b)) => {
                Self::Temporary(if (a.end, b.start) >= (b.end, a.start) { a } else { b })
            }
        }
    }
}

/// One entry of a member's role list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The role's slug or key.
    pub role: String,
    /// How long the role is held.
    pub term: Term,
    /// The window exactly as the provider wrote it, so that an unmanaged entry is sent back byte for byte. `None` for
    /// entries that the operator created and for permanent ones.
    pub verbatim: Option<Verbatim>,
    /// The id of the role, if the provider shows one that does not change when the role is renamed.
    pub role_id: Option<String>,
}

impl Entry {
    /// An entry that the operator creates.
    pub fn new(role: impl Into<String>, term: Term) -> Self {
        Self { role: role.into(), term, verbatim: None, role_id: None }
    }

    /// A permanent entry that the operator creates.
    pub fn permanent(role: impl Into<String>) -> Self {
        Self::new(role, Term::Permanent)
    }
}

/// The window of a temporary entry as the provider wrote it (Infisical: `temporaryRange`, `temporaryAccessStartTime`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verbatim {
    /// The range as received, for example `2h` or `1.5h`.
    pub range: String,
    /// The start as received.
    pub start: String,
}

/// A row of a project's list: the roles of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The subject's id, as in [`Target::subject_id`].
    pub subject_id: String,
    /// Its roles, in the provider's order. If the subject has several memberships: the entries of all of them.
    pub entries: Vec<Entry>,
    /// The number of memberships that the provider has of this subject. If there is more than one, they must be deleted
    /// and created again (docs/reference/infisical.md, "PATCH and time").
    pub memberships: u32,
    /// A number that grows with every change, if the provider has one (ZITADEL: `details.sequence`).
    pub version: Option<u64>,
}

/// One project at a provider, in which subjects are members.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Project {
    /// ZITADEL: the organization that owns the project, for `x-zitadel-orgid`.
    pub organization_id: Option<String>,
    /// The project's id, in the provider's normal form (for example a UUID in lower case).
    pub id: String,
    /// ZITADEL: the grant of the project to another organization. If set, the membership is one of the grant instead of
    /// the project.
    pub grant_id: Option<String>,
}

/// One subject in one project. With the provider object through which it is managed, it is the unit of work.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    pub project: Project,
    /// The subject's kind.
    pub subject_kind: SubjectKind,
    /// The subject's id, in the provider's normal form.
    pub subject_id: String,
}

/// A change of one member. In the controller, only [`crate::core::plan`] creates one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is no membership: create one with these roles.
    Create(Vec<Entry>),
    /// There is one membership: replace its whole list.
    Replace(Vec<Entry>),
    /// There are several memberships of one subject: delete them all, then create one with these roles. If creating one
    /// would send an e-mail (users of Infisical), merge them into one with these roles instead.
    Recreate(Vec<Entry>),
    /// Remove the membership, or all of them.
    Remove,
}

impl Capabilities {
    /// Whether the membership holds only the role that gives no access.
    pub fn is_without_access(&self, member: &Member) -> bool {
        let is_empty = |entry: &Entry| Some(entry.role.as_str()) == self.empty_role;
        member.memberships == 1 && !member.entries.is_empty() && member.entries.iter().all(is_empty)
    }

    /// The roles that an invitation may leave the invited user with. The declaration that invites is responsible for
    /// them.
    pub fn left_by_an_invitation(&self) -> impl Iterator<Item = &'static str> + use<> {
        let invites = self.invites;
        self.added_roles().filter(move |_| invites)
    }

    /// The roles that the operator records besides the declared ones, so that no allow rule has to name them.
    pub fn added_roles(&self) -> impl Iterator<Item = &'static str> + use<> {
        [self.creation_role, self.permanent_base].into_iter().flatten()
    }
}

impl Change {
    /// The change that writes the same list again if the provider shows `shown`, as the kind of change that this
    /// requires.
    pub fn stated_again(&self, shown: Option<&Member>) -> Self {
        let entries = self.outcome().to_vec();
        match shown {
            _ if entries.is_empty() => Self::Remove,
            None => Self::Create(entries),
            Some(member) if member.memberships > 1 => Self::Recreate(entries),
            Some(_) => Self::Replace(entries),
        }
    }

    /// The list after the change; empty if the membership is removed.
    pub fn outcome(&self) -> &[Entry] {
        match self {
            Self::Create(entries) | Self::Replace(entries) | Self::Recreate(entries) => entries,
            Self::Remove => &[],
        }
    }
}

/// What a provider supports and requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// It ends a temporary role itself if it received the end.
    pub enforces_expiry: bool,
    /// It refuses a membership with temporary roles only. This built-in role gives no access and is added as the
    /// permanent base.
    pub permanent_base: Option<&'static str>,
    /// The built-in role that gives no access, if the provider has one, whether or not it is needed as a base. A
    /// membership that holds only this role gives no access. It is left with it if it cannot be removed.
    pub empty_role: Option<&'static str>,
    /// A listed row is what is in force. If false, only the response of a write is reliable.
    pub lists_are_current: bool,
    /// Adding a member may leave the member with this role until the next write, regardless of the request
    /// (docs/reference/infisical.md, "Users and groups": October 2024 makes every new user a `member`). It is recorded
    /// as managed beforehand.
    pub creation_role: Option<&'static str>,
    /// A subject that is not in the project may be invited by name.
    pub invites: bool,
}

/// What the response of a write contained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The version of the row that shows the write (ZITADEL: `details.sequence`), if the provider has one.
    pub version: Option<u64>,
    /// Why a removal left the membership in place with only [`Capabilities::empty_role`]: the provider permanently
    /// refuses the removal but accepts a change.
    pub kept: Option<&'static str>,
}

/// The purpose of a request, the most urgent first. Of two ends, the one that was due earlier is more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Urgency {
    /// It ends access whose end, at this instant, has passed, or repeats a removal that the provider lost.
    End(Timestamp),
    /// It removes access and grants none.
    Revoke,
    /// It removes some access and grants other access.
    Exchange,
    /// It grants access that was requested.
    Grant,
    /// It repairs drift.
    Drift,
    /// It only reads.
    Resync,
}

impl Urgency {
    /// The number of levels. All ends are one level.
    pub const LEVELS: usize = 6;

    /// Its level; 0 is the most urgent.
    pub fn level(self) -> usize {
        match self {
            Self::End(_) => 0,
            Self::Revoke => 1,
            Self::Exchange => 2,
            Self::Grant => 3,
            Self::Drift => 4,
            Self::Resync => 5,
        }
    }

    /// Whether its purpose is to end access.
    pub fn revokes(self) -> bool {
        matches!(self, Self::End(_) | Self::Revoke)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_stated_again_in_the_form_that_what_is_there_needs() {
        let list = || vec![Entry::permanent("viewer")];
        let shown =
            |memberships| Some(Member { subject_id: "s".into(), entries: Vec::new(), memberships, version: None });
        for change in [Change::Create(list()), Change::Replace(list()), Change::Recreate(list())] {
            assert_eq!(change.stated_again(None), Change::Create(list()));
            assert_eq!(change.stated_again(shown(1).as_ref()), Change::Replace(list()));
            assert_eq!(change.stated_again(shown(2).as_ref()), Change::Recreate(list()));
        }
        for there in [None, shown(1), shown(2)] {
            assert_eq!(Change::Remove.stated_again(there.as_ref()), Change::Remove);
        }
    }
}
