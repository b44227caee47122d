//! What the simulated ZITADEL holds: organisations, users, projects, tokens, and the events that everything else
//! follows from. No HTTP in here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::events::{Event, Kind, Member};
use super::projection::Projection;

/// The roles that an instance has by default and that pass as a project member's: the server only looks for the
/// prefix `PROJECT` among the roles that are configured (`reference/zitadel.md`, Roles).
pub(crate) const PROJECT_ROLES: [&str; 6] = [
    "PROJECT_OWNER",
    "PROJECT_OWNER_VIEWER",
    "PROJECT_OWNER_GLOBAL",
    "PROJECT_OWNER_VIEWER_GLOBAL",
    "PROJECT_GRANT_OWNER",
    "PROJECT_GRANT_OWNER_VIEWER",
];

/// Everything that the server holds.
pub(crate) struct State {
    pub(crate) orgs: BTreeMap<String, Org>,
    pub(crate) default_org: Option<String>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) projects: BTreeMap<String, Project>,
    /// Personal access tokens: token → whose.
    pub(crate) pats: HashMap<String, Pat>,
    /// Roles of users on the instance and in organisations.
    pub(crate) grants: Vec<(String, Scope, String)>,
    /// Roles that the instance has beyond the default ones.
    pub(crate) more_roles: BTreeSet<String>,
    /// Whether a PUT of the same roles is refused, as up to v3.
    pub(crate) refuses_unchanged: bool,
    /// All events in the order in which they were pushed.
    pub(crate) events: Vec<Event>,
    /// What the write side knows of the members: (project, user) → member.
    pub(crate) members: HashMap<(String, String), Member>,
    /// The unique constraint on members.
    pub(crate) reserved: HashSet<(String, String)>,
    pub(crate) projection: Projection,
    /// How far search is behind.
    pub(crate) lag: Duration,
    /// How many rows a search returns when no limit is asked for, and at most.
    pub(crate) page: (usize, usize),
}

pub(crate) struct Org {
    pub(crate) name: String,
    pub(crate) sequence: u64,
    pub(crate) created: Timestamp,
    pub(crate) deleted: bool,
}

pub(crate) struct User {
    pub(crate) org: String,
    pub(crate) kind: UserKind,
    /// None: the user that search leaves out for ever (`reference/zitadel.md`, trap 5).
    pub(crate) login_name: Option<String>,
    pub(crate) active: bool,
    pub(crate) deleted: bool,
}

pub(crate) enum UserKind {
    Human { first_name: String, last_name: String, email: String },
    Machine { name: String },
}

pub(crate) struct Project {
    pub(crate) org: String,
    pub(crate) name: String,
    /// The last sequence of its events; members' events share it.
    pub(crate) sequence: u64,
    /// The sequence and time of the last event that is not a member's: what GET shows.
    pub(crate) own_sequence: u64,
    pub(crate) created: Timestamp,
    pub(crate) changed: Timestamp,
    pub(crate) active: bool,
    pub(crate) deleted: bool,
}

pub(crate) struct Pat {
    pub(crate) user: String,
    pub(crate) ends: Option<Timestamp>,
}

/// Where a role of a user holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// On the whole instance: `IAM_OWNER` and the like.
    Instance,
    /// In one organisation: `ORG_OWNER` and the like.
    Org(String),
}

/// A push that the unique constraint refused.
pub(crate) struct Duplicate;

impl State {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            orgs: BTreeMap::new(),
            default_org: None,
            users: BTreeMap::new(),
            projects: BTreeMap::new(),
            pats: HashMap::new(),
            grants: Vec::new(),
            more_roles: BTreeSet::new(),
            refuses_unchanged: false,
            events: Vec::new(),
            members: HashMap::new(),
            reserved: HashSet::new(),
            projection: Projection::new(now),
            lag: Duration::ZERO,
            page: (usize::MAX, usize::MAX),
        }
    }

    /// Whether the instance has such a role and takes it for a project's.
    pub(crate) fn is_project_role(&self, role: &str) -> bool {
        PROJECT_ROLES.contains(&role) || (role.starts_with("PROJECT") && self.more_roles.contains(role))
    }

    /// A user that was not deleted. Users of a deleted organisation are still found by the write side
    /// (project-members.json, 108 and 109).
    pub(crate) fn live_user(&self, id: &str) -> Option<&User> {
        self.users.get(id).filter(|user| !user.deleted)
    }

    /// A project of an organisation that was not deleted.
    pub(crate) fn live_project(&self, id: &str, org: &str) -> Option<&Project> {
        self.projects.get(id).filter(|project| !project.deleted && project.org == org)
    }

    /// What the write side knows of a member under an organisation.
    pub(crate) fn member(&self, project: &str, user: &str, org: &str) -> Option<&Member> {
        self.members.get(&(project.to_owned(), user.to_owned())).filter(|member| member.org == org)
    }

    /// Pushes an event of a project's aggregate; returns its sequence and time. A lost one is never seen by search.
    pub(crate) fn push(
        &mut self,
        project: &str,
        kind: Kind,
        lost: bool,
        now: Timestamp,
    ) -> Result<(u64, Timestamp), Duplicate> {
        if let Kind::MemberAdded { user, .. } = &kind
            && !self.reserved.insert((project.to_owned(), user.clone()))
        {
            return Err(Duplicate);
        }
        let at = self.next_time(now);
        let (sequence, org) = match self.projects.get_mut(project) {
            Some(aggregate) => {
                aggregate.sequence += 1;
                if kind.user().is_none() {
                    aggregate.own_sequence = aggregate.sequence;
                    aggregate.changed = at;
                }
                (aggregate.sequence, aggregate.org.clone())
            }
            None => (1, String::new()),
        };
        if let Some(user) = kind.user() {
            let key = (project.to_owned(), user.to_owned());
            if kind.frees_the_member() {
                self.reserved.remove(&key);
            }
            let member = self.members.entry(key).or_insert_with(|| Member::new(org, at));
            member.take(&kind, sequence, at);
        }
        self.events.push(Event { project: project.to_owned(), sequence, at, pushed: Instant::now(), kind, lost });
        Ok((sequence, at))
    }

    /// Pushes an event that no aggregate of a project has: a user or an organisation went.
    pub(crate) fn push_global(&mut self, kind: Kind, now: Timestamp) {
        let at = self.next_time(now);
        self.events.push(Event { project: String::new(), sequence: 1, at, pushed: Instant::now(), kind, lost: false });
    }

    /// Lets search follow the events that are old enough.
    pub(crate) fn catch_up(&mut self) {
        let (events, users, lag) = (&self.events, &self.users, self.lag);
        self.projection.catch_up(events, lag, |user| users.get(user).map(|user| user.org.clone()));
    }

    /// Now in whole microseconds, and later than every event before.
    fn next_time(&self, now: Timestamp) -> Timestamp {
        let now = cut(now);
        match self.events.last() {
            Some(last) if last.at >= now => last.at.checked_add(SignedDuration::from_micros(1)).unwrap_or(last.at),
            _ => now,
        }
    }
}

/// Whole microseconds, as PostgreSQL stores them.
pub(crate) fn cut(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
