//! A world of ZITADEL as JSON, and its loading.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Zitadel;
use super::events::Resource;
use super::state::{Scope, ServerGeneration, User, UserKind, UserState};

/// The state of a ZITADEL instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ZitadelWorld {
    /// What generation the server is of; without it, it stays what it is (v4 at the start).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<ServerGeneration>,
    /// The host names of the instance, without ports. None: every `Host` is taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// The organisations; the first is the default one.
    pub orgs: Vec<OrgWorld>,
    pub users: Vec<UserWorld>,
    pub projects: Vec<ProjectWorld>,
    /// Grants of projects to other organisations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub project_grants: Vec<ProjectGrantWorld>,
    /// Personal access tokens: token → user id.
    pub pats: BTreeMap<String, String>,
    /// Public keys of machine users, for the JWT profile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyWorld>,
    /// Client secrets of machine users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientWorld>,
    /// Roles on the instance and in organisations.
    pub grants: Vec<GrantWorld>,
    /// The members of projects and of their grants.
    pub members: Vec<MemberWorld>,
}

/// An organisation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OrgWorld {
    /// The id, a number.
    pub id: String,
    pub name: String,
    /// Whether login names end in `@` and the organisation's domain (the policy userLoginMustBeDomain).
    #[serde(skip_serializing_if = "is_false")]
    pub names_end_in_domain: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A grant of a project to another organisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectGrantWorld {
    /// The id, a number.
    pub id: String,
    /// The project's id.
    pub project: String,
    /// The id of the organisation that it is granted to.
    pub org: String,
}

/// The public half of a machine user's key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyWorld {
    /// The key's id, which an assertion names as `kid`.
    pub id: String,
    /// The user's id.
    pub user: String,
    /// PEM of PKCS#1 (`BEGIN RSA PUBLIC KEY`); one that is no such PEM is left out.
    pub public_key: String,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<Timestamp>,
}

/// The client credentials of a machine user; its client id is its login name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientWorld {
    /// The user's id.
    pub user: String,
    pub secret: String,
}

/// A user: a person if there is an e-mail address, else a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UserWorld {
    /// The id, a number.
    pub id: String,
    /// The id of its organisation.
    pub org: String,
    /// The user name; also its login name, and a machine's name unless that is given.
    pub name: String,
    /// A machine's name, where it isn't the user name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub machine_name: String,
    /// Whether a person has not set itself up yet (USER_STATE_INITIAL).
    #[serde(skip_serializing_if = "is_false")]
    pub initial: bool,
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectWorld {
    /// The id, a number.
    pub id: String,
    /// The id of its organisation.
    pub org: String,
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
    pub role: String,
}

/// A member of a project, or of a grant of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberWorld {
    /// The project's id.
    pub project: String,
    /// The grant's id, for its member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The user's id.
    pub user: String,
    pub roles: Vec<String>,
}

impl MemberWorld {
    /// What it is a member of.
    pub fn resource(&self) -> Resource {
        Resource::new(&self.project, self.grant.as_deref())
    }
}

impl Zitadel {
    /// Adds a world to the state.
    pub fn load(&self, world: &ZitadelWorld) {
        if let Some(generation) = world.generation {
            self.set_generation(generation);
        }
        if !world.domains.is_empty() {
            self.set_domains(&world.domains.iter().map(String::as_str).collect::<Vec<_>>());
        }
        for org in &world.orgs {
            self.add_org(&org.id, &org.name);
            self.set_names_end_in_domain(&org.id, org.names_end_in_domain);
        }
        for user in &world.users {
            self.add_user_of_world(user);
        }
        for project in &world.projects {
            self.add_project(&project.id, &project.org, &project.name);
        }
        for grant in &world.project_grants {
            self.add_project_grant(&grant.id, &grant.project, &grant.org);
        }
        for (token, user) in &world.pats {
            self.add_pat(token, user);
        }
        for key in &world.keys {
            self.add_key(&key.id, &key.user, &key.public_key, key.ends);
        }
        for client in &world.clients {
            self.set_client_secret(&client.user, &client.secret);
        }
        for grant in &world.grants {
            self.grant(&grant.user, grant.scope.clone(), &grant.role);
        }
        for member in &world.members {
            let roles: Vec<&str> = member.roles.iter().map(String::as_str).collect();
            self.set_roles(member.resource(), &member.user, &roles);
        }
    }

    /// The state, as in search, without credentials and without deleted objects.
    pub fn world(&self) -> ZitadelWorld {
        let mut state = self.state();
        state.catch_up();
        ZitadelWorld {
            generation: Some(state.generation),
            domains: state.domains.clone(),
            orgs: state
                .orgs
                .iter()
                .filter(|(_, org)| !org.deleted)
                .map(|(id, org)| OrgWorld {
                    id: id.clone(),
                    name: org.name.clone(),
                    names_end_in_domain: org.names_end_in_domain,
                })
                .collect(),
            users: state.users.iter().filter(|(_, user)| !user.deleted).map(user_world).collect(),
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
            project_grants: state
                .grants
                .keys()
                .filter_map(|id| Some((id, state.live_grant(id)?)))
                .map(|(id, grant)| ProjectGrantWorld {
                    id: id.clone(),
                    project: grant.project.clone(),
                    org: grant.granted_org.clone(),
                })
                .collect(),
            pats: BTreeMap::new(),
            keys: Vec::new(),
            clients: Vec::new(),
            grants: state
                .rights
                .iter()
                .map(|right| GrantWorld {
                    user: right.user.clone(),
                    scope: right.scope.clone(),
                    role: right.role.clone(),
                })
                .collect(),
            members: state
                .projection
                .all()
                .map(|row| MemberWorld {
                    project: row.resource.project.clone(),
                    grant: row.resource.grant.clone(),
                    user: row.user.clone(),
                    roles: row.roles.clone(),
                })
                .collect(),
        }
    }
}

fn user_world((id, user): (&String, &User)) -> UserWorld {
    let mut world = UserWorld {
        id: id.clone(),
        org: user.org.clone(),
        name: user.user_name.clone(),
        initial: user.state == UserState::Initial,
        ..UserWorld::default()
    };
    match &user.kind {
        UserKind::Human { first_name, last_name, email } => {
            world.first_name.clone_from(first_name);
            world.last_name.clone_from(last_name);
            world.email.clone_from(email);
        }
        UserKind::Machine { name } if *name != user.user_name => world.machine_name.clone_from(name),
        UserKind::Machine { .. } => {}
    }
    world
}
