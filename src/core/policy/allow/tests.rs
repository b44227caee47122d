use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::grants::{Starts, evaluate};

const PROJECT: &str = "6ec3d92b-3251-4084-9a12-ffb509a03ffc";
const IDENTITY: &str = "24160fbf-24bd-49d7-95de-feb53df75187";

/// A rule for team-a: viewer for any subject in the project.
fn rule(changes: Value) -> AllowRule {
    let mut rule = json!({"namespaces": {"names": ["team-a"]}, "projects": [PROJECT], "roles": ["viewer"]});
    for (field, value) in changes.as_object().unwrap() {
        rule[field] = value.clone();
    }
    serde_json::from_value(rule).unwrap()
}

fn labels(labels: Value) -> BTreeMap<String, String> {
    serde_json::from_value(labels).unwrap()
}

const PLACE: ResolvedTarget<'_> =
    ResolvedTarget { project_id: Some(PROJECT), subject_kind: SubjectKind::Identity, subject_id: Some(IDENTITY) };
const PERMANENT: RequestedAccess = RequestedAccess::Grant { length: None, has_expiration_time: false };

fn hours(hours: i64) -> RequestedAccess {
    RequestedAccess::Grant { length: Some(SignedDuration::from_hours(hours)), has_expiration_time: false }
}

fn until(hours: i64) -> RequestedAccess {
    RequestedAccess::Grant { length: Some(SignedDuration::from_hours(hours)), has_expiration_time: true }
}

fn asked(rules: &[AllowRule], role: &str, access: RequestedAccess) -> Result<(), MissingPermission> {
    allowed(rules, Namespace { name: "team-a", labels: None }, PLACE, role, access)
}

#[test]
fn a_rule_allows_what_fits_all_of_its_fields() {
    for (changes, role, access, expected) in [
        (json!({}), "viewer", PERMANENT, Ok(())),
        (json!({}), "viewer", hours(9), Ok(())),
        (json!({}), "admin", PERMANENT, Err(MissingPermission::Role)),
        // Roles are case-sensitive.
        (json!({}), "Viewer", PERMANENT, Err(MissingPermission::Role)),
        (json!({"roles": ["*"]}), "admin", PERMANENT, Ok(())),
        (json!({"roles": []}), "viewer", PERMANENT, Err(MissingPermission::Role)),
        (json!({"namespaces": {"names": ["team-b"]}}), "viewer", PERMANENT, Err(MissingPermission::Namespace)),
        (json!({"namespaces": {}}), "viewer", PERMANENT, Err(MissingPermission::Namespace)),
        (json!({"namespaces": {"names": ["*"]}}), "viewer", PERMANENT, Err(MissingPermission::Namespace)),
        (json!({"namespaces": {"selector": {}}}), "viewer", PERMANENT, Ok(())),
        // The schema does not allow both.
        (
            json!({"namespaces": {"names": ["team-b"], "selector": {}}}),
            "viewer",
            PERMANENT,
            Err(MissingPermission::Namespace),
        ),
        (json!({"projects": ["*"]}), "viewer", PERMANENT, Ok(())),
        (json!({"projects": [PROJECT.to_uppercase()]}), "viewer", PERMANENT, Ok(())),
        (json!({"projects": ["6ec3d92b-*"]}), "viewer", PERMANENT, Err(MissingPermission::Project)),
        (json!({"projects": []}), "viewer", PERMANENT, Err(MissingPermission::Project)),
        (json!({"subjectKinds": ["User", "Identity"]}), "viewer", PERMANENT, Ok(())),
        (json!({"subjectKinds": ["User", "Group"]}), "viewer", PERMANENT, Err(MissingPermission::SubjectKind)),
        (json!({"subjects": [IDENTITY]}), "viewer", PERMANENT, Ok(())),
        (json!({"subjects": [PROJECT]}), "viewer", PERMANENT, Err(MissingPermission::Subject)),
        (json!({"maxDuration": "4h"}), "viewer", hours(4), Ok(())),
        (json!({"maxDuration": "4h"}), "viewer", hours(5), Err(MissingPermission::Shorter(14_400))),
        (json!({"maxDuration": "4h"}), "viewer", PERMANENT, Err(MissingPermission::Temporary(Some(14_400)))),
        (json!({"maxDuration": "soon"}), "viewer", hours(1), Err(MissingPermission::Shorter(0))),
        (json!({"requireExpirationTime": true}), "viewer", until(9), Ok(())),
        (json!({"requireExpirationTime": true}), "viewer", hours(1), Err(MissingPermission::ExpirationTime)),
        (json!({"requireExpirationTime": true}), "viewer", PERMANENT, Err(MissingPermission::Temporary(None))),
        (
            json!({"requireExpirationTime": true, "maxDuration": "4h"}),
            "viewer",
            until(5),
            Err(MissingPermission::Shorter(14_400)),
        ),
        // A namespace that may grant a role temporarily may also remove it.
        (json!({"requireExpirationTime": true, "maxDuration": "4h"}), "viewer", RequestedAccess::Take, Ok(())),
        (json!({}), "admin", RequestedAccess::Take, Err(MissingPermission::Role)),
    ] {
        assert_eq!(asked(&[rule(changes.clone())], role, access), expected, "{changes} {role} {access:?}");
    }
}

#[test]
fn without_a_rule_nothing_is_allowed_and_of_several_one_is_enough() {
    assert_eq!(asked(&[], "viewer", RequestedAccess::Take), Err(MissingPermission::Namespace));
    let rules = [rule(json!({"namespaces": {"names": ["team-b"]}})), rule(json!({"roles": ["x"]})), rule(json!({}))];
    assert_eq!(asked(&rules, "viewer", PERMANENT), Ok(()));
    // Two rules are not combined: one has the project, the other the role.
    let halves = [rule(json!({"roles": ["x"]})), rule(json!({"projects": [IDENTITY]}))];
    assert_eq!(asked(&halves, "viewer", PERMANENT), Err(MissingPermission::Role));
}

#[test]
fn labels_are_compared_as_kubernetes_does() {
    for (selector, has, fits) in [
        (json!({"matchLabels": {"team": "a"}}), json!({"team": "a", "x": "y"}), true),
        (json!({"matchLabels": {"team": "a"}}), json!({"team": "b"}), false),
        (json!({"matchLabels": {"team": "a"}}), json!({}), false),
        (
            json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}),
            json!({"team": "b"}),
            true,
        ),
        (json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]}), json!({}), false),
        (json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}), json!({}), true),
        (
            json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}),
            json!({"team": "a"}),
            false,
        ),
        (json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]}), json!({"team": ""}), true),
        (json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]}), json!({}), false),
        (json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}), json!({}), true),
        (json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}), json!({"team": "a"}), false),
        (
            json!({"matchLabels": {"team": "a"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]}),
            json!({"team": "a"}),
            false,
        ),
    ] {
        let rules = [rule(json!({"namespaces": {"selector": selector}}))];
        let (has, shown) = (labels(has.clone()), has);
        let found = allowed(&rules, Namespace { name: "team-a", labels: Some(&has) }, PLACE, "viewer", PERMANENT);
        assert_eq!(found, if fits { Ok(()) } else { Err(MissingPermission::Namespace) }, "{selector} on {shown}");
    }
}

#[test]
fn labels_that_arent_known_yet_allow_nothing_and_are_waited_for_only_where_they_decide() {
    let selector = json!({"selector": {"matchLabels": {"team": "a"}}});
    let by_label = rule(json!({"namespaces": selector}));
    assert_eq!(asked(std::slice::from_ref(&by_label), "viewer", PERMANENT), Err(MissingPermission::Labels));
    assert_eq!(asked(std::slice::from_ref(&by_label), "admin", PERMANENT), Err(MissingPermission::Namespace));
    assert_eq!(asked(&[by_label, rule(json!({}))], "viewer", PERMANENT), Ok(()));
}

#[test]
fn a_name_may_be_looked_up_where_some_rule_could_allow_what_it_stands_for() {
    let anywhere = ResolvedTarget { project_id: None, subject_id: None, ..PLACE };
    let only = [rule(json!({"subjects": [IDENTITY]}))];
    let at = |rules: &[AllowRule], place| {
        allowed(rules, Namespace { name: "team-a", labels: None }, place, "viewer", RequestedAccess::LookUp)
    };
    assert_eq!(at(&only, anywhere), Ok(()));
    assert_eq!(
        at(&only, ResolvedTarget { project_id: Some("elsewhere"), ..anywhere }),
        Err(MissingPermission::Project)
    );
    assert_eq!(at(&only, ResolvedTarget { subject_kind: SubjectKind::Group, ..anywhere }), Ok(()));
    assert_eq!(at(&only, ResolvedTarget { subject_id: Some(PROJECT), ..anywhere }), Err(MissingPermission::Subject));
}

fn spec(roles: &Value) -> crate::api::ProjectMembershipSpec {
    serde_json::from_value(json!({
        "providerRef": {"kind": "ClusterMembershipProvider", "name": "central"}, "project": {"id": PROJECT},
        "subject": {"kind": "Identity", "id": IDENTITY}, "roles": roles,
    }))
    .unwrap()
}

fn may_grant(rules: &[AllowRule], roles: &Value, starts: &Starts, now: Timestamp) -> Result<(), Refusal> {
    let admitted = super::super::admit(&spec(roles)).unwrap();
    let grants = evaluate(&admitted, starts, now);
    governed(rules).may_grant(&admitted, &grants)
}

fn governed(rules: &[AllowRule]) -> Governed<'_> {
    Governed { provider: "central", rules, namespace: Namespace { name: "team-a", labels: None }, place: PLACE }
}

fn now() -> Timestamp {
    "2026-12-01T08:00:00Z".parse().unwrap()
}

#[test]
fn how_long_a_grant_runs_counts_from_the_recorded_start_despite_later_edits() {
    let rules = [rule(json!({"maxDuration": "4h"}))];
    let recorded = |start: &str| Starts::recorded(BTreeMap::from([("viewer".to_owned(), start.parse().unwrap())]));
    let none = Starts::recorded(BTreeMap::new());
    for (temporary, starts, fits) in [
        (json!({"duration": "4h"}), &none, true),
        (json!({"duration": "4h1s"}), &none, false),
        (json!({"duration": "10h", "expirationTime": "2026-12-01T12:00:00Z"}), &none, true),
        (json!({"startTime": "2026-12-02T08:00:00Z", "expirationTime": "2026-12-02T12:00:00Z"}), &none, true),
        (json!({"startTime": "2026-12-02T08:00:00Z", "expirationTime": "2026-12-02T12:00:01Z"}), &none, false),
        (json!({"expirationTime": "2026-12-01T12:00:00Z"}), &none, true),
        // Accepted an hour ago; its end was postponed since.
        (json!({"expirationTime": "2026-12-01T11:00:00Z"}), &recorded("2026-12-01T07:00:00Z"), true),
        (json!({"expirationTime": "2026-12-01T11:00:01Z"}), &recorded("2026-12-01T07:00:00Z"), false),
        (json!({"duration": "5h"}), &recorded("2026-12-01T07:00:00Z"), false),
    ] {
        let roles = json!([{"role": "viewer", "temporary": temporary}]);
        assert_eq!(may_grant(&rules, &roles, starts, now()).is_ok(), fits, "{temporary}");
    }
}

#[test]
fn every_role_of_an_object_needs_a_rule() {
    let none = Starts::recorded(BTreeMap::new());
    let refusal = may_grant(&[rule(json!({}))], &json!([{"role": "viewer"}, {"role": "admin"}]), &none, now());
    assert_eq!(refusal.unwrap_err().reason, Reason::NotAllowed);
}

#[test]
fn a_refusal_says_which_rule_is_missing() {
    let refused =
        |changes: Value, role: &str, access| governed(&[rule(changes)]).check(role, access).unwrap_err().message;
    let team = "ClusterMembershipProvider \"central\" has no allow rule for namespace \"team-a\"";
    let advice = "ask the maintainers of the provider object for one, or name another";
    let there = format!("Identity {IDENTITY} in project {PROJECT}");
    assert_eq!(refused(json!({"namespaces": {"names": []}}), "viewer", PERMANENT), format!("{team}: {advice}"));
    assert_eq!(
        refused(json!({"projects": []}), "viewer", PERMANENT),
        format!("{team} with project {PROJECT}: {advice}")
    );
    assert_eq!(
        refused(json!({"subjectKinds": ["Group"]}), "viewer", PERMANENT),
        format!("{team} with the subject kind Identity in project {PROJECT}: {advice}")
    );
    assert_eq!(refused(json!({"subjects": ["x"]}), "viewer", PERMANENT), format!("{team} with {there}: {advice}"));
    assert_eq!(
        refused(json!({"roles": ["x"]}), "viewer", PERMANENT),
        format!("{team} with role \"viewer\" for {there}: {advice}")
    );
    assert_eq!(
        refused(json!({"maxDuration": "36h"}), "viewer", PERMANENT),
        format!("{team} with role \"viewer\" permanently: set its temporary to at most 1d12h, or ask for one")
    );
    assert_eq!(
        refused(json!({"maxDuration": "4h"}), "viewer", hours(5)),
        format!("{team} with role \"viewer\" for more than 4h: shorten it, or ask for one")
    );
    assert_eq!(
        refused(json!({"requireExpirationTime": true}), "viewer", hours(5)),
        format!("{team} with role \"viewer\" without temporary.expirationTime: set it, or ask for one")
    );
    let taken = refused(json!({}), "admin", RequestedAccess::Take);
    assert!(taken.contains("has role \"admin\"") && taken.contains("set roleManagement: Additive"), "{taken}");
}

/// Any rule over a small set of names, so that rules often match the request.
fn any_rule() -> impl Strategy<Value = AllowRule> {
    let some = |names: &'static [&'static str]| prop::sample::subsequence(names, 1..=names.len());
    let namespaces = prop_oneof![
        some(&["team-a", "team-b"]).prop_map(|names| json!({"names": names})),
        Just(json!({"selector": {"matchLabels": {"team": "a"}}})),
        Just(json!({"selector": {}})),
    ];
    let limits =
        prop_oneof![Just(json!({})), Just(json!({"maxDuration": "4h"})), Just(json!({"requireExpirationTime": true}))];
    (namespaces, some(&["p1", "p2", "*"]), some(&["viewer", "admin", "*"]), limits).prop_map(
        |(namespaces, projects, roles, limits)| {
            let mut rule = json!({"namespaces": namespaces, "projects": projects, "roles": roles});
            rule.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
            serde_json::from_value(rule).unwrap()
        },
    )
}

fn any_access() -> impl Strategy<Value = RequestedAccess> {
    let grant = (prop::option::of(0_i64..9), any::<bool>()).prop_map(|(hours, has_end)| RequestedAccess::Grant {
        length: hours.map(SignedDuration::from_hours),
        has_expiration_time: hours.is_some() && has_end,
    });
    prop_oneof![grant, Just(RequestedAccess::Take), Just(RequestedAccess::LookUp)]
}

proptest! {
    #[test]
    fn a_rule_more_never_allows_less_and_their_order_says_nothing(
        rules in prop::collection::vec(any_rule(), 0..5), more in any_rule(), access in any_access(),
        project in prop::sample::select(vec!["p1", "p2", "p3"]), labelled in any::<bool>(),
    ) {
        let labels = BTreeMap::from([("team".to_owned(), if labelled { "a" } else { "b" }.to_owned())]);
        let namespace = Namespace { name: "team-a", labels: Some(&labels) };
        let place = ResolvedTarget { project_id: Some(project), ..PLACE };
        let before = allowed(&rules, namespace, place, "viewer", access);
        let mut with_more = rules.clone();
        with_more.push(more);
        let after = allowed(&with_more, namespace, place, "viewer", access);
        prop_assert!(before.is_err() || after.is_ok());
        let reversed: Vec<AllowRule> = rules.iter().rev().cloned().collect();
        prop_assert_eq!(&before, &allowed(&reversed, namespace, place, "viewer", access));
        // Unknown labels never allow anything that known labels would not allow.
        let unknown = allowed(&rules, Namespace { labels: None, ..namespace }, place, "viewer", access);
        prop_assert!(unknown.is_err() || before.is_ok());
    }

    #[test]
    fn a_message_depends_on_no_rule_of_another_namespace(
        rules in prop::collection::vec(any_rule(), 0..5), access in any_access(), role in prop::sample::select(vec!["viewer", "owner"]),
    ) {
        let labels = BTreeMap::new();
        let namespace = Namespace { name: "team-a", labels: Some(&labels) };
        let own: Vec<AllowRule> = rules.iter().filter(|rule| rule.namespaces.have(namespace) == Some(true)).cloned().collect();
        let message = |rules| Governed { namespace, ..governed(rules) }.check(role, access).map_err(|refusal| refusal.message);
        prop_assert_eq!(message(&rules), message(&own));
        let named: BTreeSet<&str> = ["team-b", "p1", "p2", "admin"].into();
        if let Err(message) = message(&rules) {
            prop_assert!(named.iter().all(|name| !message.contains(name)), "{}", message);
        }
    }
}
