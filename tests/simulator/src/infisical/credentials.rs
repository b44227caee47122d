//! Clients of universal auth and access tokens, and their lifetimes. No HTTP in here.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::jwt::encoded;
use super::state::{ErrorStyle, State};

/// A client id of universal auth, with its secrets.
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) identity: String,
    pub(crate) secrets: Vec<Secret>,
    /// The lifetime of an access token, in seconds.
    pub(crate) ttl: u32,
    /// Its maximum lifetime with renewals, in seconds.
    pub(crate) max_ttl: u32,
    /// Wrong secrets since the last right one, and until when the client is locked out for them.
    pub(crate) failures: u32,
    pub(crate) locked_until: Option<Timestamp>,
}

pub(crate) struct Secret {
    pub(crate) value: String,
    pub(crate) uses_left: Option<u32>,
    pub(crate) ends: Option<Timestamp>,
}

/// An access token.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) caller: Caller,
    /// None: it does not end, as a token given in the world.
    pub(crate) life: Option<Life>,
    /// Revoked tokens are kept: the response to them differs from that to an unknown token.
    pub(crate) revoked: bool,
    /// Whether its way of signing in was removed since (kubernetes-auth.json, 117).
    pub(crate) orphaned: bool,
    /// The id of the sub-organization that was chosen at the sign-in.
    pub(crate) organization: Option<String>,
}

impl Token {
    /// A token that does not end.
    pub(crate) fn lasting(caller: Caller) -> Self {
        Self { caller, life: None, revoked: false, orphaned: false, organization: None }
    }
}

#[derive(Clone)]
pub(crate) struct Life {
    ttl: u32,
    max_ttl: u32,
    ends: Timestamp,
    last_end: Timestamp,
    /// The remaining number of uses; none: unlimited.
    uses_left: Option<u32>,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A machine identity or a user, by id.
    Subject(String),
    /// A person who administers the organisation, by name: may do everything everywhere.
    Admin(String),
}

/// The error of a token, or of a login. The texts are those of the recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    Missing,
    Malformed,
    Invalid,
    Expired,
    TtlOver,
    Gone,
    PastMaxTtl,
    UsedUp,
    Orphaned,
    UnknownClient,
    WrongSecret,
    SecretUsedUp,
    SecretExpired,
    LockedOut,
}

/// A new access token, with its lifetimes in seconds.
pub(crate) struct Granted {
    pub(crate) token: String,
    pub(crate) ttl: u32,
    pub(crate) max_ttl: u32,
}

impl State {
    /// Signs a client in (auth.json, identity-extras.json).
    pub(crate) fn log_in(
        &mut self,
        client_id: &str,
        secret: &str,
        now: Timestamp,
        lock_out: bool,
    ) -> Result<Granted, Denied> {
        let client = self.clients.iter_mut().find(|client| client.id == client_id).ok_or(Denied::UnknownClient)?;
        if client.locked_until.is_some_and(|until| now < until) {
            return Err(Denied::LockedOut);
        }
        let Some(at) = client.secrets.iter().position(|s| s.value == secret) else {
            client.failures += 1;
            if lock_out && client.failures >= 3 {
                client.failures = 0;
                client.locked_until = Some(later(now, 300));
            }
            return Err(Denied::WrongSecret);
        };
        client.failures = 0;
        if client.secrets[at].ends.is_some_and(|end| now >= end) {
            // The use after its end removes the secret: the response to the next one is that it is wrong.
            client.secrets.remove(at);
            return Err(Denied::SecretExpired);
        }
        match &mut client.secrets[at].uses_left {
            Some(0) => return Err(Denied::SecretUsedUp),
            Some(left) => *left -= 1,
            None => {}
        }
        let (ttl, max_ttl, identity) = (client.ttl, client.max_ttl, client.identity.clone());
        Ok(self.grant(&identity, ttl, max_ttl, None, now))
    }

    /// Makes an access token of an identity. Lives in seconds.
    pub(crate) fn grant(
        &mut self,
        identity: &str,
        ttl: u32,
        max_ttl: u32,
        uses: Option<u32>,
        now: Timestamp,
    ) -> Granted {
        let life = Life { ttl, max_ttl, ends: later(now, ttl), last_end: later(now, max_ttl), uses_left: uses };
        // The claims that Infisical's own source gives an identity's access token.
        let claims = json!({
            "identityId": identity, "identityAccessTokenId": Uuid::new_v4().to_string(),"authTokenType": "identityAccessToken",
        });
        let token =
            format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", encoded(claims.to_string().as_bytes()), Uuid::new_v4().simple());
        let caller = Caller::Subject(identity.to_owned());
        self.tokens.insert(token.clone(), Token { life: Some(life), ..Token::lasting(caller) });
        Granted { token, ttl, max_ttl }
    }

    /// Renews a token. A refusal deletes it, although it was still valid (identity-extras.json, "renew right after the
    /// login").
    pub(crate) fn renew(&mut self, token: &str, now: Timestamp) -> Result<Granted, Denied> {
        self.look_up(token, now)?;
        let Some(Token { life: Some(life), .. }) = self.tokens.get_mut(token) else {
            return Err(Denied::Gone);
        };
        if later(now, life.ttl) > life.last_end {
            self.revoke(token);
            return Err(Denied::PastMaxTtl);
        }
        life.ends = later(now, life.ttl);
        Ok(Granted { token: token.to_owned(), ttl: life.ttl, max_ttl: life.max_ttl })
    }

    /// The user of this token. Every use counts, with any result, and the first one beyond the limit deletes the token
    /// (kubernetes-auth.json, 92 to 107).
    pub(crate) fn used(&mut self, token: &str, now: Timestamp) -> Result<Caller, Denied> {
        let caller = self.look_up(token, now)?;
        if self.tokens.get(token).is_some_and(|token| token.orphaned) {
            return Err(Denied::Orphaned);
        }
        let life = self.tokens.get_mut(token).and_then(|token| token.life.as_mut());
        match life.and_then(|life| life.uses_left.as_mut()) {
            Some(0) => {
                self.revoke(token);
                Err(Denied::UsedUp)
            }
            Some(left) => {
                *left -= 1;
                Ok(caller)
            }
            None => Ok(caller),
        }
    }

    /// The owner of this token. A use after its end deletes it (kubernetes-auth.json, 80 to 87).
    pub(crate) fn look_up(&mut self, token: &str, now: Timestamp) -> Result<Caller, Denied> {
        let Some(known) = self.tokens.get_mut(token) else {
            let has_the_form = token.split('.').count() == 3;
            return Err(if has_the_form { Denied::Invalid } else { Denied::Malformed });
        };
        if known.life.as_ref().is_some_and(|life| now >= life.last_end) {
            return Err(Denied::Expired);
        }
        if known.revoked {
            return Err(Denied::Gone);
        }
        if known.life.as_ref().is_some_and(|life| now >= life.ends) {
            // June 2025 responds with the same again (infisical-june-2025/names-and-auth.json, 10 and 11).
            known.revoked = self.style != ErrorStyle::June2025;
            return Err(Denied::TtlOver);
        }
        Ok(known.caller.clone())
    }

    /// Revokes a token; whether there was one.
    pub(crate) fn revoke(&mut self, token: &str) -> bool {
        self.tokens.get_mut(token).map(|token| token.revoked = true).is_some()
    }
}

fn later(now: Timestamp, seconds: u32) -> Timestamp {
    now.saturating_add(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX)
}

/// Whole seconds, as the server counts lifetimes.
pub(crate) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
