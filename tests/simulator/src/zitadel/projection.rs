//! The table of search and rights: it follows the events with a delay, and may skip some.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::events::{Event, Kind, Resource};

/// How often an event that can't be applied is tried before it is skipped; until then it delays all later events
/// (zitadel/concurrency.json, 15 to 19). Each event that the table follows, of any project, is one try, the first being
/// its own.
const TRIES: u32 = 5;

/// The cycle in which the server tries without an event, again and again until it succeeds.
const CYCLE: Duration = Duration::from_secs(60);

/// The table of the members of projects and of their grants.
pub(crate) struct Projection {
    rows: BTreeMap<Resource, HashMap<String, MemberRow>>,
    /// What a user is a member of: an index.
    resources_of: HashMap<String, BTreeSet<Resource>>,
    inserted: u64,
    /// The time of the last processed event.
    pub(crate) seen: Timestamp,
    /// How many events were applied or skipped.
    position: usize,
    /// How many events were noticed: each one that concerns members is a reason to apply what has come.
    noticed: usize,
    /// How often the next event couldn't be applied, and since when.
    failures: u32,
    stuck_since: Option<Instant>,
}

#[derive(Debug, Clone)]
pub(crate) struct MemberRow {
    /// Counts up with the insertions.
    serial: u64,
    pub(crate) resource: Resource,
    /// The project's organisation.
    pub(crate) org: String,
    /// The organisation that the project is granted to, for a grant's member.
    pub(crate) granted_org: Option<String>,
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
            resources_of: HashMap::new(),
            inserted: 0,
            seen: now,
            position: 0,
            noticed: 0,
            failures: 0,
            stuck_since: None,
        }
    }

    /// Looks at the events that are at least `lag` old, in their order.
    pub(crate) fn catch_up(&mut self, events: &[Event], lag: Duration, org_of_user: impl Fn(&str) -> Option<String>) {
        let now = Instant::now();
        while let Some(event) = events.get(self.noticed) {
            if now.saturating_duration_since(event.pushed) < lag {
                break;
            }
            self.noticed += 1;
            if event.kind.concerns_members() {
                self.run(events, &org_of_user);
            }
        }
        while self.stuck_since.is_some_and(|since| now.saturating_duration_since(since) >= CYCLE) {
            self.run(events, &org_of_user);
        }
    }

    /// Applies the events that were noticed, up to the first one that can't be.
    fn run(&mut self, events: &[Event], org_of_user: &impl Fn(&str) -> Option<String>) {
        while let Some(event) = events.get(self.position).filter(|_| self.position < self.noticed) {
            if !event.lost && !self.apply(event, org_of_user) {
                self.failures += 1;
                if self.failures < TRIES {
                    self.stuck_since.get_or_insert_with(Instant::now);
                    return;
                }
            }
            self.failures = 0;
            self.stuck_since = None;
            self.seen = event.at;
            self.position += 1;
        }
    }

    /// Applies an event; false if it can't be: the row to insert is there already.
    fn apply(&mut self, event: &Event, org_of_user: impl Fn(&str) -> Option<String>) -> bool {
        match &event.kind {
            Kind::MemberAdded { user, org, granted_org, roles } => {
                if self.row(&event.resource, user).is_some() {
                    return false;
                }
                self.inserted += 1;
                self.insert(MemberRow {
                    serial: self.inserted,
                    resource: event.resource.clone(),
                    org: org.clone(),
                    granted_org: granted_org.clone(),
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
                if let Some(row) = self.rows.get_mut(&event.resource).and_then(|of| of.get_mut(user)) {
                    row.roles.clone_from(roles);
                    row.sequence = event.sequence;
                    row.changed = event.at;
                }
            }
            Kind::MemberRemoved { user } | Kind::MemberCascadeRemoved { user } => {
                self.remove(&event.resource, user);
            }
            Kind::ProjectRemoved => self.remove_where(|row| row.resource.project == event.resource.project),
            Kind::GrantRemoved => self.remove_where(|row| row.resource == event.resource),
            Kind::UserRemoved { user } => self.remove_where(|row| row.user == *user),
            Kind::OrgRemoved { org } => self
                .remove_where(|row| row.org == *org || row.user_org == *org || row.granted_org.as_deref() == Some(org)),
            Kind::ProjectAdded
            | Kind::ProjectDeactivated
            | Kind::ProjectRenamed
            | Kind::GrantAdded
            | Kind::GrantDeactivated
            | Kind::GrantReactivated => {}
        }
        true
    }

    fn insert(&mut self, row: MemberRow) {
        self.resources_of.entry(row.user.clone()).or_default().insert(row.resource.clone());
        self.rows.entry(row.resource.clone()).or_default().insert(row.user.clone(), row);
    }

    fn remove(&mut self, resource: &Resource, user: &str) {
        if let Some(of) = self.rows.get_mut(resource) {
            of.remove(user);
        }
        if let Some(resources) = self.resources_of.get_mut(user) {
            resources.remove(resource);
        }
    }

    fn remove_where(&mut self, goes: impl Fn(&MemberRow) -> bool) {
        let gone: Vec<(Resource, String)> = self
            .rows
            .values()
            .flat_map(HashMap::values)
            .filter(|row| goes(row))
            .map(|row| (row.resource.clone(), row.user.clone()))
            .collect();
        for (resource, user) in gone {
            self.remove(&resource, &user);
        }
    }

    /// The row of a member.
    pub(crate) fn row(&self, resource: &Resource, user: &str) -> Option<&MemberRow> {
        self.rows.get(resource)?.get(user)
    }

    /// The rows of a project in the order in which they were inserted, those of a grant by user, as both were recorded
    /// (project-grant-members.json, 43 and 44). The real tables promise no order.
    pub(crate) fn of(&self, resource: &Resource) -> Vec<&MemberRow> {
        let mut rows: Vec<&MemberRow> = self.rows.get(resource).into_iter().flat_map(HashMap::values).collect();
        match resource.grant {
            None => rows.sort_unstable_by_key(|row| row.serial),
            Some(_) => rows.sort_unstable_by(|one, other| one.user.cmp(&other.user)),
        }
        rows
    }

    /// The rows of a user.
    pub(crate) fn of_user(&self, user: &str) -> impl Iterator<Item = &MemberRow> {
        let resources = self.resources_of.get(user).into_iter().flatten();
        resources.filter_map(move |resource| self.row(resource, user))
    }

    /// All rows, by project and grant.
    pub(crate) fn all(&self) -> impl Iterator<Item = &MemberRow> {
        self.rows.keys().flat_map(|resource| self.of(resource))
    }
}
