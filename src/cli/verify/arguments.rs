//! The command line of `verify-provider` as typed, and the configuration that it describes.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::credentials::{CredentialFiles, text_of};
use super::membership::{NAME, permanent};
use crate::api::membership::ProjectRef;
use crate::api::{Duration, ProjectMembershipSpec, SubjectKind};
use crate::core::member::{Project, Target};
use crate::core::policy::{self, PinnedIds, ServerKind};
use crate::provider::address::Cidr;
use crate::provider::http::{Client, Endpoint, Policy, Proxies, Trust};

/// The maximum length of the temporary role in seconds: a user at a terminal waits for its end.
const LONGEST_TEMPORARY: u64 = 600;

/// ZITADEL without an organization of its own: `--organization-id` is that of the project.
const ZITADEL: ServerKind = ServerKind::Zitadel { organization_id: None };

/// The server to check, and the project in which to do it.
#[derive(Args, Clone, Debug)]
pub struct VerifyProvider {
    /// The kind of server.
    #[arg(long, value_enum)]
    pub provider: Product,
    /// The server's URL, as in the provider object.
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// The credential.
    #[command(flatten)]
    pub credentials: CredentialFiles,
    /// The file with the certificate authorities, in PEM, that are trusted instead of those of the system.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// A host whose URL may be http instead of https. May be given several times.
    #[arg(long, value_name = "HOST")]
    pub allow_http: Vec<String>,
    /// An address range that the URL may resolve to although it is loopback, link-local or a metadata service. May be given
    /// several times.
    #[arg(long, value_name = "CIDR")]
    pub allow_address: Vec<Cidr>,
    /// ZITADEL: a host name of the instance, if the host of the URL is not one, as in a cluster.
    #[arg(long, value_name = "HOST")]
    pub instance_host: Option<String>,
    /// Infisical: the slug of the sub-organization to sign in to, if it is not the identity's own organization.
    #[arg(long, value_name = "SLUG")]
    pub organization_slug: Option<String>,
    /// ZITADEL: the organization that owns the project, if it is not the credential's own.
    #[arg(long, value_name = "ID")]
    pub organization_id: Option<String>,
    /// The project in which the check runs.
    #[arg(long, value_name = "ID", required_unless_present = "project_name", conflicts_with = "project_name")]
    pub project_id: Option<String>,
    /// The project by name: the slug of an Infisical project, or the name of a ZITADEL project.
    #[arg(long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// ZITADEL: the grant of the project to another organization, to check its members instead of the project's own.
    #[arg(long, value_name = "ID")]
    pub grant_id: Option<String>,
    /// The kind of the subjects: Identity, User or Group. Default: Identity for Infisical, User for ZITADEL.
    #[arg(long, value_name = "KIND", value_parser = subject_kind)]
    pub subject_kind: Option<SubjectKind>,
    /// A subject whose roles are changed, preferably one that is not in use; never the one that signs in. May be given
    /// several times.
    #[arg(long, value_name = "ID", required_unless_present = "subject_name")]
    pub subject_id: Vec<String>,
    /// A subject by name, as in a ProjectMembership. Infisical: an identity's name, a user's e-mail or username, a group's slug;
    /// ZITADEL: a user's name, login name or e-mail. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub subject_name: Vec<String>,
    /// Infisical: invite each user of --subject-name who is not in the project, which sends mail and creates an account if
    /// there is none, and remove the user again.
    #[arg(long, requires = "subject_name")]
    pub invite_users: bool,
    /// A role that may be granted for a moment. Default: viewer for Infisical, PROJECT_OWNER_VIEWER for ZITADEL,
    /// PROJECT_GRANT_OWNER_VIEWER with --grant-id.
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Another such role. Default: no-access for Infisical, PROJECT_OWNER_VIEWER_GLOBAL for ZITADEL, PROJECT_GRANT_OWNER
    /// with --grant-id.
    #[arg(long, value_name = "ROLE")]
    pub other_role: Option<String>,
    /// The duration of the temporary role, for example 5s.
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub temporary: String,
    /// Run the check. Without this option nothing is sent, and the check only prints what it would do.
    #[arg(long)]
    pub yes_change_this_project: bool,
}

/// The kinds of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Product {
    /// Infisical.
    Infisical,
    /// ZITADEL.
    Zitadel,
}

impl Product {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Infisical => "Infisical",
            Self::Zitadel => "ZITADEL",
        }
    }
}

/// The configuration that the arguments describe.
pub struct VerifyConfig {
    /// The arguments.
    pub arguments: VerifyProvider,
    /// The server's URL.
    pub endpoint: Endpoint,
    /// The HTTP client for it.
    pub http: Client,
    /// The spec of the memberships, without a subject.
    pub template: ProjectMembershipSpec,
    /// A role that may be granted for a moment.
    pub role: String,
    /// Another such role.
    pub other_role: String,
    /// The duration of the temporary role.
    pub temporary: Duration,
    server: ServerKind,
}

impl VerifyProvider {
    /// The configuration that the arguments describe, or what is wrong with them.
    pub fn config(self) -> Result<VerifyConfig, String> {
        let endpoint = Endpoint::parse(&self.url).map_err(|error| format!("--url: {error}"))?;
        let http = self.http(&endpoint)?;
        if self.provider == Product::Infisical && self.instance_host.is_some() {
            return Err("--instance-host is for ZITADEL: omit it".to_owned());
        }
        if self.provider == Product::Zitadel && self.organization_slug.is_some() {
            return Err("--organization-slug is for Infisical: omit it".to_owned());
        }
        use SubjectKind::{Identity, User};
        let (server, kind, role, other_role) = match (self.provider, &self.grant_id) {
            (Product::Infisical, _) => (ServerKind::Infisical, Identity, "viewer", "no-access"),
            (Product::Zitadel, None) => (ZITADEL, User, "PROJECT_OWNER_VIEWER", "PROJECT_OWNER_VIEWER_GLOBAL"),
            // There are no others (ZITADEL's source, cmd/defaults.yaml, InternalAuthZ.RolePermissionMappings).
            (Product::Zitadel, Some(_)) => (ZITADEL, User, "PROJECT_GRANT_OWNER_VIEWER", "PROJECT_GRANT_OWNER"),
        };
        let kind = self.subject_kind.unwrap_or(kind);
        if self.invite_users && (self.provider, kind) != (Product::Infisical, User) {
            return Err("--invite-users is for Infisical and --subject-kind User: omit it".to_owned());
        }
        let temporary = Duration(self.temporary.clone());
        let seconds = temporary.seconds().map_err(|error| format!("--temporary: {error}"))?;
        if !(2..=LONGEST_TEMPORARY).contains(&seconds) {
            return Err(format!("--temporary is {temporary}: use 2s to {LONGEST_TEMPORARY}s"));
        }
        let role = self.role.clone().unwrap_or_else(|| role.to_owned());
        let other_role = self.other_role.clone().unwrap_or_else(|| other_role.to_owned());
        if role == other_role {
            return Err(format!("--role and --other-role are both {role:?}: name two roles"));
        }
        let template = serde_json::from_value(json!({
            "providerRef": {"name": NAME},
            "project": ProjectRef {
                id: self.project_id.clone(),
                name: self.project_name.clone(),
                organization_id: self.organization_id.clone(),
                grant_id: self.grant_id.clone(),
            },
            "subject": {"kind": kind},
            "roles": [permanent(&role), permanent(&other_role)],
        }));
        let template = template.map_err(|error| error.to_string())?;
        let config = VerifyConfig { arguments: self, endpoint, http, template, role, other_role, temporary, server };
        policy::admit(&config.template).map_err(|refusal| refusal.message)?;
        config.target(None)?;
        for id in &config.arguments.subject_id {
            config.target(Some(id))?;
        }
        Ok(config)
    }

    fn http(&self, endpoint: &Endpoint) -> Result<Client, String> {
        let urls = Policy {
            allow_http: self.allow_http.clone(),
            allow_address: self.allow_address.clone(),
            // The one host that is named, so that a proxy of the environment may be used for it.
            allowed_hosts: Some(vec![endpoint.host().to_owned()]),
            proxies: Proxies::from_environment(),
            restrict_addresses: true,
        };
        urls.check(endpoint).map_err(|error| format!("--url: {error}"))?;
        let http = Client::new(urls, Arc::new(())).map_err(|error| error.to_string())?;
        let Some(file) = &self.ca_file else { return Ok(http) };
        let trust = Trust::parse(text_of("--ca-file", file)?.as_bytes());
        let trust = trust.map_err(|error| format!("--ca-file {}: {error}", file.display()))?;
        http.trusting(&trust).map_err(|error| error.to_string())
    }
}

impl VerifyConfig {
    /// The kind of the subjects.
    pub fn kind(&self) -> SubjectKind {
        self.template.subject.kind
    }

    /// Whether subjects can be added only by an invitation, so that a member is never removed to be added again.
    pub fn only_by_invitation(&self) -> bool {
        (self.arguments.provider, self.kind()) == (Product::Infisical, SubjectKind::User)
    }

    /// The target of a subject; `None`: its id or that of the project is not known yet.
    pub fn target(&self, subject_id: Option<&str>) -> Result<Option<Target>, String> {
        let mut spec = self.template.clone();
        spec.subject.id = subject_id.map(str::to_owned);
        policy::target(&spec, &self.server, &PinnedIds::default()).map_err(|refusal| refusal.message)
    }

    /// The project; an error as long as only its name is known.
    pub fn project(&self) -> Result<Project, String> {
        let project = policy::project(&self.template, &self.server, &PinnedIds::default());
        project.map_err(|refusal| refusal.message)?.ok_or_else(|| "the project is known by name only".to_owned())
    }

    /// A description of what will be done.
    pub fn announcement(&self) -> String {
        let Self { arguments, role, other_role, temporary, .. } = self;
        let ProjectRef { id, name, organization_id, grant_id } = &self.template.project;
        let project = id.clone().unwrap_or_else(|| format!("{:?}", name.as_deref().unwrap_or_default()));
        let organization = organization_id.as_ref().map(|id| format!(" of organization {id}")).unwrap_or_default();
        let grant = grant_id.as_ref().map(|id| format!("grant {id} of ")).unwrap_or_default();
        let way = arguments.credentials.way(arguments.provider);
        let mut text = format!(
            "{} at {}, {grant}project {project}{organization}, by {way}\n",
            arguments.provider.name(),
            self.endpoint
        );
        let roles = match self.only_by_invitation() {
            true => "its roles are replaced during the check, and it stays a member",
            false => "its roles are revoked during the check",
        };
        let invited = match arguments.invite_users {
            true => ". A user who is not in the project is invited first, which SENDS MAIL, and is removed at the end",
            false => "",
        };
        let ids = arguments.subject_id.iter().map(|id| (id.clone(), ""));
        let names = arguments.subject_name.iter().map(|name| (format!("{name:?}"), invited));
        for (subject, invited) in ids.chain(names) {
            text += &format!(
                "{:?} {subject}: {roles}; it gets {role} and {other_role} for moments and {role} for {temporary}, and \
                 what it held before is restored at the end{invited}\n",
                self.kind()
            );
        }
        text
    }
}

/// A kind as it is written in an object.
fn subject_kind(text: &str) -> Result<SubjectKind, String> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|_| "write Identity, User or Group".to_owned())
}
