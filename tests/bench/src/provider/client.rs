//! The bench's end: starts the process and asks it.

use std::path::Path;
use std::time::{Duration, Instant};

use control_plane::{Server, free_port, http_get};
use reqwest::{Client, Method};
use serde::Serialize;
use serde::de::DeserializeOwned;
use simulator::worlds::World;

use super::server::{Delays, Progress, Request, Times, Urls, Watch, now};
use crate::error::{Doing, Error, Result};
use crate::progress;
use crate::targets::{Expected, Kind};

/// The simulated providers. Dropping this ends their process.
pub struct Providers {
    server: Server,
    client: Client,
    base: String,
    /// Where they listen.
    pub urls: Urls,
}

impl Providers {
    /// Starts the process; its log is in `dir`, the folder of a control plane.
    pub async fn start(dir: &Path, delays: &Delays) -> Result<Self> {
        let port = free_port()?;
        let program = std::env::current_exe().doing("find this program")?;
        let arguments = ["provider".to_owned(), format!("--port={port}")];
        let mut server = Server::start("providers", dir, &program, &arguments, &[])?;
        let ready = || async {
            match http_get(port, "/urls").await {
                Ok(answer) if answer.contains(" 200 ") => Ok(()),
                Ok(answer) => Err(answer),
                Err(error) => Err(error.to_string()),
            }
        };
        server.until_ready(Duration::from_secs(30), "/urls", ready).await?;
        let (client, base) = (http_client()?, format!("http://127.0.0.1:{port}"));
        let urls = ask(&client, Method::GET, &format!("{base}/urls"), None::<&()>).await?;
        let providers = Self { server, client, base, urls };
        providers.tell(Method::POST, "/delays", Some(delays)).await?;
        Ok(providers)
    }

    /// Adds a world.
    pub async fn load(&self, world: &World) -> Result<()> {
        self.tell(Method::POST, "/world", Some(world)).await
    }

    /// Where a provider listens.
    pub fn url(&self, kind: Kind) -> &str {
        match kind {
            Kind::Infisical => &self.urls.infisical,
            Kind::Zitadel => &self.urls.zitadel,
        }
    }

    /// Watches from now on until these are so.
    pub async fn watch(&self, expected: Vec<Expected>) -> Result<()> {
        let every = interval(expected.len());
        self.tell(Method::POST, "/watch", Some(&Watch { expected, from: now(), every })).await
    }

    /// As [`Providers::watch`], looking often, but only from an instant on.
    pub async fn watch_closely(&self, expected: Vec<Expected>, from: u64) -> Result<()> {
        self.tell(Method::POST, "/watch", Some(&Watch { expected, from, every: 5 })).await
    }

    /// How many of those that are watched have been seen to be correct.
    pub async fn progress(&self) -> Result<Progress> {
        self.ask(Method::GET, "/watch").await
    }

    /// Waits until all have been seen to be correct, and are so still; when each was first seen to be.
    pub async fn until_correct(&self, doing: &str, limit: Duration) -> Result<Vec<u64>> {
        let began = Instant::now();
        loop {
            let Progress { total, correct } = self.progress().await?;
            progress::show(doing, correct, total, began.elapsed());
            if correct == total {
                break;
            }
            if began.elapsed() > limit {
                let message =
                    format!("{doing}: after {limit:?} only {correct} of {total} memberships are as they should be");
                return Err(Error::new(message));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let wrong: usize = self.ask(Method::GET, "/wrong").await?;
        if wrong > 0 {
            return Err(Error::new(format!("{doing}: {wrong} memberships were correct and have been changed again")));
        }
        let times: Times = self.ask(Method::GET, "/times").await?;
        Ok(times.into_iter().flatten().collect())
    }

    /// The requests since the start or the last [`Providers::forget_requests`], oldest first.
    pub async fn requests(&self) -> Result<Vec<Request>> {
        self.ask(Method::GET, "/requests").await
    }

    /// Begins to count anew.
    pub async fn forget_requests(&self) -> Result<()> {
        self.tell(Method::DELETE, "/requests", None::<&()>).await
    }

    /// Removes memberships by hand.
    pub async fn remove(&self, drifting: &[Expected]) -> Result<()> {
        self.tell(Method::POST, "/remove", Some(&drifting)).await
    }

    /// From now on each request is broken off.
    pub async fn begin_outage(&self) -> Result<()> {
        self.tell(Method::POST, "/outage", None::<&()>).await
    }

    /// From now on requests are answered again.
    pub async fn end_outage(&self) -> Result<()> {
        self.tell(Method::DELETE, "/outage", None::<&()>).await
    }

    /// Ends the process.
    pub async fn stop(self) -> Result<()> {
        Ok(self.server.stop(Duration::from_secs(5)).await?)
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T> {
        ask(&self.client, method, &format!("{}{path}", self.base), None::<&()>).await
    }

    async fn tell<B: Serialize + ?Sized>(&self, method: Method, path: &str, body: Option<&B>) -> Result<()> {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let request = body.iter().fold(request, |request, body| request.json(body));
        let doing = format!("ask the simulated providers ({path})");
        request.send().await.and_then(reqwest::Response::error_for_status).doing(&doing).map(drop)
    }
}

/// How often to look at so many memberships, in milliseconds: so that looking costs the same regardless of their number.
fn interval(count: usize) -> u64 {
    u64::try_from(count / 200).unwrap_or(u64::MAX).clamp(10, 500)
}

/// A client for plain HTTP on this machine.
pub fn http_client() -> Result<Client> {
    let client = Client::builder().no_proxy().pool_max_idle_per_host(64).timeout(Duration::from_secs(60));
    client.build().doing("make an HTTP client")
}

async fn ask<T: DeserializeOwned, B: Serialize + ?Sized>(
    client: &Client,
    method: Method,
    url: &str,
    body: Option<&B>,
) -> Result<T> {
    let request = client.request(method, url);
    let request = body.iter().fold(request, |request, body| request.json(body));
    let doing = format!("ask {url}");
    let answer = request.send().await.and_then(reqwest::Response::error_for_status).doing(&doing)?;
    answer.json().await.doing(&doing)
}
