//! `verify-provider`: the life of a membership at a real server, to see before trusting it that the operator and the
//! server understand each other.
//!
//! It takes the controller's own road without a cluster: [`object`] admits, evaluates and plans, [`server`] observes
//! through a roster, sends under a budget and confirms, [`life`] and [`refusals`] are the steps, [`before`] knows what was
//! there and puts it back, [`report`] says all of it.

pub mod arguments;
mod before;
mod credentials;
mod life;
mod object;
mod refusals;
mod report;
mod server;
mod stop;

use std::process::ExitCode;

use tokio::sync::watch;

pub use arguments::VerifyProvider;

use crate::controller::resolve::SKEW;
use crate::provider::Provider;
use arguments::Config;
use before::Before;
use life::Life;
use object::Object;
use report::Report;
use server::{Server, said};
use stop::{Ended, Stop};

/// It refused to begin: nothing was changed.
const REFUSED: u8 = 2;

/// Checks a server. 0: all came as expected. 1: something didn't, or somebody stopped it. 2: it refused to begin, and
/// nothing was changed.
pub async fn run(arguments: VerifyProvider, stop: watch::Receiver<bool>) -> ExitCode {
    let mut report = Report::default();
    let config = match arguments.config() {
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
    let refused = match begin(&config, &server, &mut report).await {
        Some(Ok(before)) => {
            work(&config, &server, &before, &mut stop, &mut report).await;
            None
        }
        Some(Err(message)) => Some(message),
        None => None,
    };
    if let Some(message) = refused {
        return refuse(&message);
    }
    report.finish(&server.times());
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("verify-provider: {message}");
    ExitCode::from(REFUSED)
}

/// Says what is going to be done.
fn announce(config: &Config, report: &Report) {
    let Config { endpoint, place, role, other_role, temporary, credentials, .. } = config;
    let of = place.organization_id.as_ref().map(|id| format!(" of organization {id}")).unwrap_or_default();
    report.say(format_args!(
        "{} at {endpoint}, project {}{of}, by {}",
        config.provider.name(),
        place.project_id,
        credentials.way()
    ));
    for target in &config.targets {
        report.say(format_args!(
            "{:?} {}: what it holds is taken away for the time of this, it gets {role} and {other_role} for moments and \
             {role} for {temporary}, and in the end it holds what it held before",
            target.subject_kind, target.subject_id
        ));
    }
    report.say("");
}

/// Signs in and looks, without changing anything. `None`: a step failed, so that there is nothing to begin with.
async fn begin(config: &Config, server: &Server, report: &mut Report) -> Option<Result<Vec<Before>, String>> {
    let verified = server.verify().await;
    let came = verified.map(|verified| verified.api.to_owned()).map_err(|error| said(&error));
    if !report.step("sign in and find the API", "one that the operator knows", &came) {
        return None;
    }
    let target = config.targets.first()?;
    let listing = server.list(target).await;
    let came = match &listing {
        Ok(listing) if listing.partial => {
            Err(format!("{} members of a list that is incomplete", listing.members.len()))
        }
        Ok(listing) => Ok(format!("{} members", listing.members.len())),
        Err(error) => Err(said(error)),
    };
    let what = format!("look at the project's members of kind {:?}", target.subject_kind);
    report.step(&what, "a whole list", &came);
    let listing = listing.ok()?;
    let before: Result<Vec<Before>, String> =
        config.targets.iter().map(|target| Before::read(&listing, target)).collect();
    for before in before.iter().flatten() {
        report.say(format_args!("      {} holds {}", before.target.subject_id, before.text()));
    }
    Some(before)
}

/// Does it, and puts back what was there, whatever comes.
async fn work(config: &Config, server: &Server, before: &[Before], stop: &mut Stop, report: &mut Report) {
    let clocks_agree = compare_clocks(server, report);
    let mut ended = Ok(());
    for (index, before) in before.iter().enumerate() {
        if ended.is_err() {
            break;
        }
        report.say(format_args!("\n{:?} {}", before.target.subject_kind, before.target.subject_id));
        ended = live(config, server, before, (index == 0, clocks_agree), stop, report).await;
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
    Life { config, server, stop, report, object }.live(&before.roles(), clocks_agree).await?;
    if first { refusals::provoke(config, server, &before.target, stop, report).await } else { Ok(()) }
}

/// Whether the server's clock and ours are close enough for temporary roles.
fn compare_clocks(server: &Server, report: &mut Report) -> bool {
    let Some(skew) = server.provider().clock_skew() else {
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
