//! What a provider object refers to: Secrets and ConfigMaps of its namespace, read one by one, never listed or watched.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use kube::{Client, Resource};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

use crate::api::Reason;
use crate::api::provider::{
    CaBundle, CaKeyRef, Infisical, InfisicalAuth, MembershipProviderSpec, SecretKeyRef, Zitadel, ZitadelAuth,
};
use crate::provider::http::Trust;
use crate::provider::{infisical, zitadel};
use crate::status::Told;

/// A credential as read.
pub enum Credential {
    /// For Infisical.
    Infisical(infisical::Credentials),
    /// For ZITADEL.
    Zitadel(zitadel::Credentials),
}

/// The objects of one namespace that a provider object names, and what of them was read.
pub struct References<'a> {
    client: Client,
    namespace: &'a str,
    read: DefaultHasher,
}

/// Why a value can't be had.
struct Missing {
    message: String,
    /// The API server didn't answer: the object may be as it was.
    unanswered: bool,
}

impl<'a> References<'a> {
    /// Nothing read yet.
    pub fn of(client: Client, namespace: &'a str) -> Self {
        Self { client, namespace, read: DefaultHasher::new() }
    }

    /// Tells whether anything that a connection is made from has changed: the object with this uid, its spec, or a value
    /// that was read. It never leaves the process.
    pub fn print(mut self, uid: &str, generation: Option<i64>) -> u64 {
        (uid, generation).hash(&mut self.read);
        self.read.finish()
    }

    /// The credential that a spec names.
    pub async fn credential(&mut self, spec: &MembershipProviderSpec) -> Result<Credential, Told> {
        match (&spec.infisical, &spec.zitadel) {
            (Some(Infisical { auth, .. }), None) => self.infisical(auth).await.map(Credential::Infisical),
            (None, Some(Zitadel { auth, .. })) => self.zitadel(auth).await.map(Credential::Zitadel),
            _ => Err(invalid("set exactly one of spec.infisical and spec.zitadel")),
        }
    }

    async fn infisical(&mut self, auth: &InfisicalAuth) -> Result<infisical::Credentials, Told> {
        match (&auth.universal_auth, &auth.token_secret_ref) {
            (Some(universal), None) => Ok(infisical::Credentials::UniversalAuth {
                client_id: self.secret(&universal.client_id_secret_ref).await?.expose_secret().to_owned(),
                client_secret: self.secret(&universal.client_secret_secret_ref).await?,
            }),
            (None, Some(token)) => Ok(infisical::Credentials::Token(self.secret(token).await?)),
            _ => Err(invalid("set exactly one of universalAuth and tokenSecretRef in spec.infisical.auth")),
        }
    }

    async fn zitadel(&mut self, auth: &ZitadelAuth) -> Result<zitadel::Credentials, Told> {
        let ZitadelAuth {
            personal_access_token_secret_ref: token,
            private_key_jwt_secret_ref: key,
            client_credentials,
        } = auth;
        match (token, key, client_credentials) {
            (Some(token), None, None) => Ok(zitadel::Credentials::PersonalAccessToken(self.secret(token).await?)),
            (None, Some(key), None) => {
                let file = zitadel::KeyFile::parse(&self.secret(key).await?).map_err(|error| {
                    let SecretKeyRef { name, key } = key;
                    let place = self.place("Secret", name, key);
                    Told::new(Reason::Unauthorized, format!("{place} is no key file of ZITADEL's: {error}"))
                })?;
                Ok(zitadel::Credentials::PrivateKeyJwt(file))
            }
            (None, None, Some(client)) => Ok(zitadel::Credentials::ClientCredentials {
                client_id: self.secret(&client.client_id_secret_ref).await?.expose_secret().to_owned(),
                client_secret: self.secret(&client.client_secret_secret_ref).await?,
            }),
            _ => Err(invalid(
                "set exactly one of personalAccessTokenSecretRef, privateKeyJwtSecretRef and clientCredentials in \
                 spec.zitadel.auth",
            )),
        }
    }

    /// The certificate authorities that a spec names.
    pub async fn trust(&mut self, bundle: Option<&CaBundle>) -> Result<Option<Trust>, Told> {
        let Some(CaBundle { inline, config_map_ref, secret_ref }) = bundle else { return Ok(None) };
        let (place, read) = match (inline, config_map_ref, secret_ref) {
            (Some(pem), None, None) => ("inline".to_owned(), Ok(pem.clone().into_bytes())),
            (None, Some(CaKeyRef { name, key }), None) => {
                (self.place("ConfigMap", name, key), self.config_map(name, key).await)
            }
            (None, None, Some(CaKeyRef { name, key })) => {
                (self.place("Secret", name, key), self.secret_bytes(name, key).await)
            }
            _ => return Err(invalid("set exactly one of inline, configMapRef and secretRef in spec.caBundle")),
        };
        let pem = read.map_err(|Missing { message, unanswered }| {
            // Not InvalidSpec: what is missing may be on its way, as a Secret is.
            let reason = if unanswered { Reason::Unreachable } else { Reason::ProviderNotReady };
            Told::new(reason, format!("spec.caBundle can't be read: {message}"))
        })?;
        pem.hash(&mut self.read);
        match Trust::parse(&pem) {
            Ok(trust) => Ok(Some(trust)),
            Err(error) => Err(invalid(&format!("spec.caBundle ({place}) is no bundle of certificates: {error}"))),
        }
    }

    fn place(&self, kind: &str, name: &str, key: &str) -> String {
        format!("key {key:?} of {kind} {name:?} in namespace {:?}", self.namespace)
    }

    /// A secret text.
    async fn secret(&mut self, SecretKeyRef { name, key }: &SecretKeyRef) -> Result<SecretString, Told> {
        let bytes = self.secret_bytes(name, key).await.map_err(|Missing { message, unanswered }| {
            Told::new(if unanswered { Reason::Unreachable } else { Reason::Unauthorized }, message)
        })?;
        let text = std::str::from_utf8(&bytes).ok().map(str::trim).filter(|text| !text.is_empty());
        let Some(text) = text else {
            let message = format!("{} is empty or not text", self.place("Secret", name, key));
            return Err(Told::new(Reason::Unauthorized, message));
        };
        text.hash(&mut self.read);
        Ok(SecretString::from(text.to_owned()))
    }

    async fn secret_bytes(&self, name: &str, key: &str) -> Result<Vec<u8>, Missing> {
        let mut data = self.get::<Secret>("Secret", name).await?.data.unwrap_or_default();
        data.remove(key).map(|bytes| bytes.0).ok_or_else(|| self.no_key("Secret", name, key))
    }

    async fn config_map(&self, name: &str, key: &str) -> Result<Vec<u8>, Missing> {
        let found = self.get::<ConfigMap>("ConfigMap", name).await?;
        let text = found.data.unwrap_or_default().remove(key).map(String::into_bytes);
        let binary = || found.binary_data.unwrap_or_default().remove(key).map(|bytes| bytes.0);
        text.or_else(binary).ok_or_else(|| self.no_key("ConfigMap", name, key))
    }

    fn no_key(&self, kind: &str, name: &str, key: &str) -> Missing {
        let message = format!("{kind} {name:?} in namespace {:?} has no key {key:?}: add it", self.namespace);
        Missing { message, unanswered: false }
    }

    async fn get<K>(&self, kind: &str, name: &str) -> Result<K, Missing>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug,
    {
        let namespace = self.namespace;
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let error = match api.get(name).await {
            Ok(object) => return Ok(object),
            Err(error) => error,
        };
        let (message, unanswered) = match &error {
            kube::Error::Api(answer) if answer.code == 404 => {
                (format!("there is no {kind} {name:?} in namespace {namespace:?}: create it"), false)
            }
            kube::Error::Api(answer) if answer.code == 403 => (
                format!(
                    "the operator may not read {kind} {name:?} in namespace {namespace:?}: kubectl create rolebinding membership-operator-secrets --namespace {namespace} --clusterrole membership-operator-secrets --serviceaccount membership-system:membership-operator"
                ),
                false,
            ),
            _ => (format!("{kind} {name:?} can't be read: {error}"), true),
        };
        Err(Missing { message, unanswered })
    }
}

fn invalid(message: &str) -> Told {
    Told::new(Reason::InvalidSpec, message)
}
