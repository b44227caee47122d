//! `verify-provider`: the life of a membership at a real server. It shows whether the operator and the server work
//! together, before the operator is trusted with it.
//!
//! It runs the stages of the controller without a cluster: [`object`] admits, evaluates and plans; [`server`] observes
//! through a roster, sends under a quota and confirms; [`subjects`] looks names up; [`life`] and [`refusals`] are the
//! steps; [`before`] reads the former state and restores it; [`report`] prints the results.

pub mod arguments;
mod before;
mod credentials;
mod life;
mod object;
mod refusals;
mod report;
mod server;
mod stop;
mod subjects;

use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

pub use arguments::VerifyProvider;

use crate::core::clocks::SKEW;
use crate::provider::Provider;
use arguments::Config;
use before::Before;
use life::Life;
use object::Object;
use report::Report;
use server::{Server, said};
use stop::{Ended, Stop};
use subjects::{Found, Unfit};

/// The exit code if the check did not begin: nothing was changed.
const REFUSED: u8 = 2;

/// Checks a server. Exit codes: 0: every step had the expected result; 1: a step did not, or the user stopped the
/// check; 2: the check did not begin, and nothing was changed.
pub async fn run(arguments: VerifyProvider, stop: watch::Receiver<bool>) -> ExitCode {
    let mut report = Report::default();
    let mut config = match arguments.config() {
        Ok(config) => config,
        Err(message) => return refuse(&message),
    };
    let provider = match config.credentials.provider(&config) {
        Ok(provider) => provider,
        Err(message) => return refuse(&message),
    };
    announce(&config, &report);
    if !config.confirmed {
        return refuse("nothing was sent. Say --yes-change-this-project to have it done");
    }
    let server = Server::new(provider, &config.endpoint);
    let mut stop = Stop::new(stop);
    match begin(&mut config, &server, &mut report).await {
        Ok(found) => work(&config, &server, found, &mut stop, &mut report).await,
        Err(Unfit::Refused(message)) => return refuse(&message),
        Err(Unfit::Failed) => {}
    }
    report.finish(&server.times());
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn refuse(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "verify-provider: {message}");
    ExitCode::from(REFUSED)
}

/// Announces what will be done.
fn announce(config: &Config, report: &Report) {
    let Config { endpoint, place, credentials, .. } = config;
    report.say(format_args!(
        "{} at {endpoint}, {}, by {}",
        config.provider.name(),
        place.text(),
        credentials.way(config.provider)
    ));
    for subject in &config.subjects {
        report.say(subjects::announced(config, subject));
    }
    report.say("");
}

/// Signs in, looks up names, and reads who holds what, without changing anything.
async fn begin(config: &mut Config, server: &Server, report: &mut Report) -> Result<Vec<Found>, Unfit> {
    let verified = server.verify().await;
    let came = verified.map(|verified| verified.api.to_owned()).map_err(|error| said(&error));
    if !report.step("sign in and find the API", "one that the operator knows", &came) {
        return Err(Unfit::Failed);
    }
    let project = subjects::find_project(&mut config.place, server, report).await?;
    let subjects = subjects::find(config, &project, server, report).await?;
    let listing = server.list(&project, config.place.subject_kind).await;
    let came = match &listing {
        Ok(listing) if listing.partial => {
            Err(format!("{} members of a list that is incomplete", listing.members.len()))
        }
        Ok(listing) => Ok(format!("{} members", listing.members.len())),
        Err(error) => Err(said(error)),
    };
    let what = format!("look at the project's members of kind {:?}", config.place.subject_kind);
    report.step(&what, "a whole list", &came);
    let listing = listing.map_err(|_| Unfit::Failed)?;
    let found = subjects::read(config, &listing, &subjects).map_err(Unfit::Refused)?;
    for found in &found {
        match found {
            Found::There(before) => {
                report.say(format_args!("      {} holds {}", before.target.subject_id, before.text()));
            }
            Found::Outside(name) => report.say(format_args!("      {name:?} isn't in the project")),
        }
    }
    Ok(found)
}

/// Carries out the steps, and restores the former state in every case.
async fn work(config: &Config, server: &Server, found: Vec<Found>, stop: &mut Stop, report: &mut Report) {
    let clocks_agree = compare_clocks(server, report);
    let mut ended = Ok(());
    for (index, found) in found.into_iter().enumerate() {
        ended = ended.and_then(|()| stop.check());
        if ended.is_err() {
            break;
        }
        let before = match found {
            Found::There(before) => {
                report.say(format_args!("\n{:?} {}", before.target.subject_kind, before.target.subject_id));
                before
            }
            Found::Outside(name) => {
                report.say(format_args!("\n{:?} {name:?}", config.place.subject_kind));
                match subjects::bring_in(config, server, &name, report).await {
                    Ok(before) => before,
                    Err(failed) => {
                        ended = Err(failed);
                        break;
                    }
                }
            }
        };
        ended = live(config, server, &before, (index == 0, clocks_agree), stop, report).await;
        let proven = ended.is_ok() && report.is_good();
        if ended == Err(Ended::Stopped) {
            report.say("      told to stop: what was there is put back first");
        }
        before.put_back(server, report, proven).await;
    }
    let came = match ended {
        Ok(()) => return,
        Err(Ended::Stopped) => "somebody who stopped it".to_owned(),
        Err(Ended::GivenUp) => "a server that can't be worked with, so that the rest wasn't tried".to_owned(),
    };
    report.step("all steps", "every one tried", &Err(came));
}

async fn live(
    config: &Config,
    server: &Server,
    before: &Before,
    (first, clocks_agree): (bool, bool),
    stop: &mut Stop,
    report: &mut Report,
) -> Result<(), Ended> {
    stop.check()?;
    let object = match Object::new(&config.place, &before.target.subject_id) {
        Ok(object) => object,
        Err(message) => {
            report.step("the target", "one that is admitted", &Err(message));
            return Err(Ended::GivenUp);
        }
    };
    let stays = config.only_by_invitation();
    let mut life = Life { config, server, stop, report, object, stays };
    life.live(&before.roles(), clocks_agree).await?;
    if !stays {
        life.die().await?;
    }
    if first {
        refusals::provoke(config, server, &before.target, life.stop, life.report).await?;
    }
    match (stays, before.is_member()) {
        (false, _) => Ok(()),
        (true, false) => life.die().await,
        (true, true) => {
            let why = "Infisical takes a user in again by an invitation only, which sends mail";
            life.report.left_out("to be revoked", why);
            Ok(())
        }
    }
}

/// Whether the clocks of the server and of this machine are close enough for temporary roles.
fn compare_clocks(server: &Server, report: &mut Report) -> bool {
    let clock = server.provider().clock();
    let Some(skew) = clock.map(|clock| clock.skew(Timestamp::now(), Instant::now().into_std())) else {
        report.left_out("clocks", "the server's answers carry no date");
        return true;
    };
    let agree = skew.unsigned_abs() <= SKEW;
    let text = match skew.as_millis() {
        0 => "no difference that can be told".to_owned(),
        ahead @ 1.. => format!("a server {} s ahead", ahead as f64 / 1000.0),
        behind => format!("a server {} s behind", -behind as f64 / 1000.0),
    };
    let expected = format!("a difference of {} s at most", SKEW.as_secs());
    report.step("clocks", &expected, &if agree { Ok(text) } else { Err(text) })
}
