//! What lists and the operator's own writes show of the member, as in `controller::roster`.

use std::time::Instant;

use membership_operator::core::member::Member;
use membership_operator::core::snapshot::Observation;

/// The observation of one member.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    row: Option<Member>,
    began: Option<Instant>,
    /// The result of the operator's own write, until a list that began after it shows it.
    written: Option<(Option<Member>, Instant)>,
    /// Only a list that began after this time shows the result of a write.
    doubt: Option<Instant>,
}

impl Roster {
    pub fn began(&self) -> Option<Instant> {
        self.began
    }

    pub fn sighting(&self, not_before: Option<Instant>) -> Option<Observation> {
        let listed = self.began?;
        if not_before.is_some_and(|not_before| listed < not_before) || self.doubt.is_some_and(|doubt| listed < doubt) {
            return None;
        }
        Some(match &self.written {
            Some((member, ended)) => Observation { member: member.clone(), as_of: *ended, listed },
            None => Observation { member: self.row.clone(), as_of: listed, listed },
        })
    }

    pub fn observation(&self) -> Option<Observation> {
        self.sighting(None)
    }

    pub fn listed(&mut self, row: Option<Member>, began: Instant) {
        (self.row, self.began) = (row, Some(began));
        self.written = self.written.take().filter(|(_, ended)| *ended > began);
        self.doubt = self.doubt.filter(|doubt| *doubt > began);
    }

    pub fn wrote(&mut self, member: Option<Member>, ended: Instant) {
        self.doubt = None;
        self.written = Some((member, ended));
    }

    pub fn doubt(&mut self, at: Instant) {
        self.written = None;
        self.doubt = Some(at);
    }
}
