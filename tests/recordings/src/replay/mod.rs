//! Direction S: the recorded requests against the simulator.
//!
//! What a recording presupposes is in a world file beside it (`worlds/`), which also says what happened at the server
//! between the exchanges, and which exchanges are not replayed, and why. Every other exchange must match: see [`compare`].

mod compare;
mod player;
mod world;
mod zitadel;

use std::collections::BTreeMap;
use std::path::Path;

use self::player::Player;
use self::world::{Special, WorldFile};
use crate::readme;
use crate::recording::Recording;
use crate::report::{Failure, Report};

/// The report of an exchange that is a manual change.
const BY_HAND: &str = "exchanges of endpoints that the operator never calls: steps that set the world";

/// Replays all recordings below a folder that has a README.
///
/// # Errors
/// What can't be read.
pub async fn judge(folder: &Path, recordings: &[Recording]) -> Result<Report, String> {
    let named = readme::read(folder)?;
    let mut report = replay(recordings).await?;
    for recording in recordings {
        let file = recording.id();
        if named.get(&file).is_some_and(|directions| directions.simulator) && WorldFile::of(recording)?.is_none() {
            report.fail(Failure::of_file(&file, "README.md names it for the simulator, and it has no world file"));
        }
    }
    Ok(report)
}

/// Replays the recordings that have a world file.
///
/// # Errors
/// What can't be read.
pub async fn replay(recordings: &[Recording]) -> Result<Report, String> {
    let mut report = Report::default();
    for recording in recordings {
        if let Some(world) = WorldFile::of(recording)? {
            one(recording, world, &mut report).await;
        }
    }
    Ok(report)
}

async fn one(recording: &Recording, world: WorldFile, report: &mut Report) {
    let provider = recording.provider.as_str();
    let file = recording.id();
    let mut player = Player::start(provider, &world).await;
    let mut specials: BTreeMap<usize, Special> =
        world.exchanges.into_iter().map(|special| (special.exchange, special)).collect();
    let (mut passed, mut replayed, mut left_out) = (0, 0, 0);
    for (at, exchange) in recording.exchanges.iter().enumerate() {
        let special = specials.remove(&at).unwrap_or_default();
        let failure = |expected: &str, came: &str| Failure {
            place: format!("{file} {at}"),
            what: format!("{:?} ({} {})", exchange.name, exchange.request.method, exchange.request.path),
            expected: expected.to_owned(),
            came: came.to_owned(),
            because: "the recorded answer".to_owned(),
        };
        if !special.name.is_empty() && special.name != exchange.name {
            report.fail(failure(&format!("the world file calls it {:?}", special.name), "another name"));
            continue;
        }
        for change in &special.before {
            player.change(change).await;
        }
        let run = world.left_out.iter().find(|run| (run.from..=run.to).contains(&at)).map(|run| &run.reason);
        let other = world.other_endpoints.iter().find(|other| other.is_of(&exchange.request));
        let other = other.filter(|_| special.step.is_none()).map(|other| &other.reason);
        if let Some(reason) = special.skip.as_ref().or(run).or(other) {
            left_out += 1;
            report.leave_out("S", provider, reason);
        } else if special.step.is_some() {
            left_out += 1;
            report.leave_out("S", provider, BY_HAND);
        } else {
            replayed += 1;
            match player.exchange(exchange, &special).await {
                Ok(()) => passed += 1,
                Err(differences) => report.fail(failure("the recorded answer", &differences.join("\n          "))),
            }
        }
    }
    for (at, special) in specials {
        let what = format!("the world file names exchange {at}, {:?}, which isn't there", special.name);
        report.fail(Failure::of_file(&file, &what));
    }
    report.file(&file, "S", passed, replayed, left_out);
}
