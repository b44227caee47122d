//! The way from a process to the providers, and what of it is looked at: each write is compared with what was there
//! before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use membership_operator::provider::http::{InProcessServer, NoResponse};
use serde_json::json;
use simulator::{Doors, Simulator, worlds};

use crate::life::Life;
use crate::scheduler::{CallResult, Scheduler, Server};

/// Somebody's place at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// Where.
    pub server: Server,
    /// The subject's id.
    pub subject: &'static str,
}

/// Who is there: those that objects speak of, and strangers.
pub const TARGETS: [TargetKey; 4] = [
    TargetKey { server: Server::Infisical, subject: worlds::INFISICAL_DEPLOYER },
    TargetKey { server: Server::Zitadel, subject: worlds::ZITADEL_DEPLOYER },
    TargetKey { server: Server::Infisical, subject: worlds::INFISICAL_REPORTER },
    TargetKey { server: Server::Zitadel, subject: worlds::ZITADEL_GRACE },
];
/// Those whom no object names.
pub const UNMANAGED: [TargetKey; 2] = [
    TargetKey { server: Server::Infisical, subject: worlds::INFISICAL_ON_CALL },
    TargetKey { server: Server::Zitadel, subject: worlds::ZITADEL_ADA },
];

/// A role as a provider holds it: its name, and the end where the provider knows one.
pub type Roles = BTreeMap<String, Option<jiff::Timestamp>>;

/// Both providers.
#[derive(Clone)]
pub struct Providers {
    pub simulator: Arc<Simulator>,
    /// The ways in.
    pub doors: Doors,
}

impl Providers {
    /// Both with the world of the demo, and the strangers' roles.
    pub fn new(now: impl Fn() -> jiff::Timestamp + Clone + Send + Sync + 'static) -> Self {
        let (simulator, doors) = Simulator::in_process(now);
        simulator.load(&worlds::demo());
        let providers = Self { simulator: Arc::new(simulator), doors };
        for target in TARGETS {
            providers.by_hand(target, &[]);
        }
        for target in UNMANAGED {
            providers.by_hand(target, &roles_of(target.server)[..2]);
        }
        providers
    }

    /// What somebody has, ended or not; without the base that gives nothing.
    pub fn roles(&self, target: TargetKey) -> Roles {
        match target.server {
            Server::Infisical => {
                let rows = self.simulator.infisical().roles(worlds::INFISICAL_PROJECT, target.subject);
                let rows = rows.into_iter().filter(|row| row.role != "no-access");
                rows.map(|row| (row.role, row.temporary.map(|window| window.end))).collect()
            }
            _ => {
                let roles = self.simulator.zitadel().roles(worlds::ZITADEL_PROJECT, target.subject);
                roles.into_iter().map(|role| (role, None)).collect()
            }
        }
    }

    /// What is in force.
    pub fn effective(&self, target: TargetKey, at: jiff::Timestamp) -> BTreeSet<String> {
        self.roles(target).into_iter().filter(|(_, end)| end.is_none_or(|end| end > at)).map(|(role, _)| role).collect()
    }

    /// Somebody is given exactly these roles by hand.
    pub fn by_hand(&self, target: TargetKey, roles: &[&str]) {
        match target.server {
            Server::Infisical if roles.is_empty() => {
                self.simulator.infisical().remove_member(worlds::INFISICAL_PROJECT, target.subject);
            }
            Server::Infisical => {
                let rows = roles.iter().map(|role| simulator::RoleRow::permanent(role)).collect();
                self.simulator.infisical().set_roles(worlds::INFISICAL_PROJECT, target.subject, rows);
            }
            _ => self.simulator.zitadel().set_roles(worlds::ZITADEL_PROJECT, target.subject, roles),
        }
    }

    /// What all of them have.
    pub fn all(&self) -> BTreeMap<TargetKey, Roles> {
        TARGETS.into_iter().chain(UNMANAGED).map(|target| (target, self.roles(target))).collect()
    }
}

/// The roles that are given and taken at a provider.
pub fn roles_of(server: Server) -> &'static [&'static str] {
    match server {
        Server::Infisical => &["viewer", "deployer", "auditor", "member"],
        _ => &["PROJECT_OWNER_VIEWER", "PROJECT_OWNER", "PROJECT_OWNER_VIEWER_GLOBAL", "PROJECT_OWNER_GLOBAL"],
    }
}

/// A request that may write, when it is sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where to.
    pub server: Server,
    /// Its method and path.
    pub line: String,
    pub body: serde_json::Value,
}

/// What is told of each write.
pub trait Witness: Send + Sync {
    /// A process sends a write.
    fn sends(&self, life: &Life, sent: &Sent);
    /// A write was carried out, and this was there before and after it.
    fn carried_out(
        &self,
        life: &str,
        sent: &Sent,
        before: &BTreeMap<TargetKey, Roles>,
        after: &BTreeMap<TargetKey, Roles>,
    );
}

/// One process's way to the providers.
#[derive(Clone)]
pub struct ToProviders {
    /// Where it leads.
    pub providers: Providers,
    /// Who decides.
    pub scheduler: Scheduler,
    /// Whose way.
    pub life: Life,
    /// Who looks on.
    pub witness: Arc<dyn Witness>,
}

impl InProcessServer for ToProviders {
    fn answer(&self, request: reqwest::Request) -> BoxFuture<'static, Result<reqwest::Response, NoResponse>> {
        self.clone().asked(request).boxed()
    }
}

impl ToProviders {
    async fn asked(self, request: reqwest::Request) -> Result<reqwest::Response, NoResponse> {
        let infisical = request.url().host_str() == Some("infisical.test");
        let server = if infisical { Server::Infisical } else { Server::Zitadel };
        let path = request.url().path().to_owned();
        let reads = request.method() == reqwest::Method::GET
            || ["/_search", "/login", "/token"].iter().any(|end| path.ends_with(end));
        let fate = self.scheduler.fate(server, !reads);
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        let line = format!("{} {server:?}{path}", request.method());
        let shown = if reads { String::new() } else { String::from_utf8_lossy(body).into_owned() };
        self.scheduler.write(format!("{} {line} {shown} -> {fate:?}", self.life.name()));
        let sent = Sent { server, line, body: serde_json::from_slice(body).unwrap_or_default() };
        if !reads {
            self.witness.sends(&self.life, &sent);
        }
        let door =
            if infisical { self.providers.doors.infisical.clone() } else { self.providers.doors.zitadel.clone() };
        let mut handed = Request::new(Body::from(body.to_vec()));
        *handed.method_mut() = request.method().clone();
        *handed.uri_mut() = request.url()[url::Position::BeforePath..].parse().map_err(|_| NoResponse::NotConnected)?;
        *handed.headers_mut() = request.headers().clone();
        if let Ok(host) = request.url().authority().parse() {
            handed.headers_mut().insert("host", host);
        }
        let (providers, witness, name) = (self.providers.clone(), self.witness.clone(), self.life.name().to_owned());
        let told = fate
            .met(&self.life, async move {
                let before = (!reads).then(|| providers.all());
                let answer = door.answer(handed).await?;
                if let Some(before) = before {
                    witness.carried_out(&name, &sent, &before, &providers.all());
                }
                let (parts, body) = answer.into_parts();
                let bytes = body.collect().await.ok()?.to_bytes();
                Some((parts, bytes))
            })
            .await;
        match told {
            CallResult::Answer(Some((parts, bytes))) => Ok(Response::from_parts(parts, bytes).into()),
            CallResult::Half(Some((mut parts, bytes))) => {
                parts.headers.remove("content-length");
                Ok(Response::from_parts(parts, bytes.slice(..bytes.len() / 2)).into())
            }
            CallResult::Code(code, wait) => Ok(refused(code, wait).into()),
            CallResult::NotConnected => Err(NoResponse::NotConnected),
            CallResult::BrokenOff | CallResult::Answer(None) | CallResult::Half(None) => Err(NoResponse::BrokenOff),
        }
    }
}

/// What stands before a provider answers in its place.
fn refused(code: u16, wait: Option<u64>) -> Response<Bytes> {
    let body = json!({"statusCode": code, "message": "by order of the seed", "error": "Simulated"});
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = axum::http::StatusCode::from_u16(code).unwrap_or_default();
    response.headers_mut().insert("content-type", axum::http::HeaderValue::from_static("application/json"));
    if let Some(wait) = wait {
        response.headers_mut().insert("retry-after", wait.into());
    }
    response
}
