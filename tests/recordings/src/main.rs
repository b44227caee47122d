//! `make test-contracts`: the recorded exchanges against the clients and the simulator. With a folder as its argument it
//! takes the recordings that are there instead, and prints what the clients make of each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

use std::path::PathBuf;
use std::process::ExitCode;

use recordings::{judge, recording};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let folder = std::env::args().nth(1).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = recording::home();
    let run = async {
        match &folder {
            Some(folder) => judge::tell(&home, &recording::below(folder)?).await,
            None => judge::judge(&home, &recording::below(&home)?).await,
        }
    };
    match run.await {
        Ok(report) => {
            println!("{report}");
            if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("{error}\ncontracts: 0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}
