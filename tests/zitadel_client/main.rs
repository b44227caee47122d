//! ZITADEL's client against the simulated server: each trap of docs/reference/zitadel.md that concerns members, what
//! holds for members of projects and of grants by either API, and every recorded answer of the calls that the client
//! makes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails in a test is to stop it")]

mod apis;
mod everywhere;
#[path = "../parsers/garble.rs"]
mod garble;
mod garbled;
mod gone;
mod grants;
mod members;
mod names;
mod recordings;
mod refusals;
mod rights;
mod sign_in;
mod sign_ins;
mod traps;
mod v2;

use std::sync::Arc;
use std::time::Duration;

use membership_operator::api::SubjectKind;
use membership_operator::api::provider::Limits;
use membership_operator::core::member::{Change, Entry, Member, Project, Target};
use membership_operator::provider::error::Effect;
use membership_operator::provider::http::{Client, Endpoint, Policy};
use membership_operator::provider::quota::{EndpointQuota, Quota, RequestKind};
use membership_operator::provider::zitadel::{Credentials, Zitadel};
use membership_operator::provider::{Error, Listing, Permit, Provider, Receipt, Urgency};
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::worlds::{
    ZITADEL_ADA as ADA, ZITADEL_BARBARA as BARBARA, ZITADEL_DEPLOYER as DEPLOYER, ZITADEL_GRACE as GRACE,
    ZITADEL_GRANT as GRANT, ZITADEL_GRANTED_ORG as GRANTED_ORG, ZITADEL_OPERATOR as OPERATOR, ZITADEL_ORG as OTHER_ORG,
    ZITADEL_PROJECT as PROJECT, ZITADEL_PROJECT_ORG as ORG, ZITADEL_TOKEN as TOKEN, demo,
};
use simulator::{Answer, Fault, Order, Scope, ServerGeneration, Simulator};

const OWNER: &str = "PROJECT_OWNER";
const VIEWER: &str = "PROJECT_OWNER_VIEWER";
const GRANT_OWNER: &str = "PROJECT_GRANT_OWNER";
const GRANT_VIEWER: &str = "PROJECT_GRANT_OWNER_VIEWER";

/// A simulated instance with the demo's world, and the client of its operator.
struct World {
    simulator: Simulator,
    zitadel: Zitadel,
    quota: Quota,
}

impl World {
    async fn start() -> Self {
        let simulator = Simulator::start().await.unwrap();
        simulator.load(&demo());
        let zitadel = client(simulator.zitadel().url(), TOKEN);
        let quota = EndpointQuota::new(true).quota("test".to_owned(), Limits::default());
        let world = Self { simulator, zitadel, quota };
        world.find_out().await;
        world
    }

    /// The same without the member routes of management v1, so that v2 is spoken.
    async fn of_v2() -> Self {
        let world = Self::start().await;
        world.server().set_generation(ServerGeneration::V2Only);
        world.find_out().await;
        world
    }

    /// Finds out which API is served, so that this is none of the calls that follow.
    async fn find_out(&self) {
        self.verify().await.unwrap();
        self.server().clear_requests();
    }

    async fn verify(&self) -> Result<&'static str, Error> {
        self.zitadel.verify(&self.permit().await).await.map(|verified| verified.api)
    }

    fn server(&self) -> &simulator::Zitadel {
        self.simulator.zitadel()
    }

    /// The client of another caller.
    fn calling_as(mut self, token: &str) -> Self {
        self.zitadel = client(self.server().url(), token);
        self
    }

    async fn permit(&self) -> Permit {
        self.quota.permit(RequestKind::Write, Urgency::Grant, "test").await
    }

    async fn list(&self, project: &Project) -> Result<Listing, Error> {
        self.zitadel.list(&self.permit().await, project, SubjectKind::User).await
    }

    async fn apply(&self, target: &Target, change: &Change) -> Result<Receipt, Error> {
        self.zitadel.apply(&self.permit().await, target, None, change).await
    }

    async fn repair(&self, target: &Target, wanted: &Change) -> Result<Receipt, Error> {
        let shown = self.shown(target).await;
        self.zitadel.repair(&self.permit().await, target, None, wanted, shown.as_ref()).await
    }

    async fn explain_absence(&self, target: &Target) -> Result<(), Error> {
        self.zitadel.explain_absence(&self.permit().await, target).await
    }

    /// What a list shows of a member.
    async fn shown(&self, target: &Target) -> Option<Member> {
        let listing = self.list(&target.project).await.unwrap();
        listing.members.into_iter().find(|member| member.subject_id == target.subject_id)
    }

    fn order(&self, order: Order) {
        self.server().order(order);
    }

    /// The lists of roles that were written since the requests were last cleared.
    fn written(&self) -> Vec<Value> {
        self.bodies().into_iter().filter_map(|mut body| Some(body.get_mut("roles")?.take())).collect()
    }

    /// The bodies that were sent since the requests were last cleared.
    fn bodies(&self) -> Vec<Value> {
        self.server().requests().iter().filter_map(|request| serde_json::from_str(&request.body).ok()).collect()
    }

    /// The calls since the requests were last cleared, as `PUT members`.
    fn calls(&self) -> Vec<String> {
        let requests = self.server().requests();
        requests.iter().map(|request| format!("{} {}", request.method, place(&request.path))).collect()
    }
}

fn place(path: &str) -> &str {
    match () {
        () if path.starts_with("/zitadel.") => path.rsplit('/').next().unwrap_or_default(),
        () if path.ends_with("/roles/_search") => "roles",
        () if path.ends_with("/members/_search") => "search",
        () if path == "/management/v1/users/_search" => "users",
        () if path == "/v2/users" => "v2 users",
        () if path.contains("/granted_projects/") => "granted project",
        () if path.contains("/members") => "members",
        () if path.starts_with("/v2/users") => "v2 user",
        () if path.contains("/users/") => "user",
        () if path.contains("/grants/") => "grant",
        () => "project",
    }
}

fn client(url: &str, token: &str) -> Zitadel {
    signing_in(url, Credentials::PersonalAccessToken(SecretString::from(token.to_owned())), None)
}

fn signing_in(url: &str, credentials: Credentials, instance_host: Option<&str>) -> Zitadel {
    let policy = Policy { allow_http: vec!["127.0.0.1".to_owned()], ..Policy::default() };
    let client = Client::new(policy, Arc::new(())).unwrap();
    Zitadel::new(&client, Endpoint::parse(url).unwrap(), credentials, instance_host.map(str::to_owned))
}

fn project() -> Project {
    Project { organization_id: Some(ORG.to_owned()), id: PROJECT.to_owned(), grant_id: None }
}

fn under(organization: Option<&str>) -> Project {
    Project { organization_id: organization.map(str::to_owned), ..project() }
}

/// The grant of the project, as the organization that it is made to sees it.
fn grant() -> Project {
    Project { organization_id: Some(GRANTED_ORG.to_owned()), grant_id: Some(GRANT.to_owned()), ..project() }
}

fn target(user: &str) -> Target {
    member_of(&project(), user)
}

fn member_of(project: &Project, user: &str) -> Target {
    Target { project: project.clone(), subject_kind: SubjectKind::User, subject_id: user.to_owned() }
}

fn create(roles: &[&str]) -> Change {
    Change::Create(entries(roles))
}

fn replace(roles: &[&str]) -> Change {
    Change::Replace(entries(roles))
}

fn entries(roles: &[&str]) -> Vec<Entry> {
    roles.iter().map(|role| Entry::permanent(*role)).collect()
}

fn roles(member: Option<&Member>) -> Vec<&str> {
    member.map(|member| member.entries.iter().map(|entry| entry.role.as_str()).collect()).unwrap_or_default()
}

/// An answer of the recordings, by the name of its exchange.
fn recorded(file: &str, name: &str) -> Answer {
    let exchange = exchanges(file).into_iter().find(|exchange| exchange["name"] == name);
    let response = &exchange.unwrap_or_else(|| panic!("{file} has no exchange {name:?}"))["response"];
    Answer::new(u16::try_from(response["status"].as_u64().unwrap()).unwrap(), response["body"].clone())
}

fn exchanges(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/contracts/zitadel/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let recording: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    recording["exchanges"].as_array().unwrap().clone()
}
