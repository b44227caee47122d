//! A ProjectMembership in memory: its record and its status are where the operator keeps them, without a cluster.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;

use crate::api::membership::{ManagedRole, RoleGrant, Temporary};
use crate::api::{Duration, FINALIZER, PENDING_GRANTS, ProjectMembership, ProjectMembershipSpec, Reason};
use crate::core::member::{Entry, Member, Target, Term};
use crate::core::record::Record;
use crate::core::report::Report;
use crate::core::snapshot::Declaration;

use super::report::UnexpectedResult;

/// The value of every name that an object needs.
pub const NAME: &str = "verify-provider";

/// An object, and the target that it names.
#[derive(Clone, Debug)]
pub struct InMemoryMembership {
    pub target: Target,
    object: ProjectMembership,
}

impl InMemoryMembership {
    /// A new object for a target. `template`: its other fields.
    pub fn new(template: &ProjectMembershipSpec, target: &Target) -> Self {
        let mut object = ProjectMembership::new(NAME, template.clone());
        object.spec.subject.id = Some(target.subject_id.clone());
        object.metadata = metadata();
        Self { target: target.clone(), object }
    }

    /// Changes the roles that it declares. If it was deleted, it is created again.
    pub fn declare(&mut self, roles: Vec<RoleGrant>) {
        if self.is_deleted() {
            (self.object.metadata, self.object.status) = (metadata(), None);
        }
        self.object.spec.roles = roles;
        self.next_generation();
    }

    /// Deletes it. `holds`: permanent roles that it revokes as if it had granted them.
    pub fn delete(&mut self, holds: impl IntoIterator<Item = String>) {
        self.object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        self.object.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
        self.next_generation();
        let status = self.object.status.get_or_insert_default();
        status.observed_generation = status.observed_generation.max(0);
        for role in holds {
            if status.managed_roles.iter().all(|known| known.role != role) {
                status.managed_roles.push(ManagedRole { role, role_id: None, start_time: None, expiration_time: None });
            }
        }
    }

    fn next_generation(&mut self) {
        *self.object.metadata.generation.get_or_insert_default() += 1;
    }

    fn is_deleted(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// The roles that it declares; none if it is deleted.
    pub fn declared(&self) -> &[RoleGrant] {
        if self.is_deleted() { &[] } else { &self.object.spec.roles }
    }

    /// When its temporary roles end; `None`: there are none.
    pub fn ends(&self) -> Option<Timestamp> {
        self.object.status.iter().flat_map(|status| &status.managed_roles).filter_map(|role| role.expiration_time).max()
    }

    /// The declaration for a snapshot.
    pub fn declaration(&self) -> Declaration {
        Declaration {
            record: self.object.status.as_ref().map(|status| status.managed_roles.clone()).unwrap_or_default(),
            object: Arc::new(self.object.clone()),
            trusted: None,
            labels: None,
            is_left_behind: false,
        }
    }

    /// Stores the record of what is about to be granted, as the API server does.
    pub fn record(&mut self, record: Record) {
        if record.finalize {
            self.object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        }
        let pending = record.pending(&self.object).to_annotation();
        self.object.metadata.annotations.get_or_insert_default().insert(PENDING_GRANTS.to_owned(), pending);
        self.object.include_pending_grants();
    }

    /// Stores the report about it. An error if the provider does not hold what it declares.
    pub fn reported(&mut self, reports: Vec<Report>) -> Result<(), UnexpectedResult> {
        for Report { ready_condition, status, is_released, .. } in reports {
            self.object.status = Some(status);
            if ready_condition.reason != Reason::Converged && !is_released {
                return Err(ready_condition.into());
            }
        }
        Ok(())
    }
}

fn metadata() -> ObjectMeta {
    ObjectMeta {
        name: Some(NAME.to_owned()),
        namespace: Some(NAME.to_owned()),
        uid: Some(NAME.to_owned()),
        ..ObjectMeta::default()
    }
}

/// A permanent role, as an object declares it.
pub fn permanent(role: &str) -> RoleGrant {
    RoleGrant { role: role.to_owned(), temporary: None }
}

/// A temporary role that starts when it is granted, as an object declares it.
pub fn temporary(role: &str, length: &Duration) -> RoleGrant {
    let temporary = Temporary { duration: Some(length.clone()), ..Temporary::default() };
    RoleGrant { temporary: Some(temporary), ..permanent(role) }
}

/// A description of what an object declares.
pub fn wanted(roles: &[RoleGrant]) -> String {
    let length = |role: &RoleGrant| role.temporary.as_ref()?.duration.as_ref().map(|length| format!(" for {length}"));
    if roles.is_empty() {
        return "no membership".to_owned();
    }
    listed(roles.iter().map(|role| format!("{}{}", role.role, length(role).unwrap_or_default())))
}

/// A description of what a subject holds.
pub fn held(member: Option<&Member>) -> String {
    match member {
        None => "no membership".to_owned(),
        Some(Member { memberships: 1, entries, .. }) => shown(entries),
        Some(Member { memberships, entries, .. }) => format!("{} in {memberships} memberships", shown(entries)),
    }
}

/// The description of what a subject holds; an error if it differs from the expected one.
pub fn expect(member: Option<&Member>, expected: &str) -> Result<String, UnexpectedResult> {
    let held = held(member);
    let is_expected = held == expected;
    UnexpectedResult::unless(held, is_expected)
}

/// A description of a list of roles.
pub fn shown(entries: &[Entry]) -> String {
    listed(entries.iter().map(|entry| match entry.term {
        Term::Permanent => entry.role.clone(),
        Term::Temporary(window) => format!("{} until {}", entry.role, window.end),
    }))
}

fn listed(texts: impl Iterator<Item = String>) -> String {
    let mut texts: Vec<String> = texts.collect();
    texts.sort_unstable();
    if texts.is_empty() { "no role".to_owned() } else { texts.join(" and ") }
}
