//! The control plane of the tests, from a shell.

use std::process::ExitCode;

use clap::Parser;
use control_plane::{Binaries, ControlPlane, Error, Options};
use tokio::signal::unix::{SignalKind, signal};

/// A real etcd, kube-apiserver and kubectl on this machine, without containers.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Build the binaries if they aren't there yet, and print their folder.
    Build,
    /// Start a control plane and keep it until Ctrl-C; all data goes with it.
    Up {
        /// Start kube-controller-manager as well.
        #[arg(long)]
        controller_manager: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Command::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Error> {
    let binaries = Binaries::obtain(&|line| eprintln!("{line}"))?;
    let Command::Up { controller_manager } = command else {
        println!("{}", binaries.dir().display());
        return Ok(());
    };
    let options = Options { controller_manager, ..Options::default() };
    let plane = ControlPlane::start(&binaries, options).await?;
    // Before the output below, whose reader may interrupt at once.
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|source| Error::Io { doing: "wait for Ctrl-C".into(), source })?;
    println!("export KUBECONFIG={}", plane.admin_kubeconfig().display());
    eprintln!("{} is ready; Ctrl-C ends it and removes its data", plane.url());
    interrupt.recv().await;
    plane.stop().await
}
