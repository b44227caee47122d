//! What search and rights read: a table that follows the events, later, and not always all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::events::{Event, Kind};

/// How long an event that can't be applied holds up all that come after it (zitadel/concurrency.json, 15).
const STUCK_FOR: Duration = Duration::from_secs(10);

/// The table of project members.
pub(crate) struct Projection {
    rows: BTreeMap<String, HashMap<String, MemberRow>>,
    /// Which projects a user is in: an index.
    projects_of: HashMap<String, BTreeSet<String>>,
    inserted: u64,
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
    /// Counts up with the insertions.
    serial: u64,
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
            rows: BTreeMap::new(),
            projects_of: HashMap::new(),
            inserted: 0,
            seen: now,
            position: 0,
            stuck_since: None,
            stuck_for: STUCK_FOR,
        }
    }

    /// Looks at the events that are at least `lag` old, in their order.
    pub(crate) fn catch_up(&mut self, events: &[Event], lag: Duration, org_of_user: impl Fn(&str) -> Option<String>) {
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
                self.inserted += 1;
                self.insert(MemberRow {
                    serial: self.inserted,
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
                if let Some(row) = self.rows.get_mut(&event.project).and_then(|of| of.get_mut(user)) {
                    row.roles.clone_from(roles);
                    row.sequence = event.sequence;
                    row.changed = event.at;
                }
            }
            Kind::MemberRemoved { user } | Kind::MemberCascadeRemoved { user } => {
                self.remove(&event.project, user);
            }
            Kind::ProjectRemoved => self.remove_where(|row| row.project == event.project),
            Kind::UserRemoved { user } => self.remove_where(|row| row.user == *user),
            Kind::OrgRemoved { org } => self.remove_where(|row| row.org == *org || row.user_org == *org),
            Kind::ProjectAdded | Kind::ProjectDeactivated => {}
        }
        true
    }

    fn insert(&mut self, row: MemberRow) {
        self.projects_of.entry(row.user.clone()).or_default().insert(row.project.clone());
        self.rows.entry(row.project.clone()).or_default().insert(row.user.clone(), row);
    }

    fn remove(&mut self, project: &str, user: &str) {
        if let Some(of) = self.rows.get_mut(project) {
            of.remove(user);
        }
        if let Some(projects) = self.projects_of.get_mut(user) {
            projects.remove(project);
        }
    }

    fn remove_where(&mut self, goes: impl Fn(&MemberRow) -> bool) {
        let gone: Vec<(String, String)> = self
            .rows
            .values()
            .flat_map(HashMap::values)
            .filter(|row| goes(row))
            .map(|row| (row.project.clone(), row.user.clone()))
            .collect();
        for (project, user) in gone {
            self.remove(&project, &user);
        }
    }

    /// The row of a member.
    pub(crate) fn row(&self, project: &str, user: &str) -> Option<&MemberRow> {
        self.rows.get(project)?.get(user)
    }

    /// The rows of a project in the order in which they were inserted. The real table promises none.
    pub(crate) fn of_project(&self, project: &str) -> Vec<&MemberRow> {
        let mut rows: Vec<&MemberRow> = self.rows.get(project).into_iter().flat_map(HashMap::values).collect();
        rows.sort_unstable_by_key(|row| row.serial);
        rows
    }

    /// The rows of a user.
    pub(crate) fn of_user(&self, user: &str) -> impl Iterator<Item = &MemberRow> {
        let projects = self.projects_of.get(user).into_iter().flatten();
        projects.filter_map(move |project| self.row(project, user))
    }

    /// All rows, by project.
    pub(crate) fn all(&self) -> impl Iterator<Item = &MemberRow> {
        self.rows.keys().flat_map(|project| self.of_project(project))
    }
}
