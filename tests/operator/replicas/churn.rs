//! Replicas are killed repeatedly while everything changes: eventually the state is as without the kills.

use std::collections::BTreeMap;
use std::time::Duration;

use control_plane::ControlPlane;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{leads, replica};
use crate::evidence::is_ready;
use crate::operator::Operator;
use crate::restart::alone;
use crate::stage::{Stage, set};
use crate::subject::Subject;
use crate::support::eventually;

const EACH: usize = 40;
const LEASE: u64 = 5;
/// Long enough for the other one to take over and act for some time.
const BETWEEN_KILLS: Duration = Duration::from_millis(6500);
/// A replica that was killed may have requested writes. Their roles stay recorded for a minute in which they may still be
/// carried out.
const SETTLED: Duration = Duration::from_secs(180);

/// How long it lasts: 13 s with all the other tests, with `make soak` as configured there.
fn how_long() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS").map_or(13, |seconds| seconds.parse().expect("SOAK_SECONDS: a number"));
    Duration::from_secs(seconds)
}

/// A membership and what was declared for it.
struct Member {
    subject: Subject,
    /// The roles that are declared, as indices of its names; `None`: the object is deleted.
    declared: Option<Vec<usize>>,
    /// How many declarations there were.
    changes: usize,
}

impl Member {
    fn roles(&self) -> Vec<&'static str> {
        let names = self.subject.names();
        self.declared.iter().flatten().map(|index| names[*index]).collect()
    }

    fn object(&self) -> Value {
        let roles: Vec<Value> = self.roles().into_iter().map(|role| json!({"role": role})).collect();
        self.subject.declares(roles.into())
    }
}

/// Kills the leader, and starts it again, until the time has passed, and at least once. Returns how many were killed.
async fn killing(plane: &ControlPlane, replicas: &mut [Option<Operator>; 2], until: Instant) -> usize {
    let mut killed = 0;
    while Instant::now() + BETWEEN_KILLS < until || (killed == 0 && Instant::now() < until + SETTLED) {
        tokio::time::sleep(BETWEEN_KILLS).await;
        for (place, name) in replicas.iter_mut().zip(["first", "second"]) {
            let Some(operator) = place.take() else { continue };
            if !leads(&operator).await {
                *place = Some(operator);
                continue;
            }
            operator.kill().await.unwrap();
            killed += 1;
            *place = Some(replica(plane, name, LEASE).await);
        }
    }
    killed
}

/// Changes one after the other, each at least once, some of them and back again.
async fn changing(stage: &Stage, members: &mut [Member], until: Instant) {
    let (began, total) = (Instant::now(), members.len());
    let pause = (until - began) / u32::try_from(total).unwrap();
    for (number, member) in members.iter_mut().enumerate() {
        member.changes += 1;
        member.declared = match number % 10 {
            0 => None,
            n => Some(if n % 2 == 0 { vec![1] } else { vec![0, 1] }),
        };
        if member.declared.is_none() {
            stage.api.ask_to_delete(&member.subject.object()).await;
        } else {
            stage.api.apply(&[member.object()]).await;
        }
        let due = began + pause * u32::try_from(number + 1).unwrap();
        tokio::time::sleep_until(due).await;
    }
}

/// The state of a member that isn't as expected.
async fn wrong(stage: &Stage, member: &Member) -> Option<String> {
    let (roles, holds) = (set(&member.roles()), member.subject.holds());
    let object = stage.api.find(&member.subject.object()).await;
    let name = &member.subject.name;
    if holds != roles {
        return Some(format!("{name} is to hold {roles:?}, holds {holds:?}, and its object is {object:#?}"));
    }
    match (object, &member.declared) {
        (None, None) => None,
        (Some(object), Some(_)) => {
            let reported = object["status"]["roles"].as_array().cloned().unwrap_or_default();
            let active =
                reported.iter().filter(|role| role["state"] == "Active").filter_map(|role| role["role"].as_str());
            let managed = object["status"]["managedRoles"].as_array().cloned().unwrap_or_default();
            let managed = managed.iter().filter_map(|role| role["role"].as_str());
            let true_to_it = is_ready(&object)
                && set(&active.collect::<Vec<_>>()) == roles
                && set(&managed.collect::<Vec<_>>()) == roles;
            (!true_to_it).then(|| format!("{name}: {:#}", object["status"]))
        }
        (object, declared) => Some(format!("{name} is declared {declared:?}, and there is {object:#?}")),
    }
}

#[tokio::test]
async fn replicas_killed_again_and_again_leave_what_one_that_lives_would() {
    alone(async |plane, stage| {
        let mut members: Vec<Member> = (0..EACH)
            .flat_map(|number| stage.both(&format!("m{number}")))
            .map(|subject| Member { subject, declared: Some(vec![0]), changes: 1 })
            .collect();
        let objects: Vec<Value> = members.iter().map(Member::object).collect();
        join_all(objects.chunks(20).map(|chunk| stage.api.apply(chunk))).await;
        let mut replicas = [Some(replica(plane, "first", LEASE).await), Some(replica(plane, "second", LEASE).await)];
        let until = Instant::now() + how_long();
        let (killed, ()) = tokio::join!(killing(plane, &mut replicas, until), changing(&stage, &mut members, until));
        assert!(killed >= 1, "no replica was killed");
        eventually(SETTLED, "all is as declared, and reported", async || {
            let wrong: Vec<String> =
                join_all(members.iter().map(|member| wrong(&stage, member))).await.into_iter().flatten().collect();
            if wrong.is_empty() { Ok(()) } else { Err(format!("{} of them, as {}", wrong.len(), wrong[0])) }
        })
        .await;
        // One write each declaration: what was in progress at a kill is observed again and not repeated.
        let beyond: BTreeMap<&str, (usize, usize)> = members
            .iter()
            .map(|member| (member.subject.name.as_str(), (member.subject.carried_out().len(), member.changes)))
            .filter(|(_, (written, changes))| written > changes)
            .collect();
        assert!(beyond.is_empty(), "written more often than declared, after {killed} kills: {beyond:?}");
        for operator in replicas.into_iter().flatten() {
            operator.stop().await.unwrap();
        }
    })
    .await;
}
