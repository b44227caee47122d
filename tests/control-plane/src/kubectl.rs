//! kubectl, as the user or the service account that a test wants to be.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::{Doing, Error};
use crate::kubeconfig;
use crate::tcp_proxy::TcpProxy;

/// What is the same for all users of one control plane.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) kubectl: PathBuf,
    /// The control plane's folder.
    pub(crate) dir: PathBuf,
    /// `https://127.0.0.1:<port>`.
    pub(crate) url: String,
}

impl Cluster {
    /// Writes a kubeconfig with `token` to `<dir>/<name>.kubeconfig`.
    pub(crate) fn kubeconfig(&self, name: &str, token: &str, namespace: &str) -> Result<PathBuf, Error> {
        let path = self.dir.join(format!("{name}.kubeconfig"));
        // The API server makes its certificate itself, and puts the authority
        // that signed it into the same file.
        let authority = self.dir.join("pki/apiserver.crt");
        kubeconfig::write(&path, &self.url, &authority, token, namespace)?;
        Ok(path)
    }
}

/// kubectl with one user's kubeconfig. Nothing of the machine's own
/// configuration is used: not `KUBECONFIG`, not the cache in the home folder
/// (it is kept per port, and ours come again with other kinds behind them), not
/// kuberc.
///
/// A call has no time limit other than its own (`--timeout`, for instance).
#[derive(Debug, Clone)]
pub struct Kubectl {
    cluster: Arc<Cluster>,
    kubeconfig: PathBuf,
}

/// How kubectl ended, and what it wrote.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    /// All of stdout; what isn't UTF-8 is replaced.
    pub stdout: String,
    /// All of stderr; what isn't UTF-8 is replaced.
    pub stderr: String,
}

impl Kubectl {
    pub(crate) fn new(cluster: Arc<Cluster>, kubeconfig: PathBuf) -> Self {
        Self { cluster, kubeconfig }
    }

    /// The kubeconfig that is used, for another client to be the same user.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A copy of the kubeconfig that names a proxy in place of the API server.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it can't be written.
    pub fn kubeconfig_through(&self, proxy: &TcpProxy) -> Result<PathBuf, Error> {
        let direct = fs::read_to_string(&self.kubeconfig).doing(|| format!("read {}", self.kubeconfig.display()))?;
        let through = direct.replace(&self.cluster.url, &format!("https://127.0.0.1:{}", proxy.port()));
        let path = self.kubeconfig.with_extension(format!("{}.kubeconfig", proxy.port()));
        kubeconfig::put(&path, &through)?;
        Ok(path)
    }

    /// Runs kubectl with these arguments, and says how it went.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it can't be started. Its own failure is in the output.
    pub async fn run(&self, arguments: &[&str]) -> Result<Output, Error> {
        self.run_with_input(arguments, "").await
    }

    /// As [`Kubectl::run`], with `input` as its stdin.
    ///
    /// # Errors
    ///
    /// As [`Kubectl::run`].
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<Output, Error> {
        let doing = || format!("run kubectl {}", arguments.join(" "));
        let mut child = Command::new(&self.cluster.kubectl)
            .args([flag("--kubeconfig=", &self.kubeconfig)])
            .args([flag("--cache-dir=", &self.cluster.dir.join("kubectl-cache"))])
            .args(arguments)
            .env_remove("KUBECONFIG")
            .env("KUBECTL_KUBERC", "false")
            // It ends before a garbage collection would pay off.
            .env("GOGC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .doing(doing)?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // kubectl may end without having read it all; it says why.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output.doing(doing)?;
        Ok(Output {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs kubectl and returns its stdout.
    ///
    /// # Errors
    ///
    /// [`Error::Kubectl`] with both streams if it fails, [`Error::Io`] if it
    /// can't be started.
    pub async fn ok(&self, arguments: &[&str]) -> Result<String, Error> {
        self.ok_with_input(arguments, "").await
    }

    /// As [`Kubectl::ok`], with `input` as its stdin.
    ///
    /// # Errors
    ///
    /// As [`Kubectl::ok`].
    pub async fn ok_with_input(&self, arguments: &[&str], input: &str) -> Result<String, Error> {
        let output = self.run_with_input(arguments, input).await?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(Error::Kubectl { arguments: arguments.join(" "), output })
        }
    }

    /// Applies these documents (`kubectl apply --server-side`: a generated CRD
    /// may be too long for the annotation of the other way).
    ///
    /// # Errors
    ///
    /// As [`Kubectl::ok`].
    pub async fn apply(&self, yaml: &str) -> Result<String, Error> {
        self.ok_with_input(&["apply", "--server-side", "--filename=-"], yaml).await
    }

    /// kubectl as a ServiceAccount, which must exist, with a real token of one
    /// hour.
    ///
    /// # Errors
    ///
    /// As [`Kubectl::ok`]: `serviceaccounts "…" not found`, for instance.
    pub async fn as_service_account(&self, namespace: &str, name: &str) -> Result<Self, Error> {
        self.as_service_account_for(namespace, name, Duration::from_secs(3600)).await
    }

    /// As [`Kubectl::as_service_account`], with a token that is valid for
    /// `lifetime` (ten minutes at least, says the API server).
    ///
    /// # Errors
    ///
    /// As [`Kubectl::as_service_account`].
    pub async fn as_service_account_for(&self, namespace: &str, name: &str, lifetime: Duration) -> Result<Self, Error> {
        let lifetime = format!("--duration={}s", lifetime.as_secs());
        let namespaced = format!("--namespace={namespace}");
        let token = self.ok(&["create", "token", name, &namespaced, &lifetime]).await?;
        let file = format!("{namespace}.{name}");
        let kubeconfig = self.cluster.kubeconfig(&file, token.trim(), namespace)?;
        Ok(Self { cluster: Arc::clone(&self.cluster), kubeconfig })
    }
}

fn flag(name: &str, value: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push(value);
    flag
}
