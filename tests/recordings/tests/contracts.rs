//! Every recorded answer, as `make test-contracts` takes them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is wrong")]

use recordings::{judge, recording};

#[tokio::test]
async fn the_clients_make_of_every_recorded_answer_what_is_written_down() {
    let home = recording::home();
    let report = judge::judge(&home, &recording::below(&home).unwrap()).await.unwrap();
    assert!(report.failures().is_empty(), "{report}");
    assert!(report.passed() > 1_500, "only {} exchanges were taken", report.passed());
}
