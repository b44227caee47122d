//! A provider with the behaviour described in docs/reference, limited to role lists.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use membership_operator::core::member::{Capabilities, Change, Entry, Member, Term};

use crate::generators::{member, shown_as, without_ends};

/// Why a change isn't carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The provider doesn't have a role.
    UnknownRole(String),
    /// The list as such is refused: the operator must never send such a one.
    Malformed(&'static str),
}

/// The row after `change`.
pub fn carried_out(
    change: &Change,
    before: Option<&Member>,
    capabilities: Capabilities,
    unknown: &BTreeSet<String>,
) -> Result<Option<Member>, Refusal> {
    let entries = change.outcome();
    let roles: BTreeSet<&str> = entries.iter().map(|entry| entry.role.as_str()).collect();
    if let Some(role) = roles.iter().find(|role| unknown.contains(**role)) {
        return Err(Refusal::UnknownRole((*role).to_owned()));
    }
    if roles.len() != entries.len() {
        return Err(Refusal::Malformed("a role twice"));
    }
    let permanent = entries.iter().any(|entry| entry.term == Term::Permanent);
    if capabilities.permanent_base.is_some() && !entries.is_empty() && !permanent {
        return Err(Refusal::Malformed("no permanent role"));
    }
    match change {
        Change::Remove => return Ok(None),
        _ if entries.is_empty() => return Err(Refusal::Malformed("no role")),
        Change::Create(_) if before.is_some() => return Err(Refusal::Malformed("created though it is there")),
        Change::Replace(_) if before.is_none() => return Err(Refusal::Malformed("replaced though it isn't there")),
        Change::Replace(_) if before.is_some_and(|b| b.memberships > 1) => {
            return Err(Refusal::Malformed("patched though there are several memberships"));
        }
        Change::Create(_) | Change::Replace(_) | Change::Recreate(_) => {}
    }
    let entries = match capabilities.enforces_expiry {
        true => entries.iter().cloned().map(shown_as).collect(),
        false => without_ends(entries),
    };
    Ok(Some(member(entries, 1)))
}

/// What a list grants: the end of each role, from the last of its rows; `None`: permanent.
pub fn access(entries: &[Entry]) -> BTreeMap<&str, Option<Timestamp>> {
    let mut access: BTreeMap<&str, Option<Timestamp>> = BTreeMap::new();
    for entry in entries {
        let end = entry.term.end();
        let known = access.entry(&entry.role).or_insert(end);
        *known = match (*known, end) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => None,
        };
    }
    access
}

/// Whether an access until `a` lasts no longer than one until `b`.
pub fn no_longer(a: Option<Timestamp>, b: Option<Timestamp>) -> bool {
    match (a, b) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(a), Some(b)) => a <= b,
    }
}
