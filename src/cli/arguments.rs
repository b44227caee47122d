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

/// Keeps project memberships of Infisical and ZITADEL as declared, temporary grants included.
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
    /// Check a server: the life of a membership in a project of yours, which is left as it was found.
    VerifyProvider(Box<VerifyProvider>),
}

/// Where the CustomResourceDefinitions go.
#[derive(Args, Debug)]
pub struct Crds {
    /// Write one file a kind into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    pub directory: Option<PathBuf>,
}

/// How to run the controller.
#[derive(Args, Debug)]
pub struct Run {
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// How logs are written.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// A host whose URL may be http instead of https. May be given several times.
    #[arg(long, value_name = "HOST")]
    pub allow_http: Vec<String>,
    /// An address range that a provider's URL may lead to although it is loopback, link-local or a metadata service.
    /// May be given several times.
    #[arg(long, value_name = "CIDR")]
    pub allow_address: Vec<Cidr>,
    /// The only hosts that a provider's URL may name. May be given several times, or once with commas. Without it any
    /// host may be named, and no proxy of HTTPS_PROXY is used: behind a proxy no address can be checked.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,
    /// The only namespaces whose objects are looked at, with commas. The rights are asked for in these only (Roles instead
    /// of a ClusterRole: deploy/namespaced), and ClusterMembershipProviders, which belong to no namespace, aren't served.
    /// Without it: all namespaces.
    #[arg(long, env = "WATCH_NAMESPACES", value_name = "NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    pub watch_namespaces: Vec<String>,
    /// Whether a Lease says which of several replicas acts. Without it: where there is a namespace for one, as in a Pod.
    #[arg(long, env = "LEADER_ELECTION", value_name = "true|false")]
    pub leader_election: Option<bool>,
    /// The namespace of the Lease. In a Pod it is the Pod's own.
    #[arg(long, env = "LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// For how long the Lease is taken, from 5s to 10m: what another replica waits at most when one is killed. Below 60s
    /// writes to a provider are given half of it, instead of 30s, to be answered.
    #[arg(long, env = "LEASE_DURATION", value_name = "DURATION", default_value = "60s", value_parser = terms)]
    pub lease_duration: LeaseTerms,
    /// The folder with the operator's own projected tokens, one file an audience, for ClusterMembershipProviders with
    /// kubernetesAuth or oidcAuth. The names of the files don't matter: the tokens say their audiences.
    #[arg(long, env = "TOKEN_DIRECTORY", default_value = "/var/run/secrets/membership.dev", value_name = "FOLDER")]
    pub token_directory: PathBuf,
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
    (label && edges).then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is no namespace's name"))
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
            (Some(true), None) => Err("there is no namespace for the Lease: name one with --lease-namespace, or set \
                     --leader-election=false where no other replica runs"
                .to_owned()),
        }
    }
}
