//! A provider that the operator doesn't have, in a folder of its own: what `provider::Backend` and `provider::Provider` ask
//! for is all that observing, planning, applying and confirming need.

#![allow(clippy::unwrap_used, reason = "what fails in a test is to stop it")]

mod provider;
mod structure;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use membership_operator::api::provider::Limits;
use membership_operator::api::{ProjectMembershipSpec, SubjectKind};
use membership_operator::controller::roster::{ListCaller, Roster};
use membership_operator::core::confirm::{Confirmation, confirmation};
use membership_operator::core::grants::{Grant, Starts, evaluate};
use membership_operator::core::layers::{Layer, Phase, record_after};
use membership_operator::core::member::{Change, Entry, Member, Project, Target, Term};
use membership_operator::core::plan::{PlanInputs, plan, shown};
use membership_operator::core::policy::admit;
use membership_operator::core::step::Spacing;
use membership_operator::provider::http::{Client, Endpoint, Policy};
use membership_operator::provider::quota::{EndpointQuota, Permit, Quota, RequestKind, Urgency};
use membership_operator::provider::{Backend, Error, Provider};
use provider::{Directory, FileProvider, Spec};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A declaration of one target and the provider behind it.
struct World {
    folder: tempfile::TempDir,
    provider: FileProvider,
    quota: Quota,
    roster: Roster,
    target: Target,
    declared: Value,
    layer: Layer,
    /// What `status.roles` would say of temporary roles, ended ones too.
    starts: BTreeMap<String, Timestamp>,
}

fn noon() -> Timestamp {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    noon().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

impl World {
    fn new(declared: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spec = Spec { file: folder.path().join("directory.json") };
        let client = Client::new(Policy::default(), Arc::new(())).unwrap();
        let provider = FileProvider::connect(&client, Endpoint::parse("https://files.example").unwrap(), &spec, ());
        let directory = json!({
            "users": {"u-1": "ada", "u-2": "grace"},
            "projects": {"p-1": {
                "name": "shop",
                "roles": ["viewer", "deployer", "auditor"],
                "members": {"u-2": ["viewer"]},
            }},
        });
        std::fs::write(&spec.file, directory.to_string()).unwrap();
        let project = Project { organization_id: None, id: "p-1".to_owned(), grant_id: None };
        let layer = Layer {
            uid: "uid".to_owned(),
            phase: Phase::Counts,
            exclusive: false,
            grants: Vec::new(),
            managed: BTreeMap::new(),
            carried: Vec::new(),
        };
        Self {
            folder,
            provider,
            quota: EndpointQuota::new(FileProvider::ONE_WRITER).quota("files".to_owned(), Limits::default()),
            roster: Roster::new(project.clone(), SubjectKind::User),
            target: Target { project, subject_kind: SubjectKind::User, subject_id: "u-1".to_owned() },
            declared,
            layer,
            starts: BTreeMap::new(),
        }
    }

    async fn permit(&self, kind: RequestKind, urgency: Urgency) -> Permit {
        self.quota.permit(kind, urgency, "team-a").await
    }

    /// What a list that begins now shows.
    async fn observe(&self) -> Result<Option<Member>, Error> {
        let asker =
            ListCaller { quota: &self.quota, urgency: Urgency::Grant, namespace: "team-a", spacing: Spacing::NONE };
        let observed = self.roster.observe(&self.provider, asker, &self.target.subject_id, Some(Instant::now())).await;
        Ok(observed?.member)
    }

    /// The grants that are declared, with the starts that were recorded.
    fn evaluate(&mut self, now: Timestamp) {
        let spec: ProjectMembershipSpec = serde_json::from_value(json!({
            "providerRef": {"name": "files"},
            "project": {"id": "p-1"},
            "subject": {"kind": "User", "id": "u-1"},
            "roles": self.declared,
        }))
        .unwrap();
        let starts = Starts::recorded(self.starts.clone());
        self.layer.grants = match self.layer.phase {
            Phase::Counts => evaluate(&admit(&spec).unwrap(), &starts, now),
            Phase::Holds | Phase::Leaves => Vec::new(),
        };
        let start = |grant: &Grant| match grant.term {
            Term::Permanent => None,
            Term::Temporary(window) => Some((grant.role.clone(), window.start)),
        };
        self.starts.extend(self.layer.grants.iter().filter_map(start));
    }

    /// One pass as the controller makes it: observe, record, plan, apply and confirm. What was written, and how urgent it
    /// was.
    async fn pass(&mut self, now: Timestamp) -> Result<Option<(Change, Urgency)>, Error> {
        self.evaluate(now);
        let observed = self.observe().await?;
        let capabilities = self.provider.capabilities(SubjectKind::User);
        if self.layer.phase == Phase::Counts {
            self.layer.managed = self.layer.record_before(now);
        }
        let none = BTreeSet::new();
        let view = |observed| PlanInputs { observed, capabilities, refused: &none, spared: &none, now, begins: true };
        let layers = [self.layer.clone()];
        let plan = plan(&layers, &view(observed.as_ref()));
        let mut written = None;
        let mut shows = observed.clone();
        if let Some(change) = plan.change() {
            let permit = self.permit(RequestKind::Write, plan.urgency(false)).await;
            let receipt = self.provider.apply(&permit, &self.target, None, change).await?;
            drop(permit);
            shows = self.observe().await?;
            assert_eq!(confirmation(change, receipt, shows.as_ref(), capabilities), Confirmation::Shown);
            written = Some((change.clone(), plan.urgency(false)));
        }
        self.layer.managed = record_after(&self.layer, &[], &shown(&self.layer, &layers, &view(shows.as_ref())), now);
        Ok(written)
    }

    fn directory(&self) -> Directory {
        self.provider.read().unwrap()
    }

    /// The roles of the user in the file.
    fn roles(&self) -> Option<Vec<String>> {
        let directory = self.directory();
        directory.projects["p-1"].members.get("u-1").map(|roles| roles.iter().cloned().collect())
    }

    /// Another writer changes the roles of the user.
    fn by_hand(&self, change: impl FnOnce(&mut BTreeSet<String>)) {
        let mut directory = self.directory();
        change(directory.projects.get_mut("p-1").unwrap().members.entry("u-1".to_owned()).or_default());
        self.provider.write(&directory).unwrap();
    }
}

fn viewer_and_an_hour_of_deployer() -> Value {
    json!([{"role": "viewer"}, {"role": "deployer", "temporary": {"duration": "1h"}}])
}

#[tokio::test]
async fn a_temporary_grant_is_given_ends_and_leaves_what_others_granted() {
    let mut world = World::new(viewer_and_an_hour_of_deployer());
    let (change, urgency) = world.pass(noon()).await.unwrap().unwrap();
    assert!(matches!(change, Change::Create(_)), "{change:?}");
    assert_eq!(urgency, Urgency::Grant);
    assert_eq!(world.roles().unwrap(), ["deployer", "viewer"]);

    world.by_hand(|roles| roles.extend(["auditor".to_owned()]));
    assert_eq!(world.pass(after(3599)).await.unwrap(), None, "nothing differs before the end");

    let (_, urgency) = world.pass(after(3600)).await.unwrap().unwrap();
    assert_eq!(urgency, Urgency::End(after(3600)));
    assert_eq!(world.roles().unwrap(), ["auditor", "viewer"]);
    assert_eq!(world.layer.managed, BTreeMap::from([("viewer".to_owned(), Term::Permanent)]));
    assert_eq!(world.pass(after(3601)).await.unwrap(), None, "an end is an end");

    world.layer.phase = Phase::Leaves;
    world.pass(after(3602)).await.unwrap().unwrap();
    assert_eq!(world.roles().unwrap(), ["auditor"]);
    assert!(world.layer.managed.is_empty());
    assert_eq!(world.directory().projects["p-1"].members["u-2"], BTreeSet::from(["viewer".to_owned()]));
}

#[tokio::test]
async fn what_was_taken_away_by_hand_comes_back_only_until_the_end() {
    let mut world = World::new(viewer_and_an_hour_of_deployer());
    world.pass(noon()).await.unwrap();
    world.by_hand(|roles| roles.clear());
    world.pass(after(60)).await.unwrap().unwrap();
    assert_eq!(world.roles().unwrap(), ["deployer", "viewer"]);
    world.by_hand(|roles| roles.clear());
    world.pass(after(3600)).await.unwrap().unwrap();
    assert_eq!(world.roles().unwrap(), ["viewer"]);
}

#[tokio::test]
async fn a_file_that_can_not_be_read_is_no_empty_list() {
    let mut world = World::new(json!([{"role": "viewer"}]));
    world.pass(noon()).await.unwrap();
    std::fs::write(world.folder.path().join("directory.json"), "{").unwrap();
    let error = world.pass(after(1)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(world.layer.managed.len(), 1, "what is held stays recorded");
}

#[tokio::test]
async fn a_refusal_says_which_role_or_member_it_is_about_and_changes_nothing() {
    let mut world = World::new(json!([{"role": "admin"}]));
    let error = world.pass(noon()).await.unwrap_err();
    assert!(matches!(&error, Error::RoleNotFound { role: Some(role), .. } if role == "admin"), "{error}");
    assert_eq!(world.roles(), None);
    let permit = world.permit(RequestKind::Write, Urgency::Grant).await;
    let replace = Change::Replace(vec![Entry::permanent("viewer")]);
    let error = world.provider.apply(&permit, &world.target, None, &replace).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    assert_eq!(world.provider.apply(&permit, &world.target, None, &Change::Remove).await, Ok(Default::default()));
}

#[tokio::test]
async fn the_defaults_repair_by_the_same_list_invite_no_user_and_know_of_nothing_unusual() {
    let world = World::new(json!([]));
    let permit = world.permit(RequestKind::Write, Urgency::Grant).await;
    let wanted = Change::Create(vec![Entry::permanent("viewer")]);
    world.by_hand(|roles| roles.extend(["deployer".to_owned()]));
    let shown = world.observe().await.unwrap();
    world.provider.repair(&permit, &world.target, None, &wanted, shown.as_ref()).await.unwrap();
    assert_eq!(world.roles().unwrap(), ["viewer"]);
    let shown = world.observe().await.unwrap();
    world.provider.repair(&permit, &world.target, None, &Change::Remove, shown.as_ref()).await.unwrap();
    assert_eq!(world.roles(), None);
    let invited = world.provider.invite(&permit, &world.target.project, "eve").await;
    assert!(matches!(invited, Err(Error::Rejected { .. })), "{invited:?}");
    assert_eq!(world.provider.explain_absence(&permit, &world.target).await, Ok(()));
    assert_eq!((world.provider.signed_in_as(), world.provider.clock().is_none()), (None, true));
}

#[tokio::test]
async fn projects_and_users_are_found_by_their_exact_names() {
    let world = World::new(json!([]));
    let permit = world.permit(RequestKind::Read, Urgency::Grant).await;
    let (provider, project) = (&world.provider, &world.target.project);
    assert_eq!(provider.verify(&permit).await.unwrap().api, "file/v1");
    assert_eq!(provider.find_project(&permit, "shop", None).await.unwrap(), ["p-1"]);
    assert_eq!(provider.find_subject(&permit, project, SubjectKind::User, "ada").await.unwrap(), ["u-1"]);
    assert!(provider.find_subject(&permit, project, SubjectKind::User, "Ada").await.unwrap().is_empty());
}
