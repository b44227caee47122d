//! Who is a member of what: the projects and subjects of a run, by number, and the objects that declare them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use simulator::worlds::infisical::{IdentityWorld, MembershipWorld, ProjectWorld};
use simulator::worlds::zitadel::{ProjectWorld as ZitadelProject, UserWorld};
use simulator::worlds::{self, World};
use simulator::{OrgRole, RoleRow};

/// The namespace of all objects of a run.
pub const NAMESPACE: &str = "bench";

/// A provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Infisical: writes in parallel.
    Infisical,
    /// ZITADEL: one write at a time.
    Zitadel,
}

impl Kind {
    /// The name of its provider object.
    pub fn name(self) -> &'static str {
        match self {
            Self::Infisical => "infisical",
            Self::Zitadel => "zitadel",
        }
    }

    /// A role that every project has.
    pub fn role(self) -> &'static str {
        match self {
            Self::Infisical => "viewer",
            Self::Zitadel => "PROJECT_OWNER_VIEWER",
        }
    }

    /// Another one.
    pub fn other_role(self) -> &'static str {
        match self {
            Self::Infisical => "member",
            Self::Zitadel => "PROJECT_OWNER",
        }
    }

    /// The id of a project.
    pub fn project(self, number: usize) -> String {
        match self {
            Self::Infisical => format!("10000000-0000-4000-8000-{number:012x}"),
            Self::Zitadel => format!("5{number:017}"),
        }
    }

    /// The id of a subject.
    pub fn subject(self, number: usize) -> String {
        match self {
            Self::Infisical => format!("20000000-0000-4000-8000-{number:012x}"),
            Self::Zitadel => format!("6{number:017}"),
        }
    }

    fn subject_kind(self) -> &'static str {
        match self {
            Self::Infisical => "Identity",
            Self::Zitadel => "User",
        }
    }
}

/// One membership: subject `number` in the project of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its provider.
    pub kind: Kind,
    /// Its number, which is that of the object and of the subject.
    pub number: usize,
    /// How many projects there are.
    pub projects: usize,
}

/// `count` memberships from `first` on, spread evenly over the projects.
pub fn targets(kind: Kind, first: usize, count: usize, projects: usize) -> Vec<Target> {
    (first..first + count).map(|number| Target { kind, number, projects }).collect()
}

impl Target {
    /// The name of the object.
    pub fn object(self) -> String {
        format!("{}-{}", self.kind.name(), self.number)
    }

    /// The id of the project.
    pub fn project(self) -> String {
        self.kind.project(self.number % self.projects.max(1))
    }

    /// The id of the subject.
    pub fn subject(self) -> String {
        self.kind.subject(self.number)
    }

    /// The ProjectMembership that declares `roles`, by ids.
    pub fn declares(self, roles: &Value) -> Value {
        let (project, subject) = (json!({"id": self.project()}), json!({"id": self.subject()}));
        self.object_with(project, subject, roles)
    }

    /// The same with names in place of the ids.
    pub fn declares_by_name(self, roles: &Value) -> Value {
        let project = json!({"name": project_name(self.number % self.projects.max(1))});
        self.object_with(project, json!({"name": subject_name(self.number)}), roles)
    }

    fn object_with(self, project: Value, mut subject: Value, roles: &Value) -> Value {
        subject["kind"] = json!(self.kind.subject_kind());
        json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership",
            "metadata": {"name": self.object(), "namespace": NAMESPACE},
            "spec": {
                "providerRef": {"name": self.kind.name()}, "project": project, "subject": subject, "roles": roles,
                "justification": "measured by make bench",
            },
        })
    }

    /// What the provider is to hold; without roles, no membership.
    pub fn holds(self, roles: &[&str]) -> Expected {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Expected { kind: self.kind, project: self.project(), subject: self.subject(), roles }
    }
}

/// What a provider is to hold of one membership.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Expected {
    /// The provider.
    pub kind: Kind,
    /// The id of the project.
    pub project: String,
    /// The id of the subject.
    pub subject: String,
    /// The roles; none: there is no membership, not even one whose roles have ended.
    pub roles: Vec<String>,
}

fn project_name(number: usize) -> String {
    format!("project-{number:05}")
}

fn subject_name(number: usize) -> String {
    format!("subject-{number:06}")
}

/// A world with the demo's credentials, and so many projects and subjects at each provider.
pub fn world(projects: usize, subjects: usize) -> World {
    let mut world = worlds::demo();
    for number in 0..projects {
        let (id, name) = (Kind::Infisical.project(number), project_name(number));
        world.infisical.memberships.push(MembershipWorld {
            project: id.clone(),
            subject: worlds::INFISICAL_OPERATOR.to_owned(),
            roles: vec![RoleRow::permanent("admin")],
        });
        world.infisical.projects.push(ProjectWorld {
            id,
            slug: name.clone(),
            name: name.clone(),
            org: None,
            product: None,
            custom_roles: Vec::new(),
        });
        let (id, org) = (Kind::Zitadel.project(number), worlds::ZITADEL_PROJECT_ORG.to_owned());
        world.zitadel.projects.push(ZitadelProject { id, org, name });
    }
    for number in 0..subjects {
        world.infisical.identities.push(IdentityWorld {
            id: Kind::Infisical.subject(number),
            name: subject_name(number),
            auth_method: None,
            org: None,
            org_role: OrgRole::NoAccess,
            managed_by: None,
        });
        world.zitadel.users.push(UserWorld {
            id: Kind::Zitadel.subject(number),
            org: worlds::ZITADEL_PROJECT_ORG.to_owned(),
            name: subject_name(number),
            ..UserWorld::default()
        });
    }
    world
}

/// A permanent role.
pub fn permanent(kind: Kind) -> Value {
    json!([{"role": kind.role()}])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_are_spread_over_the_projects_and_have_subjects_of_their_own() {
        let all = targets(Kind::Infisical, 0, 6, 3);
        let projects: Vec<String> = all.iter().map(|target| target.project()).collect();
        assert_eq!(projects[0], projects[3]);
        assert_ne!(projects[0], projects[1]);
        let mut subjects: Vec<String> = all.iter().map(|target| target.subject()).collect();
        subjects.dedup();
        assert_eq!(subjects.len(), 6);
    }

    #[test]
    fn ids_have_the_forms_of_their_providers() {
        assert_eq!(Kind::Infisical.subject(255), "20000000-0000-4000-8000-0000000000ff");
        assert_eq!(Kind::Zitadel.project(7), "500000000000000007");
    }
}
