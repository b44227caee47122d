//! The simulated Infisical: its parts, and what a test reads.

mod answers;
mod auth;
mod by_hand;
mod control;
mod credentials;
mod errors;
mod groups;
mod invitations;
mod jwt;
mod limits;
mod listing;
mod loading;
mod memberships;
mod names;
mod organizations;
mod rights;
mod routes;
mod rows;
mod setup;
mod sign_in;
mod state;
mod store;
mod subjects;
mod time;
mod users;
mod validation;
mod world;
mod writes;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::http::HeaderMap;
use axum::middleware::from_fn_with_state;
use jiff::Timestamp;

pub use jwt::Jwt;
pub use limits::Limits;
pub use organizations::SubOrganization;
pub use routes::Generations;
pub use rows::RoleRow;
pub use sign_in::{ClusterWorld, KubernetesLogin, OidcLogin, Review};
pub use state::{ErrorStyle, Window};
pub use subjects::{Mail, OrgRole};
pub use world::{
    ClientWorld, CustomRoleWorld, GroupWorld, IdentityWorld, InfisicalWorld, MembershipWorld, ProjectWorld, SeatWorld,
    UserWorld,
};

use crate::front::{Front, Provider};
use crate::locked;
use credentials::Caller;
use state::State;

/// The default life of an access token, in seconds: TTL and max TTL alike (identity-extras.json, 70).
const DEFAULT_TTL: u32 = 2_592_000;

/// The organisation of everything that names no other.
pub const DEFAULT_ORG: &str = "4ff5f99e-b91a-41b8-a466-47fc1703e621";

/// The simulated Infisical. Cheap to clone; all clones share one server.
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
            .merge(sign_in::routes())
            .merge(memberships::routes())
            .merge(users::routes())
            .merge(groups::routes())
            .merge(names::routes())
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
            Some(Caller::Subject(id)) => {
                let identity = state.identities.get(id).map(|identity| identity.name.clone());
                identity.or_else(|| state.users.get(id).map(|user| user.username.clone())).unwrap_or_else(|| id.clone())
            }
        }
    }
}

impl Infisical {
    pub(crate) fn new(front: Front) -> Self {
        let state = State { default_org: DEFAULT_ORG.to_owned(), ..State::default() };
        Self { front, state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

/// The state. A subject is the id of an identity, a user or a group.
impl Infisical {
    /// The role rows of a subject in a project, over all its memberships, ended ones among them.
    pub fn roles(&self, project: &str, subject: &str) -> Vec<RoleRow> {
        self.state().rows(project, subject)
    }

    /// The ids of a subject's memberships in a project, oldest first.
    pub fn membership_ids(&self, project: &str, subject: &str) -> Vec<String> {
        self.state().memberships.of(project, subject).iter().map(|membership| membership.id.clone()).collect()
    }

    /// How many memberships a subject has in a project.
    pub fn memberships_of(&self, project: &str, subject: &str) -> usize {
        self.state().memberships.of(project, subject).len()
    }

    /// What access is really in force at an instant: the roles that are permanent or not at their end yet, over all
    /// memberships. A start has no effect; a holder of the literal `custom` has nothing. What a user has through a
    /// group is the group's.
    pub fn effective_roles(&self, project: &str, subject: &str, at: Timestamp) -> BTreeSet<String> {
        self.state().effective(project, subject, at)
    }

    /// The number of logins by universal auth, successful or not, since the start or the last clearing of the requests.
    pub fn logins(&self) -> usize {
        self.count("POST", "/api/v1/auth/universal-auth/login")
    }
}
