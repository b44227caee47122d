//! The command line as typed, and what it means.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::controller::Config;
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
    /// The folder with the operator's own projected tokens, one file an audience, for ClusterMembershipProviders with
    /// kubernetesAuth or oidcAuth. The names of the files don't matter: the tokens say their audiences.
    #[arg(long, env = "TOKEN_DIRECTORY", default_value = "/var/run/secrets/membership.dev", value_name = "FOLDER")]
    pub token_directory: PathBuf,
}

impl Run {
    /// What the arguments mean.
    pub fn config(self) -> Config {
        Config {
            address: self.listen,
            tokens: self.token_directory,
            urls: Policy {
                allow_http: self.allow_http,
                allow_address: self.allow_address,
                allowed_hosts: Some(self.allowed_hosts).filter(|hosts| !hosts.is_empty()),
                proxies: Proxies::from_environment(),
                restrict_addresses: true,
            },
        }
    }
}
