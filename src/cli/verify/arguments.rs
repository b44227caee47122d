//! The command line of `verify-provider` as typed, and the configuration that it describes.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::credentials::{CredentialFiles, text_of};
use super::object::{Place, wanted};
use super::subjects::Asked;
use crate::api::membership::ProjectRef;
use crate::api::{Duration, SubjectKind};
use crate::core::policy::Server;
use crate::provider::address::Cidr;
use crate::provider::http::{Client, Endpoint, Policy, Proxies, Trust};

/// The maximum length of the temporary role in seconds: a user at a terminal waits for its end.
const LONGEST_TEMPORARY: u64 = 600;

/// A server to check, and where.
#[derive(Args, Debug)]
pub struct VerifyProvider {
    /// The kind of server.
    #[arg(long, value_enum)]
    pub provider: Kind,
    /// The server's URL, as in the provider object.
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// The credential.
    #[command(flatten)]
    pub credentials: CredentialFiles,
    /// The file of the certificate authorities, in PEM, that are trusted instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// A host whose URL may be http instead of https. May be given several times.
    #[arg(long, value_name = "HOST")]
    pub allow_http: Vec<String>,
    /// An address range that the URL may lead to although it is loopback, link-local or a metadata service. May be given
    /// several times.
    #[arg(long, value_name = "CIDR")]
    pub allow_address: Vec<Cidr>,
    /// ZITADEL: the instance's own host, where the URL's host is another, as in a cluster.
    #[arg(long, value_name = "HOST")]
    pub instance_host: Option<String>,
    /// Infisical: the slug of the sub-organization to sign in to, where it isn't the identity's own organization.
    #[arg(long, value_name = "SLUG")]
    pub organization_slug: Option<String>,
    /// ZITADEL: the organization that owns the project, where it isn't the credential's own.
    #[arg(long, value_name = "ID")]
    pub organization_id: Option<String>,
    /// The project to do it in.
    #[arg(long, value_name = "ID", required_unless_present = "project_name", conflicts_with = "project_name")]
    pub project_id: Option<String>,
    /// The same by name: Infisical's project slug, or a ZITADEL project's name.
    #[arg(long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// ZITADEL: the grant of the project to another organization, whose members are meant instead of the project's own.
    #[arg(long, value_name = "ID")]
    pub grant_id: Option<String>,
    /// What the subjects are: Identity, User or Group. Without it Identity at Infisical, User at ZITADEL.
    #[arg(long, value_name = "KIND", value_parser = subject_kind)]
    pub subject_kind: Option<SubjectKind>,
    /// A subject to do it with, best one that nobody works with and never the one that signs in. May be given several
    /// times.
    #[arg(long, value_name = "ID", required_unless_present = "subject_name")]
    pub subject_id: Vec<String>,
    /// The same by name, as in an object. Infisical: an identity's name, a user's e-mail or username, a group's slug;
    /// ZITADEL: a user's name, login name or e-mail. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub subject_name: Vec<String>,
    /// Infisical: anyone who of --subject-name isn't in the project is invited, which sends mail and makes an account where
    /// there is none, and is removed again.
    #[arg(long, requires = "subject_name")]
    pub invite_users: bool,
    /// A role that may be given for a moment. Without it viewer at Infisical, PROJECT_OWNER_VIEWER at ZITADEL,
    /// PROJECT_GRANT_OWNER_VIEWER with --grant-id.
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Another such role. Without it no-access at Infisical, PROJECT_OWNER_VIEWER_GLOBAL at ZITADEL, PROJECT_GRANT_OWNER
    /// with --grant-id.
    #[arg(long, value_name = "ROLE")]
    pub other_role: Option<String>,
    /// How long the temporary role lasts, as 5s.
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub temporary: String,
    /// Do it. Without this nothing is sent, and what would be done is said.
    #[arg(long)]
    pub yes_change_this_project: bool,
}

/// The kinds of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Infisical.
    Infisical,
    /// ZITADEL.
    Zitadel,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Infisical => "Infisical",
            Self::Zitadel => "ZITADEL",
        }
    }
}

/// The configuration that the arguments describe.
pub struct Config {
    /// The kind of server.
    pub provider: Kind,
    /// Its URL.
    pub endpoint: Endpoint,
    /// The HTTP client for it.
    pub http: Client,
    /// ZITADEL: the instance's own host, if it is not the host of the URL.
    pub instance_host: Option<String>,
    /// Infisical: the sub-organization to sign in to.
    pub organization_slug: Option<String>,
    /// The files of the credential.
    pub credentials: CredentialFiles,
    /// The subjects as the user named them.
    pub subjects: Vec<Asked>,
    /// Whether users may be invited.
    pub invite_users: bool,
    /// The project, and the fields of the objects in it.
    pub place: Place,
    /// A role that may be granted for a moment.
    pub role: String,
    /// Another such role.
    pub other_role: String,
    /// How long the temporary role lasts.
    pub temporary: Duration,
    /// Whether to carry out the check.
    pub confirmed: bool,
}

impl VerifyProvider {
    /// The configuration that the arguments describe, or what is wrong with them.
    pub fn config(self) -> Result<Config, String> {
        let endpoint = Endpoint::parse(&self.url).map_err(|error| format!("--url: {error}"))?;
        let urls = Policy {
            allow_http: self.allow_http,
            allow_address: self.allow_address,
            // The one host that is named, so that a proxy of the environment may lead to it.
            allowed_hosts: Some(vec![endpoint.host().to_owned()]),
            proxies: Proxies::from_environment(),
            restrict_addresses: true,
        };
        urls.check(&endpoint).map_err(|error| format!("--url: {error}"))?;
        let mut http = Client::new(urls, Arc::new(())).map_err(|error| error.to_string())?;
        if let Some(file) = &self.ca_file {
            let trust = Trust::parse(text_of("--ca-file", file)?.as_bytes())
                .map_err(|error| format!("--ca-file {}: {error}", file.display()))?;
            http = http.trusting(&trust).map_err(|error| error.to_string())?;
        }
        if self.provider == Kind::Infisical && self.instance_host.is_some() {
            return Err("--instance-host is for ZITADEL: leave it out".to_owned());
        }
        if self.provider == Kind::Zitadel && self.organization_slug.is_some() {
            return Err("--organization-slug is for Infisical: leave it out".to_owned());
        }
        let (server, kind) = match self.provider {
            Kind::Infisical => (Server::Infisical, SubjectKind::Identity),
            Kind::Zitadel => (Server::Zitadel { organization_id: None }, SubjectKind::User),
        };
        let (role, other) = match (self.provider, &self.grant_id) {
            (Kind::Infisical, _) => ("viewer", "no-access"),
            (Kind::Zitadel, None) => ("PROJECT_OWNER_VIEWER", "PROJECT_OWNER_VIEWER_GLOBAL"),
            // There are no others (ZITADEL's source, cmd/defaults.yaml, InternalAuthZ.RolePermissionMappings).
            (Kind::Zitadel, Some(_)) => ("PROJECT_GRANT_OWNER_VIEWER", "PROJECT_GRANT_OWNER"),
        };
        let place = Place {
            server,
            project: ProjectRef {
                id: self.project_id,
                name: self.project_name,
                organization_id: self.organization_id,
                grant_id: self.grant_id,
            },
            subject_kind: self.subject_kind.unwrap_or(kind),
        };
        if self.invite_users && (self.provider, place.subject_kind) != (Kind::Infisical, SubjectKind::User) {
            return Err("--invite-users is for Infisical and --subject-kind User: leave it out".to_owned());
        }
        let temporary = Duration(self.temporary);
        let seconds = temporary.seconds().map_err(|error| format!("--temporary: {error}"))?;
        if !(2..=LONGEST_TEMPORARY).contains(&seconds) {
            return Err(format!("--temporary is {temporary}: write 2s to {LONGEST_TEMPORARY}s"));
        }
        let role = self.role.unwrap_or_else(|| role.to_owned());
        let other_role = self.other_role.unwrap_or_else(|| other.to_owned());
        if role == other_role {
            return Err(format!("--role and --other-role are both {role:?}: name two roles"));
        }
        let ids = self.subject_id.into_iter().map(Asked::Id);
        let subjects: Vec<Asked> = ids.chain(self.subject_name.into_iter().map(Asked::Name)).collect();
        for subject in &subjects {
            place.check(subject.id(), &[wanted(&role), wanted(&other_role)])?;
        }
        Ok(Config {
            provider: self.provider,
            endpoint,
            http,
            instance_host: self.instance_host,
            organization_slug: self.organization_slug,
            credentials: self.credentials,
            subjects,
            invite_users: self.invite_users,
            place,
            role,
            other_role,
            temporary,
            confirmed: self.yes_change_this_project,
        })
    }
}

impl Config {
    /// Whether subjects can be added only by an invitation, so that a member is never removed to be added again.
    pub fn only_by_invitation(&self) -> bool {
        (self.provider, self.place.subject_kind) == (Kind::Infisical, SubjectKind::User)
    }
}

/// A kind as it is written in an object.
fn subject_kind(text: &str) -> Result<SubjectKind, String> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|_| "write Identity, User or Group".to_owned())
}
