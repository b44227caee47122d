//! A ProjectMembership without a cluster: what it declares, and what its status would say.
//!
//! What is written is decided where the controller decides it: [`policy`] admits, [`grants`] evaluates, [`plan`](mod@plan)
//! plans.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{Duration, ProjectMembershipSpec, SubjectKind};
use crate::grants::{self, Grant, Starts};
use crate::layers::{Layer, Phase, record_after};
use crate::member::{Capabilities, Change, Entry, Member, Target, Term};
use crate::plan::{self, Plan, View, base_to_record, plan};
use crate::policy::{self, Pinned, Server};

/// Where objects are: a project, and what they say of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The kind of server.
    pub server: Server,
    /// The project.
    pub project_id: String,
    /// The organization that owns it, where it is named.
    pub organization_id: Option<String>,
    /// What the subjects are.
    pub subject_kind: SubjectKind,
}

impl Place {
    fn spec(&self, subject: &str, roles: &[Value]) -> Result<ProjectMembershipSpec, String> {
        let mut spec = json!({
            "providerRef": {"name": "verify-provider"},
            "project": {"id": self.project_id},
            "subject": {"kind": self.subject_kind, "id": subject},
            "roles": roles,
        });
        if let Some(organization) = &self.organization_id {
            spec["project"]["organizationId"] = json!(organization);
        }
        serde_json::from_value(spec).map_err(|error| error.to_string())
    }
}

/// A permanent role, as an object declares it.
pub fn wanted(role: &str) -> Value {
    json!({"role": role})
}

/// A temporary role from now on, as an object declares it.
pub fn wanted_for(role: &str, length: &Duration) -> Value {
    json!({"role": role, "temporary": {"duration": length}})
}

/// An Exclusive object on one target.
#[derive(Clone, Debug)]
pub struct Object {
    place: Place,
    target: Target,
    layer: Layer,
}

impl Object {
    /// An object that declares nothing yet.
    pub fn new(place: &Place, subject: &str) -> Result<Self, String> {
        let spec = place.spec(subject, &[])?;
        let target = policy::target(&spec, &place.server, &Pinned::default()).map_err(|refusal| refusal.message)?;
        let layer = Layer {
            uid: "verify-provider".to_owned(),
            phase: Phase::Counts,
            exclusive: true,
            grants_unrecorded: false,
            grants: Vec::new(),
            managed: BTreeMap::new(),
            carried: Vec::new(),
        };
        let target = target.ok_or_else(|| format!("subject {subject:?} isn't an id"))?;
        Ok(Self { place: place.clone(), target, layer })
    }

    /// Whose roles, and where.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The roles that it asks for.
    pub fn grants(&self) -> &[Grant] {
        &self.layer.grants
    }

    /// Declares these roles, from now on.
    pub fn declare(&mut self, roles: &[Value]) -> Result<(), String> {
        let spec = self.place.spec(&self.target.subject_id, roles)?;
        let admitted = policy::admit(&spec).map_err(|refusal| refusal.message)?;
        self.layer.phase = Phase::Counts;
        self.layer.grants = grants::evaluate(&admitted, &Starts::recorded(BTreeMap::new()), Timestamp::now());
        Ok(())
    }

    /// It is being deleted.
    pub fn leave(&mut self) {
        self.layer.phase = Phase::Leaves;
        self.layer.grants.clear();
    }

    /// Its status says that it granted these roles.
    pub fn takes_for_its_own(&mut self, roles: &BTreeSet<String>) {
        self.layer.managed.extend(roles.iter().map(|role| (role.clone(), Term::Permanent)));
    }

    /// What differs from it, and the change that puts that right. What is about to be granted is written down first.
    pub fn plan(&mut self, observed: Option<&Member>, capabilities: Capabilities, now: Timestamp) -> Plan {
        let view = View { observed, capabilities, refused: &BTreeSet::new(), now };
        if self.layer.phase == Phase::Counts {
            let base = base_to_record(&self.layer, std::slice::from_ref(&self.layer), &view);
            self.layer.managed = self.layer.record_before(now);
            self.layer.managed.extend(base.map(|base| (base.to_owned(), Term::Permanent)));
        }
        let plan = plan(std::slice::from_ref(&self.layer), &view);
        if let (Some(Change::Create(_) | Change::Recreate(_)), Some(role)) = (plan.change(), capabilities.creation_role)
        {
            // What adding a member may leave behind is ours to take away.
            self.layer.managed.entry(role.to_owned()).or_insert(Term::Permanent);
        }
        plan
    }

    /// Writes down what an observation shows to be left of it.
    pub fn saw(&mut self, observed: Option<&Member>, capabilities: Capabilities, now: Timestamp) {
        let view = View { observed, capabilities, refused: &BTreeSet::new(), now };
        let shown = plan::shown(&self.layer, std::slice::from_ref(&self.layer), &view);
        self.layer.managed = record_after(&self.layer, &[], &shown, now);
    }

    /// Whether the target holds what is declared and in effect, and nothing else. The base that a provider needs beside
    /// temporary roles gives nothing.
    pub fn is_what_is_held(&self, member: Option<&Member>, capabilities: Capabilities, now: Timestamp) -> bool {
        let end = |term: &Term| term.end().filter(|_| capabilities.enforces_expiry).map(|end| end.as_millisecond());
        let mut declared: Vec<_> =
            self.layer.in_effect(now).map(|grant| (grant.role.as_str(), end(&grant.term))).collect();
        let base = capabilities.permanent_base.filter(|base| declared.iter().all(|(role, _)| role != base));
        let for_good = declared.iter().any(|(_, end)| end.is_none());
        let entries = member.map_or(&[][..], |member| &member.entries);
        let counts = |entry: &&Entry| for_good || Some(entry.role.as_str()) != base;
        let mut shown: Vec<_> = entries.iter().filter(counts).map(|e| (e.role.as_str(), end(&e.term))).collect();
        declared.sort_unstable();
        shown.sort_unstable();
        match member {
            None => declared.is_empty(),
            Some(member) => !declared.is_empty() && declared == shown && member.memberships == 1,
        }
    }
}

/// What a subject holds, in words.
pub fn held(member: Option<&Member>) -> String {
    let Some(member) = member else {
        return "no membership".to_owned();
    };
    let list = roles(member.entries.iter().map(|entry| (entry.role.as_str(), entry.term)));
    match member.memberships {
        1 => list,
        several => format!("{list} in {several} memberships"),
    }
}

/// Roles with their ends, in words.
pub fn roles<'a>(roles: impl Iterator<Item = (&'a str, Term)>) -> String {
    let mut roles: Vec<String> = roles
        .map(|(role, term)| match term.end() {
            None => role.to_owned(),
            Some(end) => format!("{role} until {end}"),
        })
        .collect();
    roles.sort_unstable();
    if roles.is_empty() { "no role".to_owned() } else { roles.join(" and ") }
}
