//! The set-up of a test: projects, members, ways of signing in, the version of the server.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;

use super::credentials::{Caller, Client, Secret, Token, seconds};
use super::limits::Meter;
use super::sign_in::{ClusterWorld, KubernetesLogin, OidcLogin};
use super::state::{CustomRole, Project, State, new_id};
use super::subjects::{Group, OrgRole, Seat};
use super::{DEFAULT_TTL, ErrorStyle, Generations, Infisical, Limits, RoleRow, SubOrganization, time};

/// The product of a project that names no other.
const SECRET_MANAGER: &str = "secret-manager";

/// The version of the server. It can be changed at any time, like an upgrade.
impl Infisical {
    /// Sets which generations of the paths exist; the first two, by default.
    pub fn set_generations(&self, generations: Generations) {
        self.state().generations = generations;
    }

    /// Sets which server's errors are returned; the current server's, by default.
    pub fn set_error_style(&self, style: ErrorStyle) {
        self.state().style = style;
    }

    /// Sets both.
    pub fn be(&self, generations: Generations, style: ErrorStyle) {
        self.set_generations(generations);
        self.set_error_style(style);
    }

    /// Makes it the server of October 2024, as recorded: only the first generation, and its errors.
    pub fn be_october_2024(&self) {
        self.be(Generations::G1, ErrorStyle::October2024);
    }

    /// Makes it the server of June 2025, as recorded: only the first generation, its errors, and organisations with the
    /// privilege system of March 2025.
    pub fn be_june_2025(&self) {
        self.be(Generations::G1, ErrorStyle::June2025);
    }

    /// Sets whether organisations use the privilege system of March 2025, as those that were made since do. None: as the
    /// recorded ones of the server's age did, those of June 2025 and no others.
    pub fn set_new_privileges(&self, new: Option<bool>) {
        self.state().new_privileges = new;
    }

    /// Makes it a server of today: all generations and the current errors.
    pub fn be_current(&self) {
        self.be(Generations::All, ErrorStyle::Current);
    }

    /// Sets the number of accepted requests per minute; none: unlimited.
    pub fn set_limits(&self, limits: Option<Limits>) {
        self.state().meter = Meter::new(limits);
    }
}

/// Projects and possible members.
impl Infisical {
    /// Adds a project of the organisation, or renames it.
    pub fn add_project(&self, id: &str, slug: &str, name: &str) {
        let now = time::cut(self.now());
        let mut state = self.state();
        let project = state.project(id, now);
        slug.clone_into(&mut project.slug);
        name.clone_into(&mut project.name);
    }

    /// Makes it a project of another product than secrets, as `cert-manager`.
    pub fn set_product(&self, id: &str, product: &str) {
        let now = time::cut(self.now());
        product.clone_into(&mut self.state().project(id, now).product);
    }

    /// Lets a project manage an identity itself: its membership can be changed but not removed.
    pub fn set_managed_by(&self, identity: &str, project: &str) {
        let now = time::cut(self.now());
        self.state().identity(identity, now).managed_by = Some(project.to_owned());
    }

    /// Adds an identity to the organisation, or renames it.
    pub fn add_identity(&self, id: &str, name: &str) {
        let now = time::cut(self.now());
        name.clone_into(&mut self.state().identity(id, now).name);
    }

    /// Adds a user who has accepted a seat in the organisation, or changes a user's e-mail address.
    pub fn add_user(&self, id: &str, email: &str, first_name: &str, last_name: &str) {
        let mut state = self.state();
        let org = state.default_org.clone();
        let user = state.add_account(id, email);
        email.clone_into(&mut user.username);
        email.clone_into(&mut user.email);
        user.first_name = Some(first_name.to_owned());
        user.last_name = Some(last_name.to_owned());
        user.seats.entry(org).or_insert(Seat { role: OrgRole::Member, accepted: true });
    }

    /// Adds a group to the organisation, or renames it.
    pub fn add_group(&self, id: &str, slug: &str, name: &str) {
        let now = time::cut(self.now());
        let mut state = self.state();
        let org = state.default_org.clone();
        let group = state.groups.entry(id.to_owned()).or_insert_with(|| Group {
            id: id.to_owned(),
            name: String::new(),
            slug: String::new(),
            org,
            created: now,
            users: std::collections::BTreeSet::new(),
        });
        slug.clone_into(&mut group.slug);
        name.clone_into(&mut group.name);
    }

    /// Adds a custom role without any rights to a project and returns its id.
    pub fn add_custom_role(&self, project: &str, slug: &str) -> String {
        self.add_custom_role_with(project, slug, slug, &[])
    }

    /// Adds a custom role with a name and rights, such as `identity:read`, `identity:create`, `identity:edit`,
    /// `identity:delete`, `member:read`, `groups:read`, `secrets:read`; returns its id.
    pub fn add_custom_role_with(&self, project: &str, slug: &str, name: &str, rights: &[&str]) -> String {
        let now = time::cut(self.now());
        self.state().add_role(project, slug, name, rights.iter().map(|right| (*right).to_owned()), now)
    }

    /// Makes an identity a member with these permanent roles: what it may do when it calls.
    pub fn set_caller_roles(&self, project: &str, identity: &str, roles: &[&str]) {
        self.set_roles(project, identity, roles.iter().map(|role| RoleRow::permanent(role)).collect());
    }
}

/// Ways of signing in.
impl Infisical {
    /// Adds a client of universal auth, or another secret to one. Its tokens are valid for 30 days.
    pub fn add_client(&self, client_id: &str, secret: &str, identity: &str) {
        self.add_limited_secret(client_id, secret, identity, None, None);
    }

    /// Adds a secret that works this number of times, or until an instant.
    pub fn add_limited_secret(
        &self,
        client_id: &str,
        secret: &str,
        identity: &str,
        uses: Option<u32>,
        ends: Option<Timestamp>,
    ) {
        let now = time::cut(self.now());
        let mut state = self.state();
        state.identity(identity, now).auth_method = Some("universal-auth".to_owned());
        let secret = Secret { value: secret.to_owned(), uses_left: uses, ends };
        if let Some(client) = state.clients.iter_mut().find(|client| client.id == client_id) {
            client.secrets.push(secret);
            return;
        }
        state.clients.push(Client {
            id: client_id.to_owned(),
            identity: identity.to_owned(),
            secrets: vec![secret],
            ttl: DEFAULT_TTL,
            max_ttl: DEFAULT_TTL,
            failures: 0,
            locked_until: None,
        });
    }

    /// Sets the lifetime of a client's access tokens, without and with renewals. Whole seconds.
    pub fn set_token_lives(&self, client_id: &str, ttl: Duration, max_ttl: Duration) {
        if let Some(client) = self.state().clients.iter_mut().find(|client| client.id == client_id) {
            client.ttl = seconds(ttl);
            client.max_ttl = seconds(max_ttl);
        }
    }

    /// Removes a secret of a client. Tokens that were issued with it remain valid (identity-extras.json, 56).
    pub fn revoke_secret(&self, client_id: &str, secret: &str) {
        if let Some(client) = self.state().clients.iter_mut().find(|client| client.id == client_id) {
            client.secrets.retain(|s| s.value != secret);
        }
    }

    /// Lets an identity sign in by Kubernetes auth, or changes how it does.
    pub fn set_kubernetes_login(&self, login: KubernetesLogin) {
        let now = time::cut(self.now());
        let mut state = self.state();
        state.identity(&login.identity, now).auth_method = Some("kubernetes-auth".to_owned());
        state.logins.kubernetes.insert(login.identity.clone(), login);
    }

    /// Lets an identity sign in by OIDC auth, or changes how it does.
    pub fn set_oidc_login(&self, login: OidcLogin) {
        let now = time::cut(self.now());
        let mut state = self.state();
        state.identity(&login.identity, now).auth_method = Some("oidc-auth".to_owned());
        state.logins.oidc.insert(login.identity.clone(), login);
    }

    /// Adds a sub-organization. Projects are of it that have its id as their `org`.
    pub fn add_sub_organization(&self, organization: SubOrganization) {
        self.state().sub_organizations.push(organization);
    }

    /// Describes the cluster whose service accounts sign in.
    pub fn set_cluster(&self, cluster: ClusterWorld) {
        self.state().logins.cluster = cluster;
    }

    /// Adds an access token of an identity or a user that doesn't end. An unknown subject becomes an identity.
    pub fn add_token(&self, token: &str, subject: &str) {
        let now = time::cut(self.now());
        let mut state = self.state();
        if !state.users.contains_key(subject) {
            state.identity(subject, now);
        }
        state.tokens.insert(token.to_owned(), Token::lasting(Caller::Subject(subject.to_owned())));
    }

    /// Adds an access token of a person who may do everything.
    pub fn add_admin_token(&self, token: &str, name: &str) {
        self.state().tokens.insert(token.to_owned(), Token::lasting(Caller::Admin(name.to_owned())));
    }
}

impl State {
    /// The project of this id, made if there is none.
    pub(crate) fn project(&mut self, id: &str, now: Timestamp) -> &mut Project {
        self.projects.entry(id.to_owned()).or_insert_with(|| Project {
            id: id.to_owned(),
            slug: id.to_owned(),
            name: id.to_owned(),
            product: SECRET_MANAGER.to_owned(),
            org: self.default_org.clone(),
            created: now,
            environments: [new_id(), new_id(), new_id()],
            roles: Vec::new(),
        })
    }

    /// Creates the project and, if the id is unknown, an identity.
    pub(crate) fn make_sure_of(&mut self, project: &str, subject: &str, now: Timestamp) {
        self.project(project, now);
        if !self.users.contains_key(subject) && !self.groups.contains_key(subject) {
            self.identity(subject, now);
        }
    }

    pub(crate) fn add_role(
        &mut self,
        project: &str,
        slug: &str,
        name: &str,
        rights: impl IntoIterator<Item = String>,
        now: Timestamp,
    ) -> String {
        let rights = rights.into_iter().collect();
        let roles = &mut self.project(project, now).roles;
        if let Some(role) = roles.iter_mut().find(|role| role.slug == slug) {
            role.rights = rights;
            return role.id.clone();
        }
        let id = role_id(project, roles.len());
        let role = CustomRole { id: id.clone(), slug: slug.to_owned(), name: name.to_owned(), rights, created: now };
        roles.push(role);
        id
    }

    /// Removes what a deleted subject leaves behind: memberships and tokens.
    pub(crate) fn forget(&mut self, subject: &str) {
        self.memberships.remove_subject(subject);
        let caller = Caller::Subject(subject.to_owned());
        self.tokens.values_mut().filter(|token| token.caller == caller).for_each(|token| token.revoked = true);
    }
}

/// The id of a project's custom role: the same in each run, since the operator writes it down, where a seed is to replay
/// exactly what it did.
fn role_id(project: &str, at: usize) -> String {
    let half = |of: u8| {
        let mut hasher = DefaultHasher::new();
        (project, at, of).hash(&mut hasher);
        hasher.finish()
    };
    uuid::Builder::from_u128(u128::from(half(0)) << 64 | u128::from(half(1)))
        .with_version(uuid::Version::Random)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid()
        .to_string()
}
