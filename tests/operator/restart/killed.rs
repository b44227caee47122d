//! The operator is killed in each gap of its way: what it had begun is finished after the restart, nothing is done
//! twice, and nothing is left behind.

use std::time::Duration;

use control_plane::{ControlPlane, Mark};
use serde_json::{Value, json};
use simulator::{Fault, Order, worlds};

use super::{alone, operator};
use crate::evidence::{Call, operator_writes, sees};
use crate::stage::Stage;
use crate::subject::{Subject, each};
use crate::support::{SOON, eventually};

/// Long enough for the operator to be killed first.
const HELD: Duration = Duration::from_secs(30);

/// Where the operator is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    /// The status is written, the finalizer isn't.
    BeforeFinalizer,
    /// The finalizer is there, the provider was not written to.
    BeforeWrite,
    /// The provider has carried the write out, and hasn't answered.
    BeforeAnswer,
    /// The write was answered, and no list has shown it.
    BeforeConfirmation,
    /// The write is confirmed, and the status doesn't say so.
    BeforeStatus,
}

impl Gap {
    /// What the API server refuses meanwhile, as an expression that must be true of what is written.
    fn refused(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::BeforeFinalizer => Some(("projectmemberships", "!has(object.metadata.finalizers)")),
            Self::BeforeStatus => Some((
                "projectmemberships/status",
                "!has(object.status.conditions) || !object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
            )),
            Self::BeforeWrite | Self::BeforeAnswer | Self::BeforeConfirmation => None,
        }
    }

    fn arrange(self, stage: &Stage, subject: &Subject) {
        let front = stage.at(subject);
        let (method, path) = subject.call(Call::Create);
        let (list_method, list) = subject.call(Call::List);
        match self {
            Self::BeforeWrite => front.order(Order::always(Fault::Reset).on(method, &path)),
            Self::BeforeAnswer => front.order(Order::always(Fault::DelayAfter(HELD)).on(method, &path)),
            // The first list is the one that the plan was made on.
            Self::BeforeConfirmation => front.order(Order::nth(2, Fault::Delay(HELD)).on(list_method, &list)),
            Self::BeforeFinalizer | Self::BeforeStatus => {}
        }
    }

    /// Waits until the operator is in the gap with both objects.
    async fn is_reached(self, stage: &Stage, plane: &ControlPlane, mark: Mark, subjects: &[Subject; 2]) {
        let refused = |resource: &str| {
            let events = operator_writes(plane, mark, &stage.ns.name).into_iter();
            let refused = events.filter(|event| event.code >= 400 && format!("{}/{}", event.resource, event.subresource) == resource);
            refused.map(|event| event.name).collect::<std::collections::BTreeSet<_>>().len()
        };
        let all = |is: &dyn Fn(&Subject) -> bool| subjects.iter().all(is);
        let reached = || match self {
            Self::BeforeFinalizer => refused("projectmemberships/") == 2,
            Self::BeforeWrite => all(&|subject| !subject.writes().is_empty()),
            Self::BeforeAnswer => all(&|subject| !subject.holds().is_empty()),
            Self::BeforeConfirmation => all(&|subject| !subject.carried_out().is_empty() && subject.lists() >= 2),
            Self::BeforeStatus => all(&|subject| !subject.holds().is_empty()) && refused("projectmemberships/status") == 2,
        };
        eventually(SOON, &format!("the operator is in the gap {self:?}"), async || {
            if reached() { Ok(()) } else { Err(format!("{:#?}", operator_writes(plane, mark, &stage.ns.name))) }
        })
        .await;
    }
}

/// Has the API server refuse what breaks an expression, in one namespace, and waits until it does.
async fn refuse(plane: &ControlPlane, stage: &Stage, object: &str, (resource, expression): (&str, &str)) {
    let namespace = &stage.ns.name;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "gap"},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": ["membership.dev"], "apiVersions": ["v1alpha1"], "operations": ["UPDATE"], "resources": [resource]},
            ]},
            "validations": [{"expression": format!("object.metadata.namespace != '{namespace}' || ({expression})"), "message": "not in this gap"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "gap"}, "spec": {"policyName": "gap", "validationActions": ["Deny"]},
    });
    plane.kubectl().apply(&format!("{policy}\n---\n{binding}\n")).await.unwrap();
    let (probe, subresource) = match resource.ends_with("/status") {
        true => (json!({"status": {"conditions": [ready()]}}), "--subresource=status"),
        false => (json!({"metadata": {"finalizers": ["membership.dev/revoke"]}}), "--field-manager=probe"),
    };
    let arguments = ["patch", object, "--type=merge", "--dry-run=server", subresource, "--patch", &probe.to_string()];
    eventually(SOON, "the API server refuses it", async || {
        let output = stage.ns.run(&arguments, "").await;
        if output.stderr.contains("not in this gap") { Ok(()) } else { Err(format!("{}{}", output.stdout, output.stderr)) }
    })
    .await;
}

fn ready() -> Value {
    json!({"type": "Ready", "status": "True", "reason": "Probe", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// Takes the refusal back, and waits until the API server has noticed.
async fn let_pass(plane: &ControlPlane, stage: &Stage, object: &str, (resource, _): (&str, &str)) {
    let kubectl = plane.kubectl();
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        kubectl.ok(&["delete", kind, "gap", "--ignore-not-found"]).await.unwrap();
    }
    let probe = match resource.ends_with("/status") {
        true => json!({"status": {"conditions": [ready()]}}),
        false => json!({"metadata": {"finalizers": ["membership.dev/revoke"]}}),
    };
    let subresource = if resource.ends_with("/status") { "--subresource=status" } else { "--field-manager=probe" };
    let arguments = ["patch", object, "--type=merge", "--dry-run=server", subresource, "--patch", &probe.to_string()];
    eventually(SOON, "the API server lets it pass", async || {
        let output = stage.ns.run(&arguments, "").await;
        if output.status.success() { Ok(()) } else { Err(output.stderr) }
    })
    .await;
}

async fn killed_in(gap: Gap) {
    alone(async |plane, stage| {
        let subjects = stage.both("killed");
        let declared = subjects.each_ref().map(|subject| {
            let [a, b, ..] = subject.names();
            subject.declares(json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]))
        });
        stage.api.apply(&declared).await;
        let probed = subjects[0].object();
        if let Some(refused) = gap.refused() {
            refuse(plane, &stage, &probed, refused).await;
        }
        subjects.iter().for_each(|subject| gap.arrange(&stage, subject));
        let mark = plane.audit().mark().unwrap();
        let first = operator(plane).await;
        gap.is_reached(&stage, plane, mark, &subjects).await;
        first.kill().await.unwrap();

        for front in [&**stage.simulator.infisical(), stage.simulator.zitadel()] {
            front.clear_orders();
        }
        let before: Vec<(Value, usize)> = {
            let mut before = Vec::new();
            for subject in &subjects {
                let status = stage.api.get(&subject.object()).await["status"]["managedRoles"].clone();
                before.push((status, subject.carried_out().len()));
            }
            before
        };
        if let Some(refused) = gap.refused() {
            let_pass(plane, &stage, &probed, refused).await;
        }
        let tried = subjects.each_ref().map(|subject| subject.writes().len());
        let second = operator(plane).await;
        each(subjects.iter().zip(&before).zip(tried), async |((subject, (managed, done)), tried)| {
            let [a, b, ..] = subject.names();
            stage.ready(&subject.object()).await;
            subject.has_now(&[a, b], &format!("killed {gap:?}"));
            let there = stage.api.get(&subject.object()).await["status"]["managedRoles"].clone();
            assert_eq!(there, *managed, "{}, killed {gap:?}: a recorded start stays", subject.name);
            // What was carried out before the kill, answered or not, isn't written again.
            let after = subject.writes().len() - tried;
            let expected = usize::from(matches!(gap, Gap::BeforeFinalizer | Gap::BeforeWrite));
            assert_eq!(after, expected, "{}, killed {gap:?} after {done} writes: {:#?}", subject.name, subject.writes());
            assert_eq!(subject.memberships(), 1, "{}, killed {gap:?}", subject.name);
            stage.delete(&subject.object()).await;
            subject.has_now(&[], "when the object is gone");
            assert_eq!(subject.memberships(), 0, "{}, killed {gap:?}: nothing is left behind", subject.name);
        })
        .await;
        stage.strangers_keep_their_rights();
        second.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn killed_between_status_and_finalizer_it_goes_on() {
    killed_in(Gap::BeforeFinalizer).await;
}

#[tokio::test]
async fn killed_between_finalizer_and_write_it_goes_on() {
    killed_in(Gap::BeforeWrite).await;
}

#[tokio::test]
async fn killed_before_a_write_is_answered_it_writes_it_no_second_time() {
    killed_in(Gap::BeforeAnswer).await;
}

#[tokio::test]
async fn killed_before_a_write_is_confirmed_it_writes_it_no_second_time() {
    killed_in(Gap::BeforeConfirmation).await;
}

#[tokio::test]
async fn killed_before_the_last_status_it_writes_only_that() {
    killed_in(Gap::BeforeStatus).await;
}

#[tokio::test]
async fn killed_while_it_revokes_it_leaves_nothing_behind() {
    alone(async |plane, stage| {
        let subjects = stage.both("leaving");
        let first = operator(plane).await;
        for subject in &subjects {
            stage.declare(subject, json!([{"role": subject.names()[0]}])).await;
            stage.ready(&subject.object()).await;
            let (method, path) = subject.call(Call::Remove);
            stage.at(subject).order(Order::always(Fault::DelayAfter(HELD)).on(method, &path));
            stage.api.ask_to_delete(&subject.object()).await;
        }
        for subject in &subjects {
            subject.has(&[]).await;
        }
        first.kill().await.unwrap();
        for subject in &subjects {
            let there = stage.api.get(&subject.object()).await;
            assert_eq!(there["metadata"]["finalizers"], json!(["membership.dev/revoke"]), "{}", subject.name);
            stage.at(subject).clear_orders();
        }
        let second = operator(plane).await;
        for subject in &subjects {
            stage.api.is_gone(&subject.object()).await;
            let removals = subject.writes().into_iter().filter(|request| request.method == "DELETE").count();
            assert!(removals <= 2, "{}: asked once more for the provider's own word: {:#?}", subject.name, subject.writes());
            assert_eq!(subject.memberships(), 0, "{}", subject.name);
        }
        second.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn killed_in_the_middle_of_a_cure_it_leaves_no_role_that_nobody_wants() {
    alone(async |plane, stage| {
        let user = stage.user("cured");
        let ([a, b, ..], zitadel) = (user.names(), stage.simulator.zitadel());
        let first = operator(plane).await;
        stage.declare(&user, json!([{ "role": a }])).await;
        stage.ready(&user.object()).await;
        let (method, path) = user.call(Call::Change);
        zitadel.order(Order::nth(1, Fault::LostWrite).on(method, &path));
        zitadel.order(Order::nth(2, Fault::DelayAfter(HELD)).on(method, &path));
        stage.api.merge(&user.object(), &json!({"spec": {"roles": [{"role": b}]}})).await;
        sees("the first write of the cure", || zitadel.count(method, &path) == 2).await;
        first.kill().await.unwrap();
        zitadel.clear_orders();
        let between = user.holds();
        assert!(between.is_subset(&crate::stage::set(&[a, b])), "only what was there or is wanted: {between:?}");
        let second = operator(plane).await;
        user.has(&[b]).await;
        stage.ready(&user.object()).await;
        assert_eq!(zitadel.effective_roles(worlds::ZITADEL_PROJECT, &user.id, zitadel.now()), crate::stage::set(&[b]));
        stage.delete(&user.object()).await;
        user.has_now(&[], "when the object is gone");
        second.stop().await.unwrap();
    })
    .await;
}
