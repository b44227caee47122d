//! The command line as typed, and the configuration that it describes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::api::Duration;
use crate::cli::verify::VerifyProvider;
use crate::controller::OperatorConfig;
use crate::lease::{self, LeaseTerms};
use crate::provider::address::Cidr;
use crate::provider::http::{Policy, Proxies};
use crate::telemetry::LogFormat;

/// Manages project memberships of Infisical and ZITADEL as declared, temporary grants included.
#[derive(Parser, Debug)]
#[command(version, about)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the controller.
    Run(Run),
    /// Print the CustomResourceDefinitions as YAML.
    Crds(Crds),
    /// Check a server: create, change and remove memberships in one of your projects, which is restored afterwards.
    VerifyProvider(Box<VerifyProvider>),
}

/// Where the CustomResourceDefinitions are written.
#[derive(Args, Debug)]
pub struct Crds {
    /// Write one file per kind into this directory instead.
    #[arg(long, value_name = "FOLDER")]
    pub directory: Option<PathBuf>,
}

/// How to run the controller.
#[derive(Args, Debug)]
pub struct Run {
    /// The address on which /metrics, /healthz and /readyz are served.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// The format of the log.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// A host whose URL may be http instead of https. May be given several times.
    #[arg(long, value_name = "HOST")]
    pub allow_http: Vec<String>,
    /// An address range that a provider's URL may resolve to although it is loopback, link-local or a metadata service.
    /// May be given several times.
    #[arg(long, value_name = "CIDR")]
    pub allow_address: Vec<Cidr>,
    /// The only hosts that a provider's URL may name. May be given several times, or once with commas. Without it any
    /// host may be named, and no proxy of HTTPS_PROXY is used: behind a proxy no address can be checked.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,
    /// The only namespaces whose objects are watched, separated by commas. Permissions are needed in these only (Roles
    /// instead of a ClusterRole: deploy/namespaced), and ClusterMembershipProviders, which are not namespaced, aren't
    /// served. Without it: all namespaces.
    #[arg(long, env = "WATCH_NAMESPACES", value_name = "NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    pub watch_namespaces: Vec<String>,
    /// Whether a Lease determines which of several replicas is the leader. Without it: if there is a namespace for one,
    /// as in a Pod.
    #[arg(long, env = "LEADER_ELECTION", value_name = "true|false")]
    pub leader_election: Option<bool>,
    /// The namespace of the Lease. In a Pod it is the Pod's own.
    #[arg(long, env = "LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// The duration of the Lease, from 5s to 10m: the longest that another replica waits after the leader is killed.
    /// Below 60s the time limit of a write to a provider is half of it, instead of 30s.
    #[arg(long, env = "LEASE_DURATION", value_name = "DURATION", default_value = "60s", value_parser = terms)]
    pub lease_duration: LeaseTerms,
    /// The directory of the operator's own projected tokens, one file per audience, for ClusterMembershipProviders with
    /// kubernetesAuth or oidcAuth. The names of the files don't matter: the tokens contain their audiences.
    #[arg(long, env = "TOKEN_DIRECTORY", default_value = "/var/run/secrets/membership.dev", value_name = "FOLDER")]
    pub token_directory: PathBuf,
    /// The memory limit of the process in bytes; the Deployment states the one of its container. From 80 % of it no new
    /// grant begins, while ends and revocations continue. Without it, or with 0, there is no such limit.
    #[arg(long, env = "MEMORY_LIMIT", value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
    pub memory_limit: u64,
}

/// The file that contains the namespace of a Pod.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

fn terms(text: &str) -> Result<LeaseTerms, String> {
    let seconds = Duration(text.to_owned()).seconds().map_err(|error| error.to_string())?;
    let bounds = || format!("{text} is not from {}s to {}s", LeaseTerms::SHORTEST, LeaseTerms::LONGEST);
    LeaseTerms::seconds(seconds).ok_or_else(bounds)
}

/// The name of a namespace, in the form that Kubernetes requires (RFC 1123 label).
fn namespace(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let label = (1..=63).contains(&text.len()) && text.chars().all(fits);
    let edges = !text.starts_with('-') && !text.ends_with('-');
    (label && edges).then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is not a namespace name"))
}

impl Run {
    /// The configuration that the arguments describe.
    ///
    /// # Errors
    /// If a Lease is requested and there is no namespace for it.
    pub fn config(self) -> Result<OperatorConfig, String> {
        let lease = self.lease()?;
        Ok(OperatorConfig {
            address: self.listen,
            lease,
            namespaces: BTreeSet::from_iter(self.watch_namespaces).into_iter().collect(),
            tokens: self.token_directory,
            memory_limit: Some(self.memory_limit).filter(|limit| *limit > 0),
            urls: Policy {
                allow_http: self.allow_http,
                allow_address: self.allow_address,
                allowed_hosts: Some(self.allowed_hosts).filter(|hosts| !hosts.is_empty()),
                proxies: Proxies::from_environment(),
                restrict_addresses: true,
            },
        })
    }

    fn lease(&self) -> Result<Option<lease::LeaseConfig>, String> {
        let of_the_pod = || std::fs::read_to_string(POD_NAMESPACE).ok().map(|namespace| namespace.trim().to_owned());
        let namespace = self.lease_namespace.clone().or_else(of_the_pod).filter(|namespace| !namespace.is_empty());
        match (self.leader_election, namespace) {
            (Some(false), _) | (None, None) => Ok(None),
            (Some(true) | None, Some(namespace)) => {
                Ok(Some(lease::LeaseConfig { namespace, terms: self.lease_duration }))
            }
            (Some(true), None) => Err("there is no namespace for the Lease: set one with --lease-namespace, or set \
                     --leader-election=false if no other replica runs"
                .to_owned()),
        }
    }
}
