//! `make test-faults`: runs the tests of `rows.yaml` and says of each row whether it holds. With `--log FILE` it runs
//! nothing and reads what `cargo test` wrote.

mod log;
mod rows;
mod run;
mod verdict;

use std::process::ExitCode;

use rows::Row;
use verdict::{Verdict, judge};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = rows::rows().and_then(|rows| {
        let log = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => run::run(&rows)?,
            ["--log", file] => {
                std::fs::read_to_string(file).map_err(|error| format!("{file} can't be read: {error}"))?
            }
            _ => return Err("usage: faults [--log FILE]: FILE is what `cargo test` wrote".to_owned()),
        };
        Ok((judge(&rows, &log::outcomes(&log)), rows))
    });
    match outcome {
        Ok((verdicts, rows)) => print_verdicts(&rows, &verdicts),
        Err(error) => {
            println!("{error}\nfaults: 0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn print_verdicts(rows: &[Row], verdicts: &[Verdict]) -> ExitCode {
    for (row, verdict) in rows.iter().zip(verdicts) {
        println!("row {:>2}: {verdict}  {}", row.row, row.fault);
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.wrong.is_empty()).count();
    println!("faults: {} passed, {failed} failed", verdicts.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
