//! Signing in: one login at a time, its token used until shortly before its end, and a refused credential left alone.
//!
//! Tokens are never renewed: with Infisical's defaults a renewal is refused and deletes the token that was still good
//! (reference/infisical.md, "Auth and limits"; identity-extras.json, "defaults: renew right after the login").

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Turn;
use super::refusal;
use crate::provider::Error;
use crate::provider::http::{Answer, Method, Request, Server};

/// The sign-in of universal auth.
const UNIVERSAL_AUTH: &str = "/api/v1/auth/universal-auth/login";
/// The most that a token is given up before its end.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// How long no login is tried after the first, second, … refusal in a row. Newer servers lock a credential out after
/// three bad secrets for 300 s, so there are never three of ours in that time; on October 2024 each bad login holds up
/// the whole server (reference/infisical.md, "Auth and limits").
const PAUSES: [Duration; 3] = [Duration::from_secs(30), Duration::from_secs(330), Duration::from_secs(600)];
/// How soon after a login without an answer the next may begin; who asks earlier gets the same error.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How to sign in. Debug shows no secret.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Universal auth.
    UniversalAuth {
        /// The client id.
        client_id: String,
        /// The client secret.
        client_secret: SecretString,
    },
    /// An access token that somebody else keeps fresh.
    Token(SecretString),
}

/// An access token, and which login it is from.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) secret: Arc<SecretString>,
    login: u64,
}

/// One sign-in, shared by all calls of a provider.
#[derive(Debug)]
pub(super) struct Session {
    credentials: Credentials,
    /// Held during a login: who comes meanwhile waits for its outcome.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The token and when to stop using it; `None`: never.
    token: Option<(Token, Option<Instant>)>,
    logins: u64,
    /// Refusals in a row, since the last token that was accepted.
    refusals: usize,
    /// The last login's failure: until when it is everybody's answer.
    failed: Option<(Error, Instant)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    access_token: String,
    expires_in: u64,
}

impl Session {
    pub(super) fn new(credentials: Credentials) -> Self {
        // A line break at the end is what `echo` and editors leave in a Secret.
        let trimmed = |secret: &SecretString| SecretString::from(secret.expose_secret().trim().to_owned());
        let credentials = match credentials {
            Credentials::UniversalAuth { client_id, client_secret } => Credentials::UniversalAuth {
                client_id: client_id.trim().to_owned(),
                client_secret: trimmed(&client_secret),
            },
            Credentials::Token(token) => Credentials::Token(trimmed(&token)),
        };
        Self { credentials, state: Mutex::default() }
    }

    /// A token to use now, of a new login where there is none.
    pub(super) async fn token(&self, server: &Server, turn: &Turn<'_>) -> Result<Token, Error> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some((token, end)) = &state.token
            && end.is_none_or(|end| Instant::now() < end)
        {
            return Ok(token.clone());
        }
        // A login that failed while this call waited for it was this call's login too.
        if let Some((error, until)) = &state.failed
            && asked < *until
        {
            return Err(error.clone());
        }
        match self.login(server, turn).await {
            Ok((secret, life)) => {
                state.logins += 1;
                let token = Token { secret: Arc::new(secret), login: state.logins };
                let end = life.map(|life| Instant::now() + life.saturating_sub(LONGEST_MARGIN.min(life / 10)));
                state.token = Some((token.clone(), end));
                state.failed = None;
                Ok(token)
            }
            Err(error) => {
                state.fail(&error);
                Err(error)
            }
        }
    }

    /// The server refused `token`: whether a new login may help. A token that was replaced meanwhile is left alone.
    pub(super) async fn may_sign_in_again(&self, token: &Token) -> bool {
        match self.credentials {
            Credentials::Token(_) => false,
            Credentials::UniversalAuth { .. } => {
                let mut state = self.state.lock().await;
                if state.token.as_ref().is_some_and(|(current, _)| current.login == token.login) {
                    state.token = None;
                }
                true
            }
        }
    }

    /// The server refused a token right after its login: to log in again would only repeat it.
    pub(super) async fn refused(&self, error: &Error) {
        if let Credentials::UniversalAuth { .. } = self.credentials {
            let mut state = self.state.lock().await;
            state.token = None;
            state.fail(error);
        }
    }

    /// The server accepted a token.
    pub(super) fn accepted(&self) {
        // No call waits here for a login: while there is one, its outcome counts.
        if let Ok(mut state) = self.state.try_lock() {
            state.refusals = 0;
        }
    }

    /// The secrets besides the token, to be hidden in whatever is shown.
    pub(super) fn hide<'a>(&'a self, request: Request<'a>) -> Request<'a> {
        match &self.credentials {
            Credentials::UniversalAuth { client_secret, .. } => request.hide(client_secret),
            Credentials::Token(token) => request.hide(token),
        }
    }

    /// Signs in: the token and how long it lives (`None`: nobody says).
    async fn login(&self, server: &Server, turn: &Turn<'_>) -> Result<(SecretString, Option<Duration>), Error> {
        let (client_id, client_secret) = match &self.credentials {
            Credentials::Token(token) => return Ok((token.clone(), None)),
            Credentials::UniversalAuth { client_id, client_secret } => (client_id, client_secret),
        };
        let body = json!({"clientId": client_id, "clientSecret": client_secret.expose_secret()});
        let request = Request::new(Method::Post, UNIVERSAL_AUTH).json(&body).hide(client_secret).reads();
        let answer = server.call(turn.next(), request).await?;
        if !answer.is_success() {
            return Err(refused_login(&answer));
        }
        let login: Login = answer.json()?;
        if login.access_token.is_empty() {
            return Err(answer.nonsense("an empty token"));
        }
        Ok((login.access_token.into(), Some(Duration::from_secs(login.expires_in))))
    }
}

impl State {
    fn fail(&mut self, error: &Error) {
        let pause = if let Error::Unauthorized { .. } = error {
            let pause = PAUSES.get(self.refusals).or(PAUSES.last()).copied().unwrap_or_default();
            self.refusals += 1;
            pause
        } else {
            AFTER_FAILURE
        };
        self.failed = Some((error.clone(), Instant::now() + pause));
    }
}

fn refused_login(answer: &Answer) -> Error {
    match refusal::failure(answer) {
        Some(failure) => refusal::failed(failure, answer),
        // A wrong secret 401, an unknown client id 404, a secret of a wrong form 401 or 422, an address that the identity
        // may not sign in from 403, a secret that is used up or over 401, a lock-out 401.
        None => Error::Unauthorized {
            message: format!(
                "Infisical at {} refuses the sign-in ({}: {}): check the client id and secret under Access Control → \
                 Identities → Universal Auth, whether the secret is over or used up, and its trusted addresses",
                answer.context.endpoint,
                answer.status,
                answer.said()
            ),
        },
    }
}
