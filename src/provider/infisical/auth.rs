//! The ways to sign in to Infisical. [`session`](crate::provider::session) decides when to sign in and how long to use
//! the token. Tokens are never renewed: with Infisical's defaults a renewal is refused and deletes the token that was
//! still valid (docs/reference/infisical.md, "Auth and limits"; identity-extras.json, "defaults: renew right after the
//! login").

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::errors::{self, Meaning};
use super::token::{self, TokenSource};
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::http::{Method, Request, Response, Server};
use crate::provider::session::{IssuedToken, PermitUse, SignIn, TokenVerdict};

const UNIVERSAL_AUTH: &str = "/api/v1/auth/universal-auth/login";
const KUBERNETES_AUTH: &str = "/api/v1/auth/kubernetes-auth/login";
const OIDC_AUTH: &str = "/api/v1/auth/oidc-auth/login";

/// How to sign in. Debug shows no secret.
#[derive(Clone, Debug)]
pub enum Credentials {
    UniversalAuth {
        client_id: String,
        client_secret: SecretString,
    },
    /// Kubernetes auth: a service account's token that Infisical verifies through the API server.
    Kubernetes {
        /// The machine identity's id.
        identity_id: String,
        /// The service account's token.
        token: TokenSource,
    },
    /// OIDC auth: a token that Infisical verifies with its issuer's published keys.
    Oidc {
        /// The machine identity's id.
        identity_id: String,
        token: TokenSource,
    },
    /// An access token that another process keeps current.
    Token(SecretString),
}

/// A credential, and the sub-organization to sign in to.
#[derive(Clone, Debug)]
pub struct Login {
    /// How to sign in.
    pub credentials: Credentials,
    /// The slug of a sub-organization of the identity's organization; `None`: the identity's organization. Servers
    /// without sub-organizations ignore it (docs/reference/infisical.md, "Sub-organizations").
    pub organization_slug: Option<String>,
}

impl SignIn for Login {
    fn gives_another(&self) -> bool {
        match &self.credentials {
            Credentials::Token(_) => false,
            Credentials::UniversalAuth { .. } | Credentials::Kubernetes { .. } | Credentials::Oidc { .. } => true,
        }
    }

    async fn sign_in(&self, server: &Server, permit_use: &PermitUse<'_>) -> Result<IssuedToken, Error> {
        let by_token = |route, identity_id: &str, source: &TokenSource| {
            let token = source.token().map_err(|message| Error::Unreachable {
                message: format!("no sign-in to Infisical at {}: {message}", server.endpoint()),
                effect: Effect::None,
            })?;
            let body = json!({"identityId": identity_id.trim(), "jwt": token.expose_secret()});
            Ok::<_, Error>((route, body, token))
        };
        let (route, mut body, secret) = match &self.credentials {
            // It was issued for one organization.
            Credentials::Token(token) => return Ok(IssuedToken { token: token.clone(), life: None }),
            Credentials::UniversalAuth { client_id, client_secret } => {
                let body = json!({"clientId": client_id, "clientSecret": client_secret.expose_secret()});
                (UNIVERSAL_AUTH, body, client_secret.clone())
            }
            Credentials::Kubernetes { identity_id, token } => by_token(KUBERNETES_AUTH, identity_id, token)?,
            Credentials::Oidc { identity_id, token } => by_token(OIDC_AUTH, identity_id, token)?,
        };
        if let Some(slug) = &self.organization_slug {
            body["organizationSlug"] = json!(slug);
        }
        let request = Request::new(Method::Post, route).json(&body).hide(&secret).reads();
        let answer = server.call(permit_use.next(), request).await?;
        if answer.is_success() { IssuedToken::read(&answer) } else { Err(self.refused(&answer)) }
    }

    fn signed_in_as(&self, token: &SecretString) -> Option<String> {
        match &self.credentials {
            Credentials::Kubernetes { identity_id, .. } | Credentials::Oidc { identity_id, .. } => {
                Some(identity_id.trim().to_ascii_lowercase())
            }
            Credentials::UniversalAuth { .. } | Credentials::Token(_) => token::identity(token),
        }
    }

    fn verdict(&self, answer: &Response) -> TokenVerdict {
        match errors::token(answer) {
            Some(error) => TokenVerdict::Refused(error),
            None if answer.is_success() || errors::failure(answer).is_none() => TokenVerdict::Taken,
            None => TokenVerdict::Unsaid,
        }
    }

    fn hide<'a>(&'a self, request: Request<'a>) -> Request<'a> {
        match &self.credentials {
            Credentials::UniversalAuth { client_secret, .. } => request.hide(client_secret),
            Credentials::Token(token) => request.hide(token),
            // Read again for each sign-in and not stored.
            Credentials::Kubernetes { .. } | Credentials::Oidc { .. } => request,
        }
    }
}

impl Login {
    /// The error of a sign-in whose response has no token.
    fn refused(&self, answer: &Response) -> Error {
        match errors::failure(answer) {
            // Also for a fault in the identity's configuration (kubernetes-auth.json, oidc-auth.json): retrying is
            // right, since the server may have a temporary failure.
            Some(Meaning::Other(Error::Unreachable { .. })) if answer.status >= 500 => {
                let hint = self.credentials.hint_of_500();
                let what = format!("answered {} to the sign-in: {}{hint}", answer.status, answer.error_text());
                answer.context.unreachable(&what, Effect::None)
            }
            Some(Meaning::NoRoute) => answer.nonsense("no such route"),
            Some(failure) => failure.into(),
            None => Error::Unauthorized {
                message: format!(
                    "Infisical at {} refuses the sign-in ({}: {}): {}{}",
                    answer.context.endpoint,
                    answer.status,
                    answer.error_text(),
                    self.credentials.hint(answer),
                    self.hint_of_organization()
                ),
            },
        }
    }

    /// What else to check when signing in to a sub-organization: 404 if there is none with that slug, 401 if the
    /// identity is not a member of it.
    fn hint_of_organization(&self) -> String {
        let hint = |slug| {
            format!(
                "; check also that {slug:?} (spec.infisical.organizationSlug) is the slug of a sub-organization, and that \
                 the identity was added to it"
            )
        };
        self.organization_slug.as_ref().map(hint).unwrap_or_default()
    }
}

impl Credentials {
    /// What to check if the server refuses the credential.
    fn hint(&self, answer: &Response) -> &'static str {
        let missing = answer.status == 404;
        match self {
            // A wrong secret 401, an unknown client id 404, a secret of a wrong form 401 or 422, an address that the
            // identity may not sign in from 403, a secret that is used up or expired 401, a lock-out 401.
            Self::UniversalAuth { .. } | Self::Token(_) => {
                "check the client id and secret under Access Control → Identities → Universal Auth, whether the secret is \
                 expired or used up, and its trusted addresses"
            }
            Self::Kubernetes { .. } if missing => {
                "check identityId, and that the identity has Kubernetes Auth under Access Control → Identities"
            }
            Self::Oidc { .. } if missing => {
                "check identityId, and that the identity has OIDC Auth under Access Control → Identities"
            }
            // The API server's response to the reviewer is passed on as if it was about the caller
            // (kubernetes-auth.json, "login: reviewer with a bad token").
            Self::Kubernetes { .. }
                if errors::error_of(answer).as_deref() == Some("KubernetesTokenReviewRequestError") =>
            {
                "the API server refused Infisical itself: check the identity's Token Reviewer JWT, whether it has expired, and \
                 that its service account is bound to system:auth-delegator"
            }
            Self::Kubernetes { .. } => {
                "check the identity's Kubernetes Auth: allowed namespaces, allowed service account names (no wildcards) and \
                 allowed audience, which can only be one of the API server's own --api-audiences, and trusted addresses"
            }
            Self::Oidc { .. } => {
                "check the identity's OIDC Auth: issuer (to the letter, without a slash at its end), subject, claims and \
                 trusted addresses; leave its audiences empty"
            }
        }
    }

    /// The possible causes of a 500, whose text contains no information.
    fn hint_of_500(&self) -> &'static str {
        match self {
            Self::UniversalAuth { .. } | Self::Token(_) => "",
            Self::Kubernetes { .. } => {
                "; besides a failure of the server this is its answer where identityId is no UUID, the token is no service \
                 account's, or the identity's Kubernetes Auth has a host that can't be reached from there, has no scheme or \
                 a slash at its end, or has another CA"
            }
            Self::Oidc { .. } => {
                "; besides a failure of the server this is its answer where the identity's OIDC Auth has audiences \
                 (boundAudiences: leave them empty, Kubernetes tokens have a list that it can't compare), claims that the \
                 token lacks, or a discovery URL that can't be read from there, or where identityId is no UUID"
            }
        }
    }
}
