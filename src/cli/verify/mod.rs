//! `verify-provider`: the life cycle of a membership at a real server. It shows whether the operator and the server
//! work together, before the operator is trusted with it. It makes no decisions itself. [`driver`] carries out what
//! [`crate::core::step`] decides for a [`membership`] in memory; [`life`] and [`refusals`] are the steps; [`subjects`]
//! reads the former state and restores it; [`report`] prints the results.

pub mod arguments;
mod credentials;
mod driver;
mod life;
mod membership;
mod refusals;
mod report;
mod subjects;

use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

pub use arguments::VerifyProvider;

use crate::core::clocks::SKEW;
use crate::provider::Listing;
use crate::provider::quota::Permit;
use arguments::VerifyConfig;
use driver::Driver;
use life::MembershipLife;
use membership::InMemoryMembership;
use report::{CheckReport, MeasuredRequest, StopReason, UnexpectedResult};
use subjects::{OriginalMembership, Subject};

/// The exit code if the check did not begin: nothing was changed.
const REFUSED: u8 = 2;

/// Checks a server. Exit codes: 0: every step had the expected result; 1: a step did not, or the user stopped the
/// check; 2: the check did not begin, and nothing was changed.
pub async fn run(arguments: VerifyProvider, stop: watch::Receiver<bool>) -> ExitCode {
    match check(arguments, stop).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "verify-provider: {message}");
            ExitCode::from(REFUSED)
        }
    }
}

struct ServerCheck {
    config: VerifyConfig,
    driver: Driver,
    report: CheckReport,
}

/// Returns whether every step had the expected result, or why the check did not begin.
async fn check(arguments: VerifyProvider, stop: watch::Receiver<bool>) -> Result<bool, String> {
    let config = arguments.config()?;
    let driver = Driver::new(credentials::provider(&config)?, &config.endpoint);
    let mut check = ServerCheck { report: CheckReport::new(stop), driver, config };
    check.report.print(check.config.announcement());
    if !check.config.arguments.yes_change_this_project {
        return Err("nothing was sent: use --yes-change-this-project to run the check".to_owned());
    }
    let ended = match check.begin().await {
        Ok(subjects) => check.work(subjects).await,
        // The step that failed was reported.
        Err(StopReason::GivenUp) => Ok(()),
        Err(ended) => Err(ended),
    };
    let why = match ended {
        Ok(()) => None,
        Err(StopReason::Refused(message)) => return Err(message),
        Err(StopReason::Stopped) => Some("an interruption by the user"),
        Err(StopReason::GivenUp) => Some("a server that cannot be used, so that the remaining steps were skipped"),
    };
    if let Some(why) = why {
        let _ = check.report.step("all steps", "every step carried out", Err(UnexpectedResult::unexpected(why)));
    }
    Ok(check.report.finish(check.driver.times.take()))
}

impl ServerCheck {
    /// Signs in, looks up names, and reads what the subjects hold, without changing anything.
    async fn begin(&mut self) -> Result<Vec<Subject>, StopReason> {
        let verify = async |permit: &Permit| self.driver.provider.verify(permit).await;
        let verified = self.driver.request(Some(MeasuredRequest::SignIn), verify).await;
        let api = verified.map(|verified| verified.api.to_owned());
        self.report.require("sign in and detect the API", "a known API", api)?;
        let project = &mut self.config.template.project;
        if let Some(name) = project.name.take() {
            let id = self.driver.find_project(&name, project.organization_id.as_deref()).await;
            project.id = Some(self.report.require(&format!("look up project {name:?}"), "one id", id)?);
        }
        let project = self.config.project().map_err(StopReason::Refused)?;
        let kind = self.config.kind();
        let listing = self.driver.list(&project, kind).await;
        let result = match &listing {
            Ok(Listing { partial: true, members }) => {
                Err(UnexpectedResult::unexpected(format!("an incomplete list of {}", members.len())))
            }
            Ok(Listing { members, .. }) => Ok(format!("{} members", members.len())),
            Err(failure) => Err(failure.clone()),
        };
        self.report.step(&format!("list the project's members of kind {kind:?}"), "a complete list", result)?;
        self.find_subjects(&project, &listing.map_err(|_| StopReason::GivenUp)?).await
    }

    /// Carries out the steps for each subject.
    async fn work(&mut self, subjects: Vec<Subject>) -> Result<(), StopReason> {
        let clocks_agree = self.compare_clocks()?;
        for (index, subject) in subjects.into_iter().enumerate() {
            let writes = self.driver.writes.get();
            let kind = self.config.kind();
            let before = match subject {
                Subject::Known(before) => {
                    self.report.print(format_args!("\n{kind:?} {}", before.target.subject_id));
                    before
                }
                Subject::ToInvite(name) => {
                    self.report.print(format_args!("\n{kind:?} {name:?}"));
                    self.invite(&name).await?
                }
            };
            let ended = self.live(&before, index == 0, clocks_agree).await;
            if ended == Err(StopReason::Stopped) {
                self.report.print("      interrupted: what the subject held is restored first");
            }
            if self.driver.writes.get() > writes {
                self.restore(&before).await;
            }
            ended?;
        }
        Ok(())
    }

    /// The life cycle of one subject's membership, with the errors if it is the first one.
    async fn live(
        &mut self,
        before: &OriginalMembership,
        is_first: bool,
        clocks_agree: bool,
    ) -> Result<(), StopReason> {
        let stays = self.config.only_by_invitation();
        let membership = InMemoryMembership::new(&self.config.template, &before.target);
        let mut life = MembershipLife { check: self, before, membership, stays };
        life.live(clocks_agree).await?;
        if !stays {
            life.die().await?;
        }
        if is_first {
            life.check.provoke_errors(&before.target).await?;
        }
        match &before.member {
            _ if !stays => Ok(()),
            None => life.die().await,
            Some(_) => {
                let why = "Infisical adds a user again by an invitation only, which sends mail";
                life.check.report.skipped("revoked", why);
                Ok(())
            }
        }
    }

    /// Whether the clocks of the server and of this machine are close enough for temporary roles.
    fn compare_clocks(&mut self) -> Result<bool, StopReason> {
        let clock = self.driver.provider.clock();
        let Some(skew) = clock.map(|clock| clock.skew(Timestamp::now(), Instant::now().into_std())) else {
            self.report.skipped("clocks", "the server's responses have no Date header");
            return Ok(true);
        };
        let text = match skew.as_millis() {
            0 => "no measurable difference".to_owned(),
            ahead @ 1.. => format!("a server {} s ahead", ahead as f64 / 1000.0),
            behind => format!("a server {} s behind", -behind as f64 / 1000.0),
        };
        let result = UnexpectedResult::unless(text, skew.unsigned_abs() <= SKEW);
        self.report.step("clocks", &format!("a difference of at most {} s", SKEW.as_secs()), result)
    }
}
