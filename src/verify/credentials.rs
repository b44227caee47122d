//! The credential, every part of it from a file: an argument stands in the process list and in shells' histories.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::arguments::{Config, Kind, line_of};
use crate::provider::{AnyProvider, infisical, zitadel};

/// What the wrong token is: nobody's, and no secret.
const WRONG: &str = "verify-provider-tries-a-wrong-token";

/// The files of a credential. Which ones are given says how to sign in.
#[derive(Args, Clone, Debug, Default)]
pub struct CredentialFiles {
    /// Infisical: the file of the client id of universal auth.
    #[arg(long, value_name = "FILE", requires = "client_secret_file", conflicts_with = "token_file")]
    pub client_id_file: Option<PathBuf>,
    /// Infisical: the file of the client secret of universal auth.
    #[arg(long, value_name = "FILE", requires = "client_id_file")]
    pub client_secret_file: Option<PathBuf>,
    /// The file of an access token: of an identity (Infisical), or a personal access token (ZITADEL).
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl CredentialFiles {
    /// How one signs in, in words.
    pub fn way(&self) -> &'static str {
        if self.client_id_file.is_some() { "universal auth" } else { "access token" }
    }

    /// The server with the credential of the files. Nothing is sent.
    pub fn provider(&self, config: &Config) -> Result<AnyProvider, String> {
        let secret = |option, file| line_of(option, file).map(SecretString::from);
        match (config.provider, &self.client_id_file, &self.client_secret_file, &self.token_file) {
            (Kind::Infisical, Some(id), Some(secret_file), None) => {
                let client_id = line_of("--client-id-file", id)?;
                let client_secret = secret("--client-secret-file", secret_file)?;
                Ok(infisical(config, infisical::Credentials::UniversalAuth { client_id, client_secret }))
            }
            (Kind::Infisical, None, None, Some(token)) => {
                Ok(infisical(config, infisical::Credentials::Token(secret("--token-file", token)?)))
            }
            (Kind::Zitadel, None, None, Some(token)) => Ok(zitadel(config, secret("--token-file", token)?)),
            (Kind::Infisical, ..) => Err("give --client-id-file with --client-secret-file, or --token-file".to_owned()),
            (Kind::Zitadel, ..) => Err("give --token-file, with a personal access token".to_owned()),
        }
    }
}

/// The same server with an access token that nobody has.
pub fn with_a_wrong_token(config: &Config) -> AnyProvider {
    let token = SecretString::from(WRONG.to_owned());
    match config.provider {
        Kind::Infisical => infisical(config, infisical::Credentials::Token(token)),
        Kind::Zitadel => zitadel(config, token),
    }
}

fn infisical(config: &Config, credentials: infisical::Credentials) -> AnyProvider {
    AnyProvider::Infisical(infisical::Infisical::new(&config.http, config.endpoint.clone(), credentials))
}

fn zitadel(config: &Config, token: SecretString) -> AnyProvider {
    AnyProvider::Zitadel(zitadel::Zitadel::new(config.http.clone(), config.endpoint.clone(), token))
}
