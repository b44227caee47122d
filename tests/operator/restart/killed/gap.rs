//! The gaps between the steps of a grant.

use std::collections::BTreeSet;
use std::time::Duration;

use control_plane::{ControlPlane, Mark};
use serde_json::{Value, json};
use simulator::{Fault, Order};

use super::Steps;
use crate::evidence::{Call, operator_writes, recorded_roles};
use crate::refusing::Refusal;
use crate::stage::Stage;
use crate::subject::{Subject, each};
use crate::support::{SOON, eventually};

/// Longer than it takes until the kill, shorter than the operator waits for a response.
pub const HELD: Duration = Duration::from_secs(25);

/// Before which step the operator is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// The first list is in progress, nothing is recorded.
    List,
    /// The list has ended, and nothing is recorded.
    Record,
    /// The grants are recorded, and the provider has done nothing.
    Write,
    /// The provider has carried out the write, and has not responded.
    Answer,
    /// The write received its response, and no list has shown it.
    Confirmation,
    /// The write is confirmed, and the status doesn't show it.
    Status,
}

impl Gap {
    fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Record => Some(Refusal {
                resource: "projectmemberships",
                expression: "!has(object.metadata.finalizers)",
                probe: json!({"metadata": {"finalizers": ["membership.dev/revoke"]}}),
            }),
            Self::Status => Some(Refusal::of_ready()),
            Self::List | Self::Write | Self::Answer | Self::Confirmation => None,
        }
    }

    fn arrange(self, stage: &Stage, subject: &Subject) {
        let front = stage.at(subject);
        let (method, path) = subject.call(Call::Create);
        let (list_method, list) = subject.call(Call::List);
        match self {
            Self::List => front.order(Order::always(Fault::Delay(HELD)).on(list_method, &list)),
            Self::Write => front.order(Order::always(Fault::Reset).on(method, &path)),
            Self::Answer => front.order(Order::always(Fault::DelayAfter(HELD)).on(method, &path)),
            // The first list is the one that the plan was made on.
            Self::Confirmation => front.order(Order::nth(2, Fault::Delay(HELD)).on(list_method, &list)),
            Self::Record | Self::Status => {}
        }
    }

    /// Waits until the operator is in the gap with both objects.
    async fn is_reached(self, stage: &Stage, plane: &ControlPlane, mark: Mark, subjects: &[Subject; 2]) {
        let refused = || {
            let events = operator_writes(plane, mark, stage.namespace()).into_iter();
            let refused = events.filter(|event| event.code >= 400 && event.resource == "projectmemberships");
            refused.map(|event| event.name).collect::<BTreeSet<_>>().len()
        };
        let all = |is: &dyn Fn(&Subject) -> bool| subjects.iter().all(is);
        let reached = || match self {
            Self::List => all(&|subject| subject.lists() >= 1),
            Self::Record => refused() == 2,
            Self::Write => all(&|subject| !subject.writes().is_empty()),
            Self::Answer => all(&|subject| !subject.holds().is_empty()),
            Self::Confirmation => all(&|subject| !subject.carried_out().is_empty() && subject.lists() >= 2),
            Self::Status => all(&|subject| !subject.holds().is_empty()) && refused() == 2,
        };
        eventually(SOON, &format!("the operator is in the gap {self:?}"), async || {
            if reached() { Ok(()) } else { Err(format!("{:#?}", operator_writes(plane, mark, stage.namespace()))) }
        })
        .await;
    }
}

/// A grant at each provider, interrupted in the gap.
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
        recorded.push(recorded_roles(&stage.api.get(&subject.object()).await));
    }
    if let Some(refusal) = &refusal {
        refusal.end(plane, stage, &probed).await;
    }
    let written = subjects.each_ref().map(|subject| subject.writes().len());
    steps.repaired().await;

    each(subjects.iter().zip(&recorded).zip(written), async |((subject, recorded), written)| {
        let [a, b, ..] = subject.names();
        stage.ready(&subject.object()).await;
        subject.has_now(&[a, b], &format!("killed {gap:?}"));
        if !matches!(gap, Gap::List | Gap::Record) {
            let mut there = stage.api.get(&subject.object()).await["status"]["managedRoles"].clone();
            // The role's id is recorded when the provider shows it.
            for role in there.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                role.remove("roleId");
            }
            assert_eq!(there, *recorded, "{}, killed {gap:?}: a recorded start stays", subject.name);
        }
        // What was carried out before the kill, with or without a response, isn't written again.
        let again = subject.writes().len() - written;
        let expected = usize::from(matches!(gap, Gap::List | Gap::Record | Gap::Write));
        assert_eq!(again, expected, "{}, killed {gap:?}: {:#?}", subject.name, subject.writes());
        assert_eq!(subject.memberships(), 1, "{}, killed {gap:?}", subject.name);
        // The object itself is released a minute later: a write may have had no response.
        stage.api.ask_to_delete(&subject.object()).await;
        subject.has(&[]).await;
        assert_eq!(subject.memberships(), 0, "{}, killed {gap:?}: nothing is left behind", subject.name);
    })
    .await;
    stage.other_subjects_keep_their_rights();
    steps.done().await;
}
