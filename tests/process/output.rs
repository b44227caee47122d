//! Standard output and standard error that are not read, that are closed, or that are full.

use std::fs::OpenOptions;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::process::{Command, Stdio};

use crate::api_server::ApiServer;
use crate::launch::{Operator, binary, ends, rest};

/// The size of a pipe on Linux.
const PIPE: usize = 64 << 10;

/// A pipe that is no longer read.
fn broken() -> PipeWriter {
    pipe().unwrap().1
}

/// A pipe into which nothing more fits, and what keeps it open.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&vec![b'\n'; PIPE]).unwrap();
    (reader, writer)
}

fn device() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// Seen to fail with tracing-subscriber's own writer: it panics where standard error is broken or full, and blocks where
/// it has no reader.
#[tokio::test]
async fn the_operator_goes_on_even_if_its_output_fails() {
    let api_server = ApiServer::plain().await;
    let kubeconfig = api_server.kubeconfig("127.0.0.1");
    let (_reader, unread) = full();
    let start = |outputs: &dyn Fn() -> [Stdio; 2]| {
        let [stdout, stderr] = outputs();
        Operator::start(&kubeconfig, |command| {
            command.env("RUST_LOG", "debug").stdout(stdout).stderr(stderr);
        })
    };
    let closed = {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"exec "$0" "$@" >&- 2>&-"#, env!("CARGO_BIN_EXE_membership-operator")]);
        Operator::start_with(shell, &kubeconfig, |_| {})
    };
    let mut operators = [
        ("closed", closed),
        ("broken", start(&|| [broken().into(), broken().into()])),
        ("full", start(&|| [device(), device()])),
        ("unread", start(&|| [(); 2].map(|()| unread.try_clone().unwrap().into()))),
    ];
    for (output, operator) in &mut operators {
        eprintln!("{output}");
        operator.is_alive().await;
    }
    // Each of them logs what it is answered, several times.
    api_server.is_asked(4 * operators.len(), || "no log".to_owned()).await;
    for (output, operator) in &mut operators {
        eprintln!("{output}, after a while");
        operator.is_alive().await;
    }
}

/// Seen to fail with `eprintln!`: 101 on a broken pipe, and no end on a full one.
#[tokio::test]
async fn an_operator_that_cannot_start_ends_with_one_even_if_its_output_fails() {
    let (_reader, unread) = full();
    for stderr in [Stdio::from(broken()), device(), unread.into()] {
        let mut command = binary();
        command.args(["run", "--leader-election=true"]).stdout(Stdio::null()).stderr(stderr);
        assert_eq!(ends(&mut command.spawn().unwrap()).await.code(), Some(1));
    }
    let mut command = binary();
    let mut ended = command.args(["run", "--leader-election=true"]).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(ends(&mut ended).await.code(), Some(1));
    let reported = rest(ended.stderr.take().unwrap());
    assert!(reported.contains("there is no namespace for the Lease"), "{reported}");
}

/// Seen to fail with `print!`: 101, with a panic's backtrace.
#[tokio::test]
async fn who_reads_no_further_ends_crds_quietly_and_a_full_disk_is_an_error() {
    let crds = |stdout: Stdio| binary().arg("crds").stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    let mut unread = crds(broken().into());
    assert_eq!(ends(&mut unread).await.code(), Some(0));
    assert_eq!(rest(unread.stderr.take().unwrap()), "");
    let mut full = crds(device());
    assert_eq!(ends(&mut full).await.code(), Some(1));
    let reported = rest(full.stderr.take().unwrap());
    assert_eq!(reported, "membership-operator: standard output: No space left on device (os error 28)\n");
}

/// Seen to fail with `eprintln!`: 101.
#[tokio::test]
async fn a_command_that_fails_keeps_its_exit_code_even_if_its_output_fails() {
    let refused = [
        "verify-provider",
        "--provider=zitadel",
        "--url=https://zitadel.example.com",
        "--role=PROJECT_OWNER",
        "--project-id=1",
        "--subject-id=2",
        "--token-file=/nonexistent",
    ];
    let cases: [(&[&str], i32); 3] = [(&refused, 2), (&["crds"], 1), (&["crds", "--directory=/nonexistent"], 1)];
    for (arguments, code) in cases {
        for stderr in [Stdio::from(broken()), device()] {
            let mut command = binary();
            command.args(arguments).stdout(device()).stderr(stderr);
            assert_eq!(ends(&mut command.spawn().unwrap()).await.code(), Some(code), "{arguments:?}");
        }
    }
    let reported = binary().args(refused).output().unwrap();
    let reported = String::from_utf8(reported.stderr).unwrap();
    assert!(reported.starts_with("verify-provider: "), "it is refused by the command itself: {reported}");
}
