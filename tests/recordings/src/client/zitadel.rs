//! Scenes of ZITADEL.

mod neutral;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use membership_operator::core::member::Project;
use membership_operator::provider::Provider;
use membership_operator::provider::http::Endpoint;
use membership_operator::provider::zitadel::{Credentials, KeyFile, Zitadel};
use serde_json::{Value, json};
use url::form_urlencoded;

use self::neutral::Healthy;
use super::{Bench, ReplayCase, error, operation, permit};
use crate::expected::Drive;
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

/// The values of the path and the body; where the client would refuse to send one (no digits), a stand-in.
pub fn values(recorded: &BTreeMap<String, String>, exchange: &Exchange) -> BTreeMap<String, String> {
    let mut values = recorded.clone();
    let body = exchange.request.body.clone().unwrap_or_default();
    let resource = &resource(&body);
    let grant = &resource["projectGrant"];
    let named = organization(exchange).or_else(|| grant["organizationId"].as_str().map(str::to_owned));
    let shown = &exchange.response.body["administrators"][0]["projectGrant"]["id"];
    for (name, expected_value, stand_in) in [
        ("project", [resource, grant, &body].iter().find_map(|of| of["projectId"].as_str()), PROJECT),
        ("grant", shown.as_str().or(grant.is_object().then_some(GRANT)), ""),
        ("organization", named.as_deref().or(grant.is_object().then_some(ORGANIZATION)), ""),
        ("user", body["userId"].as_str(), USER),
    ] {
        let value = values.entry(name.to_owned()).or_insert_with(|| expected_value.unwrap_or(stand_in).to_owned());
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
fn is_v2(case: &ReplayCase<'_>) -> bool {
    let path = case.pattern.fill(&BTreeMap::new());
    path.starts_with("/zitadel.") || path.starts_with("/v2/users")
}

/// Plays the client's part.
pub async fn operate(bench: &Bench, case: &ReplayCase<'_>) -> String {
    let endpoint = Endpoint::parse(&bench.server.url).expect("an endpoint");
    let instance_host = case.drive.signs_in().then(|| INSTANCE_HOST.to_owned());
    let zitadel = Zitadel::new(&bench.client, endpoint, credentials(case), instance_host);
    match case.drive {
        Drive::Discover => return discover(bench, &zitadel).await,
        _ if case.drive.signs_in() => return operation::sign_in(bench, &zitadel, case).await,
        _ => {}
    }
    let some = |name: &str| Some(case.value(name).to_owned()).filter(|id| !id.is_empty());
    // v2 names a grant by the organization that it is made to.
    let project = Project {
        organization_id: some("organization"),
        id: case.value("project").to_owned(),
        grant_id: some("grant"),
    };
    let role = if project.grant_id.is_some() { "PROJECT_GRANT_OWNER" } else { "PROJECT_OWNER" };
    operation::run(&zitadel, case, project, case.value("user").to_owned(), role).await
}

/// With which credential: a client's secret, where the recorded request has one, else a key; otherwise a token.
fn credentials(case: &ReplayCase<'_>) -> Credentials {
    if !case.drive.signs_in() {
        return Credentials::PersonalAccessToken("token-of-the-operator".to_owned().into());
    }
    let form = case.exchange.request.form.iter().flatten();
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

/// What answers everything but the recorded request.
pub fn neutral(case: &ReplayCase<'_>) -> impl FnMut(&Asked, usize) -> Option<Answer> + Send + 'static {
    let server = Healthy::new(case);
    move |asked, _| server.answer(asked)
}
