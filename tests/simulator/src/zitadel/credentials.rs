//! The credentials of callers: personal access tokens, access tokens of a sign-in, and the credentials of a sign-in.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

/// The lifetime of an access token unless configured otherwise (zitadel/auth.json, 20).
const TOKEN_LIFETIME: Duration = Duration::from_hours(12);

/// All credentials of an instance.
pub(crate) struct Credentials {
    /// Personal access tokens and access tokens: token → whose.
    pub(crate) tokens: HashMap<String, Token>,
    /// Keys for the JWT profile: key id → key.
    pub(crate) keys: HashMap<String, Key>,
    /// Client secrets: user id → secret.
    pub(crate) secrets: HashMap<String, String>,
    /// The lifetime of access tokens.
    pub(crate) lifetime: Duration,
}

pub(crate) struct Token {
    pub(crate) user: String,
    pub(crate) ends: Option<Timestamp>,
    /// Whether it was got by signing in.
    pub(crate) signed_in: bool,
    /// Whether the API is its audience: not without the scope for it (zitadel/auth.json, 23).
    pub(crate) for_the_api: bool,
}

#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) user: String,
    /// The public key, an `RSAPublicKey` of PKCS#1 in DER.
    pub(crate) public: Vec<u8>,
    pub(crate) ends: Option<Timestamp>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self { tokens: HashMap::new(), keys: HashMap::new(), secrets: HashMap::new(), lifetime: TOKEN_LIFETIME }
    }
}

impl Credentials {
    pub(crate) fn add_pat(&mut self, token: &str, user: &str, ends: Option<Timestamp>) {
        let pat = Token { user: user.to_owned(), ends, signed_in: false, for_the_api: true };
        self.tokens.insert(token.to_owned(), pat);
    }

    /// The owner of the token, if the API accepts it.
    pub(crate) fn user_of(&self, token: &str, now: Timestamp) -> Option<&str> {
        let token = self.tokens.get(token)?;
        let holds = token.for_the_api && token.ends.is_none_or(|end| now < end);
        holds.then_some(token.user.as_str())
    }

    /// Ends what a user got by signing in: a deactivation does, and it stays so afterwards (zitadel/auth.json, 79).
    pub(crate) fn sign_out(&mut self, user: &str) {
        self.tokens.retain(|_, token| !(token.signed_in && token.user == user));
    }
}
