//! Who can be a member: identities, users and groups of organisations. No HTTP in here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::state::{State, new_id};

/// The kind of a member. The names of the rights over their memberships begin with [`Kind::subject`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Identity,
    User,
    Group,
}

impl Kind {
    /// The subject of permissions, as the server spells it.
    pub(crate) fn subject(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::User => "member",
            Self::Group => "groups",
        }
    }

    /// What messages call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "Identity",
            Self::User => "User",
            Self::Group => "Group",
        }
    }
}

/// What a subject may do in an organisation (infisical/name-resolution.json).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrgRole {
    /// Nothing.
    #[default]
    NoAccess,
    /// May look identities and groups up.
    Member,
    /// May do everything, such as inviting people.
    Admin,
}

impl OrgRole {
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::NoAccess => "no-access",
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

/// A machine identity of an organisation.
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) auth_method: Option<String>,
    pub(crate) org: String,
    pub(crate) org_role: OrgRole,
    /// The project that manages it itself, if one does.
    pub(crate) managed_by: Option<String>,
    /// The id of its membership of the organisation.
    pub(crate) seat: String,
    pub(crate) created: Timestamp,
}

/// An account of a person. It belongs to the server, and to organisations by its seats.
pub(crate) struct User {
    pub(crate) id: String,
    /// What it is found by: an e-mail as a rule.
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
    /// By organisation.
    pub(crate) seats: BTreeMap<String, Seat>,
}

/// A user's place in an organisation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) role: OrgRole,
    /// Whether the invitation was accepted.
    pub(crate) accepted: bool,
}

/// A group of users of an organisation.
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) slug: String,
    pub(crate) org: String,
    pub(crate) created: Timestamp,
    /// The ids of its users.
    pub(crate) users: BTreeSet<String>,
}

/// A mail that the server sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    /// The address.
    pub to: String,
    /// `Infisical organization invitation` or `Infisical project invitation`.
    pub subject: String,
}

impl State {
    /// The kind of member of an id; an unknown one is an identity.
    pub(crate) fn kind_of(&self, subject: &str) -> Kind {
        if self.users.contains_key(subject) {
            Kind::User
        } else if self.groups.contains_key(subject) {
            Kind::Group
        } else {
            Kind::Identity
        }
    }

    /// The identity of this id, made if there is none.
    pub(crate) fn identity(&mut self, id: &str, now: Timestamp) -> &mut Identity {
        self.identities.entry(id.to_owned()).or_insert_with(|| Identity {
            id: id.to_owned(),
            name: id.to_owned(),
            auth_method: None,
            org: self.default_org.clone(),
            org_role: OrgRole::NoAccess,
            managed_by: None,
            seat: new_id(),
            created: now,
        })
    }

    /// Makes an account with a seat; none of its organisation knows more of it than the name.
    pub(crate) fn add_account(&mut self, id: &str, username: &str) -> &mut User {
        self.users.entry(id.to_owned()).or_insert_with(|| User {
            id: id.to_owned(),
            username: username.to_owned(),
            email: username.to_owned(),
            first_name: None,
            last_name: None,
            seats: BTreeMap::new(),
        })
    }

    /// The user of exactly this name: letter case counts (user-memberships.json, 36 and 43).
    pub(crate) fn user_named(&self, username: &str) -> Option<&User> {
        self.users.values().find(|user| user.username == username)
    }

    pub(crate) fn send(&mut self, to: &str, subject: &str) {
        self.mails.push(Mail { to: to.to_owned(), subject: subject.to_owned() });
    }
}
