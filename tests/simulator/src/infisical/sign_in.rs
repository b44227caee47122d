//! Sign-in with a token of the cluster: Kubernetes auth and OIDC auth (kubernetes-auth.json, oidc-auth.json).

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Infisical;
use super::auth::{grant, json_body, valid};
use super::errors::{Errors, Refusal};
use super::jwt::Jwt;
use super::state::State as Held;
use super::validation::strings;
use super::writes::uuid;

/// The routes of this area.
pub(crate) fn routes() -> Router<Infisical> {
    Router::new()
        .route("/api/v1/auth/kubernetes-auth/login", post(by_review))
        .route("/api/v1/auth/oidc-auth/login", post(by_claims))
}

/// What identities sign in with, and the cluster that the tokens come from.
#[derive(Default)]
pub(crate) struct Logins {
    pub(crate) kubernetes: BTreeMap<String, KubernetesLogin>,
    pub(crate) oidc: BTreeMap<String, OidcLogin>,
    pub(crate) cluster: ClusterWorld,
}

/// How an identity signs in by Kubernetes auth. Lists are texts with commas, as the server keeps them; an empty one
/// limits nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubernetesLogin {
    /// The identity's id.
    pub identity: String,
    /// The namespaces of service accounts that may sign in; no wildcards.
    pub allowed_namespaces: String,
    /// Their names; no wildcards.
    pub allowed_names: String,
    /// An audience that the token must have.
    pub allowed_audience: String,
    /// The result of the request to the API server.
    pub review: Review,
    /// The lifetime of access tokens, in seconds.
    pub token_ttl: u32,
    /// How long with renewals, in seconds.
    pub token_max_ttl: u32,
    /// How often an access token can be used; 0: any number of times.
    pub token_uses: u32,
}

/// How an identity signs in by OIDC auth. An empty text binds nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OidcLogin {
    /// The identity's id.
    pub identity: String,
    /// The issuer, compared letter by letter.
    pub bound_issuer: String,
    /// The subject, `*` standing for anything.
    pub bound_subject: String,
    /// Audiences with `, ` between them, with `*`. October 2024 fails where the token has a list of audiences.
    pub bound_audiences: String,
    /// Claims that must be there, with `*`.
    pub bound_claims: BTreeMap<String, String>,
    /// Whether the issuer's discovery document can be read.
    pub discovery: bool,
    /// The lifetime of access tokens, in seconds.
    pub token_ttl: u32,
    /// How long with renewals, in seconds.
    pub token_max_ttl: u32,
    /// How often an access token can be used; 0: any number of times.
    pub token_uses: u32,
}

/// The result of a TokenReview.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Review {
    /// It is answered.
    #[default]
    Answered,
    /// The reviewer may not review.
    Forbidden,
    /// The reviewer's own token is bad or has ended.
    Unauthorized,
    /// There is no server, the certificate is another server's, or the address ends with a slash.
    Unreachable,
    /// The server is not an API server.
    NotAnApiServer,
}

/// The cluster whose service accounts sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterWorld {
    /// The audiences of its API server; a token must be for one of them (Kubernetes auth).
    pub audiences: Vec<String>,
    /// The ids of the keys that it signs with.
    pub keys: Vec<String>,
    /// Signatures that are not its own.
    pub bad_signatures: Vec<String>,
    /// Service accounts that are gone: `namespace/name`.
    pub gone: BTreeSet<String>,
    /// Service accounts that were made again, by `namespace/name`: the id that they have now.
    pub uids: BTreeMap<String, String>,
    /// Tokens that its API server takes and that are no service account's.
    pub other_tokens: Vec<String>,
}

impl Default for ClusterWorld {
    fn default() -> Self {
        Self {
            audiences: vec!["https://127.0.0.1:17443".to_owned(), "infisical".to_owned()],
            keys: vec!["key-1".to_owned()],
            bad_signatures: vec!["forged".to_owned()],
            gone: BTreeSet::new(),
            uids: BTreeMap::new(),
            other_tokens: Vec::new(),
        }
    }
}

impl Default for KubernetesLogin {
    fn default() -> Self {
        Self {
            identity: String::new(),
            allowed_namespaces: String::new(),
            allowed_names: String::new(),
            allowed_audience: String::new(),
            review: Review::Answered,
            token_ttl: super::DEFAULT_TTL,
            token_max_ttl: super::DEFAULT_TTL,
            token_uses: 0,
        }
    }
}

impl Default for OidcLogin {
    fn default() -> Self {
        Self {
            identity: String::new(),
            bound_issuer: "https://127.0.0.1:17443".to_owned(),
            bound_subject: String::new(),
            bound_audiences: String::new(),
            bound_claims: BTreeMap::new(),
            discovery: true,
            token_ttl: super::DEFAULT_TTL,
            token_max_ttl: super::DEFAULT_TTL,
            token_uses: 0,
        }
    }
}

async fn by_review(State(infisical): State<Infisical>, body: Bytes) -> Result<Response, Refusal> {
    let (errors, now) = (Errors(infisical.state().style), infisical.now());
    let body = json_body(errors, &body)?;
    let [identity, token] = valid(errors, strings(&body, ["identityId", "jwt"]))?;
    let identity = uuid(errors, &identity, "Find one")?;
    let mut held = infisical.state();
    let login = held.logins.kubernetes.get(&identity).ok_or_else(|| errors.no_login("Kubernetes"))?.clone();
    let jwt = reviewed(&held, errors, &login, &token, now)?;
    let (namespace, name) = jwt.account().unwrap_or_default();
    for (allowed, given, what) in
        [(&login.allowed_namespaces, namespace, "namespace"), (&login.allowed_names, name, "name")]
    {
        if !allowed.is_empty() && !allowed.split(',').any(|allowed| allowed.trim() == given) {
            return Err(errors.unauthorized(&format!("Access denied: K8s {what} not allowed.")));
        }
    }
    if !login.allowed_audience.is_empty() && !jwt.audiences().contains(&login.allowed_audience.as_str()) {
        return Err(errors.unauthorized("Access denied: K8s audience not allowed."));
    }
    let uses = (login.token_uses > 0).then_some(login.token_uses);
    let granted = held.grant(&identity, login.token_ttl, login.token_max_ttl, uses, now);
    Ok(grant(&held.choose_organization(errors, &body, granted)?))
}

/// What the API server says of a token, and what Infisical makes of it.
fn reviewed(held: &Held, errors: Errors, login: &KubernetesLogin, token: &str, now: Timestamp) -> Result<Jwt, Refusal> {
    let cluster = &held.logins.cluster;
    match login.review {
        Review::Answered if token.is_empty() => {
            return Err(errors.review_request("token is required for TokenReview in authentication"));
        }
        Review::Answered => {}
        Review::Forbidden => {
            return Err(errors.review_request("tokenreviews.authentication.k8s.io is forbidden"));
        }
        Review::Unauthorized => return Err(errors.review_request("Unauthorized")),
        Review::Unreachable => return Err(errors.went_wrong("InternalServerError")),
        Review::NotAnApiServer => {
            let route = "/apis/authentication.k8s.io/v1/tokenreviews";
            return Err(errors.review_request(&format!("Route POST:{route} not found")));
        }
    }
    if cluster.other_tokens.iter().any(|other| other == token) {
        // The user name that comes back has no namespace in it.
        return Err(errors.went_wrong("InternalServerError"));
    }
    let bad = |why: &str| errors.review(&format!("[invalid bearer token, {why}]"));
    let jwt = Jwt::read(token).ok_or_else(|| errors.review("invalid bearer token"))?;
    let (namespace, name) = jwt.account().ok_or_else(|| errors.review("invalid bearer token"))?;
    let account = format!("{namespace}/{name}");
    if !cluster.knows_key(&jwt) || cluster.bad_signatures.contains(&jwt.signature) || jwt.signature.is_empty() {
        return Err(bad("go-jose/go-jose: error in cryptographic primitive"));
    }
    if jwt.seconds("exp").is_none_or(|end| now.as_second() >= end) {
        return Err(bad("service account token has expired"));
    }
    if jwt.seconds("nbf").is_some_and(|start| now.as_second() < start) {
        return Err(bad("service account token is not valid yet"));
    }
    // The review is sent without audiences: so the API server's own count (kubernetes-auth.json, 14).
    let audiences = jwt.audiences();
    if !cluster.audiences.iter().any(|own| audiences.contains(&own.as_str())) {
        return Err(bad(&format!(
            "token audiences {} is invalid for the target audiences {}",
            quoted(&audiences),
            quoted(&cluster.audiences.iter().map(String::as_str).collect::<Vec<_>>()),
        )));
    }
    if cluster.gone.contains(&account) {
        return Err(bad(&format!("serviceaccounts \"{name}\" not found")));
    }
    let claimed = jwt.claims.get("kubernetes.io").and_then(|claim| claim["serviceaccount"]["uid"].as_str());
    match cluster.uids.get(&account) {
        Some(uid) if claimed != Some(uid) => {
            Err(bad(&format!("service account UID ({uid}) does not match claim ({})", claimed.unwrap_or_default())))
        }
        _ => Ok(jwt),
    }
}

/// As Go prints a list of texts.
fn quoted(texts: &[&str]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

async fn by_claims(State(infisical): State<Infisical>, body: Bytes) -> Result<Response, Refusal> {
    let (errors, now) = (Errors(infisical.state().style), infisical.now());
    let body = json_body(errors, &body)?;
    let [identity, token] = valid(errors, strings(&body, ["identityId", "jwt"]))?;
    let identity = uuid(errors, &identity, "Find one")?;
    let mut held = infisical.state();
    let login = held.logins.oidc.get(&identity).ok_or_else(|| errors.no_login("OIDC"))?.clone();
    if !login.discovery {
        return Err(errors.went_wrong("InternalServerError"));
    }
    let jwt = Jwt::read(&token).ok_or_else(|| errors.unauthorized("Invalid JWT"))?;
    verified(&held.logins.cluster, errors, &login, &jwt, now)?;
    bound(errors, &login, &jwt)?;
    let uses = (login.token_uses > 0).then_some(login.token_uses);
    let granted = held.grant(&identity, login.token_ttl, login.token_max_ttl, uses, now);
    Ok(grant(&held.choose_organization(errors, &body, granted)?))
}

/// Signature, times and issuer, in this order.
fn verified(
    cluster: &ClusterWorld,
    errors: Errors,
    login: &OidcLogin,
    jwt: &Jwt,
    now: Timestamp,
) -> Result<(), Refusal> {
    let denied = |why: &str| Err(errors.unauthorized(&format!("Access denied: {why}")));
    if !cluster.knows_key(jwt) {
        return Err(errors.went_wrong("InternalServerError"));
    }
    if jwt.signature.is_empty() {
        return denied("jwt signature is required");
    }
    if cluster.bad_signatures.contains(&jwt.signature) {
        return denied("invalid signature");
    }
    if jwt.seconds("nbf").is_some_and(|start| now.as_second() < start) {
        return denied("jwt not active");
    }
    // Without any leeway (oidc-auth.json, 52).
    if jwt.seconds("exp").is_some_and(|end| now.as_second() >= end) {
        return denied("jwt expired");
    }
    if jwt.text("iss") != Some(&login.bound_issuer) {
        return denied(&format!("jwt issuer invalid. expected: {}", login.bound_issuer));
    }
    Ok(())
}

/// Subject, audiences and claims, in this order.
fn bound(errors: Errors, login: &OidcLogin, jwt: &Jwt) -> Result<(), Refusal> {
    if !login.bound_subject.is_empty() && !jwt.text("sub").is_some_and(|sub| glob(sub, &login.bound_subject)) {
        return Err(errors.forbidden("Access denied: OIDC subject not allowed."));
    }
    if !login.bound_audiences.is_empty() {
        // Comparing a list throws in October 2024; the current source takes any of it (`doesAudValueMatchOidcPolicy`
        // in Infisical's backend/src/services/identity-oidc-auth/identity-oidc-auth-fns.ts).
        if jwt.claims.get("aud").is_some_and(Value::is_array) && !errors.since_2025() {
            return Err(errors.went_wrong("InternalServerError"));
        }
        let fits = |allowed: &str| jwt.audiences().into_iter().any(|audience| glob(audience, allowed));
        if !login.bound_audiences.split(", ").any(fits) {
            return Err(errors.unauthorized("Access denied: OIDC audience not allowed."));
        }
    }
    for (name, wanted) in &login.bound_claims {
        let claim = jwt.text(name).ok_or_else(|| errors.went_wrong("InternalServerError"))?;
        if !glob(claim, wanted) {
            return Err(errors.unauthorized("Access denied: OIDC claim not allowed."));
        }
    }
    Ok(())
}

/// Whether a text fits a pattern, `*` standing for any characters.
fn glob(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl ClusterWorld {
    /// A token without a key id is tried with the one key there is (oidc-auth.json, 55).
    fn knows_key(&self, jwt: &Jwt) -> bool {
        jwt.header.get("kid").is_none_or(|kid| self.keys.iter().any(|key| kid == key))
    }
}

impl Errors {
    /// The identity has no such way of signing in. October 2024 names the wrong one for OIDC (oidc-auth.json, 4).
    fn no_login(self, method: &str) -> Refusal {
        let method = if method == "OIDC" && !self.since_2025() { "GCP" } else { method };
        let message = format!("{method} auth method not found for identity, did you configure {method} auth?");
        self.refusal(404, "NotFound", message)
    }

    fn unauthorized(self, message: &str) -> Refusal {
        self.refusal(401, "UnauthorizedError", message)
    }

    fn forbidden(self, message: &str) -> Refusal {
        self.refusal(403, "ForbiddenError", message)
    }

    /// The API server didn't review.
    fn review_request(self, message: &str) -> Refusal {
        self.refusal(401, "KubernetesTokenReviewRequestError", message)
    }

    /// The API server reviewed, and refused.
    fn review(self, message: &str) -> Refusal {
        self.refusal(401, "KubernetesTokenReviewError", message)
    }
}
