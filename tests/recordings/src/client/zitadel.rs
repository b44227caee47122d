//! Scenes of ZITADEL.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use membership_operator::member::Project;
use membership_operator::provider::Provider;
use membership_operator::provider::http::Endpoint;
use membership_operator::provider::zitadel::{Credentials, KeyFile, Zitadel};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Bench, Scene, error, operation, permit};
use crate::expected::{Drive, error_of};
use crate::recording::Exchange;
use crate::server::{Answer, Asked};

const PROJECT: &str = "400623434683386918";
const USER: &str = "400623434716941350";
const ORGANIZATION: &str = "400623100078656550";
const GRANT: &str = "400624159308513318";
const NAME: &str = "deployer";
const TOKEN: &str = "/oauth/v2/token";
/// The host that the recorded instance calls itself.
const INSTANCE_HOST: &str = "localhost:28080";
/// Nothing has this id, whatever the recording.
const NOTHING: &str = "999999999999999999";

/// The values of the path and the body; where the client would refuse to send one (no digits), a stand-in.
pub fn values(recorded: &BTreeMap<String, String>, exchange: &Exchange) -> BTreeMap<String, String> {
    let mut values = recorded.clone();
    let body = exchange.request.body.clone().unwrap_or_default();
    let resource = &resource(&body);
    let grant = &resource["projectGrant"];
    let named = organization(exchange).or_else(|| grant["organizationId"].as_str().map(str::to_owned));
    let shown = &exchange.response.body["administrators"][0]["projectGrant"]["id"];
    for (name, told, stand_in) in [
        ("project", [resource, grant, &body].iter().find_map(|of| of["projectId"].as_str()), PROJECT),
        ("grant", shown.as_str().or(grant.is_object().then_some(GRANT)), ""),
        ("organization", named.as_deref().or(grant.is_object().then_some(ORGANIZATION)), ""),
        ("user", body["userId"].as_str(), USER),
    ] {
        let value = values.entry(name.to_owned()).or_insert_with(|| told.unwrap_or(stand_in).to_owned());
        if !is_id(value) && !stand_in.is_empty() {
            *value = stand_in.to_owned();
        }
    }
    values
}

/// What v2 names as the resource, in a write or in a list's filters.
fn resource(body: &Value) -> Value {
    let filters = body["filters"].as_array().into_iter().flatten();
    let resource = filters.map(|filter| &filter["resource"]).find(|resource| !resource.is_null());
    resource.unwrap_or(&body["resource"]).clone()
}

fn is_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The name that is looked for: the first one of the request's queries.
pub fn name(exchange: &Exchange) -> String {
    let fields = ["name", "userName", "loginName", "emailAddress", "email", "projectName", "displayName"];
    let mut next: Vec<&Value> = exchange.request.body.iter().collect();
    while let Some(value) = next.pop() {
        match value {
            Value::Object(object) => {
                let named = fields.iter().find_map(|field| object.get(*field)?.as_str());
                if let Some(name) = named.filter(|name| !name.is_empty()) {
                    return name.to_owned();
                }
                next.extend(object.values());
            }
            Value::Array(items) => next.extend(items.iter().rev()),
            _ => {}
        }
    }
    NAME.to_owned()
}

/// The organization that the request was about: the header's first value, or v2's filter.
fn organization(exchange: &Exchange) -> Option<String> {
    let filters = exchange.request.body.as_ref().and_then(|body| body["filters"].as_array()).into_iter().flatten();
    let filtered = filters.filter_map(|filter| filter["organizationIdFilter"]["organizationId"].as_str()).next();
    let headers = exchange.request.headers.iter().flatten();
    let header =
        headers.filter(|(name, _)| name.eq_ignore_ascii_case("x-zitadel-orgid")).map(|(_, value)| value).next();
    let first = filtered.or(header.and_then(|value| value.split(" and ").next()))?.trim();
    Some(if is_id(first) { first.to_owned() } else { ORGANIZATION.to_owned() })
}

/// Whether a request only asks whether v2 is served: for administrators of nobody.
pub fn is_knock(asked: &Asked) -> bool {
    asked.path.ends_with("/ListAdministrators") && asked.body["filters"][0]["inUserIdsFilter"]["ids"] == json!(["0"])
}

/// Whether the scene is of the newer API: then the older one isn't served.
fn is_v2(scene: &Scene<'_>) -> bool {
    let path = scene.pattern.fill(&BTreeMap::new());
    path.starts_with("/zitadel.") || path.starts_with("/v2/users")
}

/// Plays the client's part.
pub async fn operate(bench: &Bench, scene: &Scene<'_>) -> String {
    let endpoint = Endpoint::parse(&bench.server.url).expect("an endpoint");
    let instance_host = scene.drive.signs_in().then(|| INSTANCE_HOST.to_owned());
    let zitadel = Zitadel::new(bench.client.clone(), endpoint, credentials(scene), instance_host);
    match scene.drive {
        Drive::Discover => return discover(bench, &zitadel).await,
        _ if scene.drive.signs_in() => return operation::sign_in(bench, &zitadel, scene).await,
        _ => {}
    }
    let some = |name: &str| Some(scene.value(name).to_owned()).filter(|id| !id.is_empty());
    // v2 names a grant by the organization that it is made to.
    let project = Project {
        organization_id: some("organization"),
        id: scene.value("project").to_owned(),
        grant_id: some("grant"),
    };
    let role = if project.grant_id.is_some() { "PROJECT_GRANT_OWNER" } else { "PROJECT_OWNER" };
    operation::run(&zitadel, scene, project, scene.value("user").to_owned(), role).await
}

/// With which credential: a client's secret, where the recorded request has one, else a key; otherwise a token.
fn credentials(scene: &Scene<'_>) -> Credentials {
    if !scene.drive.signs_in() {
        return Credentials::PersonalAccessToken("token-of-the-operator".to_owned().into());
    }
    let form = scene.exchange.request.form.iter().flatten();
    if form.clone().any(|(field, value)| field == "grant_type" && value == "client_credentials") {
        let client_secret = "secret-of-the-client".to_owned().into();
        return Credentials::ClientCredentials { client_id: "robot".to_owned(), client_secret };
    }
    let file = json!({"type": "serviceaccount", "keyId": "400624056296016934", "userId": USER,
                      "key": simulator::worlds::ZITADEL_KEY});
    Credentials::PrivateKeyJwt(KeyFile::parse(&file.to_string().into()).expect("a key file"))
}

/// Signs in, and says for whom the assertion was made.
async fn discover(bench: &Bench, zitadel: &Zitadel) -> String {
    if let Err(refused) = zitadel.verify(&permit(false).await).await {
        return error(&refused);
    }
    let asked = bench.server.asked().0;
    let form = asked.iter().find(|asked| asked.path == TOKEN).map(|asked| asked.text.clone()).unwrap_or_default();
    let assertion = form_urlencoded::parse(form.as_bytes()).find(|(field, _)| field == "assertion");
    let assertion = assertion.map(|(_, assertion)| assertion.into_owned()).unwrap_or_default();
    let claims = assertion.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: Value = serde_json::from_slice(&claims.unwrap_or_default()).unwrap_or_default();
    format!("signs for {:?}", claims["aud"].as_str().unwrap_or_default())
}

/// What a healthy server answers to everything but the recorded request: the project is where it is looked for, the
/// user has a login name, and is a member where the scene presupposes it.
pub fn neutral(scene: &Scene<'_>) -> impl FnMut(&Asked, usize) -> Option<Answer> + Send + 'static {
    let [user, grant, organization] = ["user", "grant", "organization"].map(|name| scene.value(name).to_owned());
    let project = scene.value("project").to_owned();
    let organization = if organization.is_empty() { ORGANIZATION.to_owned() } else { organization };
    let (drive, v2) = (scene.drive, is_v2(scene));
    // A grant as the organization sees it that was given it: to the other path it is another's.
    let given = scene.pattern.fill(&BTreeMap::new()).contains("/granted_projects/");
    // Who can't be added because he is there, is there.
    let there = scene.is_member()
        || ["PROJECT-37fug", "PROJECT-PtXi1", "V3-DKcYh"].contains(&error_of(scene.exchange).as_str());
    // The page after the recorded one, and the list of a project without members, are empty.
    let listed = there && !matches!(drive, Drive::List | Drive::LookAtProject);
    move |asked, _| {
        let path = asked.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let details = json!({"sequence": "9000", "resourceOwner": organization});
        let mut administrators = json!({"pagination": {"appliedLimit": "1000"}});
        if listed && !is_knock(asked) {
            let of = if grant.is_empty() {
                json!({"project": {"id": project, "organizationId": organization}})
            } else {
                json!({"projectGrant": {"id": grant, "projectId": project, "grantedOrganizationId": organization}})
            };
            let mut row =
                json!({"user": {"id": user}, "changeDate": "2026-11-21T18:00:00Z", "roles": ["PROJECT_OWNER_VIEWER"]});
            row.as_object_mut()?.extend(of.as_object()?.clone());
            administrators =
                json!({"pagination": {"totalResult": "1", "appliedLimit": "1000"}, "administrators": [row]});
        }
        let rows = json!([{"userId": user, "details": details, "roles": ["PROJECT_OWNER_VIEWER"]}]);
        let body = match (asked.method.as_str(), parts.as_slice()) {
            (_, ["management", ..]) if v2 => return Some(refused(404, 5, "Not Found", "")),
            ("GET", ["management", "v1", "projects", id]) if *id == NOTHING => {
                return Some(refused(404, 5, "Project not found (QUERY-fk2fs)", "QUERY-fk2fs"));
            }
            ("GET", [".well-known", "openid-configuration"]) => json!({"issuer": format!("http://{INSTANCE_HOST}")}),
            ("POST", ["oauth", "v2", "token"]) => {
                json!({"access_token": "another", "token_type": "Bearer", "expires_in": 43199})
            }
            ("POST", [.., "roles", "_search"]) => json!({"result": ["PROJECT_OWNER_GLOBAL"]}),
            ("POST", [.., "members", "_search"]) if listed => json!({"details": {"totalResult": "1"}, "result": rows}),
            ("POST", [.., "_search"] | ["v2", "users"]) => json!({"details": {}}),
            ("POST", [.., "members"]) | ("PUT" | "DELETE", [.., "members", _]) => json!({"details": details}),
            ("GET", ["management", "v1", "projects", id]) => {
                json!({"project": {"id": id, "details": {"sequence": "1", "resourceOwner": organization}, "name": "shop"}})
            }
            ("GET", ["management", "v1", "projects", _, "grants", _]) if given => {
                return Some(refused(404, 5, "Errors.ProjectGrant.NotFound (MANAG-d3g31)", "MANAG-d3g31"));
            }
            ("GET", ["management", "v1", kind, id, "grants", of]) => {
                let found = json!({"projectId": id, "grantId": of, "grantedOrgId": organization, "details": details});
                let field = if *kind == "projects" { "projectGrant" } else { "grantedProject" };
                json!({field: found})
            }
            ("GET", ["management", "v1", "users", _]) => json!({"user": {"id": user, "loginNames": ["deployer"]}}),
            ("GET", ["v2", "users", _]) => json!({"user": {"userId": user, "loginNames": ["deployer"]}}),
            ("POST", [_, "ListAdministrators"]) => administrators,
            ("POST", [_, "CreateAdministrator"]) => json!({"creationDate": "2026-11-21T19:00:00Z"}),
            ("POST", [_, "UpdateAdministrator"]) => json!({"changeDate": "2026-11-21T19:00:00Z"}),
            ("POST", [_, "DeleteAdministrator"]) => json!({"deletionDate": "2026-11-21T19:00:00Z"}),
            ("POST", [_, "GetProject"]) if asked.body["projectId"] == NOTHING => return Some(missing_v2()),
            ("POST", [_, "GetProject"]) => {
                json!({"project": {"projectId": asked.body["projectId"], "organizationId": organization}})
            }
            ("POST", [_, "ListProjectGrants"]) => {
                json!({"pagination": {"totalResult": "1"},
                       "projectGrants": [{"projectId": project, "grantedOrganizationId": organization}]})
            }
            _ => return None,
        };
        Some(Answer::json(200, &body))
    }
}

fn refused(status: u16, code: u8, message: &str, id: &str) -> Answer {
    let details = if id.is_empty() { json!([]) } else { json!([{"id": id, "message": message}]) };
    Answer::json(status, &json!({"code": code, "message": message, "details": details}))
}

fn missing_v2() -> Answer {
    let debug = json!({"id": "QUERY-fk2fs", "message": "Project not found"});
    Answer::json(404, &json!({"code": "not_found", "message": "Project not found", "details": [{"debug": debug}]}))
}
