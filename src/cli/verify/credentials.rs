//! The credential. All of its parts come from files, because arguments are visible in the process list and in shell
//! histories.

use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::SecretString;

use super::arguments::{Product, VerifyConfig};
use crate::provider::{AnyProvider, infisical, zitadel};

/// The invalid token, which is not secret.
const INVALID: &str = "verify-provider-tries-a-wrong-token";

/// The files of a credential. Which of them are given determines how to sign in.
#[derive(Args, Clone, Debug, Default)]
pub struct CredentialFiles {
    /// The file of a client id: of universal auth (Infisical), or a machine user's name (ZITADEL).
    #[arg(long, value_name = "FILE", requires = "client_secret_file")]
    pub client_id_file: Option<PathBuf>,
    /// The file of the client's secret.
    #[arg(long, value_name = "FILE", requires = "client_id_file", group = "sign_in")]
    pub client_secret_file: Option<PathBuf>,
    /// The file of an access token: of an identity (Infisical), or a personal access token (ZITADEL).
    #[arg(long, value_name = "FILE", group = "sign_in")]
    pub token_file: Option<PathBuf>,
    /// ZITADEL: the JSON file of a machine user's key.
    #[arg(long, value_name = "FILE", group = "sign_in")]
    pub key_file: Option<PathBuf>,
    /// Infisical: the identity that signs in with a service account's token.
    #[arg(long, value_name = "ID")]
    pub identity_id: Option<String>,
    /// Infisical: the file of a service account's token, for Kubernetes auth.
    #[arg(long, value_name = "FILE", requires = "identity_id", group = "sign_in")]
    pub kubernetes_token_file: Option<PathBuf>,
    /// Infisical: the file of a token, for OIDC auth.
    #[arg(long, value_name = "FILE", requires = "identity_id", group = "sign_in")]
    pub oidc_token_file: Option<PathBuf>,
}

impl CredentialFiles {
    /// A description of the way to sign in.
    pub fn way(&self, provider: Product) -> &'static str {
        match self {
            Self { client_secret_file: Some(_), .. } => "client id and secret",
            Self { key_file: Some(_), .. } => "key",
            Self { kubernetes_token_file: Some(_), .. } => "Kubernetes auth",
            Self { oidc_token_file: Some(_), .. } => "OIDC auth",
            _ if provider == Product::Zitadel => "personal access token",
            _ => "access token",
        }
    }

    fn of_infisical(&self) -> Result<infisical::Credentials, String> {
        use infisical::Credentials::{Kubernetes, Oidc, Token, UniversalAuth};
        let identity_id = self.identity_id.clone().unwrap_or_default();
        match self {
            Self { client_id_file: Some(id), client_secret_file: Some(of_secret), .. } => Ok(UniversalAuth {
                client_id: line_of("--client-id-file", id)?,
                client_secret: secret("--client-secret-file", of_secret)?,
            }),
            Self { token_file: Some(file), .. } => Ok(Token(secret("--token-file", file)?)),
            Self { kubernetes_token_file: Some(file), .. } => {
                Ok(Kubernetes { identity_id, token: token("--kubernetes-token-file", file)? })
            }
            Self { oidc_token_file: Some(file), .. } => {
                Ok(Oidc { identity_id, token: token("--oidc-token-file", file)? })
            }
            _ => Err(
                "for Infisical give --client-id-file with --client-secret-file, --token-file, or --identity-id with \
                      --kubernetes-token-file or --oidc-token-file"
                    .to_owned(),
            ),
        }
    }

    fn of_zitadel(&self) -> Result<zitadel::Credentials, String> {
        use zitadel::Credentials::{ClientCredentials, PersonalAccessToken, PrivateKeyJwt};
        match self {
            Self { client_id_file: Some(id), client_secret_file: Some(of_secret), .. } => Ok(ClientCredentials {
                client_id: line_of("--client-id-file", id)?,
                client_secret: secret("--client-secret-file", of_secret)?,
            }),
            Self { token_file: Some(file), .. } => Ok(PersonalAccessToken(secret("--token-file", file)?)),
            Self { key_file: Some(file), .. } => {
                let key = zitadel::KeyFile::parse(&text_of("--key-file", file)?.into());
                key.map(PrivateKeyJwt).map_err(|error| format!("--key-file {}: {error}", file.display()))
            }
            _ => {
                Err("for ZITADEL give --token-file with a personal access token, --key-file, or --client-id-file with \
                      --client-secret-file"
                    .to_owned())
            }
        }
    }
}

/// The server with the credential from the files. Nothing is sent.
pub fn provider(config: &VerifyConfig) -> Result<AnyProvider, String> {
    let files = &config.arguments.credentials;
    match config.arguments.provider {
        Product::Infisical => Ok(infisical(config, files.of_infisical()?)),
        Product::Zitadel => Ok(zitadel(config, files.of_zitadel()?)),
    }
}

/// The same server with an access token that does not exist.
pub fn with_an_invalid_token(config: &VerifyConfig) -> AnyProvider {
    let token = SecretString::from(INVALID);
    match config.arguments.provider {
        Product::Infisical => infisical(config, infisical::Credentials::Token(token)),
        Product::Zitadel => zitadel(config, zitadel::Credentials::PersonalAccessToken(token)),
    }
}

fn infisical(config: &VerifyConfig, credentials: infisical::Credentials) -> AnyProvider {
    let infisical = infisical::Infisical::new(&config.http, config.endpoint.clone(), credentials);
    let infisical = infisical.in_organization(config.arguments.organization_slug.clone());
    infisical.inviting_users(config.arguments.invite_users).into()
}

fn zitadel(config: &VerifyConfig, credentials: zitadel::Credentials) -> AnyProvider {
    let instance_host = config.arguments.instance_host.clone();
    zitadel::Zitadel::new(&config.http, config.endpoint.clone(), credentials, instance_host).into()
}

fn secret(option: &str, file: &Path) -> Result<SecretString, String> {
    line_of(option, file).map(SecretString::from)
}

/// The source of a token that is read again when it is needed, after it was checked once.
fn token(option: &str, file: &Path) -> Result<infisical::TokenSource, String> {
    line_of(option, file).map(|_| infisical::TokenSource::file(file))
}

/// Reads a file that contains one secret or id.
fn line_of(option: &str, file: &Path) -> Result<String, String> {
    let text = text_of(option, file)?;
    match text.trim() {
        text if text.contains(char::is_whitespace) => {
            Err(format!("{option} {} contains more than one word", file.display()))
        }
        text => Ok(text.to_owned()),
    }
}

/// Reads a file that is not empty. Its content is never repeated in messages.
pub fn text_of(option: &str, file: &Path) -> Result<String, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{option} {shown} can't be read: {error}"))?;
    if text.trim().is_empty() { Err(format!("{option} {shown} is empty")) } else { Ok(text) }
}
