//! Where the binaries come from.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod eventually;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use control_plane::{Binaries, ControlPlane, Error, Options};
use eventually::eventually;

/// `control-plane build`, as a process because a test can't safely change its
/// own environment.
fn build() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane"));
    command.arg("build").env_remove("KUBEBUILDER_ASSETS");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn fake(dir: &Path, names: &[&str]) {
    fs::create_dir_all(dir).unwrap();
    for name in names {
        fs::write(dir.join(name), "").unwrap();
    }
}

#[test]
fn kubebuilder_assets_comes_before_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    fake(dir.path(), &["etcd", "kube-apiserver", "kubectl"]);
    let output = build().env("KUBEBUILDER_ASSETS", dir.path()).output().unwrap();
    assert_eq!(text(&output.stdout), dir.path().to_str().unwrap());
}

#[test]
fn a_folder_that_lacks_binaries_is_refused_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    fake(dir.path(), &["kubectl"]);
    let output = build().env("KUBEBUILDER_ASSETS", dir.path()).output().unwrap();
    assert!(!output.status.success());
    let wanted = format!("{} lacks etcd, kube-apiserver: ", dir.path().display());
    assert!(text(&output.stderr).contains(&wanted), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_missing_controller_manager_is_reported_when_it_is_requested() {
    let real = Binaries::obtain(&|line| eprintln!("{line}")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for name in ["etcd", "kube-apiserver", "kubectl"] {
        std::os::unix::fs::symlink(real.dir().join(name), dir.path().join(name)).unwrap();
    }
    let binaries = Binaries::in_dir(dir.path()).unwrap();
    let options = Options { controller_manager: true, ..Options::default() };
    let error = ControlPlane::start(&binaries, options).await.unwrap_err();
    assert!(
        matches!(&error, Error::MissingBinaries { missing, .. } if missing == &["kube-controller-manager"]),
        "{error}"
    );
}

/// A cache of its own, and a `go` that isn't the real one: what it does is in
/// the script.
fn with_fake_go(script: &str) -> (tempfile::TempDir, Command) {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let go = bin.join("go");
    fs::write(&go, format!("#!/bin/sh\n[ \"$1\" = version ] && exit\n{script}\n")).unwrap();
    fs::set_permissions(&go, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = build();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    command.env("XDG_CACHE_HOME", dir.path()).env("PATH", path);
    (dir, command)
}

/// Writes the file after `-o`, and a line into a count of all calls.
const BUILDS: &str = r#"
echo x >> "$XDG_CACHE_HOME/calls"
while [ "$1" != -o ]; do shift; done
sleep 0.1; echo > "$2""#;

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn what_was_built_is_not_built_again() {
    let (dir, mut command) = with_fake_go(BUILDS);
    let first = command.output().unwrap();
    let built = succeeded(&first);
    for name in ["etcd", "kube-apiserver", "kubectl", "kube-controller-manager"] {
        assert!(Path::new(&built).join(name).is_file(), "{name}");
    }
    let began = Instant::now();
    let again = command.output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(succeeded(&again), built);
    assert_eq!(text(&again.stderr), "", "no word about building");
    let calls = fs::read_to_string(dir.path().join("calls")).unwrap();
    assert_eq!(calls.lines().count(), 4, "one call of go for each binary");
}

#[test]
fn two_at_once_build_once() {
    let (dir, mut command) = with_fake_go(BUILDS);
    let mut run = || command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let (one, two) = (run(), run());
    let one = succeeded(&one.wait_with_output().unwrap());
    let two = succeeded(&two.wait_with_output().unwrap());
    assert_eq!(one, two);
    assert!(Path::new(&one).starts_with(dir.path()), "{one}");
    let calls = fs::read_to_string(dir.path().join("calls")).unwrap();
    assert_eq!(calls.lines().count(), 4, "one call of go for each binary");
}

#[test]
fn a_build_that_fails_says_why_and_leaves_no_half() {
    let (dir, mut command) = with_fake_go("echo 'no space left' >&2; exit 1");
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let reported = text(&output.stderr);
    assert!(reported.contains("step 1 of 4, etcd") && reported.contains("no space left"), "{reported}");
    // The same cache with a go that works.
    fs::write(dir.path().join("bin/go"), format!("#!/bin/sh\n[ $1 = version ] && exit\n{BUILDS}")).unwrap();
    succeeded(&command.output().unwrap());
    let calls = fs::read_to_string(dir.path().join("calls")).unwrap();
    assert_eq!(calls.lines().count(), 4, "nothing of the first try counts");
}

#[tokio::test]
async fn a_build_ends_with_the_process_that_wanted_it() {
    let (dir, mut command) = with_fake_go(r#"echo $$ > "$XDG_CACHE_HOME/pid"; exec sleep 60"#);
    let mut killed = command.spawn().unwrap();
    let pid = dir.path().join("pid");
    let runs = || {
        let pid = fs::read_to_string(&pid).unwrap_or_default();
        !pid.trim().is_empty() && Path::new("/proc").join(pid.trim()).exists()
    };
    let limit = Duration::from_secs(20);
    eventually(limit, async || runs().then_some(()).ok_or_else(|| "no go".into())).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    eventually(limit, async || (!runs()).then_some(()).ok_or_else(|| "go runs".into())).await;
}
