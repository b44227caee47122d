//! The allow rules of a cluster-scoped provider object: everything is refused that no rule allows. Pure.
//!
//! A refusal describes only the refused object and the rules for its own namespace, never what other namespaces may do.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{Admitted, GrantPeriod, Refusal};
use crate::api::provider::{AllowRule, NamespaceSelector, Namespaces, Operator, Requirement};
use crate::api::{Duration, Reason, SubjectKind};
use crate::core::grants::Grant;
use crate::core::member::Term;

/// The namespace of an object.
#[derive(Clone, Copy, Debug)]
pub struct Namespace<'a> {
    pub name: &'a str,
    /// Its labels. `None`: they are not known yet.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

/// A target as resolved ids.
#[derive(Clone, Copy, Debug)]
pub struct ResolvedTarget<'a> {
    /// The project. `None`: its name is not resolved yet, and it may be any project.
    pub project_id: Option<&'a str>,
    /// The subject's kind.
    pub subject_kind: SubjectKind,
    /// The subject. `None`: as for the project.
    pub subject_id: Option<&'a str>,
}

/// What an object requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedAccess {
    /// To grant a role.
    Grant {
        /// The time from its start to its end. `None`: permanent.
        length: Option<SignedDuration>,
        /// It has an absolute end.
        has_expiration_time: bool,
    },
    /// To resolve its names, which shows where the role would be granted. The length is checked afterwards.
    LookUp,
    /// To remove or replace a role that no ProjectMembership granted. The allowed length of grants is irrelevant.
    Take,
}

/// What the closest rule lacks, in the order in which rules are evaluated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingPermission {
    /// No rule applies to the namespace.
    Namespace,
    /// None of those allows the project.
    Project,
    /// None of those allows the kind of subject.
    SubjectKind,
    /// None of those allows the subject.
    Subject,
    /// None of those allows the role.
    Role,
    /// The role may be granted for at most this many seconds, and not permanently.
    Temporary(Option<u64>),
    /// The role may be granted for at most this many seconds.
    Shorter(u64),
    /// The role may be granted only with an absolute end.
    ExpirationTime,
    /// Whether a rule applies to the namespace depends on labels that are not known yet.
    Labels,
}

/// Whether some rule allows `namespace` to make the request for `role` at `place`; if not, what the closest rule lacks.
pub fn allowed(
    rules: &[AllowRule],
    namespace: Namespace<'_>,
    place: ResolvedTarget<'_>,
    role: &str,
    access: RequestedAccess,
) -> Result<(), MissingPermission> {
    let mut closest = MissingPermission::Namespace;
    for rule in rules {
        match rule.allows(namespace, place, role, access) {
            Ok(()) => return Ok(()),
            Err(missing) => closest = closest.max(missing),
        }
    }
    Err(closest)
}

impl AllowRule {
    fn allows(
        &self,
        namespace: Namespace<'_>,
        place: ResolvedTarget<'_>,
        role: &str,
        access: RequestedAccess,
    ) -> Result<(), MissingPermission> {
        let known = self.namespaces.have(namespace);
        if known == Some(false) {
            return Err(MissingPermission::Namespace);
        }
        match (self.fits(place, role, access), known) {
            (fits, Some(_)) => fits,
            // The labels are decisive only if everything else matches.
            (Ok(()), None) => Err(MissingPermission::Labels),
            (Err(_), None) => Err(MissingPermission::Namespace),
        }
    }

    fn fits(&self, place: ResolvedTarget<'_>, role: &str, access: RequestedAccess) -> Result<(), MissingPermission> {
        let has = |ids: &[String], id: &str| ids.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(id));
        if place.project_id.is_some_and(|project| !has(&self.projects, project)) {
            return Err(MissingPermission::Project);
        }
        if !self.subject_kinds.is_empty() && !self.subject_kinds.contains(&place.subject_kind) {
            return Err(MissingPermission::SubjectKind);
        }
        if !self.subjects.is_empty() && place.subject_id.is_some_and(|subject| !has(&self.subjects, subject)) {
            return Err(MissingPermission::Subject);
        }
        if !self.roles.iter().any(|known| known == "*" || known == role) {
            return Err(MissingPermission::Role);
        }
        match access {
            RequestedAccess::LookUp | RequestedAccess::Take => Ok(()),
            RequestedAccess::Grant { length, has_expiration_time } => self.bears(length, has_expiration_time),
        }
    }

    fn bears(&self, length: Option<SignedDuration>, has_expiration_time: bool) -> Result<(), MissingPermission> {
        // An invalid duration allows nothing.
        let longest = self.max_duration.as_ref().map(|longest| longest.seconds().unwrap_or(0));
        match (length, longest) {
            (None, Some(_)) => return Err(MissingPermission::Temporary(longest)),
            (None, None) if self.require_expiration_time => return Err(MissingPermission::Temporary(None)),
            (Some(length), Some(longest))
                if length > SignedDuration::from_secs(i64::try_from(longest).unwrap_or(i64::MAX)) =>
            {
                return Err(MissingPermission::Shorter(longest));
            }
            _ => {}
        }
        if self.require_expiration_time && !has_expiration_time {
            return Err(MissingPermission::ExpirationTime);
        }
        Ok(())
    }
}

impl Namespaces {
    /// Whether the rule applies to this namespace. `None`: this depends on labels that are not known.
    fn have(&self, namespace: Namespace<'_>) -> Option<bool> {
        match &self.selector {
            None => Some(self.names.iter().any(|name| name == namespace.name)),
            // The schema requires exactly one of both: a rule with both allows nothing.
            Some(_) if !self.names.is_empty() => Some(false),
            Some(selector) if selector.is_everything() => Some(true),
            Some(selector) => namespace.labels.map(|labels| selector.fits(labels)),
        }
    }

    /// Whether the labels of the namespace are needed.
    pub fn need_labels(&self) -> bool {
        self.selector.as_ref().is_some_and(|selector| !selector.is_everything())
    }
}

impl NamespaceSelector {
    fn is_everything(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.fits(labels))
    }
}

impl Requirement {
    fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        let label = labels.get(&self.key);
        let among = label.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => among,
            Operator::NotIn => !among,
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
        }
    }
}

/// The rules for an object, and the inputs on which they are evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Governed<'a> {
    /// The name of the provider object.
    pub provider: &'a str,
    pub rules: &'a [AllowRule],
    /// The object's namespace.
    pub namespace: Namespace<'a>,
    /// The object's target.
    pub place: ResolvedTarget<'a>,
}

impl Governed<'_> {
    /// Refuses an object if one of its roles may not be granted as declared. `grants` are the grants of `admitted` with
    /// their starts.
    pub fn may_grant(&self, admitted: &Admitted, grants: &[Grant]) -> Result<(), Refusal> {
        for (wanted, grant) in admitted.roles().iter().zip(grants) {
            let length = grant.term.window().map(|window| window.length());
            self.check(&grant.role, RequestedAccess::Grant { length, has_expiration_time: has_end(wanted.when) })?;
        }
        Ok(())
    }

    /// Refuses an object whose roles could not be granted for any result of its names: nothing is looked up for it.
    pub fn may_look_up(&self, admitted: &Admitted) -> Result<(), Refusal> {
        admitted.roles().iter().try_for_each(|wanted| self.check(&wanted.role, RequestedAccess::LookUp))
    }

    /// Whether a role may be granted with this term, regardless of who held it before.
    pub fn may_restore(&self, role: &str, term: Term) -> bool {
        self.check(role, RequestedAccess::restoring(term)).is_ok()
    }

    /// Refuses to remove or replace a role that no ProjectMembership granted.
    pub fn may_take(&self, role: &str) -> Result<(), Refusal> {
        self.check(role, RequestedAccess::Take)
    }

    /// Whether no rule lets the namespace remove a role, as far as the rules can be evaluated.
    pub fn forbids_taking(&self, role: &str) -> bool {
        self.may_take(role).is_err_and(|refusal| refusal.reason == Reason::NotAllowed)
    }

    /// Whether no rule lets the namespace have a role with this term, as far as the rules can be evaluated.
    pub fn forbids_restoring(&self, role: &str, term: Term) -> bool {
        self.check(role, RequestedAccess::restoring(term)).is_err_and(|refusal| refusal.reason == Reason::NotAllowed)
    }

    fn check(&self, role: &str, access: RequestedAccess) -> Result<(), Refusal> {
        allowed(self.rules, self.namespace, self.place, role, access)
            .map_err(|missing| self.refusal(role, access, &missing))
    }

    fn refusal(&self, role: &str, access: RequestedAccess, missing: &MissingPermission) -> Refusal {
        let Self { provider, namespace: Namespace { name: namespace, .. }, place, .. } = self;
        let kind = place.subject_kind;
        let subject = place.subject_id.map_or_else(|| format!("{kind:?}"), |id| format!("{kind:?} {id}"));
        let project = place.project_id.map_or_else(|| "the project".to_owned(), |id| format!("project {id}"));
        let rule = format!("ClusterMembershipProvider {provider:?} has no allow rule for namespace {namespace:?}");
        let why = match missing {
            MissingPermission::Labels => {
                return Refusal {
                    reason: Reason::Progressing,
                    message: format!("the labels of namespace {namespace:?} aren't known yet; retried automatically"),
                };
            }
            MissingPermission::Namespace => rule,
            MissingPermission::Project => format!("{rule} with {project}"),
            MissingPermission::SubjectKind => format!("{rule} with the subject kind {kind:?} in {project}"),
            MissingPermission::Subject => format!("{rule} with {subject} in {project}"),
            MissingPermission::Role => format!("{rule} with role {role:?} for {subject} in {project}"),
            MissingPermission::Temporary(None) => {
                format!("{rule} with role {role:?} permanently: set its temporary.expirationTime, or ask for one")
            }
            MissingPermission::Temporary(Some(longest)) => {
                format!(
                    "{rule} with role {role:?} permanently: set its temporary to at most {}, or ask for one",
                    length(*longest)
                )
            }
            MissingPermission::Shorter(longest) => {
                format!("{rule} with role {role:?} for more than {}: shorten it, or ask for one", length(*longest))
            }
            MissingPermission::ExpirationTime => {
                format!("{rule} with role {role:?} without temporary.expirationTime: set it, or ask for one")
            }
        };
        let message = match (access, missing) {
            (RequestedAccess::Take, _) => format!(
                "{subject} has role {role:?} in {project}, which no ProjectMembership granted, and roleManagement Exclusive \
                 would revoke it; but {why}: set roleManagement: Additive, or ask the maintainers of the provider object for a rule"
            ),
            (
                _,
                MissingPermission::Temporary(_) | MissingPermission::Shorter(_) | MissingPermission::ExpirationTime,
            ) => why,
            (RequestedAccess::Grant { .. } | RequestedAccess::LookUp, _) => {
                format!("{why}: ask the maintainers of the provider object for one, or name another")
            }
        };
        Refusal { reason: Reason::NotAllowed, message }
    }
}

impl RequestedAccess {
    fn restoring(term: Term) -> Self {
        let length = term.window().map(|window| window.length());
        Self::Grant { length, has_expiration_time: length.is_some() }
    }
}

fn has_end(when: GrantPeriod) -> bool {
    matches!(when, GrantPeriod::Within { end: Some(_), .. })
}

/// Seconds in the form of a duration.
fn length(seconds: u64) -> Duration {
    let units = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    let mut rest = seconds;
    let mut text = String::new();
    for (unit, size) in units {
        if rest / size > 0 {
            text += &format!("{}{unit}", rest / size);
        }
        rest %= size;
    }
    Duration(text)
}

#[cfg(test)]
mod tests;
