//! The operator as a process of its own, under its own ServiceAccount with the rules of `deploy/`.

use std::path::Path;
use std::time::Duration;

use control_plane::{ControlPlane, Error, Server, TcpProxy, free_port, http_get};

/// What an operator under test logs.
const LOGGED: &str = "info,membership_operator=debug";
/// Where `deploy/` puts it.
pub const NAMESPACE: &str = "membership-system";
/// Its ServiceAccount there.
pub const ACCOUNT: &str = "membership-operator";

/// A running operator. Dropping it ends it.
pub struct Operator {
    server: Server,
    port: u16,
}

impl Operator {
    /// Starts `binary` and waits until its caches are filled. `name` distinguishes it from others on the control plane.
    pub async fn start(plane: &ControlPlane, binary: &Path, name: &str) -> Result<Self, Error> {
        Self::start_with(plane, binary, name, &[]).await
    }

    /// As [`Operator::start`], with more arguments.
    pub async fn start_with(
        plane: &ControlPlane,
        binary: &Path,
        name: &str,
        arguments: &[&str],
    ) -> Result<Self, Error> {
        let trusting = ["--allow-http=127.0.0.1", "--allow-address=127.0.0.0/8"];
        Self::start_exactly(plane, binary, name, &[&trusting, arguments].concat()).await
    }

    /// As [`Operator::start`], with these arguments only: by default it trusts no address of this machine.
    pub async fn start_exactly(
        plane: &ControlPlane,
        binary: &Path,
        name: &str,
        arguments: &[&str],
    ) -> Result<Self, Error> {
        Self::start_logging(plane, binary, name, arguments, LOGGED).await
    }

    /// As [`Operator::start`], with JSON lines of the level that an operator has without `RUST_LOG`.
    pub async fn start_at_default_level(plane: &ControlPlane, binary: &Path, name: &str) -> Result<Self, Error> {
        let arguments = ["--allow-http=127.0.0.1", "--allow-address=127.0.0.0/8", "--log-format=json"];
        Self::start_logging(plane, binary, name, &arguments, "").await
    }

    async fn start_logging(
        plane: &ControlPlane,
        binary: &Path,
        name: &str,
        arguments: &[&str],
        logged: &str,
    ) -> Result<Self, Error> {
        let account = plane.kubectl().as_service_account(NAMESPACE, ACCOUNT).await?;
        Self::launch(plane, account.kubeconfig(), binary, name, arguments, logged).await
    }

    /// As [`Operator::start_with`], with all connections to the API server through a proxy.
    pub async fn start_behind(
        plane: &ControlPlane,
        proxy: &TcpProxy,
        binary: &Path,
        name: &str,
        arguments: &[&str],
    ) -> Result<Self, Error> {
        let account = plane.kubectl().as_service_account(NAMESPACE, ACCOUNT).await?;
        let kubeconfig = account.kubeconfig_through(proxy)?;
        let trusting = ["--allow-http=127.0.0.1", "--allow-address=127.0.0.0/8"];
        Self::launch(plane, &kubeconfig, binary, name, &[&trusting, arguments].concat(), LOGGED).await
    }

    async fn launch(
        plane: &ControlPlane,
        kubeconfig: &Path,
        binary: &Path,
        name: &str,
        arguments: &[&str],
        logged: &str,
    ) -> Result<Self, Error> {
        let port = free_port()?;
        let mut all = vec!["run".to_owned(), format!("--listen=127.0.0.1:{port}")];
        if !arguments.iter().any(|argument| argument.starts_with("--log-format")) {
            all.push("--log-format=human".to_owned());
        }
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let kubeconfig = kubeconfig.display().to_string();
        let environment = [("KUBECONFIG", kubeconfig.as_str()), ("RUST_LOG", logged), ("NO_COLOR", "1")];
        let mut server = Server::start(name, plane.dir(), binary, &all, &environment)?;
        let ready = || async {
            match http_get(port, "/readyz").await {
                Ok(answer) if answer.contains(" 200 ") => Ok(()),
                Ok(answer) => Err(answer),
                Err(error) => Err(error.to_string()),
            }
        };
        server.until_ready(Duration::from_secs(60), "/readyz", ready).await?;
        Ok(Self { server, port })
    }

    /// What `/metrics` says.
    pub async fn metrics(&self) -> String {
        self.answer("/metrics").await
    }

    /// The answer to GET, head and body.
    pub async fn answer(&self, path: &str) -> String {
        http_get(self.port, path).await.unwrap_or_else(|error| error.to_string())
    }

    /// The end of its log, for a test that failed.
    pub fn log(&self) -> String {
        self.server.end_of_log()
    }

    /// Where its log is.
    pub fn log_file(&self) -> &Path {
        self.server.log()
    }

    /// Sends it a signal by its name, as `STOP`.
    pub fn signal(&self, signal: &str) -> Result<(), Error> {
        self.server.signal(signal)
    }

    /// The most memory that it ever had, in KiB, by the kernel's word.
    pub fn most_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.process().ok()?)).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
    }

    /// Whether its process has ended.
    pub fn has_ended(&mut self) -> Result<bool, Error> {
        self.server.has_ended()
    }

    /// Stops it as a Pod is stopped: SIGTERM.
    pub async fn stop(self) -> Result<(), Error> {
        self.server.stop(Duration::from_secs(30)).await
    }

    /// Kills it.
    pub async fn kill(self) -> Result<(), Error> {
        self.server.stop(Duration::ZERO).await
    }
}
