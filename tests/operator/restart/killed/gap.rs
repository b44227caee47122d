//! The gaps between the steps of a grant.

use std::collections::BTreeSet;
use std::time::Duration;

use control_plane::{ControlPlane, Mark};
use serde_json::{Value, json};
use simulator::{Fault, Order};

use super::Steps;
use crate::evidence::{Call, operator_writes};
use crate::stage::Stage;
use crate::subject::{Subject, each};
use crate::support::{SOON, eventually};

/// Longer than it takes until the kill, shorter than the operator waits for an answer.
pub const HELD: Duration = Duration::from_secs(25);

/// Before which step the operator is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// The status is written, the finalizer isn't.
    Finalizer,
    /// The finalizer is there, the provider has done nothing.
    Write,
    /// The provider has carried the write out, and hasn't answered.
    Answer,
    /// The write was answered, and no list has shown it.
    Confirmation,
    /// The write is confirmed, and the status doesn't say so.
    Status,
}

/// What the API server refuses in one namespace, so that the operator stays in a gap.
struct Refusal {
    resource: &'static str,
    /// What must be true of what is written.
    expression: &'static str,
    /// A patch that it refuses.
    probe: Value,
}

impl Gap {
    fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Finalizer => Some(Refusal {
                resource: "projectmemberships",
                expression: "!has(object.metadata.finalizers)",
                probe: json!({"metadata": {"finalizers": ["membership.dev/revoke"]}}),
            }),
            Self::Status => Some(Refusal {
                resource: "projectmemberships/status",
                expression: "!has(object.status.conditions) \
                             || !object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
                probe: json!({"status": {"conditions": [
                    {"type": "Ready", "status": "True", "reason": "Probe", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                ]}}),
            }),
            Self::Write | Self::Answer | Self::Confirmation => None,
        }
    }

    fn arrange(self, stage: &Stage, subject: &Subject) {
        let front = stage.at(subject);
        let (method, path) = subject.call(Call::Create);
        let (list_method, list) = subject.call(Call::List);
        match self {
            Self::Write => front.order(Order::always(Fault::Reset).on(method, &path)),
            Self::Answer => front.order(Order::always(Fault::DelayAfter(HELD)).on(method, &path)),
            // The first list is the one that the plan was made on.
            Self::Confirmation => front.order(Order::nth(2, Fault::Delay(HELD)).on(list_method, &list)),
            Self::Finalizer | Self::Status => {}
        }
    }

    /// Waits until the operator is in the gap with both objects.
    async fn is_reached(self, stage: &Stage, plane: &ControlPlane, mark: Mark, subjects: &[Subject; 2]) {
        let refused = || {
            let events = operator_writes(plane, mark, &stage.ns.name).into_iter();
            let refused = events.filter(|event| event.code >= 400 && event.resource == "projectmemberships");
            refused.map(|event| event.name).collect::<BTreeSet<_>>().len()
        };
        let all = |is: &dyn Fn(&Subject) -> bool| subjects.iter().all(is);
        let reached = || match self {
            Self::Finalizer => refused() == 2,
            Self::Write => all(&|subject| !subject.writes().is_empty()),
            Self::Answer => all(&|subject| !subject.holds().is_empty()),
            Self::Confirmation => all(&|subject| !subject.carried_out().is_empty() && subject.lists() >= 2),
            Self::Status => all(&|subject| !subject.holds().is_empty()) && refused() == 2,
        };
        eventually(SOON, &format!("the operator is in the gap {self:?}"), async || {
            if reached() { Ok(()) } else { Err(format!("{:#?}", operator_writes(plane, mark, &stage.ns.name))) }
        })
        .await;
    }
}

impl Refusal {
    /// Has the API server refuse it from now on.
    async fn begin(&self, plane: &ControlPlane, stage: &Stage, object: &str) {
        let (namespace, Self { resource, expression, .. }) = (&stage.ns.name, self);
        let name = format!("gap-{namespace}");
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["membership.dev"], "apiVersions": ["v1alpha1"],
                    "operations": ["UPDATE"], "resources": [resource],
                }]},
                "validations": [{
                    "expression": format!("object.metadata.namespace != '{namespace}' || ({expression})"),
                    "message": "not in this gap",
                }],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]},
        });
        plane.kubectl().apply(&format!("{policy}\n---\n{binding}\n")).await.unwrap();
        self.answers(stage, object, false).await;
    }

    /// Has the API server take it again.
    async fn end(&self, plane: &ControlPlane, stage: &Stage, object: &str) {
        let name = format!("gap-{}", stage.ns.name);
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            plane.kubectl().ok(&["delete", kind, &name]).await.unwrap();
        }
        self.answers(stage, object, true).await;
    }

    /// Waits until the API server takes the probe, or refuses it.
    async fn answers(&self, stage: &Stage, object: &str, takes: bool) {
        let mut arguments = vec!["patch", object, "--type=merge", "--dry-run=server"];
        if self.resource.ends_with("/status") {
            arguments.push("--subresource=status");
        }
        let probe = self.probe.to_string();
        arguments.extend(["--patch", &probe]);
        eventually(SOON, &format!("the API server takes {probe}: {takes}"), async || {
            let output = stage.ns.run(&arguments, "").await;
            let refused = output.stderr.contains("not in this gap");
            if takes != refused { Ok(()) } else { Err(format!("{}{}", output.stdout, output.stderr)) }
        })
        .await;
    }
}

/// A grant at each provider, met in the gap.
pub async fn granting(plane: &ControlPlane, stage: &Stage, gap: Gap, steps: &Steps<'_>) {
    let subjects = stage.both("granted");
    let declared = subjects.each_ref().map(|subject| {
        let [a, b, ..] = subject.names();
        subject.declares(json!([{"role": a}, {"role": b, "temporary": {"duration": "1h"}}]))
    });
    stage.api.apply(&declared).await;
    let probed = subjects[0].object();
    let refusal = gap.refusal();
    if let Some(refusal) = &refusal {
        refusal.begin(plane, stage, &probed).await;
    }
    subjects.iter().for_each(|subject| gap.arrange(stage, subject));
    let mark = plane.audit().mark().unwrap();
    steps.arranged().await;
    gap.is_reached(stage, plane, mark, &subjects).await;
    steps.reached().await;

    let mut recorded = Vec::new();
    for subject in &subjects {
        stage.at(subject).clear_orders();
        recorded.push(stage.api.get(&subject.object()).await["status"]["managedRoles"].clone());
    }
    if let Some(refusal) = &refusal {
        refusal.end(plane, stage, &probed).await;
    }
    let written = subjects.each_ref().map(|subject| subject.writes().len());
    steps.mended().await;

    each(subjects.iter().zip(&recorded).zip(written), async |((subject, recorded), written)| {
        let [a, b, ..] = subject.names();
        stage.ready(&subject.object()).await;
        subject.has_now(&[a, b], &format!("killed {gap:?}"));
        let there = stage.api.get(&subject.object()).await["status"]["managedRoles"].clone();
        assert_eq!(there, *recorded, "{}, killed {gap:?}: a recorded start stays", subject.name);
        // What was carried out before the kill, answered or not, isn't written again.
        let again = subject.writes().len() - written;
        let expected = usize::from(matches!(gap, Gap::Finalizer | Gap::Write));
        assert_eq!(again, expected, "{}, killed {gap:?}: {:#?}", subject.name, subject.writes());
        assert_eq!(subject.memberships(), 1, "{}, killed {gap:?}", subject.name);
        stage.delete(&subject.object()).await;
        subject.has_now(&[], "when the object is gone");
        assert_eq!(subject.memberships(), 0, "{}, killed {gap:?}: nothing is left behind", subject.name);
    })
    .await;
    stage.strangers_keep_their_rights();
    steps.done().await;
}
