//! The subjects of a test: each case of a table has one at each provider, so that the cases run concurrently.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Infisical, Request, Resource, RoleRow, Zitadel, worlds};

use crate::in_memory::now;
use crate::stage::{Stage, set};
use crate::support::{SOON, eventually};

/// How late an end may be carried out on a busy machine.
pub const LATE: SignedDuration = SignedDuration::from_secs(3);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// An identity of Infisical or a user of ZITADEL, without memberships, and the object of the same name.
#[derive(Clone)]
pub struct Subject {
    /// The name of its object.
    pub name: String,
    /// Its id at the provider.
    pub id: String,
    at: At,
}

#[derive(Clone)]
enum At {
    Infisical(Infisical, Kind),
    Zitadel(Zitadel, Resource),
}

/// The kinds of subjects that Infisical has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Identity,
    User,
    Group,
}

impl Stage {
    /// A new identity at Infisical.
    pub fn identity(&self, name: &str) -> Subject {
        let id = format!("00000000-0000-4000-8000-{:012}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.simulator.infisical().add_identity(&id, name);
        self.at_infisical(format!("{name}-infisical"), id, Kind::Identity)
    }

    /// A new user of Infisical, who is a member of the project without a permission: no user is invited here.
    pub fn person(&self, name: &str) -> Subject {
        let id = format!("00000000-0000-4000-8000-{:012}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.simulator.infisical().add_user(&id, &email_of(name, &id), name, "Lovelace");
        let person = self.at_infisical(format!("{name}-person"), id, Kind::User);
        person.by_hand(&["no-access"]);
        person
    }

    /// A new group of Infisical.
    pub fn group(&self, name: &str) -> Subject {
        let id = format!("00000000-0000-4000-8000-{:012}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.simulator.infisical().add_group(&id, &format!("{name}-group"), name);
        self.at_infisical(format!("{name}-group"), id, Kind::Group)
    }

    fn at_infisical(&self, name: String, id: String, kind: Kind) -> Subject {
        Subject { name, id, at: At::Infisical(self.simulator.infisical().clone(), kind) }
    }

    /// A new user at ZITADEL.
    pub fn user(&self, name: &str) -> Subject {
        let id = format!("4006234{:011}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.simulator.zitadel().add_user(&id, worlds::ZITADEL_PROJECT_ORG, &format!("{name}-{id}"));
        let zitadel = self.simulator.zitadel().clone();
        Subject {
            name: format!("{name}-zitadel"),
            id,
            at: At::Zitadel(zitadel, Resource::from(worlds::ZITADEL_PROJECT)),
        }
    }

    /// A new user of the organization that ZITADEL's project is granted to.
    pub fn grantee(&self, name: &str) -> Subject {
        let id = format!("4006236{:011}", NEXT.fetch_add(1, Ordering::Relaxed));
        let zitadel = self.simulator.zitadel().clone();
        zitadel.add_user(&id, worlds::ZITADEL_GRANTED_ORG, &format!("{name}-{id}"));
        let grant = Resource::from((worlds::ZITADEL_PROJECT, worlds::ZITADEL_GRANT));
        Subject { name: format!("{name}-grantee"), id, at: At::Zitadel(zitadel, grant) }
    }

    /// One of each kind that there is.
    pub fn every(&self, name: &str) -> [Subject; 5] {
        [self.identity(name), self.person(name), self.group(name), self.user(name), self.grantee(name)]
    }

    /// One at each provider.
    pub fn both(&self, name: &str) -> [Subject; 2] {
        [self.identity(name), self.user(name)]
    }

    /// Applies a subject's object with these roles.
    pub async fn declare(&self, subject: &Subject, roles: Value) {
        self.api.apply(&[subject.declares(roles)]).await;
    }

    /// Waits until `status.roles` has this role in this state; returns its entry.
    pub async fn role_is(&self, object: &str, role: &str, state: &str) -> Value {
        eventually(SOON, &format!("{object}: {role} is {state}"), async || {
            let status = self.api.get(object).await["status"].clone();
            let roles = status["roles"].as_array().cloned().unwrap_or_default();
            let found = roles.into_iter().find(|known| known["role"] == role && known["state"] == state);
            found.ok_or_else(|| format!("{status:#}"))
        })
        .await
    }

    /// Waits until an object is or isn't ready for this reason.
    pub async fn reason_is(&self, object: &str, reason: &str) -> Value {
        eventually(SOON, &format!("{object}: {reason}"), async || {
            let status = self.api.get(object).await["status"].clone();
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
            ready.filter(|ready| ready["reason"] == reason).ok_or_else(|| format!("{status:#}"))
        })
        .await
    }

    /// Waits until a provider object is ready for the generation that it has.
    pub async fn provider_is_ready(&self, name: &str) {
        self.ready(&format!("membershipprovider/{name}")).await;
    }

    /// Waits until what is created from now on is younger than a provider object: Kubernetes keeps whole seconds.
    pub async fn past_the_creation_of(&self, provider: &Value) {
        let name = provider["metadata"]["name"].as_str().unwrap_or_default();
        let object = self.api.get(&format!("membershipprovider/{name}")).await;
        until(time(&object["metadata"]["creationTimestamp"]) + SignedDuration::from_secs(1)).await;
    }

    /// Changes fields of a subject's spec, and waits until the status describes the change.
    pub async fn change(&self, subject: &Subject, spec: Value) {
        self.api.merge(&subject.object(), &json!({ "spec": spec })).await;
        self.is_seen(&subject.object()).await;
    }

    /// Waits until the status describes the spec as it is.
    pub async fn is_seen(&self, object: &str) {
        eventually(SOON, &format!("the status of {object} speaks of its spec"), async || {
            let found = self.api.get(object).await;
            let seen = found["status"]["observedGeneration"] == found["metadata"]["generation"];
            if seen { Ok(()) } else { Err(format!("{:#}", found["status"])) }
        })
        .await;
    }

    /// Requests a reconcile now, and waits until it was done.
    pub async fn reconcile_now(&self, object: &str) {
        let value = format!("request {}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.api.annotate(object, "membership.dev/reconcile-at", &value).await;
        eventually(SOON, &format!("{object} was reconciled at {value:?}"), async || {
            let status = self.api.get(object).await["status"].clone();
            if status["lastHandledReconcileAt"] == value.as_str() { Ok(()) } else { Err(format!("{status:#}")) }
        })
        .await;
    }
}

impl Subject {
    /// Role names of its provider: the first with the fewest permissions, the third with the most.
    pub fn names(&self) -> [&'static str; 4] {
        match self.at {
            At::Infisical(..) => ["viewer", "deployer", "admin", "auditor"],
            At::Zitadel(_, Resource { grant: Some(_), .. }) => {
                ["PROJECT_GRANT_OWNER_VIEWER", "PROJECT_GRANT_OWNER", "PROJECT_OWNER", "PROJECT_OWNER_VIEWER"]
            }
            At::Zitadel(..) => {
                ["PROJECT_OWNER_VIEWER", "PROJECT_OWNER", "PROJECT_OWNER_GLOBAL", "PROJECT_OWNER_VIEWER_GLOBAL"]
            }
        }
    }

    /// Whether its provider stores and enforces ends.
    pub fn is_at_infisical(&self) -> bool {
        matches!(self.at, At::Infisical(..))
    }

    /// Its object, for the API server.
    pub fn object(&self) -> String {
        format!("pm/{}", self.name)
    }

    /// Its object with these roles.
    pub fn declares(&self, roles: Value) -> Value {
        self.layer(&self.name, roles)
    }

    /// An object of another name on the same target.
    pub fn layer(&self, name: &str, roles: Value) -> Value {
        let (provider, project, kind) = match &self.at {
            At::Infisical(_, kind) => {
                ("infisical", json!({"id": worlds::INFISICAL_PROJECT}), json!(format!("{kind:?}")))
            }
            At::Zitadel(_, Resource { grant: None, .. }) => {
                ("zitadel", json!({"id": worlds::ZITADEL_PROJECT}), json!("User"))
            }
            At::Zitadel(_, Resource { grant: Some(grant), .. }) => {
                ("zitadel", json!({"id": worlds::ZITADEL_PROJECT, "grantId": grant}), json!("User"))
            }
        };
        json!({
            "apiVersion": "membership.dev/v1alpha1", "kind": "ProjectMembership", "metadata": {"name": name},
            "spec": {
                "providerRef": {"name": provider},
                "project": project,
                "subject": {"kind": kind, "id": self.id},
                "roles": roles,
            },
        })
    }

    /// The same with further fields of the spec.
    pub fn declares_with(&self, roles: Value, fields: Value) -> Value {
        with(self.declares(roles), fields)
    }

    /// The roles in force for it now, without the base that grants nothing.
    pub fn holds(&self) -> BTreeSet<String> {
        let now = now();
        let mut roles = match &self.at {
            At::Infisical(infisical, _) => infisical.effective_roles(worlds::INFISICAL_PROJECT, &self.id, now),
            At::Zitadel(zitadel, of) => zitadel.effective_roles(of, &self.id, now),
        };
        roles.remove("no-access");
        roles
    }

    /// Waits until exactly these roles are in force.
    pub async fn has(&self, roles: &[&str]) {
        let expected = set(roles);
        eventually(SOON, &format!("{} holds {expected:?}", self.name), async || {
            let there = self.holds();
            if there == expected { Ok(()) } else { Err(format!("{there:?}, after {:#?}", self.writes())) }
        })
        .await;
    }

    /// Fails unless exactly these roles are in force now.
    #[track_caller]
    pub fn has_now(&self, roles: &[&str], why: &str) {
        let (expected, there) = (set(roles), self.holds());
        assert_eq!(there, expected, "{}, {why}: expected {expected:?}, there was {there:?}", self.name);
    }

    /// Waits until a role is in force, and returns when that was observed.
    pub async fn gains(&self, role: &str) -> Timestamp {
        self.sees(&format!("{} holds {role}", self.name), || self.holds().contains(role)).await
    }

    /// Waits until a role is no longer in force, and returns when that was observed.
    pub async fn loses(&self, role: &str) -> Timestamp {
        self.sees(&format!("{} holds {role} no more", self.name), || !self.holds().contains(role)).await
    }

    /// Fails unless a role is in force all the time until `at`.
    pub async fn keeps(&self, role: &str, at: Timestamp, case: &str) {
        while now() < at {
            let there = self.holds();
            assert!(there.contains(role), "{}, {case}: {role} is to stay, there was {there:?}", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Fails unless a role ends at `end`, and is removed from the provider's list soon after.
    pub async fn ends(&self, role: &str, end: Timestamp, case: &str) {
        let gone = self.loses(role).await;
        let late = gone.duration_since(end);
        assert!(
            SignedDuration::ZERO <= late && late < LATE,
            "{}, {case}: {role} was to end at {end}, and ended at {gone}",
            self.name
        );
        self.sees(&format!("{}, {case}: {role} is out of the list", self.name), || !self.listed().contains(role)).await;
    }

    async fn sees(&self, expected: &str, is: impl Fn() -> bool) -> Timestamp {
        let deadline = now() + SignedDuration::try_from(SOON).unwrap();
        while !is() {
            assert!(
                now() < deadline,
                "expected: {expected}\nthere was: {:?}\nafter {:#?}",
                self.holds(),
                self.writes()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        now()
    }

    /// The roles that the provider has in its list, ended ones too.
    pub fn listed(&self) -> BTreeSet<String> {
        match &self.at {
            At::Infisical(..) => self.rows().into_iter().map(|row| row.role).collect(),
            At::Zitadel(zitadel, of) => zitadel.roles(of, &self.id).into_iter().collect(),
        }
    }

    /// Infisical's rows, without their ids, which every write changes. None at ZITADEL.
    pub fn rows(&self) -> Vec<RoleRow> {
        match &self.at {
            At::Infisical(infisical, _) => {
                let rows = infisical.roles(worlds::INFISICAL_PROJECT, &self.id);
                rows.into_iter().map(|row| RoleRow { id: String::new(), ..row }).collect()
            }
            At::Zitadel(..) => Vec::new(),
        }
    }

    /// When a role ends at Infisical; `None`: there is no such row, or it is permanent.
    pub fn end_of(&self, role: &str) -> Option<Timestamp> {
        self.rows().into_iter().find(|row| row.role == role)?.temporary.map(|window| window.end)
    }

    /// How many memberships it has.
    pub fn memberships(&self) -> usize {
        match &self.at {
            At::Infisical(infisical, _) => infisical.memberships_of(worlds::INFISICAL_PROJECT, &self.id),
            At::Zitadel(zitadel, of) => zitadel.memberships_of(of, &self.id),
        }
    }

    /// Waits until it has this number of memberships.
    pub async fn is_member(&self, memberships: usize) {
        self.sees(&format!("{} has {memberships} memberships", self.name), || self.memberships() == memberships).await;
    }

    /// Sets these as its roles in the dashboard; without any it is removed.
    pub fn by_hand(&self, roles: &[&str]) {
        match &self.at {
            At::Infisical(infisical, _) if roles.is_empty() => {
                infisical.remove_member(worlds::INFISICAL_PROJECT, &self.id);
            }
            At::Infisical(..) => self.rows_by_hand(roles.iter().map(|role| RoleRow::permanent(role)).collect()),
            At::Zitadel(zitadel, of) => zitadel.set_roles(of, &self.id, roles),
        }
    }

    /// The same with Infisical's rows.
    pub fn rows_by_hand(&self, rows: Vec<RoleRow>) {
        let At::Infisical(infisical, _) = &self.at else { panic!("{} isn't at Infisical", self.name) };
        infisical.set_roles(worlds::INFISICAL_PROJECT, &self.id, rows);
    }

    /// All writes about it, oldest first.
    pub fn writes(&self) -> Vec<Request> {
        let requests = match &self.at {
            At::Infisical(infisical, _) => infisical.requests(),
            At::Zitadel(zitadel, _) => zitadel.requests(),
        };
        let ours = |request: &Request| request.path.contains(&self.id) || request.body.contains(&self.id);
        let looks = |request: &Request| request.method == "GET" || request.path.ends_with("/_search");
        requests.into_iter().filter(|request| ours(request) && !looks(request)).collect()
    }

    /// Waits until the project was listed after the last write about it.
    pub async fn is_confirmed(&self) {
        let list = if self.is_at_infisical() { "/identity-memberships" } else { "/members/_search" };
        self.sees(&format!("a list after the last write about {}", self.name), || {
            let requests = match &self.at {
                At::Infisical(infisical, _) => infisical.requests(),
                At::Zitadel(zitadel, _) => zitadel.requests(),
            };
            let ours = |request: &Request| request.path.contains(&self.id) || request.body.contains(&self.id);
            let is_list = |request: &Request| request.path.split('?').next().is_some_and(|path| path.ends_with(list));
            let written =
                requests.iter().rposition(|request| ours(request) && !is_list(request) && request.method != "GET");
            requests.iter().rposition(is_list) > written
        })
        .await;
    }

    /// How often the project was listed.
    pub fn lists(&self) -> usize {
        match &self.at {
            At::Infisical(infisical, _) => {
                infisical.count("GET", &format!("*/{}/identity-memberships", worlds::INFISICAL_PROJECT))
            }
            At::Zitadel(zitadel, _) => zitadel.count("POST", &format!("*/{}/members/_search", worlds::ZITADEL_PROJECT)),
        }
    }

    /// Waits until the project was listed this many more times, so that all who use lists have used one.
    pub async fn is_listed(&self, times: usize) {
        let wanted = self.lists() + times;
        self.sees(&format!("{} more lists of the project of {}", times, self.name), || self.lists() >= wanted).await;
    }
}

/// The e-mail of a user of Infisical.
pub fn email_of(name: &str, id: &str) -> String {
    format!("{name}-{}@acme.example", id.trim_start_matches("00000000-0000-4000-8000-").trim_start_matches('0'))
}

/// The object with further fields of the spec.
pub fn with(mut object: Value, fields: Value) -> Value {
    let (Some(spec), Value::Object(fields)) = (object["spec"].as_object_mut(), fields) else {
        panic!("no spec, or no fields");
    };
    spec.extend(fields);
    object
}

/// An instant that many seconds from now, on a whole second, later rather than earlier.
pub fn in_seconds(seconds: i64) -> Timestamp {
    let now = now();
    Timestamp::from_second(now.as_second() + seconds + i64::from(now.subsec_nanosecond() > 0)).unwrap()
}

/// A time in a status.
pub fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no time"))
}

/// Whether a list in a status is empty, or was never written.
pub fn is_empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}

/// Waits until the clock shows `at`.
pub async fn until(at: Timestamp) {
    let wait = at.duration_since(now());
    tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
}

/// Runs a test for each case, all at once.
pub async fn each<T>(cases: impl IntoIterator<Item = T>, test: impl AsyncFn(T)) {
    let test = &test;
    futures::future::join_all(cases.into_iter().map(async |case| test(case).await)).await;
}
