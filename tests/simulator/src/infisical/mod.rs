//! The simulated Infisical: what a test sets up, changes by hand and looks at.

mod answers;
mod auth;
mod by_hand;
mod control;
mod credentials;
mod errors;
mod limits;
mod listing;
mod memberships;
mod rights;
mod rows;
mod state;
mod store;
mod time;
mod validation;
mod world;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::middleware::from_fn_with_state;
use jiff::Timestamp;

pub use limits::Limits;
pub use rows::RoleRow;
pub use state::{ErrorStyle, Generations, Window};

use crate::front::{Front, Provider};
use crate::locked;
pub use world::{ClientWorld, CustomRoleWorld, IdentityWorld, InfisicalWorld, MembershipWorld, ProjectWorld};

use credentials::{Caller, Client, Secret, Token, seconds};
use limits::Meter;
use state::{CustomRole, Identity, Project, State, new_id};

/// The default life of an access token, in seconds: TTL and max TTL alike (identity-extras.json, 70).
const DEFAULT_TTL: u32 = 2_592_000;

/// The simulated Infisical. Cheap to clone; all clones are one server.
///
/// What it has in common with every provider (URL, requests, orders, clock) is in [`Front`], which it derefs to.
#[derive(Clone)]
pub struct Infisical {
    front: Front,
    state: Arc<Mutex<State>>,
}

impl Deref for Infisical {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

impl Provider for Infisical {
    fn front(&self) -> &Front {
        &self.front
    }

    fn api(&self) -> Router {
        Router::new()
            .merge(auth::routes())
            .merge(memberships::routes())
            .fallback(auth::nowhere)
            .method_not_allowed_fallback(auth::nowhere)
            .layer(from_fn_with_state(self.clone(), limits::metered))
            .with_state(self.clone())
    }

    fn control(&self) -> Router {
        control::routes().with_state(self.clone())
    }

    fn caller_name(&self, headers: &HeaderMap) -> String {
        let state = self.state();
        match auth::bearer(headers).and_then(|token| state.tokens.get(token)).map(|token| &token.caller) {
            None => String::new(),
            Some(Caller::Admin(name)) => name.clone(),
            Some(Caller::Identity(id)) => {
                state.identities.get(id).map_or_else(|| id.clone(), |identity| identity.name.clone())
            }
        }
    }
}

/// The world.
impl Infisical {
    pub(crate) fn new(front: Front) -> Self {
        Self { front, state: Arc::default() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Sets which generations of the identity-membership path exist; both, unless this says otherwise.
    pub fn set_generations(&self, generations: Generations) {
        self.state().generations = generations;
    }

    /// Sets whose errors are answered; the current server's, unless this says otherwise.
    pub fn set_error_style(&self, style: ErrorStyle) {
        self.state().style = style;
    }

    /// Makes it the server of October 2024, as recorded: only the first generation, and its errors.
    pub fn be_october_2024(&self) {
        self.set_generations(Generations::G1);
        self.set_error_style(ErrorStyle::October2024);
    }

    /// Sets how many requests a minute are let through; none: all of them.
    pub fn set_limits(&self, limits: Option<Limits>) {
        self.state().meter = Meter::new(limits);
    }

    /// Adds a project, or names it anew.
    pub fn add_project(&self, id: &str, slug: &str, name: &str) {
        let mut state = self.state();
        let project = state.project(id);
        slug.clone_into(&mut project.slug);
        name.clone_into(&mut project.name);
    }

    /// Adds an identity to the organisation, or names it anew.
    pub fn add_identity(&self, id: &str, name: &str) {
        let mut state = self.state();
        let auth_method = state.identities.get(id).and_then(|identity| identity.auth_method.clone());
        state.identities.insert(id.to_owned(), Identity { id: id.to_owned(), name: name.to_owned(), auth_method });
    }

    /// Adds a custom role without any rights to a project and returns its id.
    pub fn add_custom_role(&self, project: &str, slug: &str) -> String {
        self.state().add_role(project, slug, slug, [])
    }

    /// Adds a custom role with a name and rights, such as `identity:read`, `identity:create`, `identity:edit`,
    /// `identity:delete`, `secrets:read`; returns its id.
    pub fn add_custom_role_with(&self, project: &str, slug: &str, name: &str, rights: &[&str]) -> String {
        self.state().add_role(project, slug, name, rights.iter().map(|right| (*right).to_owned()))
    }

    /// Adds a client of universal auth, or another secret to one. Its tokens live for 30 days.
    pub fn add_client(&self, client_id: &str, secret: &str, identity: &str) {
        self.add_secret(client_id, secret, identity, None, None);
    }

    /// Adds a secret that works so many times, or until a moment.
    pub fn add_limited_secret(
        &self,
        client_id: &str,
        secret: &str,
        identity: &str,
        uses: Option<u32>,
        ends: Option<Timestamp>,
    ) {
        self.add_secret(client_id, secret, identity, uses, ends);
    }

    fn add_secret(&self, client_id: &str, secret: &str, identity: &str, uses: Option<u32>, ends: Option<Timestamp>) {
        let mut state = self.state();
        let known = state.identity(identity);
        known.auth_method = Some("universal-auth".to_owned());
        let secret = Secret { value: secret.to_owned(), uses_left: uses, ends };
        if let Some(client) = state.clients.iter_mut().find(|client| client.id == client_id) {
            client.secrets.push(secret);
            return;
        }
        state.clients.push(Client {
            id: client_id.to_owned(),
            identity: identity.to_owned(),
            secrets: vec![secret],
            ttl: DEFAULT_TTL,
            max_ttl: DEFAULT_TTL,
            failures: 0,
            locked_until: None,
        });
    }

    /// Sets how long the access tokens of a client live, and how long with renewals. Whole seconds.
    pub fn set_token_lives(&self, client_id: &str, ttl: Duration, max_ttl: Duration) {
        if let Some(client) = self.state().clients.iter_mut().find(|client| client.id == client_id) {
            client.ttl = seconds(ttl);
            client.max_ttl = seconds(max_ttl);
        }
    }

    /// Takes a secret of a client away. Tokens that were made with it live on (identity-extras.json, 56).
    pub fn revoke_secret(&self, client_id: &str, secret: &str) {
        if let Some(client) = self.state().clients.iter_mut().find(|client| client.id == client_id) {
            client.secrets.retain(|s| s.value != secret);
        }
    }

    /// Adds an access token of an identity that doesn't end.
    pub fn add_token(&self, token: &str, identity: &str) {
        let mut state = self.state();
        state.identity(identity);
        let caller = Caller::Identity(identity.to_owned());
        state.tokens.insert(token.to_owned(), Token { caller, life: None, revoked: false });
    }

    /// Adds an access token of a person who may do everything.
    pub fn add_admin_token(&self, token: &str, name: &str) {
        let caller = Caller::Admin(name.to_owned());
        self.state().tokens.insert(token.to_owned(), Token { caller, life: None, revoked: false });
    }

    /// Makes an identity a member with these permanent roles: what it may do when it calls.
    pub fn set_caller_roles(&self, project: &str, identity: &str, roles: &[&str]) {
        self.set_roles(project, identity, roles.iter().map(|role| RoleRow::permanent(role)).collect());
    }
}

/// What is there.
impl Infisical {
    /// The role rows of an identity in a project, over all its memberships, ended ones among them.
    pub fn roles(&self, project: &str, identity: &str) -> Vec<RoleRow> {
        self.state().rows(project, identity)
    }

    /// How many memberships an identity has in a project.
    pub fn memberships_of(&self, project: &str, identity: &str) -> usize {
        self.state().memberships.of(project, identity).len()
    }

    /// What access is really in force at an instant: the roles that are permanent or not at their end yet, over all
    /// memberships. A start counts for nothing; whoever holds the literal `custom` has nothing.
    pub fn effective_roles(&self, project: &str, identity: &str, at: Timestamp) -> BTreeSet<String> {
        self.state().effective(project, identity, at)
    }

    /// How many logins there were, good and bad, since the start or the last clearing of the requests.
    pub fn logins(&self) -> usize {
        self.count("POST", "/api/v1/auth/universal-auth/login")
    }
}

impl State {
    fn project(&mut self, id: &str) -> &mut Project {
        self.projects.entry(id.to_owned()).or_insert_with(|| Project {
            id: id.to_owned(),
            slug: id.to_owned(),
            name: id.to_owned(),
            roles: Vec::new(),
        })
    }

    fn identity(&mut self, id: &str) -> &mut Identity {
        self.identities.entry(id.to_owned()).or_insert_with(|| Identity {
            id: id.to_owned(),
            name: id.to_owned(),
            auth_method: None,
        })
    }

    pub(crate) fn add_role(
        &mut self,
        project: &str,
        slug: &str,
        name: &str,
        rights: impl IntoIterator<Item = String>,
    ) -> String {
        let rights = rights.into_iter().collect();
        let roles = &mut self.project(project).roles;
        if let Some(role) = roles.iter_mut().find(|role| role.slug == slug) {
            role.rights = rights;
            return role.id.clone();
        }
        let id = new_id();
        roles.push(CustomRole { id: id.clone(), slug: slug.to_owned(), name: name.to_owned(), rights });
        id
    }
}
