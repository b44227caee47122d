//! The requests that are sent under one permit: with a token, on the paths of the generation that the server has, and with
//! the meaning of a refusal found out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Infisical;
use super::api::{Family, Generation};
use super::errors::{self, Meaning, RequestContext};
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::http::{Request, Response, TIME_LIMIT};
use crate::provider::session::PermitUse;

impl Infisical {
    /// Sends one request, made by `request` for the generation at hand, and finds out what a refusal means.
    pub(crate) async fn send<'r>(
        &self,
        permit_use: &PermitUse<'_>,
        family: Family,
        asked: &RequestContext<'_>,
        request: impl Fn(Generation) -> Request<'r> + Send + Sync,
    ) -> Result<Response, Meaning> {
        match self.send_once(permit_use, family, asked, request).await {
            Err(Meaning::Unclear(error)) => {
                Err(Meaning::Other(self.decided_by_project(permit_use, asked, error).await))
            }
            outcome => outcome,
        }
    }

    /// Sends one request, made by `request` for the generation at hand. A route that has gone is looked for once in the
    /// other generations; nothing was carried out then.
    pub(crate) async fn send_once<'r>(
        &self,
        permit_use: &PermitUse<'_>,
        family: Family,
        asked: &RequestContext<'_>,
        request: impl Fn(Generation) -> Request<'r> + Send + Sync,
    ) -> Result<Response, Meaning> {
        let mut probed_again = false;
        loop {
            let generation = match self.found(family) {
                Some(generation) => generation,
                None => self.probe(permit_use, family).await?,
            };
            return match self.ask(permit_use, asked, request(generation)).await {
                Err(Meaning::NoRoute) if !probed_again => {
                    probed_again = true;
                    self.forget(family, generation);
                    continue;
                }
                Err(Meaning::OnlyTemporary(error)) => Err(Meaning::Other(self.only_temporary(asked.kind, error))),
                outcome => outcome,
            };
        }
    }

    /// Sends one request whose path is the same in all generations, and reads its refusal.
    pub(crate) async fn ask<'r>(
        &self,
        permit_use: &PermitUse<'_>,
        asked: &RequestContext<'_>,
        request: Request<'r>,
    ) -> Result<Response, Meaning> {
        let answer = self.session.present(&self.server, permit_use, request).await?;
        if answer.is_success() { Ok(answer) } else { Err(errors::read(&answer, asked)) }
    }

    /// A change of several requests. As a whole it takes no longer than one: anyone who checked before that there is time
    /// for a write (a lease that runs out) has checked it for all of them.
    pub(crate) async fn in_time<T>(&self, change: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        let late = || self.unfinished(&format!("the change wasn't carried out in {} s", TIME_LIMIT.as_secs()));
        tokio::time::timeout(TIME_LIMIT, change).await.unwrap_or_else(|_| Err(late()))
    }

    pub(crate) fn unfinished(&self, what: &str) -> Error {
        let message = format!("Infisical at {}: {what}; it is checked again", self.server.endpoint());
        Error::Unreachable { message, effect: Effect::Unknown }
    }
}

/// What a mutex protects, also after a panic of anyone who held it.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
