//! Infisical: the project memberships of machine identities.
//!
//! How the server behaves, and how each fact is known: reference/infisical.md and the recordings in tests/contracts.
//! One module a concern: [`auth`] signs in, [`route`] knows the generations' paths, [`roles`] and [`range`] the wire
//! form of role lists, [`listing`] reads lists, [`refusal`] says what a refusal means, [`identity`] writes.

mod auth;
mod identity;
mod listing;
mod range;
mod refusal;
mod roles;
mod route;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use uuid::Uuid;

pub use auth::{Credentials, TokenSource};

use super::error::Effect;
use super::http::{Answer, Client, Endpoint, Request, Server, TIME_LIMIT};
use super::session::{Session, Turn};
use super::{Error, Listing, Permit, Provider, Receipt, Verified};
use crate::api::SubjectKind;
use crate::member::{Capabilities, Change, Member, Project, Target};
use identity::Membership;
use listing::Memberships;
use refusal::{Asked, Failure, Operation, Refusal};
use route::Generation;

/// The built-in role that gives nothing.
const NO_ACCESS: &str = "no-access";

/// Slugs that every project has; the newest servers have the last ones (reference/infisical.md, "Roles in answers").
const BUILT_IN_ROLES: [&str; 8] =
    ["admin", "member", "viewer", NO_ACCESS, "ssh-host-bootstrapper", "cryptographic-operator", "agent", "agent-proxy"];

/// One Infisical server with one credential.
pub struct Infisical {
    server: Server,
    session: Session<Credentials>,
    /// Whether a user who isn't in the organization may be invited.
    invite_users: bool,
    /// The generation that was found; `None`: not looked for yet, or its route has gone.
    generation: Mutex<Option<Generation>>,
    /// The server has refused a list of temporary roles only.
    wants_permanent: AtomicBool,
}

impl Infisical {
    /// A server to sign in to with `credentials`. Nothing is sent yet. For other credentials make another: what was
    /// refused before is forgotten with it.
    pub fn new(client: &Client, endpoint: Endpoint, credentials: Credentials) -> Self {
        Self {
            server: client.server("Infisical", endpoint),
            session: Session::new(credentials.trimmed()),
            invite_users: false,
            generation: Mutex::new(None),
            wants_permanent: AtomicBool::new(false),
        }
    }

    /// The same, allowed or not to invite users who aren't in the organization (`spec.infisical.inviteUsers`).
    #[must_use]
    pub fn inviting_users(self, invite_users: bool) -> Self {
        Self { invite_users, ..self }
    }

    /// Whether a user who isn't in the organization may be invited, which sends mail.
    pub fn invites_users(&self) -> bool {
        self.invite_users
    }

    /// Sends one request, made by `request` for the generation at hand. A route that has gone is looked for once in the
    /// other generations; nothing was carried out then.
    async fn send<'r>(
        &self,
        turn: &Turn<'_>,
        asked: &Asked<'_>,
        request: impl Fn(Generation) -> Request<'r> + Send + Sync,
    ) -> Result<Answer, Refusal> {
        let mut probed_again = false;
        loop {
            let generation = self.generation(turn).await?;
            let answer = self.session.present(&self.server, turn, request(generation)).await?;
            if answer.is_success() {
                return Ok(answer);
            }
            return Err(match refusal::read(&answer, asked) {
                Refusal::NoRoute if !probed_again => {
                    probed_again = true;
                    self.forget(generation);
                    continue;
                }
                Refusal::NoRoute => {
                    Refusal::Other(answer.nonsense("no such route, although it has others of this generation"))
                }
                Refusal::OnlyTemporary(error) => Refusal::Other(self.only_temporary(error)),
                refusal => refusal,
            });
        }
    }

    /// The generation at hand.
    async fn generation(&self, turn: &Turn<'_>) -> Result<Generation, Error> {
        let found = *self.found();
        match found {
            Some(generation) => Ok(generation),
            None => self.probe(turn).await,
        }
    }

    /// The generation of the API, found by reads of a project that nobody has.
    async fn probe(&self, turn: &Turn<'_>) -> Result<Generation, Error> {
        let nobody = Uuid::nil().to_string();
        for generation in Generation::ALL {
            let answer = self.session.present(&self.server, turn, generation.members(&nobody)).await?;
            if answer.is_success() {
                // Whatever it lists: a web page that is answered for any path is no list.
                answer.json::<Memberships>()?;
            } else {
                match refusal::failure(&answer) {
                    Some(Failure::NoRoute) => continue,
                    Some(failure) => return Err(refusal::failed(failure, &answer)),
                    None => {}
                }
            }
            *self.found() = Some(generation);
            return Ok(generation);
        }
        Err(Error::Rejected {
            message: format!(
                "the server at {} has none of the paths of identity memberships: check that the URL is Infisical's, \
                 without /api",
                self.server.endpoint()
            ),
        })
    }

    fn found(&self) -> MutexGuard<'_, Option<Generation>> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, generation: Generation) {
        let mut found = self.found();
        if *found == Some(generation) {
            *found = None;
        }
    }

    /// A server that only has the old path may refuse a list of temporary roles only all the same: from then on the base
    /// is asked for, and the change planned again with it.
    fn only_temporary(&self, error: Error) -> Error {
        let known = self.capabilities(SubjectKind::Identity).permanent_base.is_some();
        self.wants_permanent.store(true, Ordering::Relaxed);
        if known { error } else { Error::Changed { message: error.to_string() } }
    }
}

impl Provider for Infisical {
    fn capabilities(&self, _: SubjectKind) -> Capabilities {
        // October 2024 takes a list of temporary roles only; whoever has the newer path refuses it
        // (reference/infisical.md, "Errors"). The base does no harm where it isn't needed.
        let old = *self.found() == Some(Generation::G1) && !self.wants_permanent.load(Ordering::Relaxed);
        Capabilities {
            enforces_expiry: true,
            permanent_base: if old { None } else { Some(NO_ACCESS) },
            one_writer: false,
            lists_are_current: true,
            creation_role: None,
            invites: false,
        }
    }

    async fn verify(&self, permit: &Permit) -> Result<Verified, Error> {
        // Always asked: the server may have been upgraded since.
        let generation = self.probe(&Turn::new(permit)).await?;
        Ok(Verified { api: generation.name() })
    }

    async fn find_project(&self, _: &Permit, name: &str, _: Option<&str>) -> Result<Vec<String>, Error> {
        Err(Error::Rejected { message: format!("project {name:?} can't be looked up: write its id") })
    }

    async fn find_subject(&self, _: &Permit, _: &Project, kind: SubjectKind, name: &str) -> Result<Vec<String>, Error> {
        Err(Error::Rejected { message: format!("{kind:?} {name:?} can't be looked up: write its id") })
    }

    async fn invite(&self, _: &Permit, _: &Project, name: &str) -> Result<String, Error> {
        Err(Error::Rejected { message: format!("{name:?} can't be invited") })
    }

    async fn list(&self, permit: &Permit, project: &Project, _: SubjectKind) -> Result<Listing, Error> {
        let project = identity::project_id(project)?;
        let asked = Asked { operation: Operation::List, project: &project, subject: "", roles: &[] };
        // One request without limit: pages lose and double rows (reference/infisical.md, "Speed").
        let answer = self.send(&Turn::new(permit), &asked, |generation| generation.members(&project)).await?;
        Ok(answer.json::<Memberships>()?.fold(&project))
    }

    async fn apply(
        &self,
        permit: &Permit,
        target: &Target,
        _: Option<&str>,
        change: &Change,
    ) -> Result<Receipt, Error> {
        let turn = Turn::new(permit);
        let membership = Membership::new(self, &turn, target)?;
        // A change may take several requests. As a whole it takes no longer than one: whoever checked before that there
        // is time for a write (a lease that runs out) has checked it for all of them.
        match tokio::time::timeout(TIME_LIMIT, membership.apply(change)).await {
            Ok(outcome) => outcome.map(|()| Receipt::default()),
            Err(_) => Err(Error::Unreachable {
                message: format!(
                    "Infisical at {} didn't carry the change out in {} s",
                    self.server.endpoint(),
                    TIME_LIMIT.as_secs()
                ),
                effect: Effect::Unknown,
            }),
        }
    }

    /// Infisical loses no write, but two writers' lists may be united, and several memberships of one identity come
    /// about (reference/infisical.md, "PATCH and time"): the list is stated again, in the form that what is there needs.
    async fn heal(
        &self,
        permit: &Permit,
        target: &Target,
        name: Option<&str>,
        wanted: &Change,
        shown: Option<&Member>,
    ) -> Result<Receipt, Error> {
        let entries = wanted.outcome().to_vec();
        let again = match shown {
            _ if entries.is_empty() => Change::Remove,
            None => Change::Create(entries),
            Some(member) if member.memberships > 1 => Change::Recreate(entries),
            Some(_) => Change::Replace(entries),
        };
        self.apply(permit, target, name, &again).await
    }

    /// Lists are never stale here, and nothing that was taken isn't listed.
    async fn explain_absence(&self, _: &Permit, _: &Target) -> Result<(), Error> {
        Ok(())
    }

    fn clock_skew(&self) -> Option<SignedDuration> {
        self.server.clock_skew()
    }
}
