//! The simulated providers as a program, for the demo and for people. `README.md` describes its routes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use simulator::worlds::{self, World};
use simulator::{ErrorStyle, Generations, ServerGeneration, Simulator};
use tokio::signal::unix::{SignalKind, signal};

/// Infisical and ZITADEL in memory, with the responses of the real servers, on 127.0.0.1.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Infisical's port.
    #[arg(long, default_value_t = 8080)]
    infisical_port: u16,
    /// ZITADEL's port.
    #[arg(long, default_value_t = 8081)]
    zitadel_port: u16,
    /// A world in JSON; by default the demo's.
    #[arg(long)]
    world: Option<PathBuf>,
    /// The generation of ZITADEL: v3 has no v2 API, v2-only no members in management v1. By default that of the world,
    /// or v4, which has both.
    #[arg(long)]
    zitadel_generation: Option<ServerGeneration>,
    /// The version of Infisical; by default that of the world, or 2025.
    #[arg(long)]
    infisical: Option<Age>,
}

/// The version of a simulated Infisical.
#[derive(Clone, Copy, ValueEnum)]
enum Age {
    /// Only the paths below /workspace, and the errors of October 2024.
    #[value(name = "october-2024")]
    October2024,
    /// Only the paths below /workspace, the errors of June 2025, and the privilege system of March 2025.
    #[value(name = "june-2025")]
    June2025,
    /// The paths of September 2025 too, and the current errors.
    #[value(name = "2025")]
    Of2025,
    /// All generations of the paths, and the current errors.
    Now,
    /// Only the newest generation of the paths.
    Newest,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), String> {
    let world = match args.world {
        None => worlds::demo(),
        Some(path) => read(&path).map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let simulator = Simulator::start_on(args.infisical_port, args.zitadel_port)
        .await
        .map_err(|error| format!("can't listen: {error}"))?;
    simulator.load(&world);
    if let Some(generation) = args.zitadel_generation {
        simulator.zitadel().set_generation(generation);
    }
    let infisical = simulator.infisical();
    match args.infisical {
        None => {}
        Some(Age::October2024) => infisical.be_october_2024(),
        Some(Age::June2025) => infisical.be_june_2025(),
        Some(Age::Of2025) => infisical.be(Generations::G1AndG2, ErrorStyle::Current),
        Some(Age::Now) => infisical.be(Generations::All, ErrorStyle::Current),
        Some(Age::Newest) => infisical.be(Generations::G3, ErrorStyle::Current),
    }
    // Before the output below, whose reader may end this process at once.
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    println!("Infisical {}\nZITADEL   {}", simulator.infisical().url(), simulator.zitadel().url());
    tokio::select! {
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    }
}

fn read(path: &PathBuf) -> Result<World, Box<dyn std::error::Error>> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}
