//! The life of one membership, step by step.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::arguments::Config;
use super::object::{Object, held, roles, wanted, wanted_for};
use super::report::{Report, Timed};
use super::server::{Converged, Failure, Server};
use super::stop::{Ended, Stop};
use crate::api::membership::DriftKind;
use crate::core::member::{Change, Entry, Term, Urgency};

/// The membership of one subject, and what its life needs.
pub struct Life<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The server.
    pub server: &'a Server,
    /// Whether the user wants to stop.
    pub stop: &'a mut Stop,
    /// The report.
    pub report: &'a mut Report,
    /// The membership.
    pub object: Object,
    /// The subject stays a member throughout, because adding it again would send an e-mail.
    pub stays: bool,
}

impl Life<'_> {
    /// The life until before its end. The former state is not restored here, whether or not a step ended it early.
    pub async fn live(&mut self, before: &BTreeSet<String>, clocks_agree: bool) -> Result<(), Ended> {
        let Config { role, other_role, temporary, .. } = self.config;
        let (one, other) = (wanted(role), wanted(other_role));
        if self.stays {
            let unchanged = *before == BTreeSet::from([role.clone()]);
            let what = "a first role in the place of what it holds";
            self.declare_if(what, std::slice::from_ref(&one), |c| unchanged != (c.writes > 0)).await?;
        } else {
            if !before.is_empty() {
                self.object.takes_for_its_own(before);
                self.leave("what it holds is taken away", "no membership").await?;
            }
            self.declare("a first role is granted", std::slice::from_ref(&one)).await?;
        }
        self.nothing_to_write("the same again").await?;
        self.declare("a second role beside it", &[one, other.clone()]).await?;
        if !clocks_agree {
            self.report.left_out("a temporary role", "the clocks differ, and the operator starts none then");
            self.declare("a role alone", &[other]).await?;
        } else if self.stays {
            self.declare("one of them temporary", &[wanted_for(role, temporary), other]).await?;
            self.end().await?;
        } else {
            self.declare("a temporary role alone", &[wanted_for(role, temporary)]).await?;
            self.end().await?;
            self.declare("a role again", &[other]).await?;
        }
        self.drift().await
    }

    /// The end of the life.
    pub async fn die(&mut self) -> Result<(), Ended> {
        self.leave("revoked", "no membership").await?;
        self.absent().await?;
        self.object.takes_for_its_own(&BTreeSet::from([self.config.role.clone()]));
        self.leave("revoked once more", "no error and no membership").await
    }

    /// Declares these roles, which the target does not hold yet.
    async fn declare(&mut self, what: &str, wanted: &[Value]) -> Result<(), Ended> {
        self.declare_if(what, wanted, |converged| converged.writes > 0).await
    }

    async fn declare_if(
        &mut self,
        what: &str,
        wanted: &[Value],
        fits: impl Fn(&Converged) -> bool,
    ) -> Result<(), Ended> {
        self.stop.check()?;
        if let Err(message) = self.object.declare(wanted) {
            self.report.step(what, "an admitted object", &Err(message));
            return Err(Ended::GivenUp);
        }
        let expected = roles(self.object.grants().iter().map(|grant| (grant.role.as_str(), grant.term)));
        let came = self.server.converge(&mut self.object, false).await;
        self.judge(what, &expected, came, fits)
    }

    /// Checks that what is declared exists already and nothing is written.
    async fn nothing_to_write(&mut self, what: &str) -> Result<(), Ended> {
        self.stop.check()?;
        let came = self.server.converge(&mut self.object, false).await;
        self.judge(what, "nothing to write", came, |converged| converged.writes == 0)
    }

    async fn leave(&mut self, what: &str, expected: &str) -> Result<(), Ended> {
        self.stop.check()?;
        self.object.leave();
        let came = self.server.converge(&mut self.object, false).await;
        self.judge(what, expected, came, |converged| converged.writes > 0)
    }

    /// Reports the result of a step. `fits`: expectations besides the one that the target holds what is declared.
    fn judge(
        &mut self,
        what: &str,
        expected: &str,
        came: Result<Converged, Failure>,
        fits: impl Fn(&Converged) -> bool,
    ) -> Result<(), Ended> {
        let given_up = came.as_ref().err().is_some_and(Failure::is_final);
        let capabilities = self.server.capabilities(self.object.target());
        let came = match came {
            Err(failure) => Err(failure.to_string()),
            Ok(converged) => {
                let now = converged.confirmed.unwrap_or_else(Timestamp::now);
                let right = self.object.is_what_is_held(converged.shown.as_ref(), capabilities, now);
                let text = format!("{} ({})", held(converged.shown.as_ref()), writes(converged.writes));
                if right && fits(&converged) { Ok(text) } else { Err(text) }
            }
        };
        self.report.step(what, expected, &came);
        if given_up { Err(Ended::GivenUp) } else { Ok(()) }
    }

    /// Waits for the end of the temporary role.
    async fn end(&mut self) -> Result<(), Ended> {
        let what = "it is gone at its end";
        let Some(end) = self.object.grants().iter().filter_map(|grant| grant.term.end()).max() else {
            return Ok(());
        };
        let left = std::time::Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
        self.stop.sleep(left).await?;
        // A timer may fire a moment early by the wall clock.
        while Timestamp::now() < end {
            self.stop.sleep(std::time::Duration::from_millis(1)).await?;
        }
        let came = self.server.converge(&mut self.object, false).await;
        let late = came.as_ref().ok().and_then(|c| c.confirmed).map(|confirmed| confirmed.duration_since(end));
        if let Some(late) = late.and_then(|late| std::time::Duration::try_from(late).ok()) {
            self.server.note(Timed::End, late);
        }
        let stay = self.object.grants().iter().filter(|grant| grant.term.end().is_none());
        let left = match roles(stay.map(|grant| (grant.role.as_str(), grant.term))) {
            left if self.stays => left,
            _ => "no membership".to_owned(),
        };
        let enforced = self.server.capabilities(self.object.target()).enforces_expiry;
        let expected = match enforced {
            true => format!("{left} soon after {end}, which the server was told"),
            false => format!("{left} soon after {end}"),
        };
        self.judge(what, &expected, came, |converged| converged.writes > 0)
    }

    /// Adds a role by hand, as another writer would.
    async fn drift(&mut self) -> Result<(), Ended> {
        self.stop.check()?;
        let Config { role, other_role, .. } = self.config;
        let target = self.object.target().clone();
        let by_hand = Change::Replace([other_role, role].map(|role| Entry::new(role, Term::Permanent)).to_vec());
        let written = async {
            let receipt = self.server.write(&target, &by_hand, Urgency::Drift).await?;
            self.server.confirm(&target, &by_hand, receipt, false).await
        };
        let expected = format!("{role} beside {other_role}");
        let came = match written.await {
            Ok(()) => Ok(expected.clone()),
            Err(failure) if failure.is_final() => {
                self.report.step("a role added by hand", &expected, &Err(failure.to_string()));
                return Err(Ended::GivenUp);
            }
            Err(failure) => Err(failure.to_string()),
        };
        if !self.report.step("a role added by hand", &expected, &came) {
            return Ok(());
        }
        let came = self.server.converge(&mut self.object, false).await;
        let seen = came.as_ref().map(|converged| converged.drift.clone()).unwrap_or_default();
        let is_seen = seen.iter().any(|drift| drift.role == *role && drift.kind == DriftKind::Unexpected);
        let seen: Vec<String> = seen.iter().map(|drift| format!("{:?} {}", drift.kind, drift.role)).collect();
        let seen = if seen.is_empty() { "no drift".to_owned() } else { seen.join(" and ") };
        let expected = format!("Unexpected {role}");
        self.report.step("it is seen as drift", &expected, &if is_seen { Ok(seen) } else { Err(seen) });
        let expected = format!("{other_role} alone");
        self.judge("and put right", &expected, came, |converged| converged.writes > 0)
    }

    /// Checks that a list which begins later shows nothing either.
    async fn absent(&mut self) -> Result<(), Ended> {
        self.stop.check()?;
        let shown = self.server.observe(self.object.target()).await;
        let came = match &shown {
            Ok(None) => Ok("no membership".to_owned()),
            Ok(shown) => Err(held(shown.as_ref())),
            Err(error) => Err(super::server::said(error)),
        };
        self.report.step("absent in a list of its own", "no membership", &came);
        let given_up = shown.is_err_and(|error| Failure::from(error).is_final());
        if given_up { Err(Ended::GivenUp) } else { Ok(()) }
    }
}

fn writes(count: u32) -> String {
    match count {
        0 => "nothing written".to_owned(),
        1 => "1 write".to_owned(),
        more => format!("{more} writes"),
    }
}
