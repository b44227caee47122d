//! Signing in: the token endpoint and discovery (zitadel/auth.json).

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Zitadel;
use super::assertion;
use super::credentials::Token;
use super::errors::answered;
use super::instance::Origin;
use super::state::{State as Held, UserState};

/// Without this scope the API takes no token (zitadel/auth.json, 22 to 26).
const API_SCOPE: &str = "urn:zitadel:iam:org:project:id:zitadel:aud";

/// The routes of this area.
pub(crate) fn routes() -> Router<Zitadel> {
    Router::new().route("/oauth/v2/token", post(token)).route("/.well-known/openid-configuration", get(discovery))
}

/// A refusal of the token endpoint: always 400.
pub(crate) struct Refused {
    error: &'static str,
    description: String,
}

impl Refused {
    pub(crate) fn new(error: &'static str, description: &str) -> Self {
        Self { error, description: description.to_owned() }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"error": self.error, "error_description": self.description});
        (StatusCode::BAD_REQUEST, answered(&body)).into_response()
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Asked {
    grant_type: String,
    scope: String,
    assertion: String,
    client_id: String,
    client_secret: String,
}

async fn token(
    State(zitadel): State<Zitadel>,
    headers: HeaderMap,
    uri: Uri,
    Form(asked): Form<Asked>,
) -> Result<Response, Refused> {
    let now = zitadel.now();
    let mut held = zitadel.state();
    let user = match asked.grant_type.as_str() {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
            let issuer = Origin::of(&headers, &uri).issuer();
            assertion::verified(&held.credentials, &asked.assertion, &issuer, now)
                .map_err(|_| Refused::new("invalid_grant", "invalid assertion"))?
        }
        "client_credentials" => by_secret(&held, &headers, &asked)?,
        "" => return Err(Refused::new("invalid_request", "grant_type missing")),
        other => return Err(Refused::new("unsupported_grant_type", &format!("{other} not supported"))),
    };
    let known = held.live_user(&user).ok_or_else(|| Refused::new("invalid_grant", "invalid assertion"))?;
    if known.state == UserState::Inactive {
        return Err(Refused::new("invalid_request", "Errors.User.NotActive"));
    }
    let scopes: Vec<&str> = asked.scope.split_whitespace().collect();
    if scopes.is_empty() {
        return Err(Refused::new(
            "invalid_request",
            "The scope of your request is missing. Please ensure some scopes are requested. If you have any questions, \
             you may contact the administrator of the application.",
        ));
    }
    // Five parts, as an encrypted token has: nothing can be read from it.
    let token = format!("eyJhbGciOiJkaXIifQ..{0}.{0}.{0}", uuid::Uuid::new_v4().simple());
    let lifetime = held.credentials.lifetime;
    let ends = SignedDuration::try_from(lifetime).ok().and_then(|lifetime| now.checked_add(lifetime).ok());
    let for_the_api = scopes.contains(&API_SCOPE);
    held.credentials.tokens.insert(token.clone(), Token { user, ends, signed_in: true, for_the_api });
    let mut body = json!({
        "access_token": token,
        "token_type": "Bearer",
        // Counted down from the moment when it was made, in whole seconds.
        "expires_in": lifetime.as_secs().saturating_sub(1),
    });
    if scopes.contains(&"openid") {
        body["id_token"] = Value::from("eyJhbGciOiJSUzI1NiJ9.e30.c2ltdWxhdGVk");
    }
    Ok(answered(&body))
}

/// The user of a client id and secret, by Basic or in the form. The client id is the user name, not the id.
fn by_secret(held: &Held, headers: &HeaderMap, asked: &Asked) -> Result<String, Refused> {
    let (client, secret) = basic(headers).unwrap_or_else(|| (asked.client_id.clone(), asked.client_secret.clone()));
    let of_name = |id: &&String| held.live_user(id).is_some_and(|user| user.login_name.as_deref() == Some(&client));
    let user = held.credentials.secrets.keys().find(of_name);
    let user = user.ok_or_else(|| Refused::new("invalid_client", "client not found"))?;
    if held.credentials.secrets.get(user) == Some(&secret) {
        return Ok(user.clone());
    }
    Err(Refused::new("invalid_request", "Errors.User.Machine.Secret.Invalid"))
}

/// What `Authorization: Basic` says; both parts are encoded as in a form (RFC 6749, 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (client, secret) = text.split_once(':')?;
    Some((decoded(client), decoded(secret)))
}

fn decoded(text: &str) -> String {
    let pair = format!("text={text}");
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
    decoded.map(|(_, text)| text.into_owned()).unwrap_or_default()
}

/// The addresses as this very request sees them.
async fn discovery(headers: HeaderMap, uri: Uri, _: Bytes) -> Response {
    let issuer = Origin::of(&headers, &uri).issuer();
    let grants = [
        "authorization_code",
        "implicit",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:device_code",
    ];
    answered(&json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth/v2/token"),
        "introspection_endpoint": format!("{issuer}/oauth/v2/introspect"),
        "jwks_uri": format!("{issuer}/oauth/v2/keys"),
        "userinfo_endpoint": format!("{issuer}/oidc/v1/userinfo"),
        "grant_types_supported": grants,
        "token_endpoint_auth_methods_supported":
            ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
    }))
}
