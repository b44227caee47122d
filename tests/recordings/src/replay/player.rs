//! Sends a recording to the simulator.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use simulator::{Front, Jwt, Simulator};

use super::compare::{Bindings, Context, compare};
use super::world::{Caller, Change, Key, SentJwt, Special, WorldFile};
use super::zitadel;
use crate::recording::Exchange;

/// A simulated server, and who calls it.
pub struct Player {
    simulator: Simulator,
    is_infisical: bool,
    client: reqwest::Client,
    callers: BTreeMap<String, Option<Caller>>,
    /// client id → the token of its last login.
    logins: BTreeMap<String, String>,
    last_token: String,
    /// Tokens of sign-ins at ZITADEL, by the names that the world file gives them.
    kept: BTreeMap<String, String>,
    host: Option<String>,
    bindings: Bindings,
}

impl Player {
    /// Starts a server with the world before the first exchange.
    pub async fn start(provider: &str, file: &WorldFile) -> Self {
        let simulator = Simulator::start().await.unwrap();
        let is_infisical = provider == "infisical";
        let offset = file.clock.duration_since(Timestamp::now());
        if is_infisical {
            simulator.infisical().set_clock_offset(offset);
            simulator.infisical().load(&serde_json::from_value(file.world.clone()).unwrap());
        } else {
            simulator.zitadel().set_clock_offset(offset);
            simulator.zitadel().load(&serde_json::from_value(file.world.clone()).unwrap());
        }
        let mut bindings = Bindings::default();
        world_ids(&file.world, &mut |id| bindings.know(id));
        // The client has no TLS of its own choice; that it stays unused here changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            simulator,
            is_infisical,
            client: reqwest::Client::new(),
            callers: file.callers.clone(),
            logins: BTreeMap::new(),
            last_token: String::new(),
            kept: BTreeMap::new(),
            host: file.host.clone(),
            bindings,
        }
    }

    fn front(&self) -> &Front {
        if self.is_infisical { self.simulator.infisical() } else { self.simulator.zitadel() }
    }

    /// Makes something happen at the server.
    pub async fn change(&mut self, change: &Change) {
        let (infisical, zitadel) = (self.simulator.infisical().clone(), self.simulator.zitadel().clone());
        match change {
            Change::Advance(seconds) => {
                let front = self.front();
                let offset = front.clock_offset() + SignedDuration::from_secs(*seconds);
                front.set_clock_offset(offset);
            }
            Change::AddIdentity(identity) => infisical.add_identity(&identity.id, &identity.name),
            Change::DeleteIdentity(id) => infisical.delete_identity(id),
            Change::AddSecret { client, secret, identity, uses, seconds } => {
                let ends = seconds.map(|s| infisical.now() + SignedDuration::from_secs(s));
                infisical.add_limited_secret(client, secret, identity, *uses, ends);
            }
            Change::RevokeSecret { client, secret } => infisical.revoke_secret(client, secret),
            Change::SetSubjectRoles(m) => infisical.set_roles(&m.project, &m.subject, m.roles.clone()),
            Change::RemoveSubject { project, subject } => {
                infisical.remove_member(project, subject);
            }
            Change::MembershipId { project, subject, id } => {
                let ids = infisical.membership_ids(project, subject);
                self.bindings.bind(id, ids.first().expect("it has a membership"));
            }
            Change::DeleteGroup(id) => infisical.delete_group(id),
            Change::SetOrgRole { subject, role } => infisical.set_org_role(subject, *role),
            Change::SetKubernetesLogin(login) => infisical.set_kubernetes_login(login.clone()),
            Change::SetOidcLogin(login) => infisical.set_oidc_login(login.clone()),
            Change::SetCluster(cluster) => infisical.set_cluster(cluster.clone()),
            Change::RemoveClusterLogin(identity) => infisical.remove_cluster_login(identity),
            Change::RevokeLastToken => infisical.revoke_token(&self.last_token),
            Change::AddIdentityMembers { project, prefix, count, digits, role } => {
                for at in 1..=*count {
                    let id = uuid::Uuid::new_v4().to_string();
                    infisical.add_identity(&id, &numbered(prefix, at, *digits));
                    infisical.set_caller_roles(project, &id, &[role]);
                }
            }
            Change::AddMembers { project, org, prefix, suffix, count, digits, role, without_login_name } => {
                for at in 1..=*count {
                    let id = format!("9{at:017}");
                    let name = format!("{}{suffix}", numbered(prefix, at, *digits));
                    zitadel.add_user(&id, org, &name);
                    zitadel.set_roles(project, &id, &[role]);
                    if without_login_name.contains(&at) {
                        zitadel.lose_login_name(&id);
                    }
                }
            }
            Change::SetLimits(limits) => infisical.set_limits(Some(*limits)),
            Change::Order(order) => self.front().order(order.clone()),
            Change::Call { times, method, path, body } => {
                let special = Special::default();
                for _ in 0..*times {
                    let url = format!("{}{path}", self.front().url());
                    let mut request = self.client.request(method.parse().unwrap(), url);
                    if let Some(token) = self.token(Some("Bearer token"), &special).flatten() {
                        request = request.bearer_auth(token);
                    }
                    if let Some(body) = body {
                        request = request.json(&self.without_redactions(body, &special));
                    }
                    request.send().await.unwrap();
                }
            }
            Change::Zitadel(change) => change.make(&zitadel),
            Change::SetRoles(m) => {
                let roles: Vec<&str> = m.roles.iter().map(String::as_str).collect();
                zitadel.set_roles(m.resource(), &m.user, &roles);
            }
            Change::DeactivateUser(id) => zitadel.deactivate_user(id),
            Change::DeactivateProject(id) => zitadel.deactivate_project(id),
            Change::DeleteUser(id) => zitadel.delete_user(id),
            Change::DeleteProject(id) if self.is_infisical => infisical.delete_project(id),
            Change::DeleteProject(id) => zitadel.delete_project(id),
            Change::DeleteOrg(id) => zitadel.delete_org(id),
        }
    }

    /// Sends a recorded request; what differs in the answer.
    pub async fn exchange(&mut self, exchange: &Exchange, special: &Special) -> Result<(), Vec<String>> {
        let sent = &exchange.request;
        let Some(token) = self.token(sent.authorization.as_deref(), special) else {
            return Err(vec![format!("no caller is known for {:?}", sent.authorization)]);
        };
        let method = sent.method.parse().unwrap();
        let url = format!("{}{}", self.front().url(), self.bindings.translated(&sent.path));
        let mut headers = headers(&sent.headers, token.as_deref().unwrap_or_default());
        if let Some(host) = &self.host {
            headers.entry(HOST).or_insert(HeaderValue::from_str(host).unwrap());
        }
        let mut request = self.client.request(method, url).headers(headers);
        if let Some(client) = zitadel::basic_client(sent.authorization.as_deref()) {
            request = request.basic_auth(client, Some(special.sign_in.secret()));
        } else if let Some(token) = token.as_ref().filter(|_| sent.authorization.is_some()) {
            request = request.bearer_auth(token);
        }
        if let Some(form) = &sent.form {
            let now = self.front().now();
            request = request.body(zitadel::filled(form, &special.sign_in, now));
        } else if let Some(raw) = &sent.raw_body {
            request = request.header(CONTENT_TYPE, "application/json").body(raw.clone());
        } else if let Some(body) = &sent.body {
            let body = as_sent(&self.without_redactions(body, special));
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| vec![format!("no answer: {error}")])?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.unwrap();
        // Nothing is recorded as null or as an empty text.
        let nothing = text.is_empty() && exchange.response.body.is_null();
        let got = if nothing { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        let mut differences = Vec::new();
        if status != exchange.response.status {
            differences.push(format!("status: expected {}, got {status}", exchange.response.status));
        }
        for (name, expected) in &exchange.response.headers {
            let got = headers.get(name).and_then(|value| value.to_str().ok());
            // How many seconds are left depends on how fast the replay is.
            let counts_down = name == "retry-after" || name == "x-ratelimit-reset";
            let same = if name == "date" {
                got.is_some()
            } else if counts_down {
                got.and_then(|got| got.parse::<u32>().ok()).is_some_and(|got| (1..=60).contains(&got))
            } else {
                got == Some(expected)
            };
            if !same {
                differences.push(format!("header {name}: expected {expected:?}, got {got:?}"));
            }
        }
        let localised = |headers: &BTreeMap<String, String>| {
            headers.keys().any(|name| name.eq_ignore_ascii_case("accept-language"))
        };
        let context = Context {
            aggregate: aggregate(&sent.path),
            cut: special.cut,
            ordered: sent.path.contains("orderBy="),
            any_text: special.any_text || sent.headers.as_ref().is_some_and(localised),
            shortened: special.shortened,
        };
        let compared = compare(&context, &mut self.bindings, &exchange.response.body, &got);
        differences.extend(compared.err().unwrap_or_default());
        if let (Some(token), Some(body)) = (got["accessToken"].as_str(), &sent.body) {
            token.clone_into(&mut self.last_token);
            // Who signs in is a client of universal auth, or an identity that the cluster knows.
            if let Some(who) = body["clientId"].as_str().or(body["identityId"].as_str()) {
                self.logins.insert(who.to_owned(), token.to_owned());
            }
        }
        if let (Some(token), Some(name)) = (got["access_token"].as_str(), &special.sign_in.keep) {
            self.kept.insert(name.clone(), token.to_owned());
        }
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    }

    /// The token of a call, `Some(None)` if there is none; nothing if the caller is unknown.
    fn token(&self, authorization: Option<&str>, special: &Special) -> Option<Option<String>> {
        if let Some(token) = &special.caller {
            return Some(Some(self.kept.get(token).unwrap_or(token).clone()));
        }
        if zitadel::basic_client(authorization).is_some() {
            return Some(None);
        }
        match self.callers.get(authorization.unwrap_or("none"))? {
            None => Some(None),
            Some(Caller::Token(token)) => Some(Some(token.clone())),
            Some(Caller::Login { login_of }) => self.logins.get(login_of).cloned().map(Some),
        }
    }

    fn without_redactions(&self, body: &Value, special: &Special) -> Value {
        let mut body = body.clone();
        if let Some(secret) = &special.client_secret {
            body["clientSecret"] = secret.as_str().into();
        }
        if let Some(jwt) = &special.jwt {
            body["jwt"] = self.jwt(jwt).into();
        }
        if body["accessToken"] == "REDACTED-JWT" {
            body["accessToken"] = self.last_token.as_str().into();
        }
        body
    }
}

impl Player {
    fn jwt(&self, sent: &SentJwt) -> String {
        let now = self.front().now();
        let (namespace, name) = sent.account.split_once('/').unwrap();
        let audiences: Vec<&str> = sent.audiences.iter().map(String::as_str).collect();
        let mut jwt = Jwt::service_account(namespace, name, &audiences, now);
        for (claim, value) in &sent.claims {
            let value = match (claim.as_str(), value.as_i64()) {
                ("exp" | "nbf", Some(seconds)) => (now.as_second() + seconds).into(),
                _ => value.clone(),
            };
            jwt = jwt.claim(claim, value);
        }
        match sent.key {
            Key::Own => {}
            Key::Unknown => {
                jwt.header.insert("kid".to_owned(), "another-key".into());
            }
            Key::Unnamed => {
                jwt.header.remove("kid");
            }
        }
        jwt.signed(sent.signature.as_deref().unwrap_or("signed")).written()
    }
}

/// The recorded headers; two values of one are written with "and" between them, a token is redacted.
fn headers(recorded: &Option<BTreeMap<String, String>>, token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in recorded.iter().flatten() {
        for value in values.replace("<redacted>", token).split(" and ") {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::try_from(name.as_str()).unwrap(), value);
        }
    }
    headers
}

/// The project whose events share a sequence, or the path where there is none.
fn aggregate(path: &str) -> &str {
    path.split_once("/projects/").map_or(path, |(_, rest)| rest.split('/').next().unwrap_or(rest))
}

/// JSON with the blanks that the recorder sent: error messages count columns.
fn as_sent(body: &Value) -> String {
    match body {
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), as_sent(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(as_sent).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// `m-`, 7, 5 → `m-00007`; no digits: the prefix alone.
fn numbered(prefix: &str, number: usize, digits: usize) -> String {
    if digits == 0 { prefix.to_owned() } else { format!("{prefix}{number:0digits$}") }
}

/// The ids that a world gives to its projects, subjects and organisations.
fn world_ids(world: &Value, know: &mut impl FnMut(&str)) {
    match world {
        Value::Object(fields) => {
            if let Some(Value::String(id)) = fields.get("id") {
                know(id);
            }
            fields.values().for_each(|value| world_ids(value, know));
        }
        Value::Array(items) => items.iter().for_each(|item| world_ids(item, know)),
        _ => {}
    }
}
