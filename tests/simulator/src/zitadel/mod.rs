//! The simulated ZITADEL: what a test sets up, changes manually and reads.

mod administrator_list;
mod administrators;
mod assertion;
mod auth;
mod by_hand;
mod commands;
mod connect;
mod control;
mod credentials;
mod errors;
mod events;
mod gateway;
mod grant_members;
mod grants_v2;
mod instance;
mod look;
mod members;
mod pem;
mod permission;
mod projection;
mod projects;
mod search;
mod set_up;
mod sign_in;
mod state;
mod text;
mod users;
mod wire;
mod world;

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::http::HeaderMap;
use axum::middleware::from_fn_with_state;

pub use events::Resource;
pub use state::{Scope, ServerGeneration};
pub use world::{
    ClientWorld, GrantWorld, KeyWorld, MemberWorld, OrgWorld, ProjectGrantWorld, ProjectWorld, UserWorld, ZitadelWorld,
};

use crate::front::{Front, Provider};
use crate::locked;
use state::{State, cut};

/// The simulated ZITADEL, one instance. Cheap to clone; all clones are one server.
///
/// What it has in common with every provider (URL, requests, orders, clock) is in [`Front`], which it derefs to.
#[derive(Clone)]
pub struct Zitadel {
    front: Front,
    state: Arc<Mutex<State>>,
}

impl Deref for Zitadel {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

impl Provider for Zitadel {
    fn front(&self) -> &Front {
        &self.front
    }

    fn api(&self) -> Router {
        Router::new()
            .merge(members::routes())
            .merge(grant_members::routes())
            .merge(administrators::routes())
            .merge(projects::routes())
            .merge(users::routes())
            .merge(sign_in::routes())
            .fallback(async || errors::no_route())
            .method_not_allowed_fallback(async || errors::wrong_method())
            .layer(from_fn_with_state(self.clone(), gateway::passed))
            .with_state(self.clone())
    }

    fn control(&self) -> Router {
        control::routes().with_state(self.clone())
    }

    fn caller_name(&self, headers: &HeaderMap) -> String {
        auth::caller_name(&self.state(), headers)
    }
}

impl Zitadel {
    pub(crate) fn new(front: Front) -> Self {
        let state = State::new(cut(front.now()));
        Self { front, state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}
