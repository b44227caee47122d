//! What a provider holds for one subject in one project: the values that roster, plan and providers share.
//!
//! Nothing here knows a wire format, a clock or a client.

use jiff::{SignedDuration, Timestamp};

use crate::api::SubjectKind;

/// A span of time, `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// The first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

impl Window {
    /// Whether `at` lies in the window.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// How long the window is; negative where it ends before it starts.
    pub fn length(&self) -> SignedDuration {
        self.end.duration_since(self.start)
    }
}

/// How long a role is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Term {
    /// For good.
    Permanent,
    /// For a while.
    Temporary(Window),
}

impl Term {
    /// The first instant at which the role is no longer held; `None`: never.
    pub fn end(&self) -> Option<Timestamp> {
        match self {
            Self::Permanent => None,
            Self::Temporary(window) => Some(window.end),
        }
    }

    /// Whether the term has ended at `now`.
    pub fn ended(&self, now: Timestamp) -> bool {
        self.end().is_some_and(|end| end <= now)
    }

    /// The later-ending of two terms; a permanent one ends last, and of equal ends the earlier start stays.
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
    /// How long it is held.
    pub term: Term,
    /// The entry's window in the provider's own words, so that a foreign entry is sent back byte for byte.
    /// `None` for entries of ours and for permanent ones.
    pub verbatim: Option<Verbatim>,
    /// The id of the role, where the provider has one that stays when the name is changed, and shows it.
    pub role_id: Option<String>,
}

impl Entry {
    /// An entry of ours.
    pub fn new(role: impl Into<String>, term: Term) -> Self {
        Self { role: role.into(), term, verbatim: None, role_id: None }
    }

    /// A permanent entry of ours.
    pub fn permanent(role: impl Into<String>) -> Self {
        Self::new(role, Term::Permanent)
    }
}

/// A temporary entry's window as the provider wrote it (Infisical: `temporaryRange`, `temporaryAccessStartTime`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verbatim {
    /// The range as it came, as `2h` or `1.5h`.
    pub range: String,
    /// The start as it came.
    pub start: String,
}

/// A row of a project's list: what one subject holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The subject's id, as in [`Target::subject_id`].
    pub subject_id: String,
    /// Its roles, in the provider's order. Of several memberships of one subject: all their entries.
    pub entries: Vec<Entry>,
    /// How many memberships the provider has of this subject; more than one must be deleted and created again
    /// (docs/reference/infisical.md, "PATCH and time").
    pub memberships: u32,
    /// A number that grows with every change, where the provider has one (ZITADEL: `details.sequence`).
    pub version: Option<u64>,
}

/// Where members are: one project at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Project {
    /// ZITADEL: the organization that owns the project, for `x-zitadel-orgid`.
    pub organization_id: Option<String>,
    /// The project's id, in the provider's normal form (a UUID in lower case).
    pub id: String,
    /// ZITADEL: the grant of the project to another organization, whose members are meant instead of the project's own.
    pub grant_id: Option<String>,
}

/// Whose roles, and where: the unit of work.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The project.
    pub project: Project,
    /// The subject's kind.
    pub subject_kind: SubjectKind,
    /// The subject's id, in the provider's normal form.
    pub subject_id: String,
}

/// What is to be done to a member. Only [`crate::core::plan`] makes one for the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is no membership: create one with these roles.
    Create(Vec<Entry>),
    /// There is one: replace its whole list.
    Replace(Vec<Entry>),
    /// There are several of one subject: delete them all, then create one with these roles; or, where nobody can be
    /// created again without a mail (users of Infisical), make one with these roles of them.
    Recreate(Vec<Entry>),
    /// Remove the membership, or all of them.
    Remove,
}

impl Capabilities {
    /// Whether all that a membership holds is the role that gives nothing, so that it gives no access.
    pub fn is_without_access(&self, member: &Member) -> bool {
        let is_empty = |entry: &Entry| Some(entry.role.as_str()) == self.empty_role;
        member.memberships == 1 && !member.entries.is_empty() && member.entries.iter().all(is_empty)
    }

    /// Roles that somebody who is brought in may be left with, and whoever brings them in answers for.
    pub fn left_by_an_invitation(&self) -> impl Iterator<Item = &'static str> + use<> {
        let roles = [self.creation_role, self.permanent_base];
        roles.into_iter().flatten().filter({
            let invites = self.invites;
            move |_| invites
        })
    }
}

impl Change {
    /// The change that states the same list again where `shown` is what is there, in the form that this needs.
    pub fn stated_again(&self, shown: Option<&Member>) -> Self {
        let entries = self.outcome().to_vec();
        match shown {
            _ if entries.is_empty() => Self::Remove,
            None => Self::Create(entries),
            Some(member) if member.memberships > 1 => Self::Recreate(entries),
            Some(_) => Self::Replace(entries),
        }
    }

    /// The list that stands when the change is done; empty where the membership is gone.
    pub fn outcome(&self) -> &[Entry] {
        match self {
            Self::Create(entries) | Self::Replace(entries) | Self::Recreate(entries) => entries,
            Self::Remove => &[],
        }
    }
}

/// What a provider can and needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// It ends a temporary role by itself when it was told the end.
    pub enforces_expiry: bool,
    /// It refuses a membership of temporary roles only, and this built-in role gives nothing: the base to add.
    pub permanent_base: Option<&'static str>,
    /// The built-in role that gives nothing, where the provider has one, whether or not it is needed as a base. A
    /// membership that holds nothing else gives no access, and is left with it where it can't be removed.
    pub empty_role: Option<&'static str>,
    /// A row that a list shows is what is in force; where false, only a write's own answer is.
    pub lists_are_current: bool,
    /// Adding a member may leave it with this role until the next write, whatever was asked for
    /// (docs/reference/infisical.md, "Users and groups": October 2024 makes every new user a `member`). It is written
    /// down as ours before.
    pub creation_role: Option<&'static str>,
    /// A subject that the provider doesn't know in the project may be invited by name.
    pub invites: bool,
}

/// What a write's answer said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The version of the row that shows the write (ZITADEL: `details.sequence`), where the provider has one.
    pub version: Option<u64>,
    /// Why a removal left the membership in place, with nothing but [`Capabilities::empty_role`] in it: the provider
    /// refuses the removal permanently and accepts a change.
    pub kept: Option<&'static str>,
}

/// What a request is for, the most urgent first. Of two ends the one that was due earlier is more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Urgency {
    /// It ends access whose end has come, at this instant, or repairs a removal that was lost.
    End(Timestamp),
    /// It takes access away and gives none.
    Revoke,
    /// It takes access away and gives some.
    Exchange,
    /// It gives access that was asked for.
    Grant,
    /// It repairs drift.
    Drift,
    /// It only reads.
    Resync,
}

impl Urgency {
    /// How many levels there are; ends are one.
    pub const LEVELS: usize = 6;

    /// Its level, 0 the most urgent.
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

    /// Whether it is for access that has to end.
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
