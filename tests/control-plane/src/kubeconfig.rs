//! Kubeconfig files.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use tempfile::NamedTempFile;

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
    put(path, &format!("{config:#}\n"))
}

/// Puts a file that only its owner can read in its place, whole: several tests
/// write the kubeconfig of one service account, and read it meanwhile.
pub(crate) fn put(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    NamedTempFile::new_in(folder)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            Ok(file.persist(path)?)
        })
        .map(drop)
        .doing(|| format!("write {}", path.display()))
}
