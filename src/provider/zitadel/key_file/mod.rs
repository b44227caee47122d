//! The key file of a machine user, as ZITADEL issues it (auth.json, "JWT profile: create a key"):
//! `{"type":"serviceaccount","keyId","key":"<PEM, PKCS#1>","expirationDate","userId"}`.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

/// The most bytes of a key file: one with a key of 4096 bits has 3,500.
const LONGEST: usize = 1 << 16;
/// The most characters of an id in it; ZITADEL's have 18.
const LONGEST_ID: usize = 64;
/// How far an assertion is backdated. The server accepts one from its future by a second only
/// (docs/reference/zitadel.md, "Auth"), and one from its past for an hour.
const BACKDATED: SignedDuration = SignedDuration::from_secs(60);
/// How long an assertion is valid. It is used once, immediately.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(5);

/// A machine user's key. Debug shows nothing secret.
#[derive(Clone)]
pub struct KeyFile {
    user_id: String,
    key_id: String,
    expires: Option<Timestamp>,
    key: Arc<RsaKeyPair>,
}

/// Why a text isn't a key file, and what to do.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("{0}")]
pub struct KeyFileError(String);

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct File {
    r#type: String,
    key_id: String,
    user_id: String,
    key: String,
    expiration_date: Option<String>,
}

impl KeyFile {
    /// The user that the key belongs to.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Parses a key file. The error states what is wrong and quotes nothing of the file.
    pub fn parse(text: &SecretString) -> Result<Self, KeyFileError> {
        let refused = |what: &str| KeyFileError(format!("{what}: {WHERE_FROM}"));
        let text = text.expose_secret().trim();
        if text.len() > LONGEST {
            return Err(refused("it is longer than any key file"));
        }
        if !text.starts_with('{') {
            return Err(refused(match text {
                // The API's `keyDetails` (`{"…` in base64).
                _ if text.starts_with("eyJ") => "it is the key file in base64: decode it",
                _ if text.starts_with("-----BEGIN") => "it is the key alone, without the key's and the user's ids",
                _ => "it isn't JSON",
            }));
        }
        let file: File = serde_json::from_str(text).map_err(|error| {
            // The error's own text may quote the key; its position can't.
            refused(&format!("it isn't JSON of this form (line {}, column {})", error.line(), error.column()))
        })?;
        match file.r#type.as_str() {
            "serviceaccount" => {}
            "application" => return Err(refused("it is the key of an application, not of a machine user")),
            _ => return Err(refused("its \"type\" isn't \"serviceaccount\"")),
        }
        for (name, id) in [("keyId", &file.key_id), ("userId", &file.user_id)] {
            if id.is_empty() || id.len() > LONGEST_ID || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(refused(&format!("its {name:?} is missing or isn't an id")));
            }
        }
        let expires = match file.expiration_date.as_deref() {
            None | Some("") => None,
            Some(date) => Some(date.parse().map_err(|_| refused("its \"expirationDate\" isn't a point in time"))?),
        };
        let key = private_key(&file.key).map_err(|what| refused(&format!("its \"key\" {what}")))?;
        Ok(Self { user_id: file.user_id, key_id: file.key_id, expires, key: Arc::new(key) })
    }

    /// The assertion that signs the user in at `issuer`, whose clock shows `now`.
    pub(super) fn assertion(&self, issuer: &str, now: Timestamp) -> Result<SecretString, KeyFileError> {
        let at = |offset: SignedDuration| now.saturating_add(offset).unwrap_or(now).as_second();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = json!({
            "iss": self.user_id,
            "sub": self.user_id,
            "aud": issuer,
            "iat": at(-BACKDATED),
            "exp": at(GOOD_FOR),
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| KeyFileError("the key can't sign".to_owned()))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }

    /// The key's id and, if it has expired at `now`, since when, for messages.
    pub(super) fn named(&self, now: Timestamp) -> String {
        let over = self.expires.filter(|end| *end <= now).map(|end| format!(", which ended at {end}"));
        format!("key {} of user {}{}", self.key_id, self.user_id, over.unwrap_or_default())
    }
}

/// Where to get a key file.
const WHERE_FROM: &str = "write the JSON file that ZITADEL shows once when a key is created for a machine user (Users → Service \
                          Users → Keys → New, type JSON), unchanged";

/// Reads a key in PEM: PKCS#1 as ZITADEL writes it, or PKCS#8, to which tools convert it.
fn private_key(pem: &str) -> Result<RsaKeyPair, String> {
    // The parsers' errors are a few fixed texts.
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()) {
        Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        Ok(_) => return Err("is not an RSA key".to_owned()),
        Err(_) => return Err("is not a complete private key in PEM".to_owned()),
    }
    .map_err(|rejected| format!("is not an RSA key of 2048 to 4096 bits ({rejected})"))
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("user_id", &self.user_id).field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
