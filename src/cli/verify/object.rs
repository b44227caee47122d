//! A ProjectMembership without a cluster: its declaration, and the contents of its status.
//!
//! The decisions are those of the controller: [`policy`] admits, [`grants`] evaluates, [`plan`](mod@plan) plans.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::membership::ProjectRef;
use crate::api::{Duration, ProjectMembershipSpec, SubjectKind};
use crate::core::grants::{self, Grant, Starts};
use crate::core::layers::{Layer, Phase, record_after};
use crate::core::member::{Capabilities, Change, Entry, Member, Project, Target, Term};
use crate::core::plan::{self, Plan, View, base_to_record, plan};
use crate::core::policy::{self, Pinned, Server};

/// The place of the objects: a project, and the fields that refer to it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The kind of server.
    pub server: Server,
    /// The project, by its id once its name was looked up.
    pub project: ProjectRef,
    /// The kind of the subjects.
    pub subject_kind: SubjectKind,
}

impl Place {
    fn spec(&self, subject: Option<&str>, roles: &[Value]) -> Result<ProjectMembershipSpec, String> {
        let spec = json!({
            "providerRef": {"name": "verify-provider"},
            "project": self.project,
            "subject": {"kind": self.subject_kind, "id": subject},
            "roles": roles,
        });
        serde_json::from_value(spec).map_err(|error| error.to_string())
    }

    /// Checks everything that can be wrong before anything is sent. `subject`: its id, if it is known.
    pub fn check(&self, subject: Option<&str>, roles: &[Value]) -> Result<(), String> {
        let spec = self.spec(subject, roles)?;
        policy::target(&spec, &self.server, &Pinned::default()).map_err(|refusal| refusal.message)?;
        policy::admit(&spec).map(drop).map_err(|refusal| refusal.message)
    }

    /// The project; an error as long as only its name is known.
    pub fn project(&self) -> Result<Project, String> {
        let spec = self.spec(None, &[])?;
        let project = policy::project(&spec, &self.server, &Pinned::default()).map_err(|refusal| refusal.message)?;
        project.ok_or_else(|| "the project's name has yet to be looked up".to_owned())
    }

    /// A description for the report.
    pub fn text(&self) -> String {
        let ProjectRef { id, name, organization_id, grant_id } = &self.project;
        let project = match (id, name) {
            (Some(id), _) => format!("project {id}"),
            (None, name) => format!("project {:?}", name.as_deref().unwrap_or_default()),
        };
        let of = organization_id.as_ref().map(|id| format!(" of organization {id}")).unwrap_or_default();
        let grant = grant_id.as_ref().map(|id| format!("grant {id} of ")).unwrap_or_default();
        format!("{grant}{project}{of}")
    }
}

/// A permanent role, as an object declares it.
pub fn wanted(role: &str) -> Value {
    json!({"role": role})
}

/// A temporary role that starts now, as an object declares it.
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
        let spec = place.spec(Some(subject), &[])?;
        let target = policy::target(&spec, &place.server, &Pinned::default()).map_err(|refusal| refusal.message)?;
        let layer = Layer {
            uid: "verify-provider".to_owned(),
            phase: Phase::Counts,
            exclusive: true,
            grants: Vec::new(),
            managed: BTreeMap::new(),
            carried: Vec::new(),
        };
        let target = target.ok_or_else(|| format!("subject {subject:?} isn't an id"))?;
        Ok(Self { place: place.clone(), target, layer })
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The roles that it declares.
    pub fn grants(&self) -> &[Grant] {
        &self.layer.grants
    }

    /// Declares these roles, from now on.
    pub fn declare(&mut self, roles: &[Value]) -> Result<(), String> {
        let spec = self.place.spec(Some(&self.target.subject_id), roles)?;
        let admitted = policy::admit(&spec).map_err(|refusal| refusal.message)?;
        self.layer.phase = Phase::Counts;
        self.layer.grants = grants::evaluate(&admitted, &Starts::recorded(BTreeMap::new()), Timestamp::now());
        Ok(())
    }

    /// The object is being deleted.
    pub fn leave(&mut self) {
        self.layer.phase = Phase::Leaves;
        self.layer.grants.clear();
    }

    /// Records these roles as granted in its status.
    pub fn takes_for_its_own(&mut self, roles: &BTreeSet<String>) {
        self.layer.managed.extend(roles.iter().map(|role| (role.clone(), Term::Permanent)));
    }

    /// The differences from the declaration, and the change that removes them. What is about to be granted is recorded
    /// first.
    pub fn plan(&mut self, observed: Option<&Member>, capabilities: Capabilities, now: Timestamp) -> Plan {
        let view = View { observed, capabilities, spared: &BTreeSet::new(), refused: &BTreeSet::new(), now };
        if self.layer.phase == Phase::Counts {
            let base = base_to_record(&self.layer, std::slice::from_ref(&self.layer), &view);
            self.layer.managed = self.layer.record_before(now);
            self.layer.managed.extend(base.map(|base| (base.to_owned(), Term::Permanent)));
        }
        let plan = plan(std::slice::from_ref(&self.layer), &view);
        if let (Some(Change::Create(_) | Change::Recreate(_)), Some(role)) = (plan.change(), capabilities.creation_role)
        {
            // A role that adding a member may leave behind is recorded, so that it is removed.
            self.layer.managed.entry(role.to_owned()).or_insert(Term::Permanent);
        }
        plan
    }

    /// Records what an observation still shows of the managed roles.
    pub fn saw(&mut self, observed: Option<&Member>, capabilities: Capabilities, now: Timestamp) {
        let view = View { observed, capabilities, spared: &BTreeSet::new(), refused: &BTreeSet::new(), now };
        let shown = plan::shown(&self.layer, std::slice::from_ref(&self.layer), &view);
        self.layer.managed = record_after(&self.layer, &[], &shown, now);
    }

    /// Whether the target holds exactly what is declared and in effect. The base that a provider requires beside
    /// temporary roles is ignored, because it gives no access.
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

/// A description of what a subject holds.
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

/// A description of roles with their ends.
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
