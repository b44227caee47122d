#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn terms() -> LeaseTerms {
    LeaseTerms::seconds(60).unwrap()
}

fn record(holder: Option<&str>, second: i64) -> LeaseRecord {
    let renewed = Some(Timestamp::from_second(second).unwrap());
    LeaseRecord { holder: holder.map(str::to_owned), renewed, transitions: 3, terms: Some(terms()) }
}

fn after(origin: Instant, seconds: f64) -> Instant {
    origin + Duration::from_secs_f64(seconds)
}

#[test]
fn what_is_done_follows_from_what_was_seen_and_when() {
    let origin = Instant::now();
    let at = |seconds: f64| after(origin, seconds);
    // What was read at which second, the second of the question, and the expected step.
    type Case = (&'static str, Vec<(Option<LeaseRecord>, f64)>, f64, LeaseStep);
    let cases: Vec<Case> = vec![
        ("nothing was seen: look", vec![], 1.0, LeaseStep::Wait(at(1.0))),
        ("there is none", vec![(None, 0.0)], 0.0, LeaseStep::Take),
        ("it was given back", vec![(Some(record(None, 5)), 0.0)], 0.0, LeaseStep::Take),
        ("another holds it: look again", vec![(Some(record(Some("b"), 5)), 0.0)], 10.0, LeaseStep::Wait(at(11.0))),
        (
            "its end is nearer than the next look",
            vec![(Some(record(Some("b"), 5)), 0.0)],
            53.5,
            LeaseStep::Wait(at(54.0)),
        ),
        ("another's ran out", vec![(Some(record(Some("b"), 5)), 0.0)], 54.0, LeaseStep::Take),
        (
            "the same seen again is no renewal",
            vec![(Some(record(Some("b"), 5)), 0.0), (Some(record(Some("b"), 5)), 50.0)],
            54.0,
            LeaseStep::Take,
        ),
        (
            "a renewal counts from when it was seen",
            vec![(Some(record(Some("b"), 5)), 0.0), (Some(record(Some("b"), 6)), 50.0)],
            103.5,
            LeaseStep::Wait(at(104.0)),
        ),
        (
            "whose clock went back has renewed all the same",
            vec![(Some(record(Some("b"), 5)), 0.0), (Some(record(Some("b"), -900)), 50.0)],
            103.5,
            LeaseStep::Wait(at(104.0)),
        ),
        ("ours, and the answer was lost", vec![(Some(record(Some("a"), 5)), 0.0)], 1.0, LeaseStep::Take),
    ];
    for (case, seen, now, expected) in cases {
        let mut election = Election::new("a".to_owned(), terms());
        for (record, second) in seen {
            election.observe(record, at(second));
        }
        assert_eq!(election.step(at(now)), expected, "{case}");
        assert_eq!(election.until(), None, "{case}: seeing gives no right");
    }
}

#[test]
fn what_is_ours_counts_from_before_it_was_asked_for_and_is_renewed_in_time() {
    let origin = Instant::now();
    let mut election = Election::new("a".to_owned(), terms());
    election.observe(None, origin);
    election.wrote(election.record(Timestamp::UNIX_EPOCH), after(origin, 1.0));
    assert_eq!(election.until(), Some(after(origin, 52.0)));
    assert_eq!(election.step(after(origin, 6.9)), LeaseStep::Wait(after(origin, 7.0)));
    assert_eq!(election.step(after(origin, 7.0)), LeaseStep::Take);
    assert_eq!(election.step(after(origin, 500.0)), LeaseStep::Take, "nobody has written it: it may still be ours");
}

#[test]
fn a_lease_that_another_replica_took_is_lost_permanently() {
    let origin = Instant::now();
    for taken in [Some(record(Some("b"), 9)), Some(record(None, 9)), None] {
        let mut election = Election::new("a".to_owned(), terms());
        election.observe(None, origin);
        election.wrote(election.record(Timestamp::UNIX_EPOCH), origin);
        let to = taken.as_ref().and_then(|record| record.holder.clone());
        election.observe(taken, after(origin, 1.0));
        assert_eq!(election.until(), None);
        assert_eq!(election.step(after(origin, 200.0)), LeaseStep::Lost { to });
    }
}

#[test]
fn it_is_counted_how_often_it_changes_hands() {
    let mut election = Election::new("a".to_owned(), terms());
    assert_eq!(election.record(Timestamp::UNIX_EPOCH).transitions, 0, "a new one");
    election.observe(Some(record(Some("b"), 5)), Instant::now());
    let taken = election.record(Timestamp::UNIX_EPOCH);
    assert_eq!(taken.transitions, 4);
    election.wrote(taken, Instant::now());
    assert_eq!(election.record(Timestamp::UNIX_EPOCH).transitions, 4, "a renewal");
}

#[test]
fn every_lease_leaves_room_for_a_write_and_for_failed_renewals() {
    for seconds in LeaseTerms::SHORTEST..=LeaseTerms::LONGEST {
        let terms = LeaseTerms::seconds(seconds).unwrap();
        let spare = terms.held() - terms.write_limit();
        assert!(spare >= 3 * terms.renew_every(), "{seconds} s: three renewals in a row may fail");
        assert!(terms.awaited() + terms.read_every() <= terms.duration(), "{seconds} s: handed over within it");
        assert!(terms.held() < terms.awaited() && terms.write_limit() <= TIME_LIMIT, "{seconds} s");
    }
    assert_eq!(LeaseTerms::seconds(60).unwrap().write_limit(), TIME_LIMIT, "the default cuts no write short");
    assert_eq!(LeaseTerms::seconds(LeaseTerms::SHORTEST - 1).or(LeaseTerms::seconds(LeaseTerms::LONGEST + 1)), None);
}
