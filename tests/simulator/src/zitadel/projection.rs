//! What search and rights read: a table that follows the events, later, and not always all of them.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::events::{Event, Kind};

/// How long an event that can't be applied holds up all that come after it (zitadel/concurrency.json, 15).
const STUCK_FOR: Duration = Duration::from_secs(10);

/// The table of project members.
pub(crate) struct Projection {
    /// In the order in which they were inserted. The real table promises no order.
    pub(crate) rows: Vec<MemberRow>,
    /// The time of the last event that was looked at.
    pub(crate) seen: Timestamp,
    /// How many events were looked at.
    position: usize,
    /// Since when the next event can't be applied.
    stuck_since: Option<Instant>,
    pub(crate) stuck_for: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct MemberRow {
    pub(crate) project: String,
    /// The project's organisation.
    pub(crate) org: String,
    pub(crate) user: String,
    /// The user's organisation.
    pub(crate) user_org: String,
    pub(crate) roles: Vec<String>,
    pub(crate) sequence: u64,
    pub(crate) created: Timestamp,
    pub(crate) changed: Timestamp,
}

impl Projection {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            rows: Vec::new(),
            seen: now,
            position: 0,
            stuck_since: None,
            stuck_for: STUCK_FOR,
        }
    }

    /// Looks at the events that are at least `lag` old, in their order.
    pub(crate) fn catch_up(
        &mut self,
        events: &[Event],
        lag: Duration,
        org_of_user: impl Fn(&str) -> Option<String>,
    ) {
        let now = Instant::now();
        while let Some(event) = events.get(self.position) {
            if now.saturating_duration_since(event.pushed) < lag {
                return;
            }
            if !event.lost && !self.apply(event, &org_of_user) {
                // The server tries again for a while, and everybody's search waits; then it skips the event.
                let since = *self.stuck_since.get_or_insert(now);
                if now.saturating_duration_since(since) < self.stuck_for {
                    return;
                }
            }
            self.stuck_since = None;
            self.seen = event.at;
            self.position += 1;
        }
    }

    /// Applies an event; false if it can't be: the row to insert is there already.
    fn apply(&mut self, event: &Event, org_of_user: impl Fn(&str) -> Option<String>) -> bool {
        match &event.kind {
            Kind::MemberAdded { user, org, roles } => {
                if self.row(&event.project, user).is_some() {
                    return false;
                }
                self.rows.push(MemberRow {
                    project: event.project.clone(),
                    org: org.clone(),
                    user: user.clone(),
                    user_org: org_of_user(user).unwrap_or_default(),
                    roles: roles.clone(),
                    sequence: event.sequence,
                    created: event.at,
                    changed: event.at,
                });
            }
            Kind::MemberChanged { user, roles } => {
                // Without a row nothing happens: a ghost stays one.
                if let Some(row) = self
                    .rows
                    .iter_mut()
                    .find(|r| r.project == event.project && r.user == *user)
                {
                    row.roles.clone_from(roles);
                    row.sequence = event.sequence;
                    row.changed = event.at;
                }
            }
            Kind::MemberRemoved { user } | Kind::MemberCascadeRemoved { user } => {
                self.rows
                    .retain(|row| row.project != event.project || row.user != *user);
            }
            Kind::ProjectRemoved => self.rows.retain(|row| row.project != event.project),
            Kind::UserRemoved { user } => self.rows.retain(|row| row.user != *user),
            Kind::OrgRemoved { org } => self
                .rows
                .retain(|row| row.org != *org && row.user_org != *org),
            Kind::ProjectAdded | Kind::ProjectDeactivated => {}
        }
        true
    }

    /// The row of a member.
    pub(crate) fn row(&self, project: &str, user: &str) -> Option<&MemberRow> {
        self.rows
            .iter()
            .find(|row| row.project == project && row.user == user)
    }
}
