//! Laws of one role's window through edits of its spec, admitted and not, and late passes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use membership_operator::api::membership::{ProjectMembershipSpec, RoleGrant, Temporary};
use membership_operator::api::{Duration, Time};
use membership_operator::core::grants::{Grant, RecordHistory, Starts, evaluate};
use membership_operator::core::layers::{Layer, Phase};
use membership_operator::core::member::{Term, Window};
use membership_operator::core::policy::admit;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use crate::generators::{minutes, now};

/// A spec that declares these roles.
pub fn spec(roles: Vec<RoleGrant>) -> ProjectMembershipSpec {
    let mut spec: ProjectMembershipSpec = serde_json::from_value(json!({
        "providerRef": {"name": "infisical"},
        "project": {"id": "6ec3d92b-3251-4084-9a12-ffb509a03ffc"},
        "subject": {"kind": "Identity", "id": "24160fbf-24bd-49d7-95de-feb53df75187"},
        "roles": [],
    }))
    .unwrap();
    spec.roles = roles;
    spec
}

/// A declaration of a role that `admit` accepts.
pub fn temporary() -> impl Strategy<Value = Option<Temporary>> {
    let duration = prop::sample::select(vec!["1m", "30m", "1h", "1h30m", "1d"]).prop_map(|d| Duration(d.to_owned()));
    let at = prop::sample::select(vec![-90, -1, 0, 1, 30, 45, 120]).prop_map(minutes);
    let fields = (option::weighted(0.7, duration), option::weighted(0.4, at.clone()), option::weighted(0.4, at));
    type Window = (Option<Duration>, Option<Timestamp>, Option<Timestamp>);
    let admitted = |(duration, start, end): &Window| {
        (duration.is_some() || end.is_some()) && start.zip(*end).is_none_or(|(start, end)| start < end)
    };
    let temporary = |(duration, start, end): Window| Temporary {
        duration,
        start_time: start.map(Time::from),
        expiration_time: end.map(Time::from),
    };
    option::weighted(0.85, fields.prop_filter("admitted", admitted).prop_map(temporary))
}

/// The next event of the object.
#[derive(Clone, Debug)]
enum Step {
    /// The spec is changed to this.
    Edit(Option<Temporary>),
    /// A pass: the spec is admitted, or it isn't (no rule allows it, it is suspended, …).
    Pass { admitted: bool },
    /// Time passes, or a clock is set back.
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => temporary().prop_map(Step::Edit),
        4 => any::<bool>().prop_map(|admitted| Step::Pass { admitted }),
        2 => prop::sample::select(vec![-20_i64, 1, 17, 60, 3_600]).prop_map(Step::Wait),
    ]
}

/// What an object's status keeps: `roles` of the last admitted spec, and `managedRoles`.
#[derive(Clone, Debug, Default)]
struct Status {
    roles: Vec<Grant>,
    managed: BTreeMap<String, Term>,
}

impl Status {
    fn starts(&self) -> Starts {
        let of_roles = self.roles.iter().map(|grant| (&grant.role, grant.term));
        let of_managed = self.managed.iter().map(|(role, term)| (role, *term));
        let mut recorded: BTreeMap<String, Timestamp> = BTreeMap::new();
        for (role, term) in of_roles.chain(of_managed) {
            if let Term::Temporary(window) = term {
                let known = recorded.entry(role.clone()).or_insert(window.start);
                *known = (*known).min(window.start);
            }
        }
        Starts::recorded(recorded)
    }

    fn layer(&self, phase: Phase, grants: Vec<Grant>) -> Layer {
        Layer { uid: "uid".into(), phase, exclusive: false, grants, managed: self.managed.clone(), carried: Vec::new() }
    }
}

fn end(grants: &[Grant]) -> Option<Timestamp> {
    grants.iter().find_map(|grant| grant.term.end())
}

fn later(a: Option<Timestamp>, b: Option<Timestamp>) -> bool {
    b.is_some_and(|b| a.is_none_or(|a| a > b))
}

proptest! {
    #[test]
    fn only_an_admitted_edit_lengthens_a_grant(first in temporary(), steps in vec(step(), 1..12)) {
        let mut now = now();
        let mut declared = first;
        let mut status = Status::default();
        // The spec that was admitted last, and the end that it was given then.
        let mut word: Option<(Option<Temporary>, Option<Timestamp>)> = None;
        for step in steps {
            match step {
                Step::Edit(spec) => declared = spec,
                Step::Wait(seconds) => now += SignedDuration::from_secs(seconds),
                Step::Pass { admitted: false } => {
                    let layer = status.layer(Phase::Holds, Vec::new());
                    prop_assert_eq!(layer.record_before(now), status.managed.clone());
                }
                Step::Pass { admitted: true } => {
                    let roles = vec![RoleGrant { role: "r".into(), temporary: declared.clone() }];
                    let grants = evaluate(&admit(&spec(roles)).unwrap(), &status.starts(), now);
                    if let Some((term, until)) = word.clone().filter(|(term, _)| *term == declared) {
                        let now_until = end(&grants);
                        prop_assert!(!later(now_until, until), "{term:?} ran until {until:?}, now until {now_until:?}");
                    }
                    let layer = status.layer(Phase::Counts, grants.clone());
                    status = Status { roles: grants.clone(), managed: layer.record_before(now) };
                    word = Some((declared.clone(), end(&grants)));
                }
            }
        }
    }

    #[test]
    fn a_recorded_start_never_moves_later(first in temporary(), edits in vec((temporary(), 0_i64..7_200), 1..6)) {
        let mut now = now();
        let mut status = Status::default();
        let mut known: Option<Timestamp> = None;
        for (temporary, seconds) in std::iter::once((first, 0)).chain(edits) {
            now += SignedDuration::from_secs(seconds);
            let startless = temporary.as_ref().is_some_and(|t| t.start_time.is_none());
            let admitted = admit(&spec(vec![RoleGrant { role: "r".into(), temporary }])).unwrap();
            let grants = evaluate(&admitted, &status.starts(), now);
            let start = match grants[0].term {
                Term::Permanent => None,
                Term::Temporary(window) => Some(window.start),
            };
            if let (true, Some(known), Some(start)) = (startless, known, start) {
                prop_assert!(start <= known, "{start} after {known}");
            }
            let managed = status.layer(Phase::Counts, grants.clone()).record_before(now);
            status = Status { roles: grants, managed };
            known = start;
        }
    }

    #[test]
    fn a_lost_status_gives_no_start_that_the_provider_does_not_know(
        temporary in temporary(),
        shown in option::of((-120_i64..120, -120_i64..120)),
    ) {
        let now = now();
        let at_provider = shown.map(|(start, end)| Window { start: minutes(start), end: minutes(end) });
        let starts = Starts {
            past: RecordHistory::Lost,
            recorded: BTreeMap::new(),
            provider: at_provider.map(|window| ("r".to_owned(), window)).into_iter().collect(),
            expired: BTreeMap::new(),
        };
        let admitted = admit(&spec(vec![RoleGrant { role: "r".into(), temporary: temporary.clone() }])).unwrap();
        let grant = &evaluate(&admitted, &starts, now)[0];
        let Some(temporary) = temporary.filter(|t| t.start_time.is_none() && t.duration.is_some()) else {
            return Ok(());
        };
        let length = SignedDuration::from_secs(i64::try_from(temporary.duration.unwrap().seconds().unwrap()).unwrap());
        match at_provider {
            None => prop_assert!(!grant.in_effect(now)),
            Some(window) => prop_assert!(grant.term.end().unwrap() <= window.start.min(now) + length),
        }
    }

    /// With times so close together that rounding decides which is first.
    #[test]
    fn no_window_starts_after_its_end_and_none_is_in_effect_beyond_the_declared_end(
        start in option::of(-2_000_000_000_i64..2_000_000_000),
        end in -2_000_000_000_i64..2_000_000_000,
        recorded in option::of(-2_000_000_000_i64..2_000_000_000),
        at in 0_i64..2_000_000_000,
        past in prop::sample::select(vec![RecordHistory::New, RecordHistory::Recorded, RecordHistory::Lost]),
    ) {
        let time = |nanoseconds: i64| now() + SignedDuration::from_nanos(nanoseconds);
        let start = start.map(|start| start.min(end - 1));
        let (start_time, expiration_time) = (start.map(time).map(Time::from), Some(Time::from(time(end))));
        let temporary = Temporary { duration: None, start_time, expiration_time };
        let admitted = admit(&spec(vec![RoleGrant { role: "r".into(), temporary: Some(temporary) }])).unwrap();
        let recorded = recorded.map(|at| ("r".to_owned(), time(at))).into_iter().collect();
        let starts = Starts { past, recorded, provider: BTreeMap::new(), expired: BTreeMap::new() };
        let grant = &evaluate(&admitted, &starts, time(at))[0];
        let Term::Temporary(window) = grant.term else { panic!("{grant:?}") };
        prop_assert!(window.start <= window.end, "{window:?}");
        prop_assert!(!grant.in_effect(time(end)), "in effect at its end: {window:?}");
        prop_assert!(!grant.in_effect(time(at)) || at < end, "in effect after its end: {window:?}");
    }

    #[test]
    fn no_time_however_far_off_breaks_the_evaluation(
        at in any::<i64>(),
        recorded in option::of(any::<i64>()),
        end in option::of(any::<i64>()),
        start in option::of(any::<i64>()),
        past in prop::sample::select(vec![RecordHistory::New, RecordHistory::Recorded, RecordHistory::Lost]),
    ) {
        let time = |seconds: i64| {
            let range = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
            Timestamp::from_second(seconds.clamp(*range.start(), *range.end())).unwrap()
        };
        let end = end.map(time).or(Some(Timestamp::MAX));
        let start = start.map(time).filter(|start| end.is_none_or(|end| *start < end));
        let temporary = Temporary {
            duration: Some(Duration("520w".into())),
            start_time: start.map(Time::from),
            expiration_time: end.map(Time::from),
        };
        let admitted = admit(&spec(vec![RoleGrant { role: "r".into(), temporary: Some(temporary) }])).unwrap();
        let known: BTreeMap<String, Timestamp> = recorded.map(|at| ("r".to_owned(), time(at))).into_iter().collect();
        let starts = Starts { past, recorded: known, provider: BTreeMap::new(), expired: BTreeMap::new() };
        let grants = evaluate(&admitted, &starts, time(at));
        let again = evaluate(&admitted, &starts, time(at));
        prop_assert_eq!(grants, again);
    }
}
