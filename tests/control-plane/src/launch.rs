//! The arguments of etcd and of kube-apiserver, and how each shows that it is
//! ready.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::binaries::Binaries;
use crate::control_plane::Options;
use crate::error::Error;
use crate::kubectl::Kubectl;
use crate::server::{Server, free_port, http_get, port_was_taken};

/// A busy machine may take many times the usual seconds.
pub(crate) const READY: Duration = Duration::from_secs(120);
/// How often other ports are tried when another process was faster.
pub(crate) const PORT_ATTEMPTS: u32 = 5;

/// Lets the heap of a Go program grow to five times what is in use: a third of an API server's CPU time is its garbage
/// collection otherwise.
const GARBAGE_COLLECTION: (&str, &str) = ("GOGC", "400");

/// Starts etcd and waits until it is healthy; returns it with its URL.
pub(crate) async fn etcd(binaries: &Binaries, options: &Options, dir: &Path) -> Result<(Server, String), Error> {
    let mut attempt = 1;
    loop {
        let (port, peer) = (free_port()?, free_port()?);
        let url = format!("http://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{peer}");
        let mut arguments = vec![
            format!("--data-dir={}", dir.join("etcd").display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=warn".into(),
            // 2 GiB by default, which a bench with 100,000 objects may reach.
            format!("--quota-backend-bytes={}", 8_u64 << 30),
        ];
        if !options.fsync {
            arguments.push("--unsafe-no-fsync".into());
        }
        let mut server = Server::start("etcd", dir, &binaries.etcd(), &arguments, &[])?;
        let healthy = server
            .until_ready(READY, "/health", || async {
                match http_get(port, "/health").await {
                    Ok(answer) if answer.contains(r#""health":"true""#) => Ok(()),
                    Ok(answer) => Err(answer),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await;
        match healthy {
            Ok(()) => return Ok((server, url)),
            Err(error) if port_was_taken(&error) && attempt < PORT_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Starts kube-apiserver on `port` and waits until it is ready.
pub(crate) async fn apiserver(
    binaries: &Binaries,
    options: &Options,
    dir: &Path,
    etcd_url: &str,
    port: u16,
    kubectl: &Kubectl,
) -> Result<Server, Error> {
    let pki = dir.join("pki");
    // The API server makes its key and certificate before it reads the key for
    // the tokens of service accounts: one file does for both.
    let key = pki.join("apiserver.key");
    let mut arguments = vec![
        format!("--etcd-servers={etcd_url}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".into(),
        // Without these two it doesn't start where there is no other address.
        "--advertise-address=127.0.0.1".into(),
        "--endpoint-reconciler-type=none".into(),
        format!("--cert-dir={}", pki.display()),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", key.display()),
        format!("--service-account-signing-key-file={}", key.display()),
        "--authorization-mode=RBAC".into(),
        format!("--token-auth-file={}", dir.join("tokens.csv").display()),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        format!("--audit-policy-file={}", dir.join("audit-policy.yaml").display()),
        format!("--audit-log-path={}", audit_log(dir).display()),
        // Written before the answer is complete, so that counts are exact; one
        // file, so that a mark stays one (by default a new one each 100 MB).
        "--audit-log-mode=blocking".into(),
        "--audit-log-maxsize=0".into(),
    ];
    arguments.extend_from_slice(&options.apiserver_arguments);
    let mut server = Server::start("kube-apiserver", dir, &binaries.apiserver(), &arguments, &[GARBAGE_COLLECTION])?;
    server
        .until_ready(READY, "/readyz", || async {
            // kubectl costs more than a check whether the port is open.
            let address = ("127.0.0.1", port);
            tokio::net::TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            get(kubectl, "/readyz").await?;
            get(kubectl, "/api/v1/namespaces/default").await
        })
        .await?;
    Ok(server)
}

/// Whether a GET of `path` succeeds.
pub(crate) async fn get(kubectl: &Kubectl, path: &str) -> Result<(), String> {
    match kubectl.ok(&["get", "--raw", path]).await {
        Ok(_) => Ok(()),
        Err(Error::Kubectl { output, .. }) => Err(output.stderr),
        Err(error) => Err(error.to_string()),
    }
}

/// The audit log of the control plane in `dir`.
pub(crate) fn audit_log(dir: &Path) -> PathBuf {
    dir.join("audit.log")
}
