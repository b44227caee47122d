//! A provider as docs/reference/ describes it, for one subject in one project, with the faults that it may have.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use membership_operator::core::error::{Effect, Error};
use membership_operator::core::member::{Capabilities, Change, Entry, Member, Receipt, Term};

use crate::generators::{member, shown_as, without_ends};

/// What happens to a write.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is refused, or does not arrive.
    Refused(Error),
    /// Its response does not arrive.
    NoAnswer { carried_out: bool },
    /// Its response does not arrive, and it is carried out after this time.
    Delayed(Duration),
    /// Of several requests only the first is carried out: the memberships are deleted.
    Half,
    /// ZITADEL: it is answered with success, and neither search nor the rights in force show it (trap 4).
    Lost,
    /// ZITADEL: search shows it after this time.
    Late(Duration),
}

#[derive(Clone, Debug)]
pub struct Provider {
    pub capabilities: Capabilities,
    /// What is in force. ZITADEL: what search shows as well, apart from a delay.
    pub member: Option<Member>,
    /// ZITADEL: the member in the event store, from which writes are decided.
    stored: Option<Vec<String>>,
    sequence: u64,
    /// What lists show until this time.
    late: Option<(Option<Member>, Instant)>,
    /// Writes without a response that are still to be carried out, and whether each is a repair.
    pub under_way: Vec<(Instant, Change, bool)>,
    /// It removes no membership, and lets it be changed to the role that gives nothing.
    pub keeps_members: bool,
    /// Roles that don't exist.
    pub unknown: BTreeSet<&'static str>,
    /// Its refusals name the role that doesn't exist.
    pub names_roles: bool,
    /// The faults of the next lists.
    pub lists: VecDeque<Error>,
    /// The faults of the next writes; `None`: none.
    pub writes: VecDeque<Option<Fault>>,
}

/// The failure of a request of which nobody knows whether it was carried out.
pub fn unreachable(effect: Effect) -> Error {
    Error::Unreachable { message: "no answer".to_owned(), effect }
}

impl Provider {
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            member: None,
            stored: None,
            sequence: 0,
            late: None,
            under_way: Vec::new(),
            keeps_members: false,
            unknown: BTreeSet::from(["typo"]),
            names_roles: true,
            lists: VecDeque::new(),
            writes: VecDeque::new(),
        }
    }

    /// Carries out the delayed writes that are due. Returns whether there were any.
    pub fn advance(&mut self, at: Instant) -> bool {
        let (due, later) = std::mem::take(&mut self.under_way).into_iter().partition(|(due, ..)| *due <= at);
        self.under_way = later;
        let due: Vec<(Instant, Change, bool)> = due;
        for (_, change, repairs) in &due {
            let _ = self.carry_out(change, *repairs);
        }
        !due.is_empty()
    }

    /// A list that begins now.
    pub fn list(&mut self, at: Instant) -> Result<Option<Member>, Error> {
        if let Some(error) = self.lists.pop_front() {
            return Err(error);
        }
        if self.late.as_ref().is_some_and(|(_, until)| *until <= at) {
            self.late = None;
        }
        Ok(self.late.as_ref().map_or_else(|| self.member.clone(), |(before, _)| before.clone()))
    }

    /// It has no faults any more.
    pub fn end_faults(&mut self) {
        self.lists.clear();
        self.writes.clear();
        self.late = None;
    }

    /// Somebody else writes.
    pub fn set(&mut self, entries: Vec<Entry>, memberships: u32) {
        self.late = None;
        self.put((!entries.is_empty()).then_some(entries), memberships);
    }

    /// A write of the operator. The outer error: nothing that may ever be sent.
    pub fn write(&mut self, change: &Change, repairs: bool, at: Instant) -> Result<Result<Receipt, Error>, String> {
        self.check(change)?;
        Ok(match self.writes.pop_front().flatten() {
            Some(Fault::Refused(error)) => Err(error),
            Some(Fault::NoAnswer { carried_out }) => {
                if carried_out {
                    let _ = self.carry_out(change, repairs);
                }
                Err(unreachable(Effect::Unknown))
            }
            Some(Fault::Delayed(delay)) => {
                self.under_way.push((at + delay, change.clone(), repairs));
                Err(unreachable(Effect::Unknown))
            }
            Some(Fault::Half) if matches!(change, Change::Recreate(_)) => {
                self.put(None, 1);
                Err(unreachable(Effect::Unknown))
            }
            Some(Fault::Lost) if !self.capabilities.lists_are_current && !repairs => {
                let shown = self.member.clone();
                let answer = self.carry_out(change, false);
                self.member = shown;
                answer
            }
            Some(Fault::Late(delay)) if !self.capabilities.lists_are_current => {
                let shown = self.member.clone();
                let answer = self.carry_out(change, repairs);
                self.late = Some((shown, at + delay));
                answer
            }
            Some(Fault::Half | Fault::Lost | Fault::Late(_)) | None => self.carry_out(change, repairs),
        })
    }

    /// What the operator must never send.
    fn check(&self, change: &Change) -> Result<(), String> {
        let entries = change.outcome();
        let twice = (1..entries.len()).any(|index| entries[..index].iter().any(|e| e.role == entries[index].role));
        let permanent = entries.iter().any(|entry| entry.term == Term::Permanent);
        match change {
            _ if twice => Err(format!("a role twice in {change:?}")),
            Change::Remove => Ok(()),
            _ if entries.is_empty() => Err(format!("no role in {change:?}")),
            _ if self.capabilities.permanent_base.is_some() && !permanent => {
                Err(format!("no permanent role in {change:?}"))
            }
            _ => Ok(()),
        }
    }

    fn carry_out(&mut self, change: &Change, repairs: bool) -> Result<Receipt, Error> {
        let is_current = self.capabilities.lists_are_current;
        let exists = if is_current { self.member.is_some() } else { self.stored.is_some() };
        let changed = |message: &str| Err(Error::Changed { message: message.to_owned() });
        let entries = change.outcome();
        if let Some(entry) = entries.iter().find(|entry| self.unknown.contains(entry.role.as_str())) {
            let role = self.names_roles.then(|| entry.role.clone());
            return Err(Error::RoleNotFound { role, message: "no such role".to_owned() });
        }
        match change {
            _ if repairs && !is_current => {}
            // A member that search does not show is changed instead.
            Change::Create(_) if exists && (is_current || self.member.is_some()) => return changed("it exists"),
            Change::Replace(_) if !exists => return changed("it does not exist"),
            Change::Create(entries) | Change::Replace(entries)
                if !is_current && self.stored.as_ref() == Some(&sorted(entries)) =>
            {
                // An identical PUT changes nothing, not even what search shows.
                return Ok(self.receipt(None));
            }
            Change::Remove if !is_current && !exists => return Ok(self.receipt(None)),
            Change::Remove if self.keeps_members && exists && self.capabilities.empty_role.is_some() => {
                let kept = self.capabilities.empty_role.map(|role| vec![Entry::permanent(role)]);
                self.put(kept, 1);
                return Ok(self.receipt(Some("it is the last one")));
            }
            Change::Replace(entries) if is_current && self.member.as_ref().is_some_and(|m| m.memberships > 1) => {
                // Only one of the memberships is changed.
                let others = self.member.iter().flat_map(|member| &member.entries).cloned();
                let all = entries.iter().cloned().chain(others).collect();
                self.put(Some(all), 2);
                return Ok(self.receipt(None));
            }
            Change::Create(_) | Change::Replace(_) | Change::Recreate(_) | Change::Remove => {}
        }
        self.put((!entries.is_empty()).then(|| entries.to_vec()), 1);
        Ok(self.receipt(None))
    }

    fn receipt(&self, kept: Option<&'static str>) -> Receipt {
        Receipt { version: (!self.capabilities.lists_are_current).then_some(self.sequence), kept }
    }

    fn put(&mut self, entries: Option<Vec<Entry>>, memberships: u32) {
        self.sequence += 1;
        let Some(entries) = entries else {
            (self.member, self.stored) = (None, None);
            return;
        };
        let mut row = match self.capabilities.enforces_expiry {
            true => member(entries.into_iter().map(shown_as).collect(), memberships),
            false => member(without_ends(&entries), 1),
        };
        if !self.capabilities.lists_are_current {
            row.version = Some(self.sequence);
            self.stored = Some(sorted(&row.entries));
        }
        self.member = Some(row);
    }
}

fn sorted(entries: &[Entry]) -> Vec<String> {
    let mut roles: Vec<String> = entries.iter().map(|entry| entry.role.clone()).collect();
    roles.sort_unstable();
    roles.dedup();
    roles
}
