//! `make test-contracts`: the recorded exchanges against the clients and the simulator. With a folder as its argument it
//! takes the recordings that are there instead, and prints what the clients make of each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

use std::path::PathBuf;
use std::process::ExitCode;

use recordings::{judge, recording, replay};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let folder = std::env::args().nth(1).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = recording::home();
    let run = async {
        let recordings = recording::below(folder.as_ref().unwrap_or(&home))?;
        let (mut report, replayed) = match &folder {
            Some(_) => (judge::report_differences(&home, &recordings).await?, replay::replay(&recordings).await?),
            None => (judge::judge(&home, &recordings).await?, replay::judge(&home, &recordings).await?),
        };
        report.add(replayed);
        Ok::<_, String>(report)
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
