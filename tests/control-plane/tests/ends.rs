//! Nothing outlives the process that started it, and the API server can be
//! stopped and started on its own.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod eventually;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use control_plane::{Binaries, ControlPlane, Options};
use eventually::eventually;

/// A `control-plane up` that is ready, and its folder.
fn up() -> (Child, PathBuf) {
    Binaries::obtain(&|line| eprintln!("{line}")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .args(["up", "--controller-manager"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let kubeconfig = line.trim().strip_prefix("export KUBECONFIG=").unwrap();
    (child, Path::new(kubeconfig).parent().unwrap().into())
}

/// The command lines of all processes that name `dir`: servers, watchdogs and
/// the janitor.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(dir))
        .collect()
}

async fn nothing_is_left_of(dir: &Path) {
    eventually(Duration::from_secs(8), async || {
        let left = processes_of(dir);
        if left.is_empty() { Ok(()) } else { Err(format!("still running: {left:#?}")) }
    })
    .await;
    assert!(!dir.exists(), "{} is still there", dir.display());
}

#[tokio::test]
async fn a_killed_parent_leaves_nothing_behind() {
    let (mut child, dir) = up();
    let running = processes_of(&dir);
    for server in ["/etcd ", "/kube-apiserver ", "/kube-controller-manager "] {
        assert!(running.iter().any(|line| line.contains(server)), "{server} in {running:#?}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_is_left_of(&dir).await;
}

#[tokio::test]
async fn ctrl_c_ends_everything_in_order() {
    let (mut child, dir) = up();
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert!(child.wait().unwrap().success());
    // It waits until all is gone: no deadline here.
    assert_eq!(processes_of(&dir), Vec::<String>::new());
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_dropped_control_plane_goes_away() {
    let binaries = Binaries::obtain(&|line| eprintln!("{line}")).unwrap();
    // Spawned, to see that a caller may: the future is Send.
    let started = tokio::spawn(async move { ControlPlane::start(&binaries, Options::default()).await });
    let plane = started.await.unwrap().unwrap();
    let dir = plane.dir().to_owned();
    drop(plane);
    nothing_is_left_of(&dir).await;
}

#[tokio::test]
async fn the_api_server_comes_back_with_its_data_port_and_audit_log() {
    let binaries = Binaries::obtain(&|line| eprintln!("{line}")).unwrap();
    let options = Options { fsync: true, ..Options::default() };
    let plane = ControlPlane::start(&binaries, options).await.unwrap();
    let kubectl = plane.kubectl();
    let url = plane.url().to_owned();
    kubectl.ok(&["create", "namespace", "stays"]).await.unwrap();
    let creates = control_plane::Filter::new().verb("create").resource("namespaces").user("admin");
    let mark = control_plane::Mark::START;

    plane.stop_apiserver().await.unwrap();
    let down = kubectl.run(&["get", "namespace", "stays"]).await.unwrap();
    assert!(down.stderr.contains("refused"), "{}", down.stderr);
    plane.start_apiserver().await.unwrap();
    kubectl.ok(&["get", "namespace", "stays"]).await.unwrap();
    assert_eq!(plane.url(), url);

    kubectl.ok(&["create", "namespace", "stays-too"]).await.unwrap();
    plane.kill_apiserver().await.unwrap();
    assert!(plane.stop_apiserver().await.is_err(), "it doesn't run");
    plane.start_apiserver().await.unwrap();
    assert!(plane.start_apiserver().await.is_err(), "it runs");
    kubectl.ok(&["get", "namespace", "stays-too"]).await.unwrap();
    assert_eq!(plane.audit().count(mark, &creates).unwrap(), 2);

    let dir = plane.dir().to_owned();
    plane.stop().await.unwrap();
    assert_eq!(processes_of(&dir), Vec::<String>::new());
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_server_that_does_not_start_shows_its_log() {
    let binaries = Binaries::obtain(&|line| eprintln!("{line}")).unwrap();
    let apiserver_arguments = vec!["--no-such-flag".to_owned()];
    let options = Options { apiserver_arguments, ..Options::default() };
    let error = ControlPlane::start(&binaries, options).await.unwrap_err().to_string();
    assert!(error.contains("kube-apiserver ended (exit status: 1)"), "{error}");
    assert!(error.contains("unknown flag: --no-such-flag"), "{error}");
}
