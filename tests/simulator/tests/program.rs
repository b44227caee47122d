//! The program: it serves the demo's world, or the one of a file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use simulator::worlds::{self, World};

/// The program, running; killed when it is dropped.
struct Running {
    child: Child,
    infisical: String,
    zitadel: String,
}

impl Running {
    fn new(more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_simulator"))
            .args(["--infisical-port", "0", "--zitadel-port", "0"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut url = || lines.next().unwrap().unwrap().split_whitespace().last().unwrap().to_owned();
        let (infisical, zitadel) = (url(), url());
        Self { child, infisical, zitadel }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client() -> reqwest::Client {
    // The client wants a TLS provider to be chosen, although nothing here is TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

#[tokio::test]
async fn the_demo_is_served_and_its_credentials_work() {
    let running = Running::new(&[]);
    let client = client();
    let path = format!("/api/v1/projects/{}/identity-memberships", worlds::INFISICAL_PROJECT);
    let request = client.get(format!("{}{path}", running.infisical)).bearer_auth(worlds::INFISICAL_TOKEN);
    let listed: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(listed["totalCount"], 2, "{listed}");
    let login = serde_json::json!({
        "clientId": worlds::INFISICAL_CLIENT_ID,
        "clientSecret": worlds::INFISICAL_CLIENT_SECRET,
    });
    let url = format!("{}/api/v1/auth/universal-auth/login", running.infisical);
    assert_eq!(client.post(url).json(&login).send().await.unwrap().status().as_u16(), 200);
    let url = format!(
        "{}/management/v1/projects/{}/members/{}",
        running.zitadel,
        worlds::ZITADEL_PROJECT,
        worlds::ZITADEL_GRACE
    );
    let roles = serde_json::json!({"roles": ["PROJECT_OWNER"]});
    let put = client.put(url).bearer_auth(worlds::ZITADEL_TOKEN).json(&roles).send().await.unwrap();
    assert_eq!(put.status().as_u16(), 200);
}

#[tokio::test]
async fn the_demo_has_a_name_and_a_grant_with_a_user_to_add() {
    let running = Running::new(&[]);
    let client = client();
    let call = async |path: String, body: Value| {
        let request =
            client.post(format!("{}/management/v1{path}", running.zitadel)).bearer_auth(worlds::ZITADEL_TOKEN);
        let request = request.header("x-zitadel-orgid", worlds::ZITADEL_GRANTED_ORG).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let query = serde_json::json!({"queries": [{"userNameQuery": {"userName": "barbara"}}]});
    let (_, found) = call("/users/_search".to_owned(), query).await;
    assert_eq!(found["result"][0]["id"], worlds::ZITADEL_BARBARA);
    let path = format!("/projects/{}/grants/{}/members", worlds::ZITADEL_PROJECT, worlds::ZITADEL_GRANT);
    let body = serde_json::json!({"userId": worlds::ZITADEL_BARBARA, "roles": ["PROJECT_GRANT_OWNER_VIEWER"]});
    let (status, added) = call(path, body).await;
    assert_eq!((status, &added["details"]["resourceOwner"]), (200, &worlds::ZITADEL_PROJECT_ORG.into()));
}

#[tokio::test]
async fn a_generation_can_be_chosen() {
    let running = Running::new(&["--zitadel-generation", "v3"]);
    let url = format!("{}/_simulator/generation", running.zitadel);
    let shown: Value = client().get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["generation"], "v3");
}

#[tokio::test]
async fn a_world_can_be_given_in_a_file() {
    let mut world = World::default();
    world.zitadel.orgs = worlds::demo().zitadel.orgs;
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("world.json");
    std::fs::write(&file, serde_json::to_vec(&world).unwrap()).unwrap();
    let running = Running::new(&["--world", file.to_str().unwrap()]);
    let client = client();
    let held = async |url: &str| {
        let url = format!("{url}/_simulator/world");
        client.get(url).send().await.unwrap().json::<Value>().await.unwrap()
    };
    assert_eq!(held(&running.infisical).await["projects"], serde_json::json!([]));
    assert_eq!(held(&running.zitadel).await["orgs"].as_array().map(Vec::len), Some(world.zitadel.orgs.len()));
}

#[tokio::test]
async fn members_of_every_kind_can_be_meddled_with_by_hand() {
    let running = Running::new(&["--infisical", "now"]);
    let client = client();
    let control = |path: &str| format!("{}/_simulator/{path}", running.infisical);
    let get = async |path: &str| client.get(control(path)).send().await.unwrap().json::<Value>().await.unwrap();
    let post = async |path: &str, body: Value| client.post(control(path)).json(&body).send().await.unwrap().status();
    let delete = async |path: &str| client.delete(control(path)).send().await.unwrap().status();
    let project = worlds::INFISICAL_PROJECT;
    assert_eq!(get("server").await["generations"], "all");
    for (subject, kind) in [(worlds::INFISICAL_ADA, "users"), (worlds::INFISICAL_OPS, "groups")] {
        let set = serde_json::json!({"project": project, "subject": subject, "roles": [{"role": "viewer"}]});
        assert_eq!(post("roles", set).await, 204);
        let query = format!("project={project}&subject={subject}");
        assert_eq!(get(&format!("effective?{query}")).await["roles"], serde_json::json!(["viewer"]));
        assert_eq!(get(&format!("roles?{query}")).await["memberships"], 1);
        assert_eq!(post(&format!("{kind}/{subject}"), serde_json::json!({"name": "another"})).await, 204);
        assert!(get("world").await[kind].to_string().contains("another"));
        assert_eq!(delete(&format!("{kind}/{subject}")).await, 204);
        assert_eq!(get(&format!("roles?{query}")).await["memberships"], 0);
    }
    let identity = worlds::INFISICAL_OPERATOR;
    assert_eq!(post("org-roles", serde_json::json!({"subject": identity, "role": "no-access"})).await, 204);
    let groups = client.get(format!("{}/api/v1/groups", running.infisical)).bearer_auth(worlds::INFISICAL_TOKEN);
    assert_eq!(groups.send().await.unwrap().status(), 403);
    assert_eq!(get("mails").await["count"], 0);
    assert_eq!(delete("nonsense/1").await, 404);
}
