//! The bare generator: exactly the requests of the floor, with so many memberships in flight, and no logic between them.
//!
//! What it sends is of the same size as what the operator sends: the annotations and the status of a membership that the
//! operator has brought about.

use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::{Value, json};
use simulator::worlds;
use tokio::sync::Semaphore;

use crate::cluster::{Cluster, object};
use crate::error::{Doing, Error, Result};
use crate::progress;
use crate::provider::client::{Providers, http_client};
use crate::provider::server::now;
use crate::targets::{Kind, Target};

/// Objects in one page of a list, as the operator asks for them.
const PAGE: usize = 500;
const FINALIZER: &str = "membership.dev/revoke";

/// What is written to the API server for each membership.
#[derive(Clone)]
pub struct Template {
    annotations: Value,
    status: Value,
}

impl Template {
    /// What the operator has written to this object.
    pub fn of(object: &Value) -> Result<Self> {
        let (annotations, status) = (object["metadata"]["annotations"].clone(), object["status"].clone());
        if annotations.is_null() || status.is_null() {
            let message =
                format!("the operator has written no annotation or no status to {}", object["metadata"]["name"]);
            return Err(Error::new(message));
        }
        Ok(Self { annotations, status })
    }
}

/// Sends the requests of the floor.
pub struct Generator<'a> {
    cluster: &'a Cluster,
    providers: &'a Providers,
    client: reqwest::Client,
    kind: Kind,
    /// Writes to the provider that may be in flight: ZITADEL takes one at a time.
    writes: Semaphore,
}

impl<'a> Generator<'a> {
    /// For one provider.
    pub fn new(cluster: &'a Cluster, providers: &'a Providers, kind: Kind) -> Result<Self> {
        let writes = match kind {
            Kind::Infisical => progress::IN_FLIGHT,
            Kind::Zitadel => 1,
        };
        Ok(Self { cluster, providers, client: http_client()?, kind, writes: Semaphore::new(writes) })
    }

    /// Brings memberships about: a list of all objects, a list of each project, and for each membership a PATCH of the
    /// metadata, a write to the provider, and a PATCH of the status. Returns when it began.
    pub async fn converge(&self, targets: &[Target], template: &Template) -> Result<u64> {
        let began = now();
        self.list_objects().await?;
        let projects: std::collections::BTreeSet<String> = targets.iter().map(|target| target.project()).collect();
        progress::each("listing projects", projects.into_iter().collect(), async |project| self.list(&project).await)
            .await?;
        progress::each("generator", targets.to_vec(), async |target| {
            let path = object(target);
            let metadata = json!({"metadata": {"finalizers": [FINALIZER], "annotations": template.annotations}});
            self.cluster
                .as_operator(Method::PATCH, &format!("{path}?fieldManager=membership-operator"), Some(&metadata))
                .await?;
            self.grant(target).await?;
            let status = json!({"status": template.status});
            let path = format!("{path}/status?fieldManager=membership-operator");
            self.cluster.as_operator(Method::PATCH, &path, Some(&status)).await.map(drop)
        })
        .await?;
        Ok(began)
    }

    /// Deletes them: for each the request for its end, a write to the provider, and a PATCH that removes the finalizer.
    pub async fn drain(&self, targets: &[Target]) -> Result<Duration> {
        let began = Instant::now();
        progress::each("generator, deleting", targets.to_vec(), async |target| {
            let path = object(target);
            self.cluster.delete_one(target).await?;
            self.revoke(target).await?;
            let metadata = json!({"metadata": {"finalizers": null}});
            let path = format!("{path}?fieldManager=membership-operator");
            self.cluster.as_operator(Method::PATCH, &path, Some(&metadata)).await.map(drop)
        })
        .await?;
        Ok(began.elapsed())
    }

    /// The time of one write to the provider, sent one after another: the median of these memberships, which are granted.
    pub async fn time_of_one_write(&self, targets: &[Target]) -> Result<Duration> {
        let mut times = Vec::new();
        for target in targets {
            let began = Instant::now();
            self.grant(*target).await?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        times.get(times.len() / 2).copied().ok_or_else(|| Error::new("no write was timed"))
    }

    async fn list_objects(&self) -> Result<()> {
        let mut next = String::new();
        loop {
            let path = format!("/apis/membership.dev/v1alpha1/projectmemberships?limit={PAGE}&continue={next}");
            let page = self.cluster.as_operator(Method::GET, &path, None).await?;
            match page["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => token.clone_into(&mut next),
                None => return Ok(()),
            }
        }
    }

    async fn list(&self, project: &str) -> Result<()> {
        match self.kind {
            Kind::Infisical => {
                self.send(Method::GET, &format!("/api/v1/projects/{project}/identity-memberships"), None).await
            }
            Kind::Zitadel => {
                let body = json!({"query": {"limit": 1000, "asc": true}});
                self.send(Method::POST, &format!("/management/v1/projects/{project}/members/_search"), Some(&body))
                    .await
            }
        }
    }

    async fn grant(&self, target: Target) -> Result<()> {
        let (project, subject, role) = (target.project(), target.subject(), self.kind.role());
        let _turn = self.writes.acquire().await.doing("wait for the turn of a write")?;
        match self.kind {
            Kind::Infisical => {
                let path = format!("/api/v1/projects/{project}/identity-memberships/{subject}");
                self.send(Method::POST, &path, Some(&json!({"roles": [{"role": role, "isTemporary": false}]}))).await
            }
            Kind::Zitadel => {
                let path = format!("/management/v1/projects/{project}/members");
                self.send(Method::POST, &path, Some(&json!({"userId": subject, "roles": [role]}))).await
            }
        }
    }

    async fn revoke(&self, target: Target) -> Result<()> {
        let (project, subject) = (target.project(), target.subject());
        let _turn = self.writes.acquire().await.doing("wait for the turn of a write")?;
        let path = match self.kind {
            Kind::Infisical => format!("/api/v1/projects/{project}/identity-memberships/{subject}"),
            Kind::Zitadel => format!("/management/v1/projects/{project}/members/{subject}"),
        };
        self.send(Method::DELETE, &path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<()> {
        let token = match self.kind {
            Kind::Infisical => worlds::INFISICAL_TOKEN,
            Kind::Zitadel => worlds::ZITADEL_TOKEN,
        };
        let doing = format!("{method} {path}");
        let request =
            self.client.request(method, format!("{}{path}", self.providers.url(self.kind))).bearer_auth(token);
        let request = request.header("x-zitadel-orgid", worlds::ZITADEL_PROJECT_ORG);
        let request = body.iter().fold(request, |request, body| request.json(body));
        let answer = request.send().await.doing(&doing)?;
        let status = answer.status();
        let text = answer.text().await.doing(&doing)?;
        if status.is_success() { Ok(()) } else { Err(Error::new(format!("{doing} was answered {status}: {text}"))) }
    }
}
