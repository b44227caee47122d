//! A small world at both providers, and a client to call them.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::{Value, json};
use simulator::{RoleRow, Scope, Simulator};

pub const PROJECT: &str = "6ec3d92b-3251-4084-9a12-ffb509a03ffc";
pub const IDENTITY: &str = "24160fbf-24bd-49d7-95de-feb53df75187";
pub const OPERATOR: &str = "e54ff709-c9cb-426d-9464-a53bfba31daa";
pub const PERSON: &str = "887a2772-9d1d-4eb3-8005-26255afced48";
pub const EMAIL: &str = "ada@acme.example";
pub const GROUP: &str = "866559bf-fa52-4244-ac16-9deea4ce350d";

pub const ORG: &str = "400623100078656550";
pub const OTHER_ORG: &str = "400623435136371750";
pub const SHOP: &str = "400623434683386918";
pub const USER: &str = "400623434716941350";
pub const OWNER: &str = "400623100079180838";

/// What came back.
#[derive(Debug, Clone)]
pub struct Got {
    pub status: u16,
    pub body: Value,
}

/// Both providers with a project, a subject and an administrator each, and a client.
pub struct Stage {
    pub simulator: Simulator,
    pub client: reqwest::Client,
}

impl Stage {
    pub async fn new() -> Self {
        // The client wants a TLS provider to be chosen, although nothing here is TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let simulator = Simulator::start().await.unwrap();
        let infisical = simulator.infisical();
        infisical.add_project(PROJECT, "web", "Web");
        infisical.add_identity(OPERATOR, "operator");
        infisical.add_identity(IDENTITY, "ci-deployer");
        infisical.add_user(PERSON, EMAIL, "Ada", "Lovelace");
        infisical.add_group(GROUP, "ops", "Ops");
        infisical.add_custom_role(PROJECT, "deployer");
        infisical.set_caller_roles(PROJECT, OPERATOR, &["admin"]);
        infisical.add_token("operator", OPERATOR);
        infisical.add_token("subject", IDENTITY);
        let zitadel = simulator.zitadel();
        zitadel.add_org(ORG, "ZITADEL");
        zitadel.add_org(OTHER_ORG, "other");
        zitadel.add_user(OWNER, ORG, "operator");
        zitadel.add_user(USER, ORG, "ci-deployer");
        zitadel.add_project(SHOP, ORG, "shop");
        zitadel.grant(OWNER, Scope::Instance, "IAM_OWNER");
        zitadel.add_pat("operator", OWNER);
        zitadel.add_pat("subject", USER);
        Self { simulator, client: reqwest::Client::new() }
    }

    /// The same, Infisical being that of October 2024.
    pub async fn october_2024() -> Self {
        let stage = Self::new().await;
        stage.simulator.infisical().be_october_2024();
        stage
    }

    /// Calls Infisical below the membership path of the first generation.
    pub async fn infisical(&self, method: Method, rest: &str, body: Value) -> Got {
        let path = format!("/api/v2/workspace/{PROJECT}/identity-memberships{rest}");
        self.call(self.simulator.infisical().url(), "operator", method, &path, body).await
    }

    /// Calls Infisical as the operator, by any path.
    pub async fn at(&self, method: Method, path: &str, body: Value) -> Got {
        self.call(self.simulator.infisical().url(), "operator", method, path, body).await
    }

    pub async fn post(&self, body: Value) -> Got {
        self.infisical(Method::POST, &format!("/{IDENTITY}"), body).await
    }

    pub async fn patch(&self, body: Value) -> Got {
        self.infisical(Method::PATCH, &format!("/{IDENTITY}"), body).await
    }

    pub async fn delete(&self) -> Got {
        self.infisical(Method::DELETE, &format!("/{IDENTITY}"), Value::Null).await
    }

    pub async fn get(&self) -> Got {
        self.infisical(Method::GET, &format!("/{IDENTITY}"), Value::Null).await
    }

    /// Waits until Infisical has begun to handle a request of this method.
    pub async fn arrived(&self, method: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.simulator.infisical().count(method, "") == 0 {
            assert!(Instant::now() < deadline, "no {method} came");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // It is written down when it arrives; a moment later it has read what it needs.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// Calls ZITADEL below the path of projects.
    pub async fn zitadel(&self, method: Method, rest: &str, body: Value) -> Got {
        let path = format!("/management/v1/projects{rest}");
        self.call(self.simulator.zitadel().url(), "operator", method, &path, body).await
    }

    pub async fn put_member(&self, roles: &[&str]) -> Got {
        self.zitadel(Method::PUT, &format!("/{SHOP}/members/{USER}"), json!({"roles": roles})).await
    }

    pub async fn post_member(&self, roles: &[&str]) -> Got {
        let body = json!({"userId": USER, "roles": roles});
        self.zitadel(Method::POST, &format!("/{SHOP}/members"), body).await
    }

    pub async fn delete_member(&self) -> Got {
        self.zitadel(Method::DELETE, &format!("/{SHOP}/members/{USER}"), Value::Null).await
    }

    pub async fn search(&self) -> Got {
        self.zitadel(Method::POST, &format!("/{SHOP}/members/_search"), json!({})).await
    }

    pub async fn call(&self, base: &str, token: &str, method: Method, path: &str, body: Value) -> Got {
        self.send(base, token, method, path, &[], body).await.expect("an answer")
    }

    pub async fn send(
        &self,
        base: &str,
        token: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> reqwest::Result<Got> {
        let mut request = self.client.request(method, format!("{base}{path}")).bearer_auth(token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        got(request.send().await?).await
    }
}

async fn got(response: Response) -> reqwest::Result<Got> {
    let status = response.status().as_u16();
    let text = response.text().await?;
    Ok(Got { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
}

/// A permanent role as it is sent.
pub fn permanent(role: &str) -> Value {
    json!({"role": role, "isTemporary": false})
}

/// A temporary role as it is sent.
pub fn temporary(role: &str, start: &str, range: &str) -> Value {
    json!({
        "role": role, "isTemporary": true, "temporaryMode": "relative",
        "temporaryRange": range, "temporaryAccessStartTime": start,
    })
}

/// The roles of rows, sorted.
pub fn slugs(rows: &[RoleRow]) -> Vec<&str> {
    let mut slugs: Vec<&str> = rows.iter().map(|row| row.role.as_str()).collect();
    slugs.sort_unstable();
    slugs
}

/// The roles of a set, as a list.
pub fn list(roles: &std::collections::BTreeSet<String>) -> Vec<&str> {
    roles.iter().map(String::as_str).collect()
}
