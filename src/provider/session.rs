//! Signing in: one sign-in at a time, its token used until shortly before its end, and no immediate retry with a
//! refused credential. It is the same for every provider and every way to sign in; a [`SignIn`] defines what is sent to
//! sign in, and how a response refuses a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::http::{Request, Response, Server};
use super::{Error, Permit, locked};

/// The longest time before its end at which a token is discarded.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// The longest that a token is used, regardless of what the server reports.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 86_400);
/// How long no sign-in is tried after the first, second, … refusal in a row. Newer Infisical servers lock a credential
/// out after three bad secrets for 300 s, so the operator never sends three in that time; on October 2024 each failed
/// login delays the whole server (docs/reference/infisical.md, "Auth and limits").
const PAUSES: [Duration; 3] = [Duration::from_secs(30), Duration::from_secs(330), Duration::from_secs(600)];
/// How soon after a first sign-in without a response the next may begin, and after many; earlier callers get the same
/// error.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
const AFTER_FAILURES: Duration = Duration::from_secs(30);

/// The requests under one permit: the first is included, each further one is charged.
pub struct PermitUse<'p> {
    permit: &'p Permit,
    begun: AtomicBool,
}

impl<'p> PermitUse<'p> {
    /// None sent yet.
    pub fn new(permit: &'p Permit) -> Self {
        Self { permit, begun: AtomicBool::new(false) }
    }

    /// The permit for the next request.
    pub fn next(&self) -> &'p Permit {
        if self.begun.swap(true, Ordering::Relaxed) {
            self.permit.charge();
        }
        self.permit
    }
}

/// A token of a sign-in.
pub struct IssuedToken {
    /// The access token.
    pub token: SecretString,
    /// Its lifetime; `None`: unknown.
    pub life: Option<Duration>,
}

/// The response to a sign-in, by OAuth (ZITADEL) or in camel case (Infisical).
#[derive(Deserialize)]
struct TokenResponse {
    #[serde(alias = "accessToken")]
    access_token: String,
    #[serde(alias = "expiresIn")]
    expires_in: u64,
}

impl IssuedToken {
    /// The token in the response to a sign-in.
    pub fn read(answer: &Response) -> Result<Self, Error> {
        let TokenResponse { access_token, expires_in } = answer.json()?;
        if access_token.is_empty() {
            return Err(answer.nonsense("an empty token"));
        }
        Ok(Self { token: access_token.into(), life: Some(Duration::from_secs(expires_in)) })
    }
}

/// What a response shows about the token that was presented.
pub enum TokenVerdict {
    /// The server accepted it, regardless of the result of the request.
    Taken,
    /// Nothing: the server failed, or a proxy in front of it responded.
    Unsaid,
    /// It isn't accepted (any more). Nothing was carried out.
    Refused(Error),
}

/// A way to sign in.
pub trait SignIn: Send + Sync {
    /// Whether another sign-in may return another token: not if the token itself is configured.
    fn gives_another(&self) -> bool;

    /// Signs in, or returns the configured token. [`Error::Unauthorized`] if the server refuses the credential: the
    /// next attempt is then delayed.
    fn sign_in(
        &self,
        server: &Server,
        permit_use: &PermitUse<'_>,
    ) -> impl Future<Output = Result<IssuedToken, Error>> + Send;

    /// The id of the subject of a token, in lower case; `None`: unknown.
    fn signed_in_as(&self, token: &SecretString) -> Option<String>;

    /// Interprets a response with regard to the token.
    fn verdict(&self, answer: &Response) -> TokenVerdict;

    /// The secrets besides the token, to be redacted in all output.
    fn hide<'a>(&'a self, request: Request<'a>) -> Request<'a>;
}

/// One sign-in, shared by all calls of a provider.
#[derive(Debug)]
pub struct Session<S> {
    way: S,
    /// Held during a sign-in: other callers wait for its outcome.
    state: Mutex<State>,
    /// The subject of the last token.
    subject: std::sync::Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct State {
    /// The token and when to stop using it; `None`: never.
    token: Option<(Token, Option<Instant>)>,
    sign_ins: u64,
    /// Refusals in a row, since the last token that was accepted.
    refusals: usize,
    /// Sign-ins in a row without a response.
    failures: u32,
    /// The last sign-in's failure, and until when all callers get it.
    failed: Option<(Error, Instant)>,
}

/// An access token and its sign-in.
#[derive(Clone, Debug)]
struct Token {
    secret: Arc<SecretString>,
    sign_in: u64,
}

impl<S: SignIn> Session<S> {
    /// Not signed in yet.
    pub fn new(way: S) -> Self {
        Self { way, state: Mutex::default(), subject: std::sync::Mutex::default() }
    }

    /// The id of the signed-in subject, if it is known.
    pub fn signed_in_as(&self) -> Option<String> {
        locked(&self.subject).clone()
    }

    /// The way to sign in.
    pub fn way(&self) -> &S {
        &self.way
    }

    /// Sends one request with a token. A token that is no longer accepted is replaced once, by one sign-in for all
    /// calls; nothing was carried out then.
    pub async fn present(
        &self,
        server: &Server,
        permit_use: &PermitUse<'_>,
        request: Request<'_>,
    ) -> Result<Response, Error> {
        let mut signed_in_again = false;
        loop {
            let token = self.token(server, permit_use).await?;
            let presented = self.way.hide(request.clone()).bearer(&token.secret);
            let answer = server.call(permit_use.next(), presented).await?;
            match self.way.verdict(&answer) {
                TokenVerdict::Taken => {
                    self.taken();
                    return Ok(answer);
                }
                TokenVerdict::Unsaid => return Ok(answer),
                TokenVerdict::Refused(_) if !signed_in_again && self.way.gives_another() => {
                    self.forget(&token).await;
                    signed_in_again = true;
                }
                TokenVerdict::Refused(error) => {
                    self.refused(&error).await;
                    return Err(error);
                }
            }
        }
    }

    /// A token to use now, from a new sign-in if there is none.
    async fn token(&self, server: &Server, permit_use: &PermitUse<'_>) -> Result<Token, Error> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some((token, end)) = &state.token
            && end.is_none_or(|end| Instant::now() < end)
        {
            return Ok(token.clone());
        }
        // A sign-in that failed while this call waited for it counts for this call too.
        if let Some((error, until)) = &state.failed
            && asked < *until
        {
            return Err(error.clone());
        }
        match self.way.sign_in(server, permit_use).await {
            Ok(IssuedToken { token, life }) => {
                state.sign_ins += 1;
                *locked(&self.subject) = self.way.signed_in_as(&token);
                let token = Token { secret: Arc::new(token), sign_in: state.sign_ins };
                let use_for =
                    life.map(|life| life.min(LONGEST_LIFE)).map(|l| l.saturating_sub(LONGEST_MARGIN.min(l / 10)));
                let end = use_for.map(|use_for| Instant::now() + use_for);
                state.token = Some((token.clone(), end));
                state.failures = 0;
                state.failed = None;
                Ok(token)
            }
            Err(error) => {
                state.fail(&error);
                Err(error)
            }
        }
    }

    /// The server refused `token`: a new sign-in may help. A token that was replaced meanwhile is kept.
    async fn forget(&self, token: &Token) {
        let mut state = self.state.lock().await;
        if state.token.as_ref().is_some_and(|(current, _)| current.sign_in == token.sign_in) {
            state.token = None;
        }
    }

    /// The server refused a token right after its sign-in: another sign-in would only repeat that.
    async fn refused(&self, error: &Error) {
        if self.way.gives_another() {
            let mut state = self.state.lock().await;
            state.token = None;
            state.fail(error);
        }
    }

    fn taken(&self) {
        // No call waits here for a sign-in: during a sign-in, its outcome counts.
        if let Ok(mut state) = self.state.try_lock() {
            state.refusals = 0;
        }
    }
}

impl State {
    fn fail(&mut self, error: &Error) {
        let pause = if let Error::Unauthorized { .. } = error {
            let pause = PAUSES.get(self.refusals).or(PAUSES.last()).copied().unwrap_or_default();
            self.refusals += 1;
            pause
        } else {
            let pause = AFTER_FAILURE.saturating_mul(1 << self.failures.min(10)).min(AFTER_FAILURES);
            self.failures += 1;
            pause
        };
        self.failed = Some((error.clone(), Instant::now() + pause));
    }
}
