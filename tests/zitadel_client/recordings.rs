//! Every recorded answer of the calls that the client makes.

use super::*;

/// One kind of call that the client makes, as it is found among the recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    List,
    Create,
    Replace,
    Remove,
    FindProject,
    FindUser,
}

/// Whose members a call is about, and by which API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Projects,
    Grants,
    Administrators,
    /// v1 or v2 of what both have.
    Names {
        v2: bool,
    },
}

/// The call that a recorded request is; `None`: the client doesn't make it.
fn call_of(exchange: &Value) -> Option<(Of, Call)> {
    let request = &exchange["request"];
    let (method, path) = (request["method"].as_str()?, request["path"].as_str()?);
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    Some(match (method, parts.as_slice()) {
        ("POST", ["management", "v1", "projects", "_search"]) => (Of::Names { v2: false }, Call::FindProject),
        ("POST", ["zitadel.project.v2.ProjectService", "ListProjects"]) => (Of::Names { v2: true }, Call::FindProject),
        ("POST", ["management", "v1", "users", "_search"]) => (Of::Names { v2: false }, Call::FindUser),
        ("POST", ["v2", "users"]) => (Of::Names { v2: true }, Call::FindUser),
        ("POST", ["management", "v1", "projects", _, "members", "_search"]) => (Of::Projects, Call::List),
        ("POST", ["management", "v1", "projects", _, "members"]) => (Of::Projects, Call::Create),
        ("PUT", ["management", "v1", "projects", _, "members", _]) => (Of::Projects, Call::Replace),
        ("DELETE", ["management", "v1", "projects", _, "members", _]) => (Of::Projects, Call::Remove),
        ("POST", ["management", "v1", "projects", _, "grants", _, "members", "_search"]) => (Of::Grants, Call::List),
        ("POST", ["management", "v1", "projects", _, "grants", _, "members"]) => (Of::Grants, Call::Create),
        ("PUT", ["management", "v1", "projects", _, "grants", _, "members", _]) => (Of::Grants, Call::Replace),
        ("DELETE", ["management", "v1", "projects", _, "grants", _, "members", _]) => (Of::Grants, Call::Remove),
        ("POST", [service, name]) if service.ends_with(".InternalPermissionService") => {
            let call = match *name {
                "ListAdministrators" => Call::List,
                "CreateAdministrator" => Call::Create,
                "UpdateAdministrator" => Call::Replace,
                "DeleteAdministrator" => Call::Remove,
                _ => return None,
            };
            (Of::Administrators, call)
        }
        _ => return None,
    })
}

/// The meaning of each recorded response for a call, written manually from docs/reference/zitadel.md. What the response
/// leaves open, the project or the grant says, which is there.
fn expected(of: Of, call: Call, status: u64, id: &str) -> &'static str {
    use Call::{Create, FindProject, FindUser, List, Remove, Replace};
    match (of, call, status, id) {
        (_, _, 200, "") => "Ok",
        (_, Replace, 404, "PROJECT-D8JxR" | "PROJECT-37fug") => "Progressing",
        (_, Create, 409, "PROJECT-PtXi1" | "V3-DKcYh") | (_, Create, 404, "PROJECT-37fug") => "Progressing",
        (_, Create, 400, "COMMAND-uXHNj") => "SubjectNotFound",
        (_, Create, 400, "COMMAND-EbFMN") | (_, _, 403, "AUTH-Bs7Ds") => "ProjectNotFound",
        (Of::Grants | Of::Administrators, Create, 404, "PROJECT-D8JxR") => "ProjectNotFound",
        (_, Create, 400, "PROJECT-3m9ds" | "PROJECT-m9gKK") => "RoleNotFound",
        (_, Replace, 400, "PROJECT-3m9d" | "PROJECT-m0sDf") => "RoleNotFound",
        // Validation: our own requests are checked before, so these are refusals without a better name.
        (_, Create, 400, "PROJECT-W8m4l" | "PROJECT-8fi7G" | "") => "Rejected",
        (_, Replace, 400, "PROJECT-LiaZi" | "PROJECT-109fs" | "ADMIN-i0V2IbdloZ" | "") => "Rejected",
        (_, Remove, 400, "ADMIN-3UOjLtuohh") | (_, List, 400, "QUERY-4M0fs" | "") => "Rejected",
        (_, _, 404, "AUTHZ-cdgFk") | (_, _, 403, "AUTH-5mWD2" | "AUTH-3jknH") => "Forbidden",
        (_, _, 401, "AUTH-7fs1e" | "AUTH-toLo1" | "") => "Unauthorized",
        (_, FindProject | FindUser, ..) => panic!("no expectation for {call:?}, {status} {id}"),
        (_, _, 404 | 500, "") => "Unreachable",
        other => panic!("no expectation for {other:?}"),
    }
}

/// The id of a refusal of v1 or v2.
fn id_of(body: &Value) -> &str {
    let detail = &body["details"][0];
    detail["id"].as_str().or(detail["debug"]["id"].as_str()).unwrap_or_default()
}

/// Long lists are recorded shortened, with a text in the place of the rows that were left out.
fn is_shortened(body: &Value) -> bool {
    body["result"].as_array().is_some_and(|rows| rows.iter().any(Value::is_string))
        || body["administrators"].is_string()
}

/// Sends the recorded answers of the files to the calls that they answer; how many there were.
async fn understood(files: &[&str], wanted: impl Fn(Of) -> bool) -> usize {
    let worlds = [World::start().await, World::of_v2().await];
    for world in &worlds {
        world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
    }
    let mut seen = 0;
    for file in files {
        for exchange in exchanges(file) {
            let Some((of, call)) = call_of(&exchange).filter(|(of, _)| wanted(*of)) else { continue };
            let body = &exchange["response"]["body"];
            if is_shortened(body) {
                continue;
            }
            let world = &worlds[usize::from(matches!(of, Of::Administrators | Of::Names { v2: true }))];
            let status = exchange["response"]["status"].as_u64().unwrap();
            let answer = Answer::new(u16::try_from(status).unwrap(), body.clone());
            let found = answered(world, of, call, &exchange, answer).await;
            let name = &exchange["name"];
            let hidden = call == Call::List
                && body["administrators"].is_null()
                && body["pagination"]["totalResult"].as_str().is_some_and(|total| total != "0");
            let expected = if hidden { "Forbidden" } else { expected(of, call, status, id_of(body)) };
            assert_eq!(found, expected, "{file}, {name}");
            seen += 1;
        }
    }
    seen
}

/// What the client makes of an answer.
async fn answered(world: &World, of: Of, call: Call, exchange: &Value, answer: Answer) -> String {
    let body = answer.body.clone();
    let resource = &exchange["request"]["body"]["resource"];
    let of_grant = of == Of::Grants || resource.get("projectGrant").is_some();
    // GRACE is a member, so that "exists" is right.
    let roles: &[&str] = if of_grant { &[GRANT_OWNER] } else { &[OWNER] };
    let project = if of_grant { grant() } else { under(None) };
    if of_grant {
        world.server().set_roles((PROJECT, GRANT), GRACE, &[GRANT_VIEWER]);
        // The grant's organization is looked up before.
        world.list(&project).await.unwrap();
    }
    let user = member_of(&project, GRACE);
    let path = match (of, call) {
        (Of::Names { v2: false }, Call::FindUser) => "/management/v1/users/_search",
        (Of::Names { v2: true }, Call::FindUser) => "/v2/users",
        _ => "",
    };
    world.server().clear_orders();
    world.order(Order::next(Fault::Status(answer)).on("", path));
    let result = match call {
        Call::List => list(world, of, exchange, &project, &body).await,
        Call::Create => world.apply(&user, &create(roles)).await.map(|receipt| matches_version(&body, receipt)),
        Call::Replace => world.apply(&user, &replace(roles)).await.map(|receipt| matches_version(&body, receipt)),
        Call::Remove => world.apply(&user, &Change::Remove).await.map(|receipt| matches_version(&body, receipt)),
        Call::FindProject => find_project(world, exchange, &body).await,
        Call::FindUser => find_user(world, exchange, &body).await,
    };
    world.server().clear_orders();
    if matches!(result, Err(Error::Unreachable { .. })) {
        // Which API is served may be in doubt by now.
        world.find_out().await;
    }
    result.map_or_else(|error| format!("{:?}", error.reason()), |()| "Ok".to_owned())
}

async fn list(world: &World, of: Of, exchange: &Value, project: &Project, body: &Value) -> Result<(), Error> {
    if of != Of::Administrators {
        return world.list(project).await.map(|listing| is_shown(body, &listing));
    }
    // v2's rows say whose they are, and are compared with that: the recorded project is asked for.
    let filters = exchange["request"]["body"]["filters"].as_array().cloned().unwrap_or_default();
    let resource = filters.iter().find_map(|filter| filter.get("resource")).cloned().unwrap_or_default();
    let row = &body["administrators"][0];
    let granted = &resource["projectGrant"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let id = [&granted["projectId"], &resource["projectId"], &row["project"]["id"]].into_iter().find_map(text);
    let project = Project {
        organization_id: text(&granted["organizationId"]),
        id: id.unwrap_or_else(|| PROJECT.to_owned()),
        grant_id: text(&row["projectGrant"]["id"]),
    };
    world.server().clear_orders();
    let grants = json!([{"projectId": project.id, "grantedOrganizationId": granted["organizationId"]}]);
    for (path, answer) in [
        ("ListProjectGrants", json!({"pagination": {"totalResult": "1"}, "projectGrants": grants})),
        // An empty list is believed of a project that is there.
        ("GetProject", json!({"project": {"projectId": project.id, "organizationId": ORG}})),
    ] {
        world.order(Order::next(Fault::Status(Answer::new(200, answer))).on("", path));
    }
    let status = u16::try_from(exchange["response"]["status"].as_u64().unwrap()).unwrap();
    world.order(Order::next(Fault::Status(Answer::new(status, body.clone()))).on("", "ListAdministrators"));
    world.list(&project).await.map(|listing| is_shown_v2(body, &listing))
}

/// The projects of exactly the name that was asked for, in the organization that was named.
async fn find_project(world: &World, exchange: &Value, body: &Value) -> Result<(), Error> {
    let request = &exchange["request"];
    let queries = request["body"]["queries"].as_array().or(request["body"]["filters"].as_array()).unwrap();
    let name = queries
        .iter()
        .find_map(|query| query["nameQuery"]["name"].as_str().or(query["projectNameFilter"]["projectName"].as_str()));
    let found = world.zitadel.find_project(&world.permit().await, name.unwrap_or("any"), None).await?;
    let rows = body["result"].as_array().or(body["projects"].as_array()).cloned().unwrap_or_default();
    let rows = rows.iter().filter(|row| row["name"].as_str() == name);
    let mut ids: Vec<&str> = rows.filter_map(|row| row["id"].as_str().or(row["projectId"].as_str())).collect();
    ids.sort_unstable();
    assert_eq!(found, ids, "{name:?}");
    Ok(())
}

/// The users with exactly the name that was asked for.
async fn find_user(world: &World, exchange: &Value, body: &Value) -> Result<(), Error> {
    let queries = exchange["request"]["body"]["queries"].as_array().unwrap();
    let name = queries.iter().find_map(|query| {
        let names = [&query["userNameQuery"]["userName"], &query["loginNameQuery"]["loginName"]];
        let emails = [&query["emailQuery"]["emailAddress"], &query["inUserEmailsQuery"]["userEmails"][0]];
        names.into_iter().chain(emails).find_map(Value::as_str)
    });
    let name = name.unwrap_or("nobody@zitadel.test");
    let found = world.zitadel.find_subject(&world.permit().await, &project(), SubjectKind::User, name).await?;
    let has = |row: &&Value| {
        let login_names = row["loginNames"].as_array().cloned().unwrap_or_default();
        let names = [&row["userName"], &row["username"], &row["human"]["email"]["email"]];
        names.into_iter().chain(&login_names).any(|one| one.as_str() == Some(name))
    };
    let rows = body["result"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<&str> =
        rows.iter().filter(has).filter_map(|row| row["id"].as_str().or(row["userId"].as_str())).collect();
    ids.sort_unstable();
    assert_eq!(found, ids, "{name}");
    Ok(())
}

/// The receipt has the recorded sequence, or date in microseconds; none where it was left out.
fn matches_version(body: &Value, receipt: Receipt) {
    let sequence = body["details"]["sequence"].as_str().map(|sequence| sequence.parse().unwrap());
    let dates = ["creationDate", "changeDate", "deletionDate"];
    let date = dates.iter().find_map(|name| body[*name].as_str()).map(micros);
    assert_eq!(receipt.version, sequence.or(date), "{body}");
}

fn micros(date: &str) -> u64 {
    u64::try_from(date.parse::<jiff::Timestamp>().unwrap().as_microsecond()).unwrap()
}

/// Every recorded row is a member with its sequence and roles; a total that the rows don't reach is a partial list.
fn is_shown(body: &Value, listing: &Listing) {
    let rows = body["result"].as_array().cloned().unwrap_or_default();
    for row in &rows {
        let sequence = row["details"]["sequence"].as_str().unwrap().parse().unwrap();
        is_member(listing, row["userId"].as_str().unwrap(), sequence, &row["roles"]);
    }
    let total: usize = body["details"]["totalResult"].as_str().map_or(0, |total| total.parse().unwrap());
    assert_eq!(listing.partial, total != rows.len(), "{} of {total} rows", rows.len());
}

/// The same of v2: rows of the project or grant that was asked for, with the date of their last change.
fn is_shown_v2(body: &Value, listing: &Listing) {
    let rows = body["administrators"].as_array().cloned().unwrap_or_default();
    for row in rows.iter().filter(|row| row.get("project").is_some() || row.get("projectGrant").is_some()) {
        is_member(
            listing,
            row["user"]["id"].as_str().unwrap(),
            micros(row["changeDate"].as_str().unwrap()),
            &row["roles"],
        );
    }
    let total: usize = body["pagination"]["totalResult"].as_str().map_or(0, |total| total.parse().unwrap());
    assert_eq!(listing.partial, total != rows.len(), "{} of {total} rows", rows.len());
}

fn is_member(listing: &Listing, user: &str, version: u64, recorded: &Value) {
    let set = |roles: Vec<&str>| roles.into_iter().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let member = listing.members.iter().find(|member| member.subject_id == user).unwrap();
    assert_eq!(member.version, Some(version), "{user}");
    let recorded = recorded.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(set(roles(Some(member))), set(recorded), "{user}");
}

#[tokio::test]
async fn every_recorded_answer_about_members_of_projects_is_understood() {
    let files = ["project-members", "organization-header", "permissions", "auth", "concurrency"];
    let seen = understood(&files, |of| of == Of::Projects).await;
    assert!(seen > 300, "only {seen} exchanges of these calls were found");
}

#[tokio::test]
async fn every_recorded_answer_about_members_of_grants_is_understood() {
    let seen = understood(&["project-grant-members"], |of| of == Of::Grants).await;
    assert!(seen >= 60, "only {seen} exchanges of these calls were found");
}

#[tokio::test]
async fn every_recorded_answer_of_v2_is_understood() {
    let seen = understood(&["internal-permissions-v2", "concurrency"], |of| of == Of::Administrators).await;
    assert!(seen > 90, "only {seen} exchanges of these calls were found");
}

#[tokio::test]
async fn every_recorded_answer_about_names_is_understood() {
    let seen = understood(&["name-resolution"], |of| matches!(of, Of::Names { .. })).await;
    assert!(seen >= 38, "only {seen} exchanges of these calls were found");
}
