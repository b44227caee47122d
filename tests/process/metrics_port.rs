//! Connections to the metrics port that ask for nothing.

use std::process::Command;
use std::time::{Duration, Instant};

use control_plane::http_get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api_server::ApiServer;
use crate::launch::Operator;

/// More than the operator of this test has file descriptors for.
const IDLE: usize = 400;

/// Seen to fail with `axum::serve`: the operator has no file descriptor left for the health check.
#[tokio::test]
async fn idle_connections_do_not_keep_the_health_check_from_its_answer() {
    let api_server = ApiServer::plain().await;
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -n 128; exec "$0" "$@""#, env!("CARGO_BIN_EXE_membership-operator")]);
    let mut operator = Operator::start_with(shell, &api_server.kubeconfig("127.0.0.1"), |_| {});
    operator.is_alive().await;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(("127.0.0.1", operator.port())).await.unwrap());
    }
    for path in ["/healthz", "/metrics", "/healthz"] {
        let began = Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(5), http_get(operator.port(), path)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{path} is not answered:\n{}", operator.log())).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        eprintln!("{path} after {:?}", began.elapsed());
    }
    drop(idle);
    assert!(!operator.log().contains("could not be accepted"), "{}", operator.log());
}

#[tokio::test]
async fn metrics_are_served_in_the_format_that_is_asked_for() {
    let api_server = ApiServer::plain().await;
    let mut operator = Operator::start(&api_server.kubeconfig("127.0.0.1"), |_| {});
    operator.is_alive().await;
    for (accept, kind, described) in [
        ("", "text/plain; version=0.0.4", "# HELP membership_undecodable_total "),
        (
            "Accept: application/openmetrics-text\r\n",
            "application/openmetrics-text; version=1.0.0",
            "# HELP membership_undecodable ",
        ),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", operator.port())).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // It ends: a scraper keeps no connection.
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(&format!("content-type: {kind}")) && answer.contains(described), "{answer}");
    }
}
