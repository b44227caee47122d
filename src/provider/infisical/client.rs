//! The requests that are sent under one permit: with a token, on the paths of the server's generation, and with
//! refusals interpreted.

use super::Infisical;
use super::api::{Family, Generation};
use super::errors::{self, Meaning, RequestContext};
use crate::provider::error::Effect;
use crate::provider::http::{Request, Response, TIME_LIMIT};
use crate::provider::session::PermitUse;
use crate::provider::{Error, Permit};

/// The calls of one operation, under one permit.
pub(crate) struct Calls<'a> {
    pub(crate) infisical: &'a Infisical,
    permit_use: PermitUse<'a>,
}

impl<'a> Calls<'a> {
    /// No calls yet.
    pub(crate) fn new(infisical: &'a Infisical, permit: &'a Permit) -> Self {
        Self { infisical, permit_use: PermitUse::new(permit) }
    }

    /// Sends one request, built by `request` for the current generation, and determines what a refusal means.
    pub(crate) async fn send<'r>(
        &self,
        family: Family,
        asked: &RequestContext<'_>,
        request: impl Fn(Generation) -> Request<'r> + Send + Sync,
    ) -> Result<Response, Meaning> {
        match self.send_once(family, asked, request).await {
            Err(Meaning::Unclear(error)) => Err(Meaning::Other(self.decided_by_project(asked, error).await)),
            outcome => outcome,
        }
    }

    /// Sends one request, built by `request` for the current generation. If its route was removed, the generation is
    /// detected again, once; nothing was carried out then.
    pub(crate) async fn send_once<'r>(
        &self,
        family: Family,
        asked: &RequestContext<'_>,
        request: impl Fn(Generation) -> Request<'r> + Send + Sync,
    ) -> Result<Response, Meaning> {
        let mut probed_again = false;
        loop {
            let generation = match self.infisical.found(family) {
                Some(generation) => generation,
                None => self.probe(family).await?,
            };
            return match self.ask(asked, request(generation)).await {
                Err(Meaning::NoRoute) if !probed_again => {
                    probed_again = true;
                    self.infisical.forget(family, generation);
                    continue;
                }
                Err(Meaning::OnlyTemporary(error)) => {
                    Err(Meaning::Other(self.infisical.only_temporary(asked.kind, error)))
                }
                outcome => outcome,
            };
        }
    }

    /// Sends one request whose path is the same in all generations, and reads its refusal.
    pub(crate) async fn ask(&self, asked: &RequestContext<'_>, request: Request<'_>) -> Result<Response, Meaning> {
        let answer = self.present(request).await?;
        if answer.is_success() { Ok(answer) } else { Err(errors::read(&answer, asked)) }
    }

    /// Sends one request, and returns its response whatever that means.
    pub(crate) async fn present(&self, request: Request<'_>) -> Result<Response, Error> {
        let Infisical { session, server, .. } = self.infisical;
        session.present(server, &self.permit_use, request).await
    }

    /// A change of several requests. All of them together have the time limit of one, so that the check before it that
    /// there is enough time for a write (before the lease expires) holds for all of them.
    pub(crate) async fn in_time<T>(&self, change: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        let late = || self.unfinished(&format!("the change wasn't carried out in {} s", TIME_LIMIT.as_secs()));
        tokio::time::timeout(TIME_LIMIT, change).await.unwrap_or_else(|_| Err(late()))
    }

    pub(crate) fn unfinished(&self, what: &str) -> Error {
        let message = format!("Infisical at {}: {what}; it is checked again", self.infisical.server.endpoint());
        Error::Unreachable { message, effect: Effect::Unknown }
    }
}
