//! One test for each way in which ZITADEL surprises (`docs/reference/zitadel.md`); named after the surprise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

#[path = "../support/mod.rs"]
mod support;

mod generations;
mod grants;
mod hosts;
mod members;
mod names;
mod rights;
mod sign_in;
mod v2;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;
use support::{Got, SHOP, Stage, USER};

const OWNS: &str = "PROJECT_OWNER";
const VIEWS: &str = "PROJECT_OWNER_VIEWER";

/// The id of a refusal, in REST's form or in Connect's.
fn id(got: &Got) -> &str {
    let detail = &got.body["details"][0];
    detail["id"].as_str().or(detail["debug"]["id"].as_str()).unwrap_or_default()
}

fn in_force(stage: &Stage) -> Vec<String> {
    stage.simulator.zitadel().effective_roles(SHOP, USER, Timestamp::now()).into_iter().collect()
}

/// Calls ZITADEL as the operator, under an organisation.
async fn under(stage: &Stage, org: &str, method: Method, path: &str, body: Value) -> Got {
    let url = stage.simulator.zitadel().url();
    let headers = [("x-zitadel-orgid", org)];
    stage.send(url, "operator", method, &format!("/management/v1{path}"), &headers, body).await.unwrap()
}

/// Calls v2's service of administrators.
async fn administrators(stage: &Stage, token: &str, method: &str, body: Value) -> Got {
    let path = format!("/zitadel.internal_permission.v2.InternalPermissionService/{method}Administrator");
    let path = if method == "List" { format!("{path}s") } else { path };
    stage.call(stage.simulator.zitadel().url(), token, Method::POST, &path, body).await
}
