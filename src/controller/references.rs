//! The Secrets and ConfigMaps that a provider object refers to. They are read one by one, never listed or watched. A
//! provider object of a namespace refers to objects of that namespace only.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use kube::{Client, Resource};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

use super::stored::Stored;
use crate::api::Reason;
use crate::api::provider::{
    CaBundle, CaKeyRef, Infisical, InfisicalAuth, MembershipProviderSpec, OwnToken, SecretKeyRef, Zitadel, ZitadelAuth,
};
use crate::core::status::ReadyCondition;
use crate::provider::http::Trust;
use crate::provider::{infisical, zitadel};

/// A credential that was read.
pub enum Credential {
    /// For Infisical.
    Infisical(infisical::Credentials),
    /// For ZITADEL.
    Zitadel(zitadel::Credentials),
}

/// The location of the objects that a provider object names.
#[derive(Clone, Copy)]
pub enum ReferenceScope<'a> {
    /// They are in this namespace, which is the provider object's own.
    Namespace(&'a str),
    /// Each is in the namespace that the reference names. The provider object is one of the cluster and may sign in
    /// with one of the operator's own tokens, which are in this directory.
    Cluster(&'a Path),
}

/// The objects that a provider object names, and a hash of the values that were read.
pub struct References<'a> {
    client: Client,
    home: ReferenceScope<'a>,
    read: DefaultHasher,
}

/// One key of an object, with its namespace.
struct KeyLocation<'a> {
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    key: &'a str,
}

impl fmt::Display for KeyLocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, key } = self;
        write!(f, "key {key:?} of {kind} {name:?} in namespace {namespace:?}")
    }
}

/// Why a value is unavailable.
struct MissingValue {
    message: String,
    /// The API server did not respond: the object may be unchanged.
    unanswered: bool,
}

impl<'a> References<'a> {
    /// References before anything was read.
    pub fn of(client: Client, home: ReferenceScope<'a>) -> Self {
        Self { client, home, read: DefaultHasher::new() }
    }

    /// The fingerprint of everything that a connection is created from: the object's uid, its spec, and the values that
    /// were read. It is only used in this process.
    pub fn fingerprint(mut self, uid: &str, spec: &MembershipProviderSpec) -> u64 {
        // A spec always has a JSON form.
        (uid, serde_json::to_string(spec).unwrap_or_default()).hash(&mut self.read);
        self.read.finish()
    }

    /// The credential that a spec names.
    pub async fn credential(&mut self, spec: &MembershipProviderSpec) -> Result<Credential, ReadyCondition> {
        match (&spec.infisical, &spec.zitadel) {
            (Some(Infisical { auth, .. }), None) => self.infisical(auth).await.map(Credential::Infisical),
            (None, Some(Zitadel { auth, .. })) => self.zitadel(auth).await.map(Credential::Zitadel),
            _ => Err(invalid("set exactly one of spec.infisical and spec.zitadel")),
        }
    }

    async fn infisical(&mut self, auth: &InfisicalAuth) -> Result<infisical::Credentials, ReadyCondition> {
        let InfisicalAuth { universal_auth, kubernetes_auth, oidc_auth, token_secret_ref } = auth;
        match (universal_auth, kubernetes_auth, oidc_auth, token_secret_ref) {
            (Some(universal), None, None, None) => Ok(infisical::Credentials::UniversalAuth {
                client_id: self.secret(&universal.client_id_secret_ref).await?.expose_secret().to_owned(),
                client_secret: self.secret(&universal.client_secret_secret_ref).await?,
            }),
            (None, Some(own), None, None) => {
                let token = self.own_token("kubernetesAuth", own)?;
                Ok(infisical::Credentials::Kubernetes { identity_id: own.identity_id.clone(), token })
            }
            (None, None, Some(own), None) => {
                let token = self.own_token("oidcAuth", own)?;
                Ok(infisical::Credentials::Oidc { identity_id: own.identity_id.clone(), token })
            }
            (None, None, None, Some(token)) => Ok(infisical::Credentials::Token(self.secret(token).await?)),
            _ => Err(invalid("set exactly one way to sign in in spec.infisical.auth")),
        }
    }

    /// The operator's own token with an audience. No provider object of a namespace may use it: the schema forbids it,
    /// and so does this function.
    fn own_token(&self, field: &str, own: &OwnToken) -> Result<infisical::TokenSource, ReadyCondition> {
        match self.home {
            ReferenceScope::Cluster(folder) => Ok(infisical::TokenSource::with_audience(folder, &own.audience)),
            ReferenceScope::Namespace(_) => Err(invalid(&format!(
                "spec.infisical.auth.{field} is for a ClusterMembershipProvider: sign in with a Secret of this namespace"
            ))),
        }
    }

    async fn zitadel(&mut self, auth: &ZitadelAuth) -> Result<zitadel::Credentials, ReadyCondition> {
        let ZitadelAuth {
            personal_access_token_secret_ref: token,
            private_key_jwt_secret_ref: key,
            client_credentials,
        } = auth;
        match (token, key, client_credentials) {
            (Some(token), None, None) => Ok(zitadel::Credentials::PersonalAccessToken(self.secret(token).await?)),
            (None, Some(key), None) => {
                let file = zitadel::KeyFile::parse(&self.secret(key).await?).map_err(|error| {
                    let place = self.of_secret(key).map(|place| place.to_string()).unwrap_or_default();
                    ReadyCondition::new(Reason::Unauthorized, format!("{place} is not a ZITADEL key file: {error}"))
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
    pub async fn trust(&mut self, bundle: Option<&CaBundle>) -> Result<Option<Trust>, ReadyCondition> {
        let Some(CaBundle { inline, config_map_ref, secret_ref }) = bundle else { return Ok(None) };
        let (place, read) = match (inline, config_map_ref, secret_ref) {
            (Some(pem), None, None) => ("inline".to_owned(), Ok(pem.clone().into_bytes())),
            (None, Some(reference), None) => {
                let place = self.of_bundle("ConfigMap", reference)?;
                (place.to_string(), self.config_map(&place).await)
            }
            (None, None, Some(reference)) => {
                let place = self.of_bundle("Secret", reference)?;
                (place.to_string(), self.secret_bytes(&place).await)
            }
            _ => return Err(invalid("set exactly one of inline, configMapRef and secretRef in spec.caBundle")),
        };
        let pem = read.map_err(|MissingValue { message, unanswered }| {
            // Not InvalidSpec: a missing object may be created later, as a Secret may.
            let reason = if unanswered { Reason::Unreachable } else { Reason::ProviderNotReady };
            ReadyCondition::new(reason, format!("spec.caBundle can't be read: {message}"))
        })?;
        pem.hash(&mut self.read);
        match Trust::parse(&pem) {
            Ok(trust) => Ok(Some(trust)),
            Err(error) => Err(invalid(&format!("spec.caBundle ({place}) is not a certificate bundle: {error}"))),
        }
    }

    fn of_secret<'r>(&'r self, reference: &'r SecretKeyRef) -> Result<KeyLocation<'r>, ReadyCondition> {
        let SecretKeyRef { namespace, name, key } = reference;
        Ok(KeyLocation { kind: "Secret", namespace: self.namespace(namespace.as_deref())?, name, key })
    }

    fn of_bundle<'r>(&'r self, kind: &'static str, reference: &'r CaKeyRef) -> Result<KeyLocation<'r>, ReadyCondition> {
        let CaKeyRef { namespace, name, key } = reference;
        Ok(KeyLocation { kind, namespace: self.namespace(namespace.as_deref())?, name, key })
    }

    /// The namespace of a reference. The schema enforces this as well; the check here ensures that an old schema never
    /// lets the operator read a Secret of another namespace.
    fn namespace<'r>(&'r self, named: Option<&'r str>) -> Result<&'r str, ReadyCondition> {
        match (self.home, named) {
            (ReferenceScope::Namespace(own), None) => Ok(own),
            (ReferenceScope::Cluster(_), Some(namespace)) => Ok(namespace),
            (ReferenceScope::Namespace(_), Some(_)) => {
                Err(invalid("a reference of a MembershipProvider has no namespace: omit it"))
            }
            (ReferenceScope::Cluster(_), None) => {
                Err(invalid("a reference of a ClusterMembershipProvider needs a namespace: set namespace"))
            }
        }
    }

    /// The text of a Secret's key, without the line break that `echo` and editors leave at its end.
    async fn secret(&mut self, reference: &SecretKeyRef) -> Result<SecretString, ReadyCondition> {
        let place = self.of_secret(reference)?;
        let bytes = self.secret_bytes(&place).await.map_err(|MissingValue { message, unanswered }| {
            ReadyCondition::new(if unanswered { Reason::Unreachable } else { Reason::Unauthorized }, message)
        })?;
        let text = std::str::from_utf8(&bytes).ok().map(str::trim).filter(|text| !text.is_empty());
        let Some(text) = text else {
            return Err(ReadyCondition::new(Reason::Unauthorized, format!("{place} is empty or not text")));
        };
        text.hash(&mut self.read);
        Ok(SecretString::from(text.to_owned()))
    }

    async fn secret_bytes(&self, place: &KeyLocation<'_>) -> Result<Vec<u8>, MissingValue> {
        let mut data = self.get::<Secret>(place).await?.data.unwrap_or_default();
        data.remove(place.key).map(|bytes| bytes.0).ok_or_else(|| no_key(place))
    }

    async fn config_map(&self, place: &KeyLocation<'_>) -> Result<Vec<u8>, MissingValue> {
        let found = self.get::<ConfigMap>(place).await?;
        let text = found.data.unwrap_or_default().remove(place.key).map(String::into_bytes);
        let binary = || found.binary_data.unwrap_or_default().remove(place.key).map(|bytes| bytes.0);
        text.or_else(binary).ok_or_else(|| no_key(place))
    }

    async fn get<K>(&self, KeyLocation { kind, namespace, name, .. }: &KeyLocation<'_>) -> Result<K, MissingValue>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + fmt::Debug,
    {
        let api: Api<Stored<K>> = Api::namespaced(self.client.clone(), namespace);
        let error = match api.get(name).await.and_then(Stored::answered) {
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
        Err(MissingValue { message, unanswered })
    }
}

fn no_key(KeyLocation { kind, namespace, name, key }: &KeyLocation<'_>) -> MissingValue {
    let message = format!("{kind} {name:?} in namespace {namespace:?} has no key {key:?}: add it");
    MissingValue { message, unanswered: false }
}

fn invalid(message: &str) -> ReadyCondition {
    ReadyCondition::new(Reason::InvalidSpec, message)
}
