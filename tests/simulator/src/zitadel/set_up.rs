//! Sets up the instance before a test, and configures its behaviour.

use std::time::Duration;

use jiff::Timestamp;

use super::credentials::Key;
use super::events::{Kind, Resource};
use super::pem;
use super::state::{Org, Project, ProjectGrant, Right, ServerGeneration, User, UserKind, UserState, cut};
use super::world::UserWorld;
use super::{Scope, Zitadel};

impl Zitadel {
    /// Adds an organisation. The first one is the instance's default organisation.
    pub fn add_org(&self, id: &str, name: &str) {
        let created = cut(self.now());
        let mut state = self.state();
        // An organisation is made by five events: itself, its domain, its state; the instance's set-up makes one more
        // (organization-header.json, 33 and 34).
        let sequence = if state.default_org.is_none() { 6 } else { 5 };
        state.default_org.get_or_insert_with(|| id.to_owned());
        let name = name.to_owned();
        let org = Org { name, names_end_in_domain: false, sequence, created, deleted: false };
        state.orgs.insert(id.to_owned(), org);
    }

    /// Sets the policy of an organisation by which login names end in `@` and its domain, as do those of the users
    /// that are added afterwards; user names need then be unique in the organisation only.
    pub fn set_names_end_in_domain(&self, org: &str, ends: bool) {
        if let Some(org) = self.state().orgs.get_mut(org) {
            org.names_end_in_domain = ends;
        }
    }

    /// Adds a machine user.
    pub fn add_user(&self, id: &str, org: &str, name: &str) {
        let (id, org, name) = (id.to_owned(), org.to_owned(), name.to_owned());
        self.add_user_of_world(&UserWorld { id, org, name, ..UserWorld::default() });
    }

    /// Adds a person.
    pub fn add_human(&self, id: &str, org: &str, user_name: &str, first_name: &str, last_name: &str, email: &str) {
        self.add_user_of_world(&UserWorld {
            id: id.to_owned(),
            org: org.to_owned(),
            name: user_name.to_owned(),
            first_name: first_name.to_owned(),
            last_name: last_name.to_owned(),
            email: email.to_owned(),
            ..UserWorld::default()
        });
    }

    /// Adds a user with everything that a world can say of it.
    pub fn add_user_of_world(&self, user: &UserWorld) {
        let kind = if user.email.is_empty() {
            let name = if user.machine_name.is_empty() { &user.name } else { &user.machine_name };
            UserKind::Machine { name: name.clone() }
        } else {
            UserKind::Human {
                first_name: user.first_name.clone(),
                last_name: user.last_name.clone(),
                email: user.email.clone(),
            }
        };
        let mut state = self.state();
        let created = state.next_time(self.now());
        let login_name = Some(state.login_name(&user.org, &user.name));
        let new = User {
            org: user.org.clone(),
            kind,
            user_name: user.name.clone(),
            login_name,
            state: if user.initial { UserState::Initial } else { UserState::Active },
            deleted: false,
            sequence: 1,
            created,
            changed: created,
        };
        state.users.insert(user.id.clone(), new);
        // Users have no events here, but a time of their own: lists are ordered by it.
        state.last = created;
    }

    /// Takes a user's login name away, which happens when users are created at the same time: search leaves such a user
    /// out permanently (`docs/reference/zitadel.md`, trap 5).
    pub fn lose_login_name(&self, user: &str) {
        if let Some(user) = self.state().users.get_mut(user) {
            user.login_name = None;
        }
    }

    /// Adds a project to an organisation.
    pub fn add_project(&self, id: &str, org: &str, name: &str) {
        let now = self.now();
        let mut state = self.state();
        let project = Project {
            org: org.to_owned(),
            name: name.to_owned(),
            sequence: 0,
            own_sequence: 0,
            created: now,
            changed: now,
            active: true,
            deleted: false,
        };
        state.projects.insert(id.to_owned(), project);
        if let Ok((_, at)) = state.push(&Resource::from(id), Kind::ProjectAdded, false, now)
            && let Some(project) = state.projects.get_mut(id)
        {
            project.created = at;
        }
    }

    /// Grants a project to another organisation.
    pub fn add_project_grant(&self, id: &str, project: &str, granted_org: &str) {
        let now = self.now();
        let mut state = self.state();
        let grant = ProjectGrant {
            project: project.to_owned(),
            granted_org: granted_org.to_owned(),
            sequence: 0,
            created: now,
            changed: now,
            active: true,
            deleted: false,
        };
        state.grants.insert(id.to_owned(), grant);
        if let Ok((_, at)) = state.push(&Resource::from((project, id)), Kind::GrantAdded, false, now)
            && let Some(grant) = state.grants.get_mut(id)
        {
            grant.created = at;
        }
    }

    /// Adds a personal access token of a user that doesn't end.
    pub fn add_pat(&self, token: &str, user: &str) {
        self.state().credentials.add_pat(token, user, None);
    }

    /// Adds a personal access token of a user that ends.
    pub fn add_pat_until(&self, token: &str, user: &str, end: Timestamp) {
        self.state().credentials.add_pat(token, user, Some(end));
    }

    /// Adds a key of a machine user for the JWT profile: its public half, PEM of PKCS#1 (`BEGIN RSA PUBLIC KEY`). False
    /// if it is no such PEM; nothing is added then.
    pub fn add_key(&self, key_id: &str, user: &str, public_key: &str, ends: Option<Timestamp>) -> bool {
        let Some(public) = pem::decoded(public_key, "RSA PUBLIC KEY") else {
            return false;
        };
        let key = Key { user: user.to_owned(), public, ends };
        self.state().credentials.keys.insert(key_id.to_owned(), key);
        true
    }

    /// Sets the client secret of a machine user, in place of the one before. Its client id is its login name.
    pub fn set_client_secret(&self, user: &str, secret: &str) {
        self.state().credentials.secrets.insert(user.to_owned(), secret.to_owned());
    }

    /// Sets the lifetime of access tokens that are issued from now on; 12 h by default.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.state().credentials.lifetime = lifetime;
    }

    /// Sets the host names of the instance, without ports. Requests for others are refused from then on; without any,
    /// all are taken.
    pub fn set_domains(&self, domains: &[&str]) {
        self.state().domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
    }

    /// Gives a user a role on the instance or in an organisation, such as `IAM_OWNER` or `ORG_OWNER`: what it may do
    /// when it calls. A role on a project is given by [`set_roles`](Self::set_roles).
    pub fn grant(&self, user: &str, scope: Scope, role: &str) {
        let mut state = self.state();
        let created = state.next_time(self.now());
        state.rights.push(Right { user: user.to_owned(), scope, role: role.to_owned(), created });
        state.last = created;
    }

    /// Adds a role to those that the instance has; it must begin with `PROJECT` to be taken for a member's.
    pub fn configure_role(&self, role: &str) {
        self.state().more_roles.insert(role.to_owned());
    }

    /// Removes a role that [`configure_role`](Self::configure_role) added. Members keep it, and no list with it is
    /// accepted any more.
    pub fn unconfigure_role(&self, role: &str) {
        self.state().more_roles.remove(role);
    }

    /// Makes it a server of another generation, which may happen while it runs: an upgrade.
    pub fn set_generation(&self, generation: ServerGeneration) {
        self.state().generation = generation;
    }

    /// The generation that it is of.
    pub fn generation(&self) -> ServerGeneration {
        self.state().generation
    }

    /// Sets how far search, and with it the rights in force, are behind the writes. It also holds for what was
    /// written before.
    pub fn set_search_lag(&self, lag: Duration) {
        self.state().lag = lag;
    }

    /// Sets how many rows a search returns when no limit is asked for, and how many at most. The recorded version
    /// returns all; from 4.20 on it is documented as 100 and 1000 (`docs/reference/zitadel.md`, Management v1). What it
    /// does beyond the most is not known: here the rows are cut.
    pub fn set_page_limits(&self, default: usize, most: usize) {
        self.state().page = (default, most);
    }
}
