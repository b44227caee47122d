//! The state of the simulated ZITADEL: organisations, users, projects, tokens, and the events that everything else
//! follows from. No HTTP in here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::credentials::Credentials;
use super::events::{Event, Kind, Member, Resource};
use super::projection::Projection;

/// The roles that an instance has by default and that pass as a project member's: the server only looks for the
/// prefix `PROJECT` among the roles that are configured (`docs/reference/zitadel.md`, Roles).
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
    /// Grants of projects to other organisations, by their ids.
    pub(crate) grants: BTreeMap<String, ProjectGrant>,
    pub(crate) credentials: Credentials,
    /// The host names of the instance; none: every host is accepted.
    pub(crate) domains: Vec<String>,
    pub(crate) generation: ServerGeneration,
    /// Roles of users on the instance and in organisations.
    pub(crate) rights: Vec<Right>,
    /// Roles that the instance has beyond the default ones.
    pub(crate) more_roles: BTreeSet<String>,
    /// All events in the order in which they were pushed.
    pub(crate) events: Vec<Event>,
    /// What the write side knows of the members: (project or grant, user) → member.
    pub(crate) members: HashMap<(Resource, String), Member>,
    /// The unique constraint on members.
    pub(crate) reserved: HashSet<(Resource, String)>,
    pub(crate) projection: Projection,
    /// The last time that was given to anything: each is later than the one before.
    pub(crate) last: Timestamp,
    /// How far search is behind.
    pub(crate) lag: Duration,
    /// How many rows a search returns when no limit is asked for, and at most.
    pub(crate) page: (usize, usize),
}

pub(crate) struct Org {
    pub(crate) name: String,
    /// The domain policy userLoginMustBeDomain: login names end in `@` and the domain, and user names need be unique
    /// in the organisation only (name-resolution.json, 52 to 55).
    pub(crate) names_end_in_domain: bool,
    pub(crate) sequence: u64,
    pub(crate) created: Timestamp,
    pub(crate) deleted: bool,
}

pub(crate) struct User {
    pub(crate) org: String,
    pub(crate) kind: UserKind,
    pub(crate) user_name: String,
    /// None: the user that search leaves out permanently (`docs/reference/zitadel.md`, trap 5).
    pub(crate) login_name: Option<String>,
    pub(crate) state: UserState,
    pub(crate) deleted: bool,
    pub(crate) sequence: u64,
    pub(crate) created: Timestamp,
    pub(crate) changed: Timestamp,
}

pub(crate) enum UserKind {
    Human { first_name: String, last_name: String, email: String },
    Machine { name: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserState {
    Active,
    /// A person that hasn't set itself up yet.
    Initial,
    Inactive,
}

pub(crate) struct Project {
    pub(crate) org: String,
    pub(crate) name: String,
    /// The last sequence of its events; those of its grants and members share it.
    pub(crate) sequence: u64,
    /// The sequence and time of the last event of the project itself: what GET shows.
    pub(crate) own_sequence: u64,
    pub(crate) created: Timestamp,
    pub(crate) changed: Timestamp,
    pub(crate) active: bool,
    pub(crate) deleted: bool,
}

pub(crate) struct ProjectGrant {
    pub(crate) project: String,
    /// The organisation that the project is granted to.
    pub(crate) granted_org: String,
    pub(crate) sequence: u64,
    pub(crate) created: Timestamp,
    pub(crate) changed: Timestamp,
    pub(crate) active: bool,
    pub(crate) deleted: bool,
}

/// A role of a user outside projects.
pub(crate) struct Right {
    pub(crate) user: String,
    pub(crate) scope: Scope,
    pub(crate) role: String,
    pub(crate) created: Timestamp,
}

/// The APIs of a server version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum ServerGeneration {
    /// Management v1 only, and a PUT of the roles that are there already is refused.
    V3,
    /// Management v1 and v2.
    #[default]
    V4,
    /// Without the member routes of management v1, which are deprecated since v4.1.
    V2Only,
}

/// The scope of a user's role.
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
            grants: BTreeMap::new(),
            credentials: Credentials::default(),
            domains: Vec::new(),
            generation: ServerGeneration::default(),
            rights: Vec::new(),
            more_roles: BTreeSet::new(),
            events: Vec::new(),
            members: HashMap::new(),
            reserved: HashSet::new(),
            projection: Projection::new(now),
            last: Timestamp::MIN,
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

    /// Whether the instance has such a role and takes it for a grant's.
    pub(crate) fn is_grant_role(&self, role: &str) -> bool {
        role.starts_with("PROJECT_GRANT") && self.is_project_role(role)
    }

    /// A project that was deleted neither directly nor with its organisation (ZITADEL's source,
    /// internal/query/projection/project.go).
    pub(crate) fn live_project(&self, id: &str) -> Option<&Project> {
        self.projects.get(id).filter(|project| !project.deleted && self.is_live_org(&project.org))
    }

    /// A grant of a project that was not removed, neither directly nor with its project or either organisation
    /// (project_grant.go, beside it).
    pub(crate) fn live_grant(&self, id: &str) -> Option<&ProjectGrant> {
        let grant = self.grants.get(id).filter(|grant| !grant.deleted)?;
        let lives = self.live_project(&grant.project).is_some() && self.is_live_org(&grant.granted_org);
        lives.then_some(grant)
    }

    fn is_live_org(&self, id: &str) -> bool {
        self.orgs.get(id).is_some_and(|org| !org.deleted)
    }

    /// The organisation of a project, deleted or not; empty if there never was one.
    pub(crate) fn org_of_project(&self, project: &str) -> String {
        self.projects.get(project).map(|project| project.org.clone()).unwrap_or_default()
    }

    /// The member on the write side.
    pub(crate) fn member(&self, resource: &Resource, user: &str) -> Option<&Member> {
        self.members.get(&(resource.clone(), user.to_owned()))
    }

    /// Pushes an event of a project's aggregate; returns its sequence and time. A lost one is never seen by search.
    pub(crate) fn push(
        &mut self,
        resource: &Resource,
        kind: Kind,
        lost: bool,
        now: Timestamp,
    ) -> Result<(u64, Timestamp), Duplicate> {
        if let Kind::MemberAdded { user, .. } = &kind
            && !self.reserved.insert((resource.clone(), user.clone()))
        {
            return Err(Duplicate);
        }
        let at = self.next_time(now);
        self.last = at;
        let (sequence, org) = match self.projects.get_mut(&resource.project) {
            Some(aggregate) => {
                aggregate.sequence += 1;
                if kind.is_of_the_project() {
                    aggregate.own_sequence = aggregate.sequence;
                    aggregate.changed = at;
                }
                (aggregate.sequence, aggregate.org.clone())
            }
            None => (1, String::new()),
        };
        if let Some(grant) = resource.grant.as_ref().and_then(|grant| self.grants.get_mut(grant))
            && kind.is_of_the_grant()
        {
            grant.sequence = sequence;
            grant.changed = at;
        }
        if let Some(user) = kind.user() {
            let key = (resource.clone(), user.to_owned());
            if kind.frees_the_member() {
                self.reserved.remove(&key);
            }
            let member = self.members.entry(key).or_insert_with(|| Member::new(org, at));
            member.take(&kind, resource.grant.is_some(), sequence, at);
        }
        match kind {
            // The write side forgets the members of what is gone: of a grant (project-grant-members.json, 64 to 66),
            // and of the grants of a project, not of the project itself: those become ghosts.
            Kind::GrantRemoved => self.members.retain(|(of, _), _| of != resource),
            Kind::ProjectRemoved => {
                self.members.retain(|(of, _), _| of.project != resource.project || of.grant.is_none());
            }
            _ => {}
        }
        self.events.push(Event { resource: resource.clone(), sequence, at, pushed: Instant::now(), kind, lost });
        Ok((sequence, at))
    }

    /// Pushes an event that no aggregate of a project has: a user or an organisation went.
    pub(crate) fn push_global(&mut self, kind: Kind, now: Timestamp) {
        let at = self.next_time(now);
        self.last = at;
        let resource = Resource::new("", None);
        self.events.push(Event { resource, sequence: 1, at, pushed: Instant::now(), kind, lost: false });
    }

    /// Notes that a user was changed.
    pub(crate) fn touch_user(&mut self, user: &str, now: Timestamp) {
        let at = self.next_time(now);
        self.last = at;
        if let Some(user) = self.users.get_mut(user) {
            user.sequence += 1;
            user.changed = at;
        }
    }

    /// Lets search follow the events that are old enough.
    pub(crate) fn catch_up(&mut self) {
        let (events, users, lag) = (&self.events, &self.users, self.lag);
        self.projection.catch_up(events, lag, |user| users.get(user).map(|user| user.org.clone()));
    }

    /// The login name that a user of this name gets in an organisation.
    pub(crate) fn login_name(&self, org: &str, user_name: &str) -> String {
        match self.orgs.get(org).filter(|org| org.names_end_in_domain) {
            Some(org) => format!("{user_name}@{}", org.domain()),
            None => user_name.to_owned(),
        }
    }

    /// Now in whole microseconds, and later than every time before.
    pub(crate) fn next_time(&self, now: Timestamp) -> Timestamp {
        let now = cut(now);
        if self.last < now { now } else { self.last.checked_add(SignedDuration::from_micros(1)).unwrap_or(self.last) }
    }
}

impl Org {
    /// Its domain, made from its name.
    pub(crate) fn domain(&self) -> String {
        format!("{}.zitadel.test", self.name.to_lowercase())
    }
}

/// Whole microseconds, as PostgreSQL stores them.
pub(crate) fn cut(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
