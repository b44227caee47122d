//! After stopping it, the project is as before.

use std::time::{Duration, Instant};

use simulator::worlds::{INFISICAL_ON_CALL, ZITADEL_GRACE};
use simulator::{Fault, Order};

use crate::support::{At, Running, Stage, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_during_a_write_it_restores_the_original_roles() {
    for signal in ["TERM", "INT", "HUP"] {
        let stage = Stage::new(At::Infisical).await;
        let before = stage.world();
        stage.simulator.infisical().order(Order::nth(2, Fault::Delay(Duration::from_millis(700))).on("PATCH", ""));
        let running = Running::start(&stage.confirmed(INFISICAL_ON_CALL));
        until("a second PATCH", || stage.simulator.infisical().count("PATCH", "") >= 2).await;
        running.signal(signal).await;
        let outcome = running.end().await;
        assert_eq!(outcome.code, Some(1), "{signal}: {}", outcome.out);
        outcome.prints(&["interrupted"]);
        outcome.prints(&["ok", "is restored", "expected viewer; got viewer"]);
        outcome.prints(&["FAIL", "all steps", "an interruption by the user"]);
        assert_eq!(stage.world(), before, "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_while_it_waits_for_an_end_it_waits_no_longer() {
    let stage = Stage::new(At::Zitadel).await;
    let before = stage.world();
    let mut arguments = stage.confirmed(ZITADEL_GRACE);
    arguments.retain(|argument| !argument.starts_with("--temporary"));
    arguments.push("--temporary=10m".to_owned());
    let running = Running::start(&arguments);
    // Nothing, one role, two roles, and one again: the temporary one.
    until("four writes", || stage.writes().len() >= 4).await;
    let began = Instant::now();
    running.signal("TERM").await;
    let outcome = running.end().await;
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!((outcome.code, stage.world()), (Some(1), before), "{}", outcome.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_output_leaves_nothing_behind() {
    let stage = Stage::new(At::Infisical).await;
    let before = stage.world();
    let mut running = Running::start(&stage.confirmed(INFISICAL_ON_CALL));
    running.stop_reading();
    let outcome = running.end().await;
    assert_eq!(outcome.code, Some(0));
    assert!(stage.writes().len() >= 8);
    assert_eq!(stage.world(), before);
}
