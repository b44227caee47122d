//! Starting the operator with an environment of the test's own.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use control_plane::{free_port, http_get};
use serde_json::Value;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(30);

pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_membership-operator"));
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "KUBECONFIG"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// An operator. Dropping it kills it.
pub struct Operator {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Operator {
    /// Starts it with a kubeconfig, its log in a file unless `change` says otherwise.
    pub fn start(kubeconfig: &Value, change: impl FnOnce(&mut Command)) -> Self {
        Self::start_with(binary(), kubeconfig, change)
    }

    /// The same of a command that ends as [`binary`].
    pub fn start_with(mut command: Command, kubeconfig: &Value, change: impl FnOnce(&mut Command)) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port().unwrap());
        let config = dir.path().join("kubeconfig");
        std::fs::write(&config, kubeconfig.to_string()).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        command
            .args(["run", "--log-format=human", &format!("--listen=127.0.0.1:{port}")])
            .env("KUBECONFIG", config)
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        change(&mut command);
        Self { child: command.spawn().unwrap(), port, dir }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// The port of its metrics.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it answers that it is alive.
    pub async fn is_alive(&mut self) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}:\n{}", self.log());
            }
            let answer = tokio::time::timeout(Duration::from_secs(2), http_get(self.port, "/healthz")).await;
            if answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.ends_with("ok\n"))) {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "it does not answer:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it ends by itself.
    pub async fn ends(&mut self) -> ExitStatus {
        ends(&mut self.child).await
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a process ends by itself.
pub async fn ends(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("it does not end");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a pipe holds.
pub fn rest(mut pipe: impl Read) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    text
}

/// A folder without certificates.
pub fn nowhere() -> PathBuf {
    PathBuf::from("/nonexistent/certificates")
}
