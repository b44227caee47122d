//! Additions for replaying ZITADEL's recordings: sign-ins that were redacted, and manual changes.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::{Map, Value};
use simulator::worlds::zitadel::{ProjectGrantWorld, ProjectWorld, UserWorld};
use simulator::{Zitadel, worlds};

/// The other key: one that no user has.
const ANOTHER_KEY: &str = include_str!("another-key.pem");

/// How an exchange's sign-in is made.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignIn {
    /// Claims in place of the recorded ones, times as `"now+3s"`.
    #[serde(default)]
    claims: Map<String, Value>,
    /// Whether it is signed with a key that no user has.
    #[serde(default)]
    another_key: bool,
    /// The client secret, where it isn't the first one.
    secret: Option<String>,
    /// The name under which the token is kept for later calls.
    pub keep: Option<String>,
}

impl SignIn {
    pub fn secret(&self) -> &str {
        self.secret.as_deref().unwrap_or("first-secret")
    }
}

/// Something that was done at the server, and is no exchange or none that is replayed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ByHand {
    AddUser(UserWorld),
    AddProject(ProjectWorld),
    AddGrant(ProjectGrantWorld),
    RemoveGrant(String),
    DeactivateGrant(String),
    ReactivateGrant(String),
    ReactivateUser(String),
    AddTokenUntil {
        token: String,
        user: String,
        end: Timestamp,
    },
    RevokeToken(String),
    RemoveKey(String),
    SetSecret {
        user: String,
        secret: String,
    },
    /// Login names in this organisation end in its domain from now on.
    NamesEndInDomain(String),
}

impl ByHand {
    pub fn make(&self, zitadel: &Zitadel) {
        match self {
            Self::AddUser(user) => zitadel.add_user_of_world(user),
            Self::AddProject(project) => zitadel.add_project(&project.id, &project.org, &project.name),
            Self::AddGrant(grant) => zitadel.add_project_grant(&grant.id, &grant.project, &grant.org),
            Self::RemoveGrant(id) => zitadel.delete_project_grant(id),
            Self::DeactivateGrant(id) => zitadel.deactivate_project_grant(id),
            Self::ReactivateGrant(id) => zitadel.reactivate_project_grant(id),
            Self::ReactivateUser(id) => zitadel.reactivate_user(id),
            Self::AddTokenUntil { token, user, end } => zitadel.add_pat_until(token, user, *end),
            Self::RevokeToken(token) => zitadel.revoke_token(token),
            Self::RemoveKey(id) => zitadel.remove_key(id),
            Self::SetSecret { user, secret } => zitadel.set_client_secret(user, secret),
            Self::NamesEndInDomain(org) => zitadel.set_names_end_in_domain(org, true),
        }
    }
}

/// The client of `Basic client:<redacted>`.
pub fn basic_client(authorization: Option<&str>) -> Option<&str> {
    authorization?.strip_prefix("Basic ")?.strip_suffix(":<redacted>")
}

/// A recorded form with what was redacted in it.
pub fn filled(form: &BTreeMap<String, String>, sign_in: &SignIn, now: Timestamp) -> String {
    let mut form = form.clone();
    if let Some(secret) = form.get_mut("client_secret") {
        sign_in.secret().clone_into(secret);
    }
    if let Some(assertion) = form.get_mut("assertion") {
        *assertion = assertion_like(assertion, sign_in, now);
    }
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// An assertion as the recording describes it: `<redacted: header {…}, claims {…}>`.
fn assertion_like(described: &str, sign_in: &SignIn, now: Timestamp) -> String {
    let inner = described.strip_prefix("<redacted: header ").and_then(|rest| rest.strip_suffix('>')).unwrap();
    let (header, claims) = inner.split_once(", claims ").unwrap();
    let mut claims: Map<String, Value> = serde_json::from_str(claims).unwrap();
    claims.extend(sign_in.claims.clone());
    for claim in claims.values_mut() {
        if let Some(seconds) = claim.as_str().and_then(|text| text.strip_prefix("now")?.strip_suffix('s')) {
            let at = now + SignedDuration::from_secs(seconds.parse().unwrap());
            *claim = at.as_second().into();
        }
    }
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let signed = format!("{}.{}", part(header), part(&Value::Object(claims).to_string()));
    let key = if sign_in.another_key { ANOTHER_KEY } else { worlds::ZITADEL_KEY };
    let lines = key.lines().filter(|line| !line.starts_with("-----"));
    let key = RsaKeyPair::from_der(&STANDARD.decode(lines.collect::<String>()).unwrap()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
