//! Infisical: the project memberships of machine identities, users and groups.
//!
//! How the server behaves, and how each fact is known: docs/reference/infisical.md and the recordings in
//! tests/contracts. One module a concern: [`auth`] signs in, [`route`] knows the generations' paths, [`roles`] and
//! [`range`] the wire form of role lists, [`listing`] reads lists, [`refusal`] says what a refusal means, [`names`]
//! looks names up; [`membership`] writes those of identities and groups, [`user`] those of users.

mod auth;
mod listing;
mod membership;
mod names;
mod range;
mod refusal;
mod role_ids;
mod roles;
mod route;
mod token;
mod user;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

pub use auth::Credentials;
use auth::Login;
pub use token::TokenSource;

use super::error::Effect;
use super::http::{Answer, Client, Endpoint, Request, Server, TIME_LIMIT, url_hint};
use super::session::{Session, Turn};
use super::{Error, Listing, Permit, Provider, Receipt, Verified};
use crate::api::SubjectKind;
use crate::clock::ProviderClock;
use crate::member::{Capabilities, Change, Member, Project, Target};
use listing::{MembershipIds, Memberships};
use membership::{Membership, Written};
use refusal::{Asked, Failure, Operation, Refusal};
use role_ids::RoleIds;
use route::{Family, Generation};
use user::Users;

/// The built-in role that gives nothing.
const NO_ACCESS: &str = "no-access";

/// The built-in role that October 2024 gives every new user.
const MEMBER: &str = "member";

/// Slugs that every project has; the newest servers have the last ones (docs/reference/infisical.md, "Roles in
/// answers").
const BUILT_IN_ROLES: [&str; 8] =
    ["admin", MEMBER, "viewer", NO_ACCESS, "ssh-host-bootstrapper", "cryptographic-operator", "agent", "agent-proxy"];

/// One Infisical server with one credential.
pub struct Infisical {
    server: Server,
    session: Session<Login>,
    /// Whether users may be brought into projects by name, which mails them.
    invite_users: bool,
    /// What was found out about each [`Family`] of routes.
    known: Mutex<[Known; Family::COUNT]>,
    /// The membership ids of users as the last list of each project showed them, without those that were written since.
    users: Mutex<HashMap<String, MembershipIds>>,
    /// Projects of which the credential may not read the roles.
    hidden_roles: Mutex<HashSet<String>>,
    /// Who was found under a user's name in the user's stead, by project, user and name: they aren't mailed again.
    strangers: Mutex<HashMap<(String, String, String), String>>,
}

/// What is known of a family of routes.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The generation that was found; `None`: not looked for yet, or its route has gone.
    generation: Option<Generation>,
    /// The server has refused a list of temporary roles only.
    wants_permanent: bool,
}

impl Infisical {
    /// A server to sign in to with `credentials`. Nothing is sent yet. For other credentials make another: what was
    /// refused before is forgotten with it.
    pub fn new(client: &Client, endpoint: Endpoint, credentials: Credentials) -> Self {
        Self {
            server: client.server("Infisical", endpoint),
            session: Session::new(Login { credentials: credentials.trimmed(), organization_slug: None }),
            invite_users: false,
            known: Mutex::default(),
            users: Mutex::default(),
            hidden_roles: Mutex::default(),
            strangers: Mutex::default(),
        }
    }

    /// The same, signing in to a sub-organization (`spec.infisical.organizationSlug`).
    #[must_use]
    pub fn in_organization(self, organization_slug: Option<String>) -> Self {
        let credentials = self.session.way().credentials.clone();
        Self { session: Session::new(Login { credentials, organization_slug }), ..self }
    }

    /// The same, allowed or not to bring users who are no members in by name, which mails them
    /// (`spec.infisical.inviteUsers`).
    #[must_use]
    pub fn inviting_users(self, invite_users: bool) -> Self {
        Self { invite_users, ..self }
    }

    /// Sends one request, made by `request` for the generation at hand, and finds out what a refusal means.
    async fn send<'r>(
        &self,
        turn: &Turn<'_>,
        family: Family,
        asked: &Asked<'_>,
        request: impl Fn(Generation) -> Request<'r> + Send + Sync,
    ) -> Result<Answer, Refusal> {
        match self.send_once(turn, family, asked, request).await {
            Err(Refusal::Unclear(error)) => Err(Refusal::Other(self.decided_by_project(turn, asked, error).await)),
            outcome => outcome,
        }
    }

    /// Sends one request, made by `request` for the generation at hand. A route that has gone is looked for once in the
    /// other generations; nothing was carried out then.
    async fn send_once<'r>(
        &self,
        turn: &Turn<'_>,
        family: Family,
        asked: &Asked<'_>,
        request: impl Fn(Generation) -> Request<'r> + Send + Sync,
    ) -> Result<Answer, Refusal> {
        let mut probed_again = false;
        loop {
            let generation = match self.found(family) {
                Some(generation) => generation,
                None => self.probe(turn, family).await?,
            };
            return match self.ask(turn, asked, request(generation)).await {
                Err(Refusal::NoRoute) if !probed_again => {
                    probed_again = true;
                    self.forget(family, generation);
                    continue;
                }
                Err(Refusal::OnlyTemporary(error)) => Err(Refusal::Other(self.only_temporary(asked.kind, error))),
                outcome => outcome,
            };
        }
    }

    /// Sends one request whose path is the same in all generations, and reads its refusal.
    async fn ask<'r>(&self, turn: &Turn<'_>, asked: &Asked<'_>, request: Request<'r>) -> Result<Answer, Refusal> {
        let answer = self.session.present(&self.server, turn, request).await?;
        if answer.is_success() { Ok(answer) } else { Err(refusal::read(&answer, asked)) }
    }

    /// The generation of a family, found by reads of what nobody has.
    async fn probe(&self, turn: &Turn<'_>, family: Family) -> Result<Generation, Error> {
        for &generation in family.generations() {
            if self.has_route(turn, family, generation).await? {
                self.change(family, |known| known.generation = Some(generation));
                return Ok(generation);
            }
        }
        let endpoint = self.server.endpoint();
        let hint = url_hint(endpoint.as_str()).unwrap_or_else(|| "check that the URL is Infisical's".to_owned());
        Err(Error::Rejected {
            message: format!("the server at {endpoint} has none of the paths of project memberships: {hint}"),
        })
    }

    /// Whether the server has this generation's path of a family: one read of what nobody has.
    async fn has_route(&self, turn: &Turn<'_>, family: Family, generation: Generation) -> Result<bool, Error> {
        // October 2024 answers a look-up of no project with a failure (name-resolution.json): no other is left then.
        if (family, generation) == (Family::Projects, Generation::G1) {
            return Ok(true);
        }
        let nobody = Uuid::nil().to_string();
        let answer = self.session.present(&self.server, turn, family.probe(generation, &nobody)).await?;
        if answer.is_success() {
            // A web page that is answered for any path is neither.
            answer
                .json::<Memberships>()
                .map(drop)
                .or_else(|error| answer.json::<Written>().map(drop).map_err(|_| error))?;
            return Ok(true);
        }
        match refusal::failure(&answer) {
            Some(Failure::NoRoute) => Ok(false),
            Some(failure) => Err(refusal::failed(failure, &answer)),
            None => Ok(true),
        }
    }

    /// The generation of a family, if it is known.
    fn found(&self, family: Family) -> Option<Generation> {
        self.known(family).generation
    }

    fn known(&self, family: Family) -> Known {
        locked(&self.known).get(family.index()).copied().unwrap_or_default()
    }

    fn change(&self, family: Family, change: impl FnOnce(&mut Known)) {
        if let Some(known) = locked(&self.known).get_mut(family.index()) {
            change(known);
        }
    }

    fn forget(&self, family: Family, generation: Generation) {
        self.change(family, |known| known.generation = known.generation.filter(|&found| found != generation));
    }

    /// A server that only has the old path may refuse a list of temporary roles only all the same: from then on the base
    /// is asked for, and the change planned again with it.
    fn only_temporary(&self, kind: SubjectKind, error: Error) -> Error {
        let asked_for = self.capabilities(kind).permanent_base.is_some();
        self.change(Family::Members(kind), |known| known.wants_permanent = true);
        if asked_for { error } else { Error::Changed { message: error.to_string() } }
    }

    /// The list of a project's members of one kind.
    async fn memberships(&self, turn: &Turn<'_>, project: &str, kind: SubjectKind) -> Result<Memberships, Error> {
        let asked = Asked { operation: Operation::List, kind, project, subject: "", roles: &[] };
        let request = |generation: Generation| route::members(kind, generation, project);
        let list: Memberships = self.send(turn, Family::Members(kind), &asked, request).await?.json()?;
        if kind == SubjectKind::User {
            locked(&self.users).insert(project.to_owned(), list.ids());
        }
        Ok(list)
    }

    /// The ids of a user's memberships as a list showed them that no write to the user has followed.
    fn take_ids(&self, project: &str, user: &str) -> Option<Vec<String>> {
        locked(&self.users).get_mut(project)?.remove(user)
    }

    /// A change of several requests. As a whole it takes no longer than one: whoever checked before that there is time
    /// for a write (a lease that runs out) has checked it for all of them.
    async fn in_time<T>(&self, change: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        let late = || self.unfinished(&format!("the change wasn't carried out in {} s", TIME_LIMIT.as_secs()));
        tokio::time::timeout(TIME_LIMIT, change).await.unwrap_or_else(|_| Err(late()))
    }

    fn unfinished(&self, what: &str) -> Error {
        let message = format!("Infisical at {}: {what}; it is looked at again", self.server.endpoint());
        Error::Unreachable { message, effect: Effect::Unknown }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An id as [`Target`] has it.
fn normal(id: &str) -> String {
    id.to_ascii_lowercase()
}

/// A project's id in lower case. What isn't a UUID is answered with 500 (errors.json), so it isn't sent.
fn project_id(project: &Project) -> Result<String, Error> {
    uuid(&project.id).ok_or_else(|| Error::ProjectNotFound {
        gone: false,
        message: format!(
            "{:?} is no id of an Infisical project, which is a UUID: copy it from Project Settings → Overview",
            project.id
        ),
    })
}

/// A subject's id in lower case.
fn subject_id(kind: SubjectKind, id: &str) -> Result<String, Error> {
    uuid(id).ok_or_else(|| Error::SubjectNotFound {
        message: format!(
            "{id:?} is no id of an Infisical {}, which is a UUID: copy it from Organization → Access Control, or write \
             subject.name",
            match kind {
                SubjectKind::Identity => "identity",
                SubjectKind::User => "user",
                SubjectKind::Group => "group",
            }
        ),
    })
}

fn uuid(text: &str) -> Option<String> {
    // Other spellings (braces, no hyphens) are UUIDs as well, but not to Infisical.
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten().map(|id| id.to_string())
}

impl Provider for Infisical {
    fn capabilities(&self, kind: SubjectKind) -> Capabilities {
        let Known { generation, wants_permanent } = self.known(Family::Members(kind));
        let old = generation == Some(Generation::G1);
        let is_user = kind == SubjectKind::User;
        // October 2024 takes a list of temporary roles only, but not for users; whoever has a newer path refuses it
        // (docs/reference/infisical.md, "Errors"). The base does no harm where it isn't needed.
        let takes_temporary = old && !is_user && !wants_permanent;
        Capabilities {
            enforces_expiry: true,
            permanent_base: if takes_temporary { None } else { Some(NO_ACCESS) },
            empty_role: Some(NO_ACCESS),
            one_writer: false,
            lists_are_current: true,
            // What isn't known yet may be October 2024.
            creation_role: if is_user && (old || generation.is_none()) { Some(MEMBER) } else { None },
            invites: is_user && self.invite_users,
        }
    }

    async fn verify(&self, permit: &Permit) -> Result<Verified, Error> {
        // A path that is known is asked for: that shows the server and the credential, and that the path is still there.
        // Whatever else is known stands until an answer says that its route has gone (`send_once`).
        locked(&self.hidden_roles).clear();
        let (turn, family) = (Turn::new(permit), Family::Members(SubjectKind::Identity));
        let generation = match self.found(family) {
            Some(known) if self.has_route(&turn, family, known).await? => known,
            Some(_) | None => self.probe(&turn, family).await?,
        };
        Ok(Verified { api: generation.name() })
    }

    async fn find_project(&self, permit: &Permit, name: &str, _: Option<&str>) -> Result<Vec<String>, Error> {
        self.project_named(&Turn::new(permit), name).await
    }

    async fn find_subject(
        &self,
        permit: &Permit,
        project: &Project,
        kind: SubjectKind,
        name: &str,
    ) -> Result<Vec<String>, Error> {
        self.subjects_named(&Turn::new(permit), &project_id(project)?, kind, name).await
    }

    async fn invite(&self, permit: &Permit, project: &Project, name: &str) -> Result<String, Error> {
        let (turn, project) = (Turn::new(permit), project_id(project)?);
        let users = Users { infisical: self, turn: &turn, project: &project };
        self.in_time(users.invite(name)).await
    }

    async fn list(&self, permit: &Permit, project: &Project, kind: SubjectKind) -> Result<Listing, Error> {
        let project = project_id(project)?;
        let turn = Turn::new(permit);
        let memberships = self.memberships(&turn, &project, kind).await?;
        let ids = match memberships.lacks_role_ids() {
            true => self.role_ids(&turn, &project, kind).await?,
            false => RoleIds::new(),
        };
        Ok(memberships.fold(&project, &ids))
    }

    async fn apply(
        &self,
        permit: &Permit,
        target: &Target,
        name: Option<&str>,
        change: &Change,
    ) -> Result<Receipt, Error> {
        let (turn, project) = (Turn::new(permit), project_id(&target.project)?);
        let removed = match target.subject_kind {
            SubjectKind::User => {
                let users = Users { infisical: self, turn: &turn, project: &project };
                self.in_time(users.apply(target, name, change)).await?
            }
            SubjectKind::Identity | SubjectKind::Group => {
                let membership = Membership::new(self, &turn, &project, target)?;
                self.in_time(membership.apply(change)).await?
            }
        };
        Ok(Receipt { version: None, kept: removed.kept() })
    }

    /// Infisical loses no write, but two writers' lists may be united, and several memberships of one subject come
    /// about (docs/reference/infisical.md, "PATCH and time"): the list is stated again, in the form that what is there
    /// needs.
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

    fn signed_in_as(&self) -> Option<String> {
        self.session.signed_in_as()
    }

    fn forget_unused(&self, in_use: &dyn Fn(&str) -> bool) {
        let in_use = |id: &str| in_use(&id.to_ascii_lowercase());
        locked(&self.users).retain(|project, _| in_use(project));
        locked(&self.hidden_roles).retain(|project| in_use(project));
        locked(&self.strangers).retain(|(project, user, _), _| in_use(project) && in_use(user));
    }

    fn clock(&self) -> Option<ProviderClock> {
        self.server.clock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::provider::http::Policy;
    use crate::telemetry::Metrics;

    /// Seen failing without the line of `strangers` in `forget_unused`.
    #[test]
    fn what_is_remembered_of_projects_and_users_goes_when_they_are_in_use_no_more() {
        let client = Client::new(Policy::default(), Arc::new(Metrics::default())).unwrap();
        let endpoint = Endpoint::parse("https://infisical.example.com").unwrap();
        let infisical = Infisical::new(&client, endpoint, Credentials::Token("token".to_owned().into()));
        for number in 0..3_000 {
            let (project, user) = (format!("Project-{number}"), format!("user-{number}"));
            locked(&infisical.users).insert(project.clone(), MembershipIds::new());
            locked(&infisical.hidden_roles).insert(project.clone());
            locked(&infisical.strangers).insert((project, user, "name".to_owned()), "stranger".to_owned());
        }
        let counts = || {
            let Infisical { users, hidden_roles, strangers, .. } = &infisical;
            (locked(users).len(), locked(hidden_roles).len(), locked(strangers).len())
        };
        infisical.forget_unused(&|id| ["project-7", "project-8", "user-8"].contains(&id));
        assert_eq!(counts(), (2, 2, 1), "the user of project 7 is declared no more");
        infisical.forget_unused(&|_| false);
        assert_eq!(counts(), (0, 0, 0));
    }
}
