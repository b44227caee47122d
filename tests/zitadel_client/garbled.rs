//! Malformed lists, derived from the recorded ones.

use proptest::collection::vec;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::garble::{Garble, assert_presentable, garble, garbled};

/// Every recorded list of members of a project by one API, with their own rows' field.
fn lists(of: &[&str]) -> Vec<Value> {
    let mut lists = Vec::new();
    for file in ["project-members", "organization-header", "concurrency", "internal-permissions-v2"] {
        for exchange in exchanges(file) {
            let path = exchange["request"]["path"].as_str().unwrap_or_default();
            let body = &exchange["response"]["body"];
            let rows = body["result"].as_array().or(body["administrators"].as_array());
            let whole = rows.is_some_and(|rows| !rows.is_empty() && rows.iter().all(Value::is_object));
            let about_a_grant = path.contains("/grants/") || body["administrators"][0].get("projectGrant").is_some();
            let of_v2 = body["administrators"].is_array();
            let about_a_project = !about_a_grant && (!of_v2 || body["administrators"][0].get("project").is_some());
            if exchange["response"]["status"] == 200
                && whole
                && about_a_project
                && of.iter().all(|part| path.contains(part))
            {
                lists.push(body.clone());
            }
        }
    }
    assert!(lists.len() >= 3, "{of:?}: {}", lists.len());
    lists
}

/// How many rows of a project a document has, read without the client's code: an empty list has none of it, and says how
/// many there are. `None`: it is no list. v2's rows say whose they are, and others' don't count.
fn rows(bytes: &[u8], project: &str) -> Option<usize> {
    // Non-text values matter only in fields that are read.
    let body: Value = serde_json::from_str(&String::from_utf8_lossy(bytes)).ok()?;
    let is_list = body["details"].is_object() || body["pagination"].is_object();
    match ["result", "administrators"].iter().find_map(|field| body.get(field)) {
        None => is_list.then_some(0),
        Some(rows) => {
            let ours = |row: &&Value| body.get("administrators").is_none() || row["project"]["id"] == project;
            Some(rows.as_array()?.iter().filter(ours).count())
        }
    }
}

/// A list that is believed accounts for every row of a whole document; everything else is an error, whose message may be
/// shown.
fn no_list_is_taken_for_shorter(world: impl Future<Output = World>, path: &'static str, lists: Vec<Value>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(world);
    let cases = (select(lists), vec(garble(), 0..3));
    let test = |(body, garbles): (Value, Vec<Garble>)| {
        let bytes = garbled(&body, &garbles);
        // v2's rows say whose they are, and are compared with that.
        let of = body["administrators"][0]["project"]["id"].as_str().unwrap_or(PROJECT);
        let project = Project { id: of.to_owned(), ..under(None) };
        let found = runtime.block_on(async {
            world.server().clear_orders();
            world.server().clear_requests();
            // Every page is this one.
            world.order(Order::always(Fault::Bytes(bytes.clone())).on("POST", path));
            let found = world.list(&project).await;
            world.server().clear_orders();
            if found.is_err() {
                // Which API is served may be in doubt by now.
                world.find_out().await;
            }
            found
        });
        match found {
            Ok(listing) if listing.partial => {}
            Ok(listing) => {
                assert_eq!(
                    rows(&bytes, &project.id),
                    Some(listing.members.len()),
                    "{}",
                    String::from_utf8_lossy(&bytes)
                );
            }
            Err(error) => assert_presentable(&error.to_string(), TOKEN),
        }
        Ok(())
    };
    TestRunner::new(Config { failure_persistence: None, ..Config::default() }).run(&cases, test).unwrap();
}

#[test]
fn no_list_of_v1_is_taken_for_shorter_than_it_is() {
    no_list_is_taken_for_shorter(World::start(), "/members/_search", lists(&["/management/v1/", "/members/_search"]));
}

#[test]
fn no_list_of_v2_is_taken_for_shorter_than_it_is() {
    no_list_is_taken_for_shorter(World::of_v2(), "ListAdministrators", lists(&["ListAdministrators"]));
}
