//! Tokens of a cluster's service accounts: written by tests, read by the simulated server. No signature is computed; a
//! signature is a word, and the server believes all but those that it was told not to.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A JSON web token. The server reads its claims and takes its signature for good unless
/// [`ClusterWorld`](super::ClusterWorld) says that this one is bad.
#[derive(Debug, Clone, PartialEq)]
pub struct Jwt {
    /// `alg` and, if it has one, `kid`.
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
    /// The third part: any word of the base64url alphabet; empty for `alg: none`.
    pub signature: String,
}

impl Jwt {
    /// A token of a service account as the TokenRequest API makes it: good from a minute ago for an hour, of the issuer
    /// of [`ClusterWorld::default`](super::ClusterWorld), for these audiences.
    pub fn service_account(namespace: &str, name: &str, audiences: &[&str], now: Timestamp) -> Self {
        let seconds = |seconds: i64| now.saturating_add(SignedDuration::from_secs(seconds)).map(Timestamp::as_second);
        let claims = json!({
            "iss": "https://127.0.0.1:17443",
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "aud": audiences,
            "iat": seconds(-60).unwrap_or_default(),
            "nbf": seconds(-60).unwrap_or_default(),
            "exp": seconds(3600).unwrap_or_default(),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": format!("uid-of-{name}")}},
        });
        let header = json!({"alg": "RS256", "kid": "key-1"});
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        Self { header: object(header), claims: object(claims), signature: "signed".to_owned() }
    }

    /// The same with another claim, or without one (null).
    #[must_use]
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        match value {
            Value::Null => self.claims.remove(name),
            value => self.claims.insert(name.to_owned(), value),
        };
        self
    }

    /// The same with another signature.
    #[must_use]
    pub fn signed(mut self, signature: &str) -> Self {
        signature.clone_into(&mut self.signature);
        self
    }

    /// The token as it is sent.
    pub fn written(&self) -> String {
        let part = |fields: &Map<String, Value>| encoded(Value::from(fields.clone()).to_string().as_bytes());
        format!("{}.{}.{}", part(&self.header), part(&self.claims), self.signature)
    }

    /// Reads a token; none if it isn't one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let [header, claims, signature] = text.split('.').collect::<Vec<_>>()[..] else {
            return None;
        };
        let part = |text: &str| serde_json::from_slice::<Map<String, Value>>(&decoded(text)?).ok();
        Some(Self { header: part(header)?, claims: part(claims)?, signature: signature.to_owned() })
    }

    pub(crate) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    pub(crate) fn seconds(&self, claim: &str) -> Option<i64> {
        self.claims.get(claim).and_then(Value::as_i64)
    }

    /// Namespace and name, if it is a service account's.
    pub(crate) fn account(&self) -> Option<(&str, &str)> {
        self.text("sub")?.strip_prefix("system:serviceaccount:")?.split_once(':')
    }

    /// The audiences, of a list or a single one.
    pub(crate) fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(audience)) => vec![audience],
            Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

pub(super) fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().enumerate().fold(0_u32, |all, (at, byte)| all | u32::from(*byte) << (16 - 8 * at));
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(group >> (18 - 6 * at) & 63) as usize]));
        }
    }
    text
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|letter| *letter == byte)?;
        held = (held << 6 | u32::try_from(value).ok()?) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Jwt, decoded, encoded};

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["", "a", "ab", "abc", "{\"sub\":\"ü\u{1F600}\"}"] {
            assert_eq!(decoded(&encoded(text.as_bytes())).as_deref(), Some(text.as_bytes()), "{text}");
        }
        assert_eq!(encoded(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw");
        let jwt = Jwt::service_account("ops", "deployer", &["infisical"], "2026-11-21T10:00:00Z".parse().unwrap());
        assert_eq!(Jwt::read(&jwt.written()), Some(jwt));
        assert_eq!(Jwt::read("not-a-jwt"), None);
    }
}
