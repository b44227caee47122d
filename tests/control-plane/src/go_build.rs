//! Builds the binaries from Go modules, as pinned in go.mod and go.sum.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Doing, Error};
use crate::watchdog;

const GO_MOD: &str = include_str!("../go.mod");
const GO_SUM: &str = include_str!("../go.sum");

/// Each binary with its package, the quick ones first so that a broken set-up
/// shows early.
const PACKAGES: [(&str, &str); 4] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
];

/// The packages that hold a version of Kubernetes: what `/version` says, and
/// what clients say in their user agent.
const VERSIONED: [&str; 2] = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];

/// A line is shown at least this often while a step runs.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Name of the folder that holds what these modules, built this way for this
/// machine, come to. (FNV-1a: std's hasher may change with the compiler.)
pub(crate) fn key() -> String {
    let recipe = [GO_MOD, GO_SUM, &flags(), std::env::consts::OS, std::env::consts::ARCH];
    let hash = recipe
        .iter()
        .flat_map(|part| part.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{}-{hash:016x}", version_of("k8s.io/kubernetes"))
}

/// Builds all binaries into `dir`, which mustn't exist.
pub(crate) fn into(dir: &Path, progress: &dyn Fn(&str)) -> Result<(), Error> {
    match Command::new("go").arg("version").stdout(Stdio::null()).status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::State(
                "the control plane is built with Go, and there is no `go` on the PATH: install \
                 Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a folder with etcd, \
                 kube-apiserver and kubectl",
            ));
        }
        result => result.doing(|| "run go".into())?,
    };
    let write = |name, text| {
        let path = dir.join(name);
        fs::write(&path, text).doing(|| format!("write {}", path.display()))
    };
    fs::create_dir_all(dir).doing(|| format!("create {}", dir.display()))?;
    write("go.mod", GO_MOD)?;
    write("go.sum", GO_SUM)?;
    progress(&format!(
        "control plane: building Kubernetes {} and etcd {} with Go; the first time takes about \
         six minutes on two cores; later starts take seconds",
        version_of("k8s.io/kubernetes"),
        version_of("go.etcd.io/etcd/server/v3"),
    ));
    for (i, (binary, package)) in PACKAGES.into_iter().enumerate() {
        let step = format!("control plane: step {} of {}, {binary}", i + 1, PACKAGES.len());
        build(dir, binary, package, &step, progress)?;
    }
    Ok(())
}

fn build(dir: &Path, binary: &'static str, package: &str, step: &str, progress: &dyn Fn(&str)) -> Result<(), Error> {
    progress(&format!("{step}: building"));
    let began = Instant::now();
    // A step of minutes has to end with us, too.
    let mut go = watchdog::command(&dir.join("building"), Path::new("go"))?
        .args(["build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags"])
        .args([&flags(), "-o", binary, package])
        .current_dir(dir)
        .env("CGO_ENABLED", "0")
        // A go.work in a folder above the cache is none of our business.
        .env("GOWORK", "off")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| "start go".into())?;
    // Taken out, because waiting for a child closes its stdin.
    let leash = go.stdin.take();
    let mut output = Vec::new();
    if let Some(stderr) = go.stderr.take() {
        let mut shown = Instant::now();
        for line in BufReader::new(stderr).lines() {
            output.push(line.doing(|| "read what go says".into())?);
            if shown.elapsed() > HEARTBEAT {
                shown = Instant::now();
                let (lines, seconds) = (output.len(), began.elapsed().as_secs());
                progress(&format!("{step}: {lines} packages so far, {seconds} s"));
            }
        }
    }
    let status = go.wait().doing(|| "wait for go".into())?;
    drop(leash);
    if !status.success() {
        let tail = output.len().saturating_sub(20);
        return Err(Error::Build { binary, output: output.split_off(tail).join("\n") });
    }
    progress(&format!("{step}: built in {} s", began.elapsed().as_secs()));
    Ok(())
}

/// The linker's flags: no debug information, and the version, without which
/// kubectl and the API server can't say or parse one.
fn flags() -> String {
    let version = version_of("k8s.io/kubernetes");
    let mut numbers = version.trim_start_matches('v').split('.');
    let major = numbers.next().unwrap_or_default();
    let minor = numbers.next().unwrap_or_default();
    let stamps = VERSIONED.map(|package| {
        format!(
            "-X {package}.gitVersion={version} -X {package}.gitMajor={major} \
             -X {package}.gitMinor={minor}"
        )
    });
    format!("-s -w {}", stamps.join(" "))
}

/// The version that go.mod requires of a module, as `v1.2.3`.
fn version_of(module: &str) -> &'static str {
    GO_MOD
        .lines()
        .filter_map(|line| line.trim().strip_prefix(module)?.strip_prefix(' '))
        .filter_map(|rest| rest.split(' ').next())
        .find(|version| version.starts_with('v'))
        .unwrap_or("v0.0.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_go_mod() {
        assert_eq!(version_of("k8s.io/kubernetes"), "v1.36.3");
        assert_eq!(version_of("go.etcd.io/etcd/server/v3"), "v3.6.8");
        assert!(flags().contains("-X k8s.io/component-base/version.gitMinor=36"), "{}", flags());
    }
}
