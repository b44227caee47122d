//! The subcommands, one call each.

use std::process::ExitCode;

use clap::Parser;
use membership_operator::arguments::{Arguments, Command};
use membership_operator::{controller, crds, telemetry, verify};

#[tokio::main]
async fn main() -> ExitCode {
    let result: Result<(), Box<dyn std::error::Error>> = match Arguments::parse().command {
        Command::Crds(to) => crds::print(to.directory.as_deref()),
        Command::Run(run) => {
            telemetry::logs(run.log_format);
            match run.config() {
                Ok(config) => controller::run(config, telemetry::stop_signal()).await.map_err(Into::into),
                Err(error) => Err(error.into()),
            }
        }
        Command::VerifyProvider(verify) => return verify::run(*verify, telemetry::stop_signal()).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("membership-operator: {error}");
            ExitCode::FAILURE
        }
    }
}
