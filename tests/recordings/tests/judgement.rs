//! Whether the runner notices: each way in which a recording and its expectation can differ is a failure.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is wrong")]

use std::path::Path;

use recordings::report::Report;
use recordings::{judge, recording};

const README: &str = "| file | what | use |\n|---|---|---|\n| infisical/x | two lists | C |\n";

const RECORDING: &str = r#"{"server": "Infisical", "exchanges": [
  {"name": "list", "request": {"method": "GET", "path": "/api/v2/workspace/6ec3d92b-3251-4084-9a12-ffb509a03ffc/identity-memberships", "authorization": null},
   "response": {"status": 200, "headers": {"content-type": "application/json"}, "body": {"identityMemberships": [
     {"id": "m", "identityId": "24160fbf-24bd-49d7-95de-feb53df75187", "roles": [{"role": "viewer", "isTemporary": false}]}]}}},
  {"name": "refused", "request": {"method": "GET", "path": "/api/v2/workspace/6ec3d92b-3251-4084-9a12-ffb509a03ffc/identity-memberships", "authorization": null},
   "response": {"status": 403, "headers": {"content-type": "application/json"}, "body": {"error": "PermissionDenied", "message": "no"}}},
  {"name": "status", "request": {"method": "GET", "path": "/api/status", "authorization": null},
   "response": {"status": 200, "headers": {"content-type": "application/json"}, "body": {}}}]}"#;

const EXPECTED: &str = r#"
calls:
- {name: list, request: "GET /api/v2/workspace/{project}/identity-memberships", drive: list}
rules:
- {calls: [list], status: 200, expect: read, because: the body}
- {calls: [list], status: 403, error: PermissionDenied, expect: "Forbidden, Terminal, no effect", because: Errors}
exceptions: []
leftOut:
- {requests: ["GET /api/status"], because: nobody asks}
"#;

const NOTHING: &str = "{calls: [], rules: [], exceptions: [], leftOut: []}";

/// Judges a folder with these three files.
async fn judged(readme: &str, recorded: &str, expected: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("README.md", readme);
    write("infisical/x.json", recorded);
    write("infisical/expected.yaml", expected);
    write("zitadel/expected.yaml", NOTHING);
    judge::judge(folder.path(), &recording::below(folder.path()).unwrap()).await.unwrap()
}

/// The report's text; it must have one failure.
async fn failure(readme: &str, recorded: &str, expected: &str) -> String {
    let report = judged(readme, recorded, expected).await;
    assert_eq!(report.failures().len(), 1, "{report}");
    report.to_string()
}

#[tokio::test]
async fn what_is_as_expected_passes_and_is_counted() {
    let report = judged(README, RECORDING, EXPECTED).await.to_string();
    assert!(report.starts_with("infisical/x.json"), "{report}");
    assert!(report.contains("C 2 of 2, 1 left out"), "{report}");
    assert!(report.contains("nobody asks"), "{report}");
    assert!(report.ends_with("contracts: 2 passed, 0 failed"), "{report}");
}

#[tokio::test]
async fn a_changed_expectation_fails_and_says_what_came_and_why_it_was_expected() {
    let report = failure(README, RECORDING, &EXPECTED.replace("Forbidden, Terminal", "Rejected, Terminal")).await;
    for part in ["infisical/x.json 1", "expected: Rejected, Terminal", "came: Forbidden, Terminal", "because: Errors"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(report.ends_with("contracts: 1 passed, 1 failed"), "{report}");
    failure(README, RECORDING, &EXPECTED.replace("no effect", "effect unknown")).await;
    failure(README, RECORDING, &EXPECTED.replace("Terminal,", "Backoff,")).await;
}

#[tokio::test]
async fn a_body_that_says_something_else_fails() {
    // The two readings differ: the client ignores a role of another project.
    let elsewhere =
        RECORDING.replace(r#""id": "m","#, r#""id": "m", "projectId": "00000000-0000-4000-8000-000000000001","#);
    let report = failure(README, &elsewhere, EXPECTED).await;
    assert!(report.contains("24160fbf-24bd-49d7-95de-feb53df75187: viewer"), "{report}");
    assert!(report.contains("came: nobody, partial"), "{report}");
}

#[tokio::test]
async fn an_exchange_that_nothing_is_written_about_fails() {
    let report = judged(README, &RECORDING.replace("/api/status", "/api/other"), EXPECTED).await.to_string();
    assert!(report.contains("GET /api/other is neither a call nor left out"), "{report}");
    let report = judged(README, &RECORDING.replace("PermissionDenied", "Another"), EXPECTED).await.to_string();
    assert!(report.contains("no rule for list answered 403 Another"), "{report}");
}

#[tokio::test]
async fn a_row_that_no_exchange_needs_fails() {
    let more =
        EXPECTED.replace("exceptions: []", "exceptions: [{exchange: x.json 9, name: n, expect: done, because: b}]");
    let report = failure(README, RECORDING, &more).await;
    assert!(report.contains("exception for x.json 9 is of no exchange"), "{report}");
    let more = EXPECTED.replace("leftOut:", "leftOut:\n- {requests: [\"GET /api/never\"], because: nobody asks}");
    let report = failure(README, RECORDING, &more).await;
    assert!(report.contains("leftOut row 1 (GET /api/never) is of no exchange"), "{report}");
}

#[tokio::test]
async fn an_exception_of_another_name_fails() {
    let renamed = EXPECTED
        .replace("exceptions: []", "exceptions: [{exchange: x.json 1, name: renamed, expect: done, because: b}]");
    let report = judged(README, RECORDING, &renamed).await.to_string();
    assert!(report.contains("the exception for it names \"renamed\""), "{report}");
}

#[tokio::test]
async fn a_file_that_the_readme_does_not_name_fails_and_so_does_one_that_is_missing() {
    let report = failure(&README.replace("infisical/x", "infisical/x, y"), RECORDING, EXPECTED).await;
    assert!(report.contains("infisical/y.json: README.md names this file, and it isn't there"), "{report}");
    let other = README.replace("infisical/x", "infisical/y");
    let report = judged(&other, RECORDING, EXPECTED).await.to_string();
    assert!(report.contains("infisical/x.json: README.md doesn't name this file"), "{report}");
}

#[tokio::test]
async fn an_answer_that_the_client_never_asks_for_fails() {
    let wrong = EXPECTED.replace("drive: list", "drive: replace").replace("expect: read", "expect: done");
    let report = judged(README, RECORDING, &wrong).await.to_string();
    assert!(report.contains("the client didn't ask for it, but: "), "{report}");
}

#[tokio::test]
async fn a_call_that_is_left_out_and_made_fails() {
    let left_out = EXPECTED.replace(r#"["GET /api/status"]"#, r#"["GET /api/status", "GET /api/v1/projects/**"]"#);
    let report = judged(README, RECORDING, &left_out).await.to_string();
    assert!(report.contains("leftOut row 1 says that it never does"), "{report}");
}
