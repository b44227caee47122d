//! A world of ZITADEL as JSON, and how it is taken in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Zitadel;
use super::state::{Scope, UserKind};

/// What a ZITADEL instance holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ZitadelWorld {
    /// The organisations; the first is the default one.
    pub orgs: Vec<OrgWorld>,
    /// The users.
    pub users: Vec<UserWorld>,
    /// The projects.
    pub projects: Vec<ProjectWorld>,
    /// Personal access tokens: token → user id.
    pub pats: BTreeMap<String, String>,
    /// Roles on the instance and in organisations.
    pub grants: Vec<GrantWorld>,
    /// The members of projects.
    pub members: Vec<MemberWorld>,
}

/// An organisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrgWorld {
    /// The id, a number.
    pub id: String,
    /// The name.
    pub name: String,
}

/// A user: a person if there is an e-mail address, else a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UserWorld {
    /// The id, a number.
    pub id: String,
    /// The id of its organisation.
    pub org: String,
    /// The user name, which is also its login name and a machine's name.
    pub name: String,
    /// A person's first name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub first_name: String,
    /// A person's last name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_name: String,
    /// A person's address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectWorld {
    /// The id, a number.
    pub id: String,
    /// The id of its organisation.
    pub org: String,
    /// The name.
    pub name: String,
}

/// A role of a user outside projects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantWorld {
    /// The user's id.
    pub user: String,
    /// `"instance"`, or `{"org": "<id>"}`.
    pub scope: Scope,
    /// The role.
    pub role: String,
}

/// A member of a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberWorld {
    /// The project's id.
    pub project: String,
    /// The user's id.
    pub user: String,
    /// Its roles.
    pub roles: Vec<String>,
}

impl Zitadel {
    /// Adds a world to what is there.
    pub fn load(&self, world: &ZitadelWorld) {
        for org in &world.orgs {
            self.add_org(&org.id, &org.name);
        }
        for user in &world.users {
            if user.email.is_empty() {
                self.add_user(&user.id, &user.org, &user.name);
            } else {
                self.add_human(&user.id, &user.org, &user.name, &user.first_name, &user.last_name, &user.email);
            }
        }
        for project in &world.projects {
            self.add_project(&project.id, &project.org, &project.name);
        }
        for (token, user) in &world.pats {
            self.add_pat(token, user);
        }
        for grant in &world.grants {
            self.grant(&grant.user, grant.scope.clone(), &grant.role);
        }
        for member in &world.members {
            let roles: Vec<&str> = member.roles.iter().map(String::as_str).collect();
            self.set_roles(&member.project, &member.user, &roles);
        }
    }

    /// What is there, as search has it, without tokens and without what was deleted.
    pub fn world(&self) -> ZitadelWorld {
        let mut state = self.state();
        state.catch_up();
        let user = |(id, user): (&String, &super::state::User)| {
            let name = user.login_name.clone().unwrap_or_default();
            let (first_name, last_name, email) = match &user.kind {
                UserKind::Human { first_name, last_name, email } => {
                    (first_name.clone(), last_name.clone(), email.clone())
                }
                UserKind::Machine { .. } => Default::default(),
            };
            UserWorld { id: id.clone(), org: user.org.clone(), name, first_name, last_name, email }
        };
        ZitadelWorld {
            orgs: state
                .orgs
                .iter()
                .filter(|(_, org)| !org.deleted)
                .map(|(id, org)| OrgWorld { id: id.clone(), name: org.name.clone() })
                .collect(),
            users: state.users.iter().filter(|(_, user)| !user.deleted).map(user).collect(),
            projects: state
                .projects
                .iter()
                .filter(|(_, project)| !project.deleted)
                .map(|(id, project)| ProjectWorld {
                    id: id.clone(),
                    org: project.org.clone(),
                    name: project.name.clone(),
                })
                .collect(),
            pats: BTreeMap::new(),
            grants: state
                .grants
                .iter()
                .map(|(user, scope, role)| GrantWorld { user: user.clone(), scope: scope.clone(), role: role.clone() })
                .collect(),
            members: state
                .projection
                .all()
                .map(|row| MemberWorld {
                    project: row.project.clone(),
                    user: row.user.clone(),
                    roles: row.roles.clone(),
                })
                .collect(),
        }
    }
}
