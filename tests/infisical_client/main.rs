//! The Infisical client against the simulated server: signing in, finding the generation, every change, every fault.

#![allow(clippy::unwrap_used, reason = "what fails in a test is to stop it")]

mod changes;
mod faults;
#[path = "../parsers/garble.rs"]
mod garble;
mod garbled;
mod invitations;
mod kinds;
mod names;
mod organizations;
mod other_logins;
mod privileges;
mod projects;
mod rate_limits;
mod raw;
mod removals;
mod rights;
mod role_ids;
mod sign_in;
mod tls;
mod upgrades;
mod urls;
mod users;
mod wire;

use std::sync::{Arc, Mutex};

use membership_operator::api::SubjectKind;
use membership_operator::api::provider::Limits;
use membership_operator::core::member::{Change, Entry, Member, Project, Target};
use membership_operator::provider::http::{Client, Endpoint, ObservedRequest, Observer, Policy};
use membership_operator::provider::infisical::{Credentials, Infisical};
use membership_operator::provider::quota::{EndpointQuota, Quota, RequestKind};
use membership_operator::provider::{Error, Permit, Provider, Receipt, Urgency};
use simulator::worlds::{self, INFISICAL_CLIENT_ID, INFISICAL_CLIENT_SECRET, INFISICAL_PROJECT};
use simulator::{ErrorStyle, Generations, Simulator};

/// A simulated server and a client of it.
struct Stage {
    simulator: Simulator,
    infisical: Infisical,
    quota: Quota,
    observed: Arc<Seen>,
}

/// Every age of the server.
const AGES: [(Generations, ErrorStyle); 6] = [
    (Generations::G1, ErrorStyle::October2024),
    (Generations::G1, ErrorStyle::June2025),
    (Generations::G1, ErrorStyle::Current),
    (Generations::G1AndG2, ErrorStyle::Current),
    (Generations::All, ErrorStyle::Current),
    (Generations::G3, ErrorStyle::Current),
];

/// What the observer was told: method, route, code.
#[derive(Default)]
struct Seen(Mutex<Vec<(&'static str, &'static str, String)>>);

impl Observer for Seen {
    fn request(&self, observed: &ObservedRequest<'_>) {
        self.0.lock().unwrap().push((observed.method, observed.route, observed.outcome.code()));
    }
}

impl Stage {
    /// The demo's server and the right credential.
    async fn new() -> Self {
        Self::with(universal_auth(INFISICAL_CLIENT_SECRET)).await
    }

    async fn with(credentials: Credentials) -> Self {
        Self::of(credentials, false).await
    }

    /// A client that may invite users.
    async fn inviting() -> Self {
        Self::of(universal_auth(INFISICAL_CLIENT_SECRET), true).await
    }

    async fn of(credentials: Credentials, invite_users: bool) -> Self {
        let simulator = Simulator::start().await.unwrap();
        simulator.load(&worlds::demo());
        let observed = Arc::new(Seen::default());
        let endpoint = Endpoint::parse(simulator.infisical().url()).unwrap();
        let infisical = Infisical::new(&client(observed.clone()), endpoint, credentials).inviting_users(invite_users);
        Self { simulator, infisical, quota: quota(), observed }
    }

    fn server(&self) -> &simulator::Infisical {
        self.simulator.infisical()
    }

    async fn read(&self) -> Permit {
        self.quota.permit(RequestKind::Read, Urgency::Resync, "team-a").await
    }

    async fn write(&self) -> Permit {
        self.quota.permit(RequestKind::Write, Urgency::Grant, "team-a").await
    }

    /// The server as each of the generations that are known.
    fn be(&self, generations: Generations, style: ErrorStyle) {
        self.server().set_generations(generations);
        self.server().set_error_style(style);
    }

    /// Lists a kind of members and finds one of them.
    async fn member(&self, kind: SubjectKind, subject: &str) -> Option<Member> {
        let permit = self.read().await;
        let listing = self.infisical.list(&permit, &web(), kind).await.unwrap();
        assert!(!listing.partial);
        listing.members.into_iter().find(|member| member.subject_id == subject)
    }

    async fn apply(&self, kind: SubjectKind, subject: &str, change: Change) -> Result<Receipt, Error> {
        self.apply_named(kind, subject, None, change).await
    }

    async fn apply_named(
        &self,
        kind: SubjectKind,
        subject: &str,
        name: Option<&str>,
        change: Change,
    ) -> Result<Receipt, Error> {
        let permit = self.write().await;
        self.infisical.apply(&permit, &Target { subject_kind: kind, ..target(subject) }, name, &change).await
    }

    /// The roles in force at the server now.
    fn effective(&self, subject: &str) -> Vec<String> {
        self.server().effective_roles(INFISICAL_PROJECT, subject, self.server().now()).into_iter().collect()
    }

    /// What the server holds: roles and ranges.
    fn held(&self, identity: &str) -> Vec<(String, Option<String>)> {
        let mut roles: Vec<_> = self
            .server()
            .roles(INFISICAL_PROJECT, identity)
            .into_iter()
            .map(|row| (row.role, row.temporary.map(|window| window.range)))
            .collect();
        roles.sort();
        roles
    }
}

fn universal_auth(secret: &str) -> Credentials {
    Credentials::UniversalAuth { client_id: INFISICAL_CLIENT_ID.to_owned(), client_secret: secret.to_owned().into() }
}

fn client(observer: Arc<dyn Observer>) -> Client {
    Client::new(Policy { allow_http: vec!["127.0.0.1".to_owned()], ..Policy::default() }, observer).unwrap()
}

fn quota() -> Quota {
    EndpointQuota::new(false).quota("MembershipProvider/team-a/infisical".to_owned(), Limits::default())
}

fn web() -> Project {
    Project { organization_id: None, id: INFISICAL_PROJECT.to_owned(), grant_id: None }
}

fn target(identity: &str) -> Target {
    Target { project: web(), subject_kind: SubjectKind::Identity, subject_id: identity.to_owned() }
}

fn permanent(roles: &[&str]) -> Vec<Entry> {
    roles.iter().map(|&role| Entry::permanent(role)).collect()
}

fn held(roles: &[&str]) -> Vec<(String, Option<String>)> {
    roles.iter().map(|&role| (role.to_owned(), None)).collect()
}
