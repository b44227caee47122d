//! The ways to sign in to ZITADEL (docs/reference/zitadel.md, "Auth"; auth.json). [`session`](crate::provider::session)
//! decides when to sign in and how long to use the token.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::errors::messages::RequestContext;
use super::errors::{Meaning, Refusal};
use super::key_file::KeyFile;
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::http::{Endpoint, Method, Request, Response, Server, url_hint};
use crate::provider::session::{IssuedToken, PermitUse, SignIn, TokenVerdict};

/// Names the instance if the URL's host doesn't (docs/reference/zitadel.md, "Headers and limits").
const INSTANCE_HOST: &str = "x-zitadel-instance-host";
const DISCOVERY: &str = "/.well-known/openid-configuration";
const TOKEN: &str = "/oauth/v2/token";
/// Without the second the management API refuses the token (auth.json, "use a token without the audience scope").
const SCOPE: &str = "openid urn:zitadel:iam:org:project:id:zitadel:aud";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How to sign in. Debug shows no secret.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A personal access token of a machine user.
    PersonalAccessToken(SecretString),
    /// A key of a machine user, which signs an assertion for each sign-in and is never sent.
    PrivateKeyJwt(KeyFile),
    /// A client secret of a machine user.
    ClientCredentials {
        /// The client id, which is the machine user's name.
        client_id: String,
        client_secret: SecretString,
    },
}

/// The credential, and the instance of the server to sign in to.
#[derive(Debug)]
pub struct Login {
    pub credentials: Credentials,
    /// The host of the instance; `None`: the one that the URL's host names.
    pub instance_host: Option<String>,
}

/// The discovery document of the instance.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

/// A refusal of the token endpoint.
#[derive(Deserialize)]
struct TokenError {
    error: String,
}

impl Login {
    /// The request, addressed to the instance.
    pub fn to_instance<'r>(&self, request: Request<'r>) -> Request<'r> {
        match &self.instance_host {
            Some(host) => request.header(INSTANCE_HOST, host),
            None => request,
        }
    }

    /// The issuer for which an assertion must be made. The instance derives it from the request's scheme, host and port
    /// (auth.json, the exchanges "discovery" and "Host:"), depending on the configuration of the server and of proxies
    /// in front of it: a server behind TLS reports https to a call by http. So it is requested, and not constructed
    /// here. It is only trusted if its host is the one that was called or `instanceHost`: an impostor of the server
    /// must not obtain an assertion that another server would accept.
    async fn issuer(&self, server: &Server, permit_use: &PermitUse<'_>) -> Result<String, Error> {
        let answer = server.call(permit_use.next(), self.to_instance(Request::get(DISCOVERY))).await?;
        if !answer.is_success() {
            return Err(self.not_granted(&answer, "check the URL"));
        }
        let Discovery { issuer } = answer.json()?;
        let host = |url: &str| Endpoint::parse(url).map(|url| url.host().to_ascii_lowercase()).ok();
        let named = host(&issuer);
        let meant = self.instance_host.as_deref().and_then(|instance| host(&format!("https://{instance}")));
        if named.is_some() && (named == host(server.endpoint().as_str()) || named == meant) {
            return Ok(issuer);
        }
        let message = format!(
            "ZITADEL at {} calls itself {}, which is neither the host of the URL nor instanceHost, so that nothing is signed \
             for it: if it is the instance that is meant, name that host in instanceHost",
            server.endpoint(),
            answer.filtered(&issuer)
        );
        Err(Error::Unreachable { message, effect: Effect::None })
    }

    /// Sends a request to the token endpoint.
    async fn grant(
        &self,
        server: &Server,
        permit_use: &PermitUse<'_>,
        request: Request<'_>,
    ) -> Result<IssuedToken, Error> {
        let answer = server.call(permit_use.next(), self.to_instance(request.reads())).await?;
        if !answer.is_success() {
            let check = self.credentials.what_to_check(server.clock_skew().unwrap_or_default(), server.now());
            return Err(self.not_granted(&answer, &check));
        }
        IssuedToken::read(&answer)
    }

    /// The error of a sign-in with an unexpected response.
    fn not_granted(&self, answer: &Response, check: &str) -> Error {
        match (answer.status, serde_json::from_slice::<TokenError>(&answer.body)) {
            (429 | 408 | 500.., _) => of_instance(answer).into(),
            (_, Ok(TokenError { error })) => Error::Unauthorized {
                message: format!(
                    "ZITADEL at {} refuses the sign-in ({} {}: {}): {check}",
                    answer.context.endpoint,
                    answer.status,
                    answer.filtered(&error),
                    answer.error_text(),
                ),
            },
            // The text of the OIDC endpoints, and the JSON of the others.
            (404, Err(_)) => {
                let check = url_hint(&answer.context.endpoint).unwrap_or_else(|| {
                    "check the URL; where its host isn't one of the instance's domains, name one of them in instanceHost"
                        .to_owned()
                });
                let what = format!("has no instance for this host, or isn't ZITADEL: {check}");
                answer.context.unreachable(&what, Effect::None)
            }
            _ => answer.nonsense("an error that isn't ZITADEL's"),
        }
    }
}

fn of_instance(answer: &Response) -> Refusal {
    Refusal::read(answer, &RequestContext::of_instance(&answer.context.endpoint))
}

impl Credentials {
    /// What to check if the server refuses the sign-in; its own messages are short (auth.json: `invalid assertion` for
    /// everything that can be wrong with a key).
    fn what_to_check(&self, skew: SignedDuration, now: Timestamp) -> String {
        match self {
            Self::PersonalAccessToken(_) => "create a new personal access token and put it into the Secret".to_owned(),
            Self::PrivateKeyJwt(file) => {
                let clock = if skew.unsigned_abs() > Duration::from_secs(30) {
                    format!(", and the clocks, which differ by {} s", skew.as_secs())
                } else {
                    String::new()
                };
                format!(
                    "check that {} is still there and the user active{clock}; or create a new key for the machine user and put \
                     its JSON file into the Secret",
                    file.named(now)
                )
            }
            Self::ClientCredentials { .. } => {
                "check the client id, which is the machine user's name and not its id, the client \
                                               secret, of which a new one replaces the old, and that the user is active"
                    .to_owned()
            }
        }
    }
}

impl SignIn for Login {
    fn gives_another(&self) -> bool {
        match self.credentials {
            Credentials::PersonalAccessToken(_) => false,
            Credentials::PrivateKeyJwt(_) | Credentials::ClientCredentials { .. } => true,
        }
    }

    async fn sign_in(&self, server: &Server, permit_use: &PermitUse<'_>) -> Result<IssuedToken, Error> {
        match &self.credentials {
            Credentials::PersonalAccessToken(token) => Ok(IssuedToken { token: token.clone(), life: None }),
            Credentials::PrivateKeyJwt(file) => {
                let issuer = self.issuer(server, permit_use).await?;
                // The server's clock decides, and its response has just shown it.
                let now = server.now();
                let theirs = now.saturating_add(server.clock_skew().unwrap_or_default()).unwrap_or(now);
                let assertion = file.assertion(&issuer, theirs).map_err(|error| Error::Unauthorized {
                    message: format!("no sign-in to ZITADEL at {}: {error}", server.endpoint()),
                })?;
                let form = [("grant_type", JWT_BEARER), ("assertion", assertion.expose_secret()), ("scope", SCOPE)];
                self.grant(server, permit_use, Request::new(Method::Post, TOKEN).form(&form).hide(&assertion)).await
            }
            Credentials::ClientCredentials { client_id, client_secret } => {
                let form = [("grant_type", "client_credentials"), ("scope", SCOPE)];
                let request = Request::new(Method::Post, TOKEN).form(&form).basic(client_id, client_secret);
                self.grant(server, permit_use, request).await
            }
        }
    }

    /// A key file names its user. No recorded response names the user of a personal access token or a client id.
    fn signed_in_as(&self, _: &SecretString) -> Option<String> {
        match &self.credentials {
            Credentials::PrivateKeyJwt(file) => Some(file.user_id().to_owned()),
            Credentials::PersonalAccessToken(_) | Credentials::ClientCredentials { .. } => None,
        }
    }

    fn verdict(&self, answer: &Response) -> TokenVerdict {
        if answer.is_success() {
            return TokenVerdict::Taken;
        }
        let refusal = of_instance(answer);
        match refusal.meaning {
            Meaning::BadToken if self.gives_another() => TokenVerdict::Refused(Error::Unauthorized {
                message: format!(
                    "ZITADEL at {} refuses the access token of a sign-in that it has just taken: check that the machine user \
                     is active and belongs to this instance",
                    answer.context.endpoint
                ),
            }),
            Meaning::BadToken => TokenVerdict::Refused(refusal.error),
            // Without an id of ZITADEL's: perhaps from a proxy, before any token was checked.
            _ if refusal.id.is_empty() => TokenVerdict::Unsaid,
            _ => TokenVerdict::Taken,
        }
    }

    fn hide<'a>(&'a self, request: Request<'a>) -> Request<'a> {
        match &self.credentials {
            Credentials::PersonalAccessToken(token) => request.hide(token),
            Credentials::ClientCredentials { client_secret, .. } => request.hide(client_secret),
            Credentials::PrivateKeyJwt(_) => request,
        }
    }
}
