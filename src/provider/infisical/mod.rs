//! Infisical: the project memberships of machine identities, users and groups. The server's behaviour, and the source
//! of each fact: docs/reference/infisical.md and the recordings in tests/contracts. The files are those of every
//! provider ([`provider`](crate::provider)); besides them, [`routes`] has the paths of each generation of the API,
//! [`role_ids`] finds the ids of custom roles, [`range`] writes the length of a temporary role, and [`token`] reads the
//! tokens of service accounts.

mod api;
mod auth;
mod client;
mod errors;
mod ids;
mod list;
mod names;
mod range;
mod role_ids;
mod routes;
mod token;
mod wire;
mod write;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

pub use auth::Credentials;
pub use token::TokenSource;

use async_trait::async_trait;

use super::http::{Client, Endpoint, Server};
use super::session::Session;
use super::{Backend, Error, Listing, Permit, Provider, Receipt, Verified, locked};
use crate::api::SubjectKind;
use crate::api::provider::{Infisical as Spec, Limits};
use crate::core::clocks::ProviderClock;
use crate::core::member::{Capabilities, Change, Project, Target};
use api::{Family, FamilyState, Generation};
use auth::Login;
use client::Calls;
use ids::project_id;
use list::MembershipIds;
use write::users::UserWrites;

/// The built-in role that grants nothing.
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
    /// Whether users may be invited to projects by name, which sends them mail.
    invite_users: bool,
    /// The known properties of each [`Family`] of routes.
    known: Mutex<HashMap<Family, FamilyState>>,
    /// The membership ids of users as the last list of each project showed them, without those that were written since.
    users: Mutex<HashMap<String, MembershipIds>>,
    /// Projects whose roles the credential may not read.
    hidden_roles: Mutex<HashSet<String>>,
    /// Other users that were found under a user's name, by project, user and name: they aren't invited again.
    namesakes: Mutex<HashMap<(String, String, String), String>>,
}

impl Infisical {
    /// A server to sign in to with `credentials`. Nothing is sent yet. For other credentials create another: it has no
    /// record of earlier refusals.
    pub fn new(client: &Client, endpoint: Endpoint, credentials: Credentials) -> Self {
        Self {
            server: client.server(Self::NAME, endpoint),
            session: Session::new(Login { credentials, organization_slug: None }),
            invite_users: false,
            known: Mutex::default(),
            users: Mutex::default(),
            hidden_roles: Mutex::default(),
            namesakes: Mutex::default(),
        }
    }

    /// The same, signing in to a sub-organization (`spec.infisical.organizationSlug`).
    #[must_use]
    pub fn in_organization(self, organization_slug: Option<String>) -> Self {
        let credentials = self.session.way().credentials.clone();
        Self { session: Session::new(Login { credentials, organization_slug }), ..self }
    }

    /// The same, with or without permission to invite users who are not members by name, which sends them mail
    /// (`spec.infisical.inviteUsers`).
    #[must_use]
    pub fn inviting_users(self, invite_users: bool) -> Self {
        Self { invite_users, ..self }
    }
}

impl Backend for Infisical {
    type Spec = Spec;
    type Credentials = Credentials;

    const NAME: &'static str = "Infisical";
    const ONE_WRITER: bool = false;

    /// Those of the smallest plan of the cloud (docs/reference/infisical.md, "Auth and limits").
    fn default_limits(endpoint: &Endpoint) -> Limits {
        let is_cloud = ["app.infisical.com", "us.infisical.com", "eu.infisical.com"].contains(&endpoint.host());
        let limit = |requests: u32| is_cloud.then_some(requests);
        Limits { reads_per_minute: limit(200), writes_per_minute: limit(90), ..Limits::default() }
    }

    fn connect(client: &Client, endpoint: Endpoint, spec: &Spec, credentials: Credentials) -> Self {
        Self::new(client, endpoint, credentials)
            .in_organization(spec.organization_slug.clone())
            .inviting_users(spec.invite_users)
    }
}

#[async_trait]
impl Provider for Infisical {
    fn capabilities(&self, kind: SubjectKind) -> Capabilities {
        let FamilyState { generation, wants_permanent } = self.known(Family::Members(kind));
        let old = generation == Some(Generation::G1);
        let is_user = kind == SubjectKind::User;
        // October 2024 accepts a list with temporary roles only, but not for users; servers with a newer path refuse it
        // (docs/reference/infisical.md, "Errors"). The base does no harm if it isn't needed.
        let takes_temporary = old && !is_user && !wants_permanent;
        Capabilities {
            enforces_expiry: true,
            permanent_base: if takes_temporary { None } else { Some(NO_ACCESS) },
            empty_role: Some(NO_ACCESS),
            lists_are_current: true,
            // An undetected generation may be October 2024.
            creation_role: if is_user && (old || generation.is_none()) { Some(MEMBER) } else { None },
            invites: is_user && self.invite_users,
        }
    }

    async fn verify(&self, permit: &Permit) -> Result<Verified, Error> {
        // A known path is requested: that verifies the server, the credential, and the path itself. Other families
        // remain known until a response shows that a route was removed (`send_once`).
        locked(&self.hidden_roles).clear();
        let (calls, family) = (Calls::new(self, permit), Family::Members(SubjectKind::Identity));
        let generation = match self.found(family) {
            Some(known) if calls.has_route(family, known).await? => known,
            Some(_) | None => calls.probe(family).await?,
        };
        Ok(Verified { api: generation.name() })
    }

    async fn find_project(&self, permit: &Permit, name: &str, _: Option<&str>) -> Result<Vec<String>, Error> {
        Calls::new(self, permit).project_named(name).await
    }

    async fn find_subject(
        &self,
        permit: &Permit,
        project: &Project,
        kind: SubjectKind,
        name: &str,
    ) -> Result<Vec<String>, Error> {
        Calls::new(self, permit).subjects_named(&project_id(project)?, kind, name).await
    }

    async fn list(&self, permit: &Permit, project: &Project, kind: SubjectKind) -> Result<Listing, Error> {
        Calls::new(self, permit).list_members(&project_id(project)?, kind).await
    }

    async fn apply(
        &self,
        permit: &Permit,
        target: &Target,
        name: Option<&str>,
        change: &Change,
    ) -> Result<Receipt, Error> {
        write::apply(&Calls::new(self, permit), target, name, change).await
    }

    /// Users only: identities and groups of the organization are added by their ids.
    async fn invite(&self, permit: &Permit, project: &Project, name: &str) -> Result<String, Error> {
        let (calls, project) = (Calls::new(self, permit), project_id(project)?);
        calls.in_time(UserWrites { calls: &calls, project: &project }.invite(name)).await
    }

    fn signed_in_as(&self) -> Option<String> {
        self.session.signed_in_as()
    }

    fn forget_unused(&self, in_use: &dyn Fn(&str) -> bool) {
        let in_use = |id: &str| in_use(&id.to_ascii_lowercase());
        locked(&self.users).retain(|project, _| in_use(project));
        locked(&self.hidden_roles).retain(|project| in_use(project));
        locked(&self.namesakes).retain(|(project, user, _), _| in_use(project) && in_use(user));
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

    /// Seen failing without the line of `namesakes` in `forget_unused`.
    #[test]
    fn what_is_remembered_of_projects_and_users_goes_when_they_are_in_use_no_more() {
        let client = Client::new(Policy::default(), Arc::new(Metrics::default())).unwrap();
        let endpoint = Endpoint::parse("https://infisical.example.com").unwrap();
        let infisical = Infisical::new(&client, endpoint, Credentials::Token("token".to_owned().into()));
        for number in 0..3_000 {
            let (project, user) = (format!("Project-{number}"), format!("user-{number}"));
            locked(&infisical.users).insert(project.clone(), MembershipIds::new());
            locked(&infisical.hidden_roles).insert(project.clone());
            locked(&infisical.namesakes).insert((project, user, "name".to_owned()), "namesake".to_owned());
        }
        let counts = || {
            let Infisical { users, hidden_roles, namesakes, .. } = &infisical;
            (locked(users).len(), locked(hidden_roles).len(), locked(namesakes).len())
        };
        infisical.forget_unused(&|id| ["project-7", "project-8", "user-8"].contains(&id));
        assert_eq!(counts(), (2, 2, 1), "the user of project 7 is declared no more");
        infisical.forget_unused(&|_| false);
        assert_eq!(counts(), (0, 0, 0));
    }
}
