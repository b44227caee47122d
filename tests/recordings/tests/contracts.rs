//! Every recorded exchange in both directions, as `make test-contracts` takes them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is wrong")]

use recordings::{judge, recording, replay};

#[tokio::test]
async fn the_clients_make_of_every_recorded_answer_what_is_written_down() {
    let home = recording::home();
    let report = judge::judge(&home, &recording::below(&home).unwrap()).await.unwrap();
    assert!(report.failures().is_empty(), "{report}");
    assert!(report.passed() > 1_700, "only {} exchanges were taken", report.passed());
}

#[tokio::test]
async fn the_simulator_answers_every_recorded_request_as_it_was_recorded() {
    let home = recording::home();
    let report = replay::judge(&home, &recording::below(&home).unwrap()).await.unwrap();
    assert!(report.failures().is_empty(), "{report}");
    assert!(report.passed() > 1_800, "only {} exchanges were replayed", report.passed());
}
