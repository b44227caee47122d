//! The assertion of the JWT profile: a token that a key's holder signed, and what the server requires of it
//! (zitadel/auth.json, 20 to 53).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde::Deserialize;

use super::credentials::Credentials;

/// How far a clock may be off, in seconds.
const TOLERANCE: i64 = 1;
/// How old an assertion may be, in seconds.
const MOST_AGE: i64 = 60 * 60;

/// Why an assertion isn't accepted. The server's response is always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Malformed,
    Subject,
    Audience,
    IssuedAt,
    Expired,
    Key,
    Signature,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: Audience,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    exp: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// The user of a valid assertion.
pub(crate) fn verified(
    credentials: &Credentials,
    assertion: &str,
    issuer: &str,
    now: Timestamp,
) -> Result<String, Fault> {
    let (signed, signature) = assertion.rsplit_once('.').ok_or(Fault::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Fault::Malformed)?;
    let header: Header = read(header)?;
    let claims: Claims = read(claims)?;
    if claims.iss != claims.sub || claims.sub.is_empty() {
        return Err(Fault::Subject);
    }
    // Exactly this: no slash at its end, and the port as the request had it.
    let named = match &claims.aud {
        Audience::One(one) => one == issuer,
        Audience::Many(many) => many.iter().any(|one| one == issuer),
    };
    if !named {
        return Err(Fault::Audience);
    }
    let rounded = now.as_second() + i64::from(now.subsec_millisecond() >= 500);
    let issued = claims.iat.ok_or(Fault::IssuedAt)?;
    if !(rounded - MOST_AGE..=rounded + TOLERANCE).contains(&issued) {
        return Err(Fault::IssuedAt);
    }
    if claims.exp.is_none_or(|end| now.as_second() + TOLERANCE >= end) {
        return Err(Fault::Expired);
    }
    let key = credentials.keys.get(&header.kid).filter(|key| key.user == claims.sub).ok_or(Fault::Key)?;
    if header.alg != "RS256" || key.ends.is_some_and(|end| now >= end) {
        return Err(Fault::Key);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Fault::Malformed)?;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key.public)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| Fault::Signature)?;
    Ok(claims.sub)
}

fn read<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, Fault> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Fault::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Fault::Malformed)
}
