//! One server process: started with a log, waited for, stopped.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::{Doing, Error};
use crate::watchdog;

/// How long one attempt to see whether a server is ready may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// A running server. Dropping it ends it, without waiting.
///
/// It is a process of std and not of tokio, whose processes belong to the
/// runtime that started them: a control plane is shared by tests that have a
/// runtime each.
#[derive(Debug)]
pub struct Server {
    name: String,
    log: PathBuf,
    mark: PathBuf,
    watchdog: Child,
    leash: ChildStdin,
}

impl Server {
    /// Starts `program` under a watchdog, with its output appended to
    /// `<dir>/<name>.log`.
    ///
    /// The folder must be a control plane's ([`crate::ControlPlane::dir`]), and
    /// the name unique there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the program or its log can't be had.
    pub fn start(
        name: impl Into<String>,
        dir: &Path,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let name = name.into();
        let log = dir.join(format!("{name}.log"));
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let (stdout, stderr) =
            open().and_then(|file| Ok((file.try_clone()?, file))).doing(|| format!("write {}", log.display()))?;
        let mark = dir.join(watchdog::RUNNING).join(&name);
        let mut watchdog = watchdog::command(&mark, program)?
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .doing(|| format!("start {name}"))?;
        let leash = watchdog.stdin.take().ok_or(Error::State("a watchdog has no stdin"))?;
        Ok(Self { name, log, mark, watchdog, leash })
    }

    /// Asks `probe` again and again until it is content.
    ///
    /// # Errors
    ///
    /// [`Error::Exited`] if the server ends first, [`Error::TooSlow`] with what
    /// the probe returned last if `limit` passes; both with the end of the log.
    pub async fn until_ready<F: Future<Output = Result<(), String>>>(
        &mut self,
        limit: Duration,
        waiting_for: &str,
        probe: impl Fn() -> F,
    ) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.watchdog.try_wait().doing(|| format!("wait for {}", self.name))? {
                let (status, log) = (status.to_string(), self.end_of_log());
                return Err(Error::Exited { server: self.name.clone(), status, log });
            }
            let seen = match tokio::time::timeout(ATTEMPT, probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(seen)) => seen,
                Err(_) => "no answer".into(),
            };
            if began.elapsed() > limit {
                return Err(Error::TooSlow {
                    server: self.name.clone(),
                    after: began.elapsed(),
                    waiting_for: format!("{waiting_for} (last seen: {})", seen.trim()),
                    log: self.end_of_log(),
                });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Ends the server, with SIGTERM and after `grace` with SIGKILL, and waits for its end. One that has already ended
    /// is no error.
    pub async fn stop(mut self, grace: Duration) -> Result<(), Error> {
        watchdog::end(&mut self.leash, grace);
        let began = Instant::now();
        let limit = grace + Duration::from_secs(5);
        while self.watchdog.try_wait().doing(|| format!("wait for {}", self.name))?.is_none() {
            if began.elapsed() > limit {
                return Err(Error::TooSlow {
                    server: self.name.clone(),
                    after: began.elapsed(),
                    waiting_for: "its end".into(),
                    log: self.end_of_log(),
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Sends it a signal by its name, as `STOP`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no `kill`; [`Error::State`] if it ended already.
    pub fn signal(&self, signal: &str) -> Result<(), Error> {
        let mut kill = std::process::Command::new("kill");
        let sent = kill.arg(format!("-{signal}")).arg(self.process()?).status().doing(|| "run kill".into())?;
        if sent.success() { Ok(()) } else { Err(Error::State("the process isn't there to be signalled")) }
    }

    /// The id of its process.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it ended already.
    pub fn process(&self) -> Result<String, Error> {
        let id = fs::read_to_string(&self.mark).doing(|| format!("find the process of {}", self.name))?;
        Ok(id.trim().to_owned())
    }

    /// Whether it has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if that can't be found out.
    pub fn has_ended(&mut self) -> Result<bool, Error> {
        Ok(self.watchdog.try_wait().doing(|| format!("wait for {}", self.name))?.is_some())
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of the log, 4,000 bytes at most.
    #[must_use]
    pub fn end_of_log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = log.get(log.len().saturating_sub(4_000)..).unwrap_or_default();
        String::from_utf8_lossy(tail).into_owned()
    }
}

/// A TCP port of 127.0.0.1 that was free a moment ago. Another process may take it before our server does: see
/// [`port_was_taken`].
///
/// # Errors
///
/// [`Error::Io`] if none can be had.
pub fn free_port() -> Result<u16, Error> {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .doing(|| "find a free port".into())
}

/// Whether a server ended because another process was faster to take its port.
pub(crate) fn port_was_taken(error: &Error) -> bool {
    matches!(error, Error::Exited { log, .. } if log.contains("address already in use"))
}

/// The answer to `GET <path>` over plain HTTP, head and body.
///
/// # Errors
///
/// The connection's.
pub async fn http_get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
