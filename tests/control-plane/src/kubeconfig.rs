//! Kubeconfig files.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::json;

use crate::error::{Doing, Error};

/// Writes a kubeconfig that only its owner can read, as JSON (which is YAML),
/// so that nothing needs quoting.
pub(crate) fn write(path: &Path, url: &str, authority: &Path, token: &str, namespace: &str) -> Result<(), Error> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "control-plane",
            "cluster": {"server": url, "certificate-authority": authority},
        }],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{
            "name": "control-plane",
            "context": {"cluster": "control-plane", "user": "user", "namespace": namespace},
        }],
        "current-context": "control-plane",
    });
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{config:#}"))
        .doing(|| format!("write {}", path.display()))
}
