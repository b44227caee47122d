//! Admission: whether a spec can be carried out, and which grants it requests. Pure.
//!
//! An [`Admitted`] can only come from [`admit`], so that no later stage acts on a spec that was not checked.

pub mod allow;
pub mod resync;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::api::{ProjectMembershipSpec, Reason, SubjectKind, Time, membership::RoleGrant};
use crate::core::member::{Project, Target};
use crate::core::status::ReadyCondition;

/// The server that the membership's provider object names, which the schema cannot check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// Infisical: subjects are identities, users and groups; ids are UUIDs.
    Infisical,
    /// ZITADEL: subjects are users; ids are digits; `organization_id` is the default of the provider object.
    Zitadel {
        /// The organization of memberships that name none.
        organization_id: Option<String>,
    },
}

/// Why a spec is not carried out, as the condition Ready reports it.
pub type Refusal = ReadyCondition;

/// When an admitted role is in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantPeriod {
    /// Permanently.
    Always,
    /// From a start until the earlier of `start + seconds` and `end`; at least one of these is set.
    Within {
        /// The declared start. `None`: the instant when the grant is first accepted.
        start: Option<Timestamp>,
        /// The length in seconds.
        seconds: Option<u64>,
        /// The latest end.
        end: Option<Timestamp>,
    },
}

/// One role of an admitted spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedRole {
    pub role: String,
    /// When it is in effect.
    pub when: GrantPeriod,
}

/// A spec that may be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    roles: Vec<AdmittedRole>,
}

impl Admitted {
    /// Its roles, in the order of the spec.
    pub fn roles(&self) -> &[AdmittedRole] {
        &self.roles
    }
}

/// The ids that an object's names were resolved to. An id is not used if the spec gives the id itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinnedIds {
    /// The id of `project.name`.
    pub project_id: Option<String>,
    /// The id of `subject.name`.
    pub subject_id: Option<String>,
}

/// The target of a spec's references, in the provider's normal form. `None`: one of its names is not resolved yet.
///
/// It depends on immutable fields only, so that the access of an object whose roles are refused can still be ended.
pub fn target(
    spec: &ProjectMembershipSpec,
    server: &ServerKind,
    pinned: &PinnedIds,
) -> Result<Option<Target>, Refusal> {
    let project = project(spec, server, pinned)?;
    let kind = spec.subject.kind;
    match (server, kind) {
        (ServerKind::Infisical, _) | (ServerKind::Zitadel { .. }, SubjectKind::User) => {}
        (ServerKind::Zitadel { .. }, kind) => {
            return Err(invalid(&format!(
                "spec.subject.kind is {kind:?}, but ZITADEL has User only: create the object again with kind User"
            )));
        }
    }
    let Some(subject_id) = spec.subject.id.as_ref().or(pinned.subject_id.as_ref()) else {
        return Ok(None);
    };
    server.check_id("spec.subject.id", subject_id)?;
    let subject_id = subject_id.to_ascii_lowercase();
    Ok(project.map(|project| Target { project, subject_kind: kind, subject_id }))
}

/// The project of [`target`].
pub fn project(
    spec: &ProjectMembershipSpec,
    server: &ServerKind,
    pinned: &PinnedIds,
) -> Result<Option<Project>, Refusal> {
    let organization_id = organization_id(spec, server)?;
    if let (ServerKind::Infisical, Some(_)) = (server, &spec.project.grant_id) {
        return Err(invalid(
            "spec.project.grantId is for ZITADEL; Infisical has no project grants: create the object again without it",
        ));
    }
    if let Some(id) = &spec.project.grant_id {
        server.check_id("spec.project.grantId", id)?;
    }
    let Some(id) = spec.project.id.as_ref().or(pinned.project_id.as_ref()) else {
        return Ok(None);
    };
    server.check_id("spec.project.id", id)?;
    Ok(Some(Project { organization_id, id: id.to_ascii_lowercase(), grant_id: spec.project.grant_id.clone() }))
}

/// The organization in which the project is looked up: that of the spec, or else that of the provider object.
pub fn organization_id(spec: &ProjectMembershipSpec, server: &ServerKind) -> Result<Option<String>, Refusal> {
    match (server, &spec.project.organization_id) {
        (ServerKind::Infisical, None) => Ok(None),
        (ServerKind::Infisical, Some(_)) => Err(invalid(
            "spec.project.organizationId is for ZITADEL; an Infisical project is found without it: create the object again without it",
        )),
        (ServerKind::Zitadel { organization_id }, None) => Ok(organization_id.clone()),
        (ServerKind::Zitadel { .. }, Some(id)) => {
            server.check_id("spec.project.organizationId", id)?;
            Ok(Some(id.clone()))
        }
    }
}

impl ServerKind {
    fn check_id(&self, field: &str, id: &str) -> Result<(), Refusal> {
        match self {
            Self::Infisical => uuid(field, id),
            Self::Zitadel { .. } => digits(field, id),
        }
    }
}

/// Checks everything in a spec that can be wrong although the API server accepted it.
pub fn admit(spec: &ProjectMembershipSpec) -> Result<Admitted, Refusal> {
    let mut seen = BTreeSet::new();
    let mut roles = Vec::with_capacity(spec.roles.len());
    if let Some(interval) = &spec.resync_interval {
        interval.seconds().map_err(|e| invalid(&format!("spec.resyncInterval: {e}")))?;
    }
    for grant in &spec.roles {
        if grant.role == "custom" {
            return Err(invalid(
                "spec.roles: \"custom\" is how Infisical marks every custom role, not a role: write the role's own slug",
            ));
        }
        if !seen.insert(grant.role.as_str()) {
            return Err(invalid(&format!("spec.roles: {:?} is declared twice: leave one", grant.role)));
        }
        roles.push(AdmittedRole { role: grant.role.clone(), when: when(grant)? });
    }
    if roles.is_empty() {
        return Err(invalid("spec.roles is empty: declare at least one role, or delete the object"));
    }
    Ok(Admitted { roles })
}

fn when(grant: &RoleGrant) -> Result<GrantPeriod, Refusal> {
    let Some(temporary) = &grant.temporary else {
        return Ok(GrantPeriod::Always);
    };
    let seconds = match &temporary.duration {
        None => None,
        Some(duration) => Some(
            duration.seconds().map_err(|e| invalid(&format!("spec.roles[{}].temporary.duration: {e}", grant.role)))?,
        ),
    };
    let time = |field: &str, time: &Option<Time>| {
        let read = time.as_ref().map(Time::timestamp).transpose();
        read.map_err(|e| invalid(&format!("spec.roles[{}].temporary.{field}: {e}", grant.role)))
    };
    let start = time("startTime", &temporary.start_time)?;
    let end = time("expirationTime", &temporary.expiration_time)?;
    if seconds.is_none() && end.is_none() {
        return Err(invalid(&format!(
            "spec.roles[{}].temporary has no end: set duration, expirationTime or both",
            grant.role
        )));
    }
    if let (Some(start), Some(end)) = (start, end)
        && end <= start
    {
        return Err(invalid(&format!(
            "spec.roles[{}].temporary: expirationTime {end} is not after startTime {start}: write a later expirationTime, or set duration instead",
            grant.role
        )));
    }
    Ok(GrantPeriod::Within { start, seconds, end })
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Reason::InvalidSpec, message)
}

fn uuid(field: &str, id: &str) -> Result<(), Refusal> {
    let groups: Vec<&str> = id.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|g| g.len()).collect();
    if lengths == [8, 4, 4, 4, 12] && groups.iter().all(|g| g.chars().all(|c| c.is_ascii_hexdigit())) {
        return Ok(());
    }
    Err(invalid(&format!(
        "{field} is {id:?}, but Infisical's ids are UUIDs: copy the id from the settings page, or write the name as name, and create the object again"
    )))
}

fn digits(field: &str, id: &str) -> Result<(), Refusal> {
    if !id.is_empty() && id.chars().all(|c| c.is_ascii_digit()) {
        return Ok(());
    }
    Err(invalid(&format!(
        "{field} is {id:?}, but ZITADEL's ids are digits: copy the resource id from the console, or write the name as name, and create the object again"
    )))
}

#[cfg(test)]
mod tests;
