//! Malformed lists, derived from the recorded ones.

use membership_operator::api::SubjectKind;
use membership_operator::core::member::Project;
use membership_operator::provider::error::Effect;
use membership_operator::provider::{Error, Provider};
use proptest::collection::vec;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use simulator::worlds::{INFISICAL_PROJECT, INFISICAL_TOKEN};
use simulator::{Fault, Order};

use crate::garble::{Garble, assert_presentable, garble, garbled};
use crate::{Stage, web};

/// Every recorded list of members of a project, with the kind of its members and the project.
fn lists() -> Vec<(SubjectKind, String, Value)> {
    let mut lists = Vec::new();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contracts/infisical")).unwrap();
    for file in files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let recording: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for exchange in recording["exchanges"].as_array().into_iter().flatten() {
            let (request, response) = (&exchange["request"], &exchange["response"]);
            let path = request["path"].as_str().unwrap_or_default().split('?').next().unwrap_or_default();
            let body = &response["body"];
            let rows =
                ["memberships", "identityMemberships", "groupMemberships"].iter().find_map(|f| body[f].as_array());
            let kind = match path.rsplit('/').next() {
                Some("identity-memberships" | "identities") => SubjectKind::Identity,
                Some("memberships" | "users") => SubjectKind::User,
                Some("groups") => SubjectKind::Group,
                _ => continue,
            };
            let shown = request["method"] == "GET" && response["status"] == 200;
            if let Some(rows) = rows.filter(|rows| shown && (1..20).contains(&rows.len())) {
                let of = rows.iter().find_map(|row| row["projectId"].as_str().or(row["project"]["id"].as_str()));
                lists.push((kind, of.unwrap_or(INFISICAL_PROJECT).to_owned(), body.clone()));
            }
        }
    }
    assert!(lists.len() >= 10, "{}", lists.len());
    lists
}

/// How many rows a document has, read without the client's code; `None`: it is no list.
fn rows(bytes: &[u8]) -> Option<usize> {
    let body: Value = serde_json::from_slice(bytes).ok()?;
    ["memberships", "identityMemberships", "groupMemberships"]
        .iter()
        .find_map(|field| Some(body[field].as_array()?.len()))
}

/// A list that is believed accounts for every row of a whole document; everything else is an error without effect, whose
/// message may be shown.
#[test]
fn no_list_is_taken_for_shorter_than_it_is() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stage = runtime.block_on(async {
        let stage = Stage::new().await;
        stage.infisical.verify(&stage.read().await).await.unwrap();
        // The paths are found, so that nothing else is asked for.
        for kind in [SubjectKind::Identity, SubjectKind::User, SubjectKind::Group] {
            stage.infisical.list(&stage.read().await, &web(), kind).await.unwrap();
        }
        stage
    });
    let cases = (select(lists()), vec(garble(), 0..3));
    let test = |((kind, project, body), garbles): ((SubjectKind, String, Value), Vec<Garble>)| {
        let bytes = garbled(&body, &garbles);
        let found = runtime.block_on(async {
            stage.server().clear_orders();
            stage.server().clear_requests();
            stage.server().order(Order::next(Fault::Bytes(bytes.clone())));
            let project = Project { id: project, ..web() };
            stage.infisical.list(&stage.read().await, &project, kind).await
        });
        match found {
            Ok(listing) if listing.partial => {}
            Ok(listing) => {
                let members: u32 = listing.members.iter().map(|member| member.memberships).sum();
                assert_eq!(rows(&bytes), Some(members as usize), "{}", String::from_utf8_lossy(&bytes));
            }
            Err(error) => {
                assert!(!garbles.is_empty(), "{error}");
                // If a list has lost a custom role's id, it is requested from the project, which this server may not
                // have.
                let asked = stage.server().count("GET", "/roles") > 0;
                assert!(asked || matches!(error, Error::Unreachable { effect: Effect::None, .. }), "{error:?}");
                assert_presentable(&error.to_string(), INFISICAL_TOKEN);
            }
        }
        Ok(())
    };
    TestRunner::new(Config { failure_persistence: None, ..Config::default() }).run(&cases, test).unwrap();
}

/// Rows without end in a list that is whole, and small enough: what they come to in memory isn't.
#[tokio::test]
async fn a_list_of_more_rows_than_there_can_be_is_refused() {
    let stage = Stage::new().await;
    let permit = stage.read().await;
    stage.infisical.verify(&permit).await.unwrap();
    let endless = format!(r#"{{"identityMemberships":[1{}]}}"#, ",1".repeat(1_000_000));
    stage.server().order(Order::next(Fault::Bytes(endless.into_bytes())).on("GET", "identity-memberships"));
    let error = stage.infisical.list(&permit, &web(), SubjectKind::Identity).await.unwrap_err();
    assert!(error.to_string().contains("JSON of another shape"), "{error}");
}
