//! The servers together: started in their order, with what they need.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::audit::{self, Audit};
use crate::binaries::Binaries;
use crate::error::{Doing, Error};
use crate::kubectl::{Cluster, Kubectl};
use crate::launch::{self, READY, audit_log, get};
use crate::server::{Server, free_port, port_was_taken};
use crate::watchdog::Janitor;

/// Between SIGTERM and SIGKILL at an orderly end.
const GRACE: Duration = Duration::from_secs(10);
/// What the API server does itself isn't among these, nor is anything that
/// needs nodes.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,\
                           serviceaccount-controller,root-ca-certificate-publisher-controller";

/// How a control plane is to be. The default is the quickest: no fsync, no
/// controller manager, free ports.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether etcd waits until the disk has what is written, as a real one
    /// does: for a bench. (It writes to a folder in `$TMPDIR` or `/tmp`, which
    /// mustn't be in memory then.)
    pub fsync: bool,
    /// Whether kube-controller-manager is started as well: a test needs it for
    /// namespaces that go away, garbage collection, and `default`
    /// ServiceAccounts (without which no Pod is accepted).
    pub controller_manager: bool,
    /// The API server's port; a free one by default.
    pub port: Option<u16>,
    /// Further arguments of kube-apiserver, as `--feature-gates=…`.
    pub apiserver_arguments: Vec<String>,
}

/// A running control plane. When it is dropped, and when the process that holds it ends in any way, its servers end
/// within about two seconds and its directory is removed; no caller waits for that, as [`ControlPlane::stop`] does. It
/// belongs to no runtime: a static one serves all tests of a test binary.
#[derive(Debug)]
pub struct ControlPlane {
    binaries: Binaries,
    options: Options,
    cluster: Arc<Cluster>,
    admin_kubeconfig: PathBuf,
    etcd_url: String,
    port: u16,
    servers: Mutex<Servers>,
    janitor: Janitor,
}

/// Dropped in this order.
#[derive(Debug)]
struct Servers {
    controller_manager: Option<Server>,
    apiserver: Option<Server>,
    etcd: Server,
}

impl ControlPlane {
    /// Starts a control plane and returns when it is ready: `/readyz` reports it,
    /// and the namespace `default` is there.
    ///
    /// # Errors
    ///
    /// [`Error::Exited`] and [`Error::TooSlow`] with the end of a server's log,
    /// [`Error::MissingBinaries`] if kube-controller-manager is wanted and
    /// missing, [`Error::Io`] otherwise. Nothing stays running.
    pub async fn start(binaries: &Binaries, options: Options) -> Result<Self, Error> {
        let dir = tempfile::Builder::new()
            .prefix("control-plane-")
            .tempdir()
            .doing(|| "create a temporary folder".into())?
            .keep();
        // From here on the folder is the janitor's, who waits for the servers.
        let janitor = Janitor::of(&dir)?;

        let (etcd, etcd_url) = launch::etcd(binaries, &options, &dir).await?;
        let token = random_token()?;
        write(&dir.join("tokens.csv"), &format!("{token},admin,admin,system:masters\n"))?;
        write(&dir.join("audit-policy.yaml"), audit::POLICY)?;

        let mut attempt = 1;
        let (apiserver, cluster, port) = loop {
            let port = options.port.map_or_else(free_port, Ok)?;
            let url = format!("https://127.0.0.1:{port}");
            let cluster = Cluster { kubectl: binaries.kubectl(), dir: dir.clone(), url };
            let cluster = Arc::new(cluster);
            let admin = cluster.kubeconfig("admin", &token, "default")?;
            let kubectl = Kubectl::new(Arc::clone(&cluster), admin);
            match launch::apiserver(binaries, &options, &dir, &etcd_url, port, &kubectl).await {
                Ok(server) => break (server, cluster, port),
                Err(error) if port_was_taken(&error) && options.port.is_none() && attempt < launch::PORT_ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };

        let plane = Self {
            binaries: binaries.clone(),
            admin_kubeconfig: dir.join("admin.kubeconfig"),
            cluster,
            etcd_url,
            port,
            servers: Mutex::new(Servers { controller_manager: None, apiserver: Some(apiserver), etcd }),
            janitor,
            options,
        };
        if plane.options.controller_manager {
            plane.start_controller_manager().await?;
        }
        Ok(plane)
    }

    /// `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.cluster.url
    }

    /// The port of 127.0.0.1 on which the API server listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with data, logs (`<server>.log`), certificates and
    /// kubeconfigs, which goes with the control plane.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.cluster.dir
    }

    /// A kubeconfig of `admin`, who is in `system:masters` and may do all.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// Writes a kubeconfig for a token, as one of a ServiceAccount, to
    /// `<name>.kubeconfig` in [`ControlPlane::dir`]. (For a ServiceAccount,
    /// [`Kubectl::as_service_account`] does it all.)
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it can't be written.
    pub fn kubeconfig_for(&self, name: &str, token: &str) -> Result<PathBuf, Error> {
        self.cluster.kubeconfig(name, token, "default")
    }

    /// kubectl as `admin`.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(Arc::clone(&self.cluster), self.admin_kubeconfig.clone())
    }

    /// What has been asked of the API server.
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit::new(audit_log(self.dir()))
    }

    /// Starts kube-controller-manager (nothing happens if it was) and returns
    /// when it works: the namespace `default` has its ServiceAccount.
    ///
    /// # Errors
    ///
    /// As [`ControlPlane::start`].
    pub async fn start_controller_manager(&self) -> Result<(), Error> {
        let mut servers = self.servers.lock().await;
        if servers.controller_manager.is_some() {
            return Ok(());
        }
        let arguments = [
            format!("--kubeconfig={}", self.admin_kubeconfig.display()),
            format!("--controllers={CONTROLLERS}"),
            format!("--root-ca-file={}", self.dir().join("pki/apiserver.crt").display()),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
        ];
        let program = self.binaries.controller_manager()?;
        let mut server = Server::start("kube-controller-manager", self.dir(), &program, &arguments, &[])?;
        let kubectl = self.kubectl();
        server
            .until_ready(READY, "ServiceAccount default", || async {
                get(&kubectl, "/api/v1/namespaces/default/serviceaccounts/default").await
            })
            .await?;
        servers.controller_manager = Some(server);
        Ok(())
    }

    /// Stops the API server in an orderly way, as an upgrade does: requests are
    /// answered, watches closed.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if it doesn't run, [`Error::TooSlow`] if it doesn't end.
    pub async fn stop_apiserver(&self) -> Result<(), Error> {
        self.end_apiserver(GRACE).await
    }

    /// Kills the API server (SIGKILL), as when its machine dies: connections
    /// break, and what was asked may have been done or not.
    ///
    /// # Errors
    ///
    /// As [`ControlPlane::stop_apiserver`].
    pub async fn kill_apiserver(&self) -> Result<(), Error> {
        self.end_apiserver(Duration::ZERO).await
    }

    async fn end_apiserver(&self, grace: Duration) -> Result<(), Error> {
        let server = self.servers.lock().await.apiserver.take();
        server.ok_or(Error::State("the API server doesn't run"))?.stop(grace).await
    }

    /// Starts the API server again, on the same port and data, and returns when
    /// it is ready.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if it runs, otherwise as [`ControlPlane::start`].
    pub async fn start_apiserver(&self) -> Result<(), Error> {
        let mut servers = self.servers.lock().await;
        if servers.apiserver.is_some() {
            return Err(Error::State("the API server runs already"));
        }
        let Self { binaries, options, etcd_url, port, .. } = self;
        let kubectl = self.kubectl();
        let started = launch::apiserver(binaries, options, self.dir(), etcd_url, *port, &kubectl).await?;
        servers.apiserver = Some(started);
        Ok(())
    }

    /// Stops everything in an orderly way and removes the folder.
    ///
    /// # Errors
    ///
    /// [`Error::TooSlow`] if something doesn't end.
    pub async fn stop(self) -> Result<(), Error> {
        let Servers { controller_manager, apiserver, etcd } = self.servers.into_inner();
        for server in [controller_manager, apiserver, Some(etcd)].into_iter().flatten() {
            server.stop(GRACE).await?;
        }
        self.janitor.sweep().await
    }
}

/// 32 hexadecimal digits from the system.
fn random_token() -> Result<String, Error> {
    use std::io::Read;
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .doing(|| "read /dev/urandom".into())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).doing(|| format!("write {}", path.display()))
}
