//! `make demo` and `make playground`: a real control plane, both providers simulated, the operator as its own process.
//!
//! Every check reads what is in force at the provider, not what the operator says of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a demo that can't go on stops and says where")]

mod checks;
#[path = "../../tests/cluster/support/operator.rs"]
#[allow(dead_code, reason = "the cluster tests use more of it")]
mod operator;
mod scenes;
mod stage;

use std::process::ExitCode;

use checks::Checks;
use stage::Stage;

#[tokio::main]
async fn main() -> ExitCode {
    let stay = std::env::args().any(|argument| argument == "--stay");
    let stage = match Stage::set().await {
        Ok(stage) => stage,
        Err(error) => {
            eprintln!("the stage can't be set: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut checks = Checks::default();
    if stay {
        stage.playground().await;
    } else {
        scenes::play(&stage, &mut checks).await;
        if checks.failed > 0 {
            eprintln!("--- the end of the operator's log ---\n{}", stage.operator.log());
        }
    }
    let left = stage.strike().await;
    if stay {
        return if left.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    checks.is("nothing is left running", left.is_ok(), || format!("{left:?}"));
    checks.close()
}
