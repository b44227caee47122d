//! The simulated ZITADEL: what a test sets up, changes by hand and looks at.

mod auth;
mod by_hand;
mod control;
mod errors;
mod events;
mod members;
mod permission;
mod projection;
mod projects;
mod search;
mod state;
mod wire;
mod world;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use jiff::Timestamp;

pub use state::Scope;
pub use world::{GrantWorld, MemberWorld, OrgWorld, ProjectWorld, UserWorld, ZitadelWorld};

use crate::front::{Front, Provider};
use crate::locked;
use events::Kind;
use state::{Org, Pat, Project, State, User, UserKind, cut};

/// The simulated ZITADEL, one instance, the same under every host name. Cheap to clone; all clones are one server.
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
            .merge(projects::routes())
            .fallback(async || errors::no_route())
            .method_not_allowed_fallback(async || errors::wrong_method())
            .with_state(self.clone())
    }

    fn control(&self) -> Router {
        control::routes().with_state(self.clone())
    }

    fn caller_name(&self, headers: &HeaderMap) -> String {
        auth::caller_name(&self.state(), headers)
    }
}

/// The world.
impl Zitadel {
    pub(crate) fn new(front: Front) -> Self {
        let state = State::new(cut(front.now()));
        Self { front, state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Adds an organisation. The first one is the instance's default organisation.
    pub fn add_org(&self, id: &str, name: &str) {
        let created = cut(self.now());
        let mut state = self.state();
        // An organisation is made by five events: itself, its domain, its state; the instance's set-up makes one more
        // (organization-header.json, 33 and 34).
        let sequence = if state.default_org.is_none() { 6 } else { 5 };
        state.default_org.get_or_insert_with(|| id.to_owned());
        let name = name.to_owned();
        state.orgs.insert(id.to_owned(), Org { name, sequence, created, deleted: false });
    }

    /// Adds a machine user.
    pub fn add_user(&self, id: &str, org: &str, name: &str) {
        let kind = UserKind::Machine { name: name.to_owned() };
        self.insert_user(id, org, name, kind);
    }

    /// Adds a person.
    pub fn add_human(&self, id: &str, org: &str, user_name: &str, first_name: &str, last_name: &str, email: &str) {
        let kind = UserKind::Human {
            first_name: first_name.to_owned(),
            last_name: last_name.to_owned(),
            email: email.to_owned(),
        };
        self.insert_user(id, org, user_name, kind);
    }

    fn insert_user(&self, id: &str, org: &str, login_name: &str, kind: UserKind) {
        let login_name = Some(login_name.to_owned());
        let user = User { org: org.to_owned(), kind, login_name, active: true, deleted: false };
        self.state().users.insert(id.to_owned(), user);
    }

    /// Takes a user's login name away, which happens when users are created at the same time: search leaves such a
    /// user out for ever (`reference/zitadel.md`, trap 5).
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
        if let Ok((_, at)) = state.push(id, Kind::ProjectAdded, false, now)
            && let Some(project) = state.projects.get_mut(id)
        {
            project.created = at;
        }
    }

    /// Adds a personal access token of a user that doesn't end.
    pub fn add_pat(&self, token: &str, user: &str) {
        self.state().pats.insert(token.to_owned(), Pat { user: user.to_owned(), ends: None });
    }

    /// Adds a personal access token of a user that ends.
    pub fn add_pat_until(&self, token: &str, user: &str, end: Timestamp) {
        self.state().pats.insert(token.to_owned(), Pat { user: user.to_owned(), ends: Some(end) });
    }

    /// Gives a user a role on the instance or in an organisation, such as `IAM_OWNER` or `ORG_OWNER`: what it may do
    /// when it calls. A role on a project is given by [`set_roles`](Self::set_roles).
    pub fn grant(&self, user: &str, scope: Scope, role: &str) {
        self.state().grants.push((user.to_owned(), scope, role.to_owned()));
    }

    /// Adds a role to those that the instance has; it must begin with `PROJECT` to be taken for a member's.
    pub fn configure_role(&self, role: &str) {
        self.state().more_roles.insert(role.to_owned());
    }

    /// Sets whether a PUT of the roles that are there already is refused, as up to v3. From v4 on it is 200.
    pub fn set_refuses_unchanged(&self, refuses: bool) {
        self.state().refuses_unchanged = refuses;
    }

    /// Sets how far search, and with it the rights in force, are behind the writes. It also holds for what was
    /// written before.
    pub fn set_search_lag(&self, lag: Duration) {
        self.state().lag = lag;
    }

    /// Sets how many rows a search returns when no limit is asked for, and how many at most. The recorded version
    /// returns all; from 4.20 on it is said to be 100 and 1000 (`reference/zitadel.md`, Management v1). What it does
    /// beyond the most is not known: here the rows are cut.
    pub fn set_page_limits(&self, default: usize, most: usize) {
        self.state().page = (default, most);
    }

    /// Sets how long search stands still when a row can't be inserted because it is still there, as after a lost
    /// DELETE and a POST; 10 s unless this says otherwise (zitadel/concurrency.json, 15 to 19).
    pub fn set_stuck_for(&self, duration: Duration) {
        self.state().projection.stuck_for = duration;
    }
}

/// What is there.
impl Zitadel {
    /// The roles of a member as the write side has them: what the last write said, lost or not. Empty: no member.
    pub fn roles(&self, project: &str, user: &str) -> Vec<String> {
        let state = self.state();
        let Some(known) = state.projects.get(project) else {
            return Vec::new();
        };
        let member = state.member(project, user, &known.org).filter(|member| member.exists);
        member.map(|member| member.roles.clone()).unwrap_or_default()
    }

    /// The roles of a member as search has them, in their order and with repetitions. Empty: no row. A user without a
    /// login name has them too, although search does not show it.
    pub fn projected_roles(&self, project: &str, user: &str) -> Vec<String> {
        let mut state = self.state();
        state.catch_up();
        state.projection.row(project, user).map(|row| row.roles.clone()).unwrap_or_default()
    }

    /// How many memberships a user has in a project, as search has them: 0 or 1.
    pub fn memberships_of(&self, project: &str, user: &str) -> usize {
        usize::from(!self.projected_roles(project, user).is_empty())
    }

    /// What access is really in force: what the projection says now, since rights follow it and not the writes
    /// (zitadel/concurrency.json, 6). Nothing here ends by itself, so the instant changes nothing; it is asked for so
    /// that both providers are asked alike.
    pub fn effective_roles(&self, project: &str, user: &str, _at: Timestamp) -> BTreeSet<String> {
        self.projected_roles(project, user).into_iter().collect()
    }

    /// The last sequence of a project.
    pub fn sequence(&self, project: &str) -> u64 {
        self.state().projects.get(project).map_or(0, |project| project.sequence)
    }
}
