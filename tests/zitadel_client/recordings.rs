//! Every recorded answer of the calls that the client makes.

use super::*;

/// The calls that the client makes, among those that were recorded.
fn call_of(exchange: &Value) -> Option<&'static str> {
    let request = &exchange["request"];
    let (method, path) = (request["method"].as_str()?, request["path"].as_str()?);
    let path = path.strip_prefix("/management/v1/projects/")?;
    let parts: Vec<&str> = path.split('/').collect();
    match (method, parts.as_slice()) {
        ("POST", [_, "members", "_search"]) => Some("list"),
        ("POST", [_, "members"]) => Some("create"),
        ("PUT", [_, "members", _]) => Some("replace"),
        ("DELETE", [_, "members", _]) => Some("remove"),
        _ => None,
    }
}

/// What each recorded answer is to a call, written by hand from reference/zitadel.md. `locate`: what the project says,
/// which is asked when the answer leaves it open (here: it is there).
fn expected(call: &str, status: u64, id: &str) -> &'static str {
    match (call, status, id) {
        (_, 200, "") => "Ok",
        ("replace", 404, "PROJECT-D8JxR") | ("create", 409, "PROJECT-PtXi1" | "V3-DKcYh") => "Progressing",
        ("create", 400, "COMMAND-uXHNj") => "SubjectNotFound",
        ("create", 400, "COMMAND-EbFMN") | (_, 403, "AUTH-Bs7Ds") => "ProjectNotFound",
        ("create", 400, "PROJECT-3m9ds") | ("replace", 400, "PROJECT-3m9d") => "RoleNotFound",
        // Validation: our own requests are checked before, so these are refusals without a better name.
        ("create", 400, "PROJECT-W8m4l" | "") | ("replace", 400, "PROJECT-LiaZi" | "") | ("list", 400, "") => {
            "Rejected"
        }
        (_, 404, "AUTHZ-cdgFk") | (_, 403, "AUTH-5mWD2" | "AUTH-3jknH") => "Forbidden",
        (_, 401, "AUTH-7fs1e" | "AUTH-toLo1" | "") => "Unauthorized",
        (_, 404 | 500, "") => "Unreachable",
        other => panic!("no expectation for {other:?}"),
    }
}

#[tokio::test]
async fn every_recorded_answer_is_understood() {
    let world = World::start().await;
    // Under no organization of ours: the recordings have their own. GRACE is there, so that a 409 is somebody's.
    let user = Target { project: under(None), ..target(GRACE) };
    let mut seen = 0;
    for file in ["project-members", "organization-header", "permissions", "auth", "concurrency"] {
        for exchange in exchanges(file) {
            let Some(call) = call_of(&exchange) else { continue };
            let response = &exchange["response"];
            // Long lists are recorded shortened, with a text in the place of the rows that were left out.
            if response["body"]["result"].as_array().is_some_and(|rows| rows.iter().any(Value::is_string)) {
                continue;
            }
            let status = response["status"].as_u64().unwrap();
            let id = response["body"]["details"].as_array().and_then(|details| details[0]["id"].as_str()).unwrap_or("");
            let answer = Answer::new(u16::try_from(status).unwrap(), response["body"].clone());
            world.server().clear_orders();
            world.order(Order::next(Fault::Status(answer)));
            let result = match call {
                "list" => world.list(&user.project).await.map(|listing| is_shown(&response["body"], &listing)),
                "create" => {
                    world.apply(&user, &create(&[OWNER])).await.map(|receipt| is_told(&response["body"], receipt))
                }
                "replace" => world.apply(&user, &replace(&[OWNER])).await.map(|r| is_told(&response["body"], r)),
                _ => world.apply(&user, &Change::Remove).await.map(|receipt| is_told(&response["body"], receipt)),
            };
            let found = result.map_or_else(|error| format!("{:?}", error.reason()), |()| "Ok".to_owned());
            assert_eq!(found, expected(call, status, id), "{file}, {}", exchange["name"]);
            seen += 1;
        }
    }
    assert!(seen > 300, "only {seen} exchanges of these calls were found");
}

/// The receipt has the recorded sequence; none where it was left out.
fn is_told(body: &Value, receipt: Receipt) {
    let sequence = body["details"]["sequence"].as_str().map(|sequence| sequence.parse().unwrap());
    assert_eq!(receipt.version, sequence, "{body}");
}

/// Every recorded row is a member with its sequence and roles; a total that the rows don't reach is a partial list.
fn is_shown(body: &Value, listing: &Listing) {
    let rows = body["result"].as_array().cloned().unwrap_or_default();
    for row in &rows {
        let member =
            listing.members.iter().find(|member| member.subject_id == row["userId"].as_str().unwrap()).unwrap();
        let sequence = row["details"]["sequence"].as_str().unwrap();
        assert_eq!(member.version, Some(sequence.parse().unwrap()), "{row}");
        let recorded: std::collections::BTreeSet<&str> =
            row["roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap()).collect();
        assert_eq!(roles(Some(member)).into_iter().collect::<std::collections::BTreeSet<_>>(), recorded);
    }
    let total: usize = body["details"]["totalResult"].as_str().map_or(0, |total| total.parse().unwrap());
    assert_eq!(listing.partial, total != rows.len(), "{} of {total} rows", rows.len());
}
