//! The API server without kubectl, for what tests ask again and again: a process for each look would take longer than
//! what is looked at.

use std::time::Duration;

use axum::http::{Method, Request, header};
use control_plane::ControlPlane;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::support::{SOON, eventually};

/// The API server as the administrator, in one namespace.
#[derive(Clone)]
pub struct Api {
    client: Client,
    namespace: String,
}

impl Api {
    /// On a control plane, in a namespace.
    pub async fn new(plane: &ControlPlane, namespace: &str) -> Self {
        let kubeconfig = Kubeconfig::read_from(plane.admin_kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Self::of(Client::try_from(config).unwrap(), namespace)
    }

    /// By a client, in a namespace.
    pub fn of(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same in another namespace.
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { client: self.client.clone(), namespace: namespace.to_owned() }
    }

    /// Applies objects, on the server's side.
    pub async fn apply(&self, objects: &[Value]) {
        for object in objects {
            let path = format!("{}?fieldManager=test&force=true", self.path_of(object));
            self.request(Method::PATCH, &path, "application/apply-patch+yaml", object).await.unwrap();
        }
    }

    /// Creates an object.
    pub async fn create(&self, object: &Value) {
        self.try_create(object).await.unwrap();
    }

    /// Creates an object, which may be refused.
    pub async fn try_create(&self, object: &Value) -> Result<Value, kube::Error> {
        let path = self.path_of(object);
        let collection = path.rsplit_once('/').map_or(path.as_str(), |(collection, _)| collection);
        self.request(Method::POST, collection, "application/json", object).await
    }

    /// An object as it is stored, as `pm/ci`.
    pub async fn get(&self, object: &str) -> Value {
        self.find(object).await.unwrap_or_else(|| panic!("there is no {object}"))
    }

    /// The same, where it may be gone.
    pub async fn find(&self, object: &str) -> Option<Value> {
        match self.request(Method::GET, &self.path(object), "application/json", &json!({})).await {
            Ok(found) => Some(found),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("get {object}: {error}"),
        }
    }

    /// Changes an object by a merge patch.
    pub async fn merge(&self, object: &str, patch: &Value) {
        self.request(Method::PATCH, &self.path(object), "application/merge-patch+json", patch).await.unwrap();
    }

    /// What the API server would answer to a merge patch of an object or of its status, which changes nothing.
    pub async fn try_merge_dry(&self, object: &str, status: bool, patch: &Value) -> Result<Value, kube::Error> {
        let part = if status { "/status" } else { "" };
        let path = format!("{}{part}?dryRun=All", self.path(object));
        self.request(Method::PATCH, &path, "application/merge-patch+json", patch).await
    }

    /// Changes an object's status by a merge patch.
    pub async fn merge_status(&self, object: &str, patch: &Value) {
        let path = format!("{}/status", self.path(object));
        self.request(Method::PATCH, &path, "application/merge-patch+json", patch).await.unwrap();
    }

    /// Annotates an object.
    pub async fn annotate(&self, object: &str, annotation: &str, value: &str) {
        self.merge(object, &json!({"metadata": {"annotations": {annotation: value}}})).await;
    }

    /// Asks for an object's end, and waits for nothing.
    pub async fn ask_to_delete(&self, object: &str) {
        self.request(Method::DELETE, &self.path(object), "application/json", &json!({})).await.unwrap();
    }

    /// Deletes an object, if it is there, regardless of what keeps it, as an administrator can.
    pub async fn delete_by_force(&self, object: &str) {
        let nothing = json!({"metadata": {"finalizers": null}});
        for (method, kind, body) in
            [(Method::DELETE, "application/json", json!({})), (Method::PATCH, "application/merge-patch+json", nothing)]
        {
            // The answer may be one that can't be read.
            match self.client.request_text(request(method, &self.path(object), kind, &body)).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => panic!("delete {object}: {error}"),
            }
        }
    }

    /// Waits until an object is gone.
    pub async fn is_gone(&self, object: &str) {
        self.is_gone_within(SOON, object).await;
    }

    /// Waits until an object is gone that was deleted soon after a write without a response.
    pub async fn is_gone_a_minute_later(&self, object: &str) {
        self.is_gone_within(SOON + SOON, object).await;
    }

    async fn is_gone_within(&self, limit: Duration, object: &str) {
        eventually(limit, &format!("{object} is gone"), async || match self.find(object).await {
            None => Ok(()),
            Some(there) => Err(format!("{:#}", there["status"])),
        })
        .await;
    }

    /// The events about an object.
    pub async fn events(&self, object: &str) -> Vec<Value> {
        let name = object.split_once('/').map_or(object, |(_, name)| name);
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace);
        let list = self.request(Method::GET, &path, "application/json", &json!({})).await.unwrap();
        let events = list["items"].as_array().cloned().unwrap_or_default();
        events.into_iter().filter(|event| event["regarding"]["name"] == name).collect()
    }

    async fn request(&self, method: Method, path: &str, kind: &str, body: &Value) -> Result<Value, kube::Error> {
        self.client.request(request(method, path, kind, body)).await
    }

    fn path_of(&self, object: &Value) -> String {
        let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
        self.path(&format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap_or_default()))
    }

    fn path(&self, object: &str) -> String {
        let (kind, name) = object.split_once('/').unwrap_or_else(|| panic!("{object} is no kind/name"));
        let kinds = match kind {
            "pm" | "projectmembership" | "membershipprovider" | "clustermembershipprovider" => {
                "apis/membership.dev/v1alpha1"
            }
            "secret" | "configmap" | "namespace" => "api/v1",
            "lease" => "apis/coordination.k8s.io/v1",
            "rolebinding" => "apis/rbac.authorization.k8s.io/v1",
            _ => panic!("{kind}: unknown kind"),
        };
        let plural = if kind == "pm" { "projectmemberships".to_owned() } else { format!("{kind}s") };
        match kind {
            "namespace" | "clustermembershipprovider" => format!("/{kinds}/{plural}/{name}"),
            _ => format!("/{kinds}/namespaces/{}/{plural}/{name}", self.namespace),
        }
    }
}

fn request(method: Method, path: &str, kind: &str, body: &Value) -> Request<Vec<u8>> {
    let body = if method == Method::GET { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind).body(body).unwrap()
}
