use serde_json::{Value, json};

use super::*;

const PROJECT: &str = "6ec3d92b-3251-4084-9a12-ffb509a03ffc";
const IDENTITY: &str = "24160fbf-24bd-49d7-95de-feb53df75187";

fn spec(changes: Value) -> ProjectMembershipSpec {
    let mut spec = json!({
        "providerRef": {"name": "provider"},
        "project": {"id": PROJECT},
        "subject": {"kind": "Identity", "id": IDENTITY},
        "roles": [{"role": "viewer"}],
    });
    for (field, value) in changes.as_object().unwrap() {
        spec[field] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn zitadel(changes: Value) -> ProjectMembershipSpec {
    let mut spec = spec(json!({"project": {"id": "331"}, "subject": {"kind": "User", "id": "332"}}));
    let changed = self::spec(changes.clone());
    let has = |field: &str| changes.get(field).is_some();
    if has("project") {
        spec.project = changed.project;
    }
    if has("subject") {
        spec.subject = changed.subject;
    }
    spec
}

fn zitadel_server() -> ServerKind {
    ServerKind::Zitadel { organization_id: Some("69".to_owned()) }
}

fn temporary(temporary: Value) -> ProjectMembershipSpec {
    spec(json!({"roles": [{"role": "deployer", "temporary": temporary}]}))
}

#[test]
fn a_spec_that_cannot_be_carried_out_is_refused_with_what_to_write_instead() {
    for (spec, message) in [
        (spec(json!({"roles": []})), "spec.roles is empty: declare at least one role, or delete the object"),
        (
            spec(json!({"roles": [{"role": "viewer"}, {"role": "viewer"}]})),
            "spec.roles: \"viewer\" is declared twice: leave one",
        ),
        (
            spec(json!({"roles": [{"role": "custom"}]})),
            "spec.roles: \"custom\" is how Infisical marks every custom role, not a role: write the role's own slug",
        ),
        (temporary(json!({})), "spec.roles[deployer].temporary has no end: set duration, expirationTime or both"),
        (
            temporary(json!({"startTime": "2026-12-01T08:00:00Z"})),
            "spec.roles[deployer].temporary has no end: set duration, expirationTime or both",
        ),
        (
            temporary(json!({"startTime": "2026-12-01T08:00:00Z", "expirationTime": "2026-12-01T08:00:00Z"})),
            "spec.roles[deployer].temporary: expirationTime 2026-12-01T08:00:00Z is not after startTime 2026-12-01T08:00:00Z: write a later expirationTime, or set duration instead",
        ),
        (
            temporary(json!({"duration": "0h"})),
            "spec.roles[deployer].temporary.duration: \"0h\" is a duration of nothing: write at least 1s",
        ),
        (
            temporary(json!({"duration": "11y"})),
            "spec.roles[deployer].temporary.duration: \"11y\" is not a duration: write weeks, days, hours, minutes and seconds in this order, as 1d, 90m or 1h30m",
        ),
        (
            temporary(json!({"expirationTime": "2027-01-01T00:00:00+14:60"})),
            "spec.roles[deployer].temporary.expirationTime: \"2027-01-01T00:00:00+14:60\" is not a time: write date, time and offset, as 2026-12-01T08:00:00Z or 2026-12-01T08:00:00+01:00",
        ),
        (
            temporary(json!({"duration": "1h", "startTime": "tomorrow"})),
            "spec.roles[deployer].temporary.startTime: \"tomorrow\" is not a time: write date, time and offset, as 2026-12-01T08:00:00Z or 2026-12-01T08:00:00+01:00",
        ),
        (
            spec(json!({"resyncInterval": "soon"})),
            "spec.resyncInterval: \"soon\" is not a duration: write weeks, days, hours, minutes and seconds in this order, as 1d, 90m or 1h30m",
        ),
    ] {
        let refusal = Refusal { reason: Reason::InvalidSpec, message: message.to_owned() };
        assert_eq!(admit(&spec), Err(refusal));
    }
}

#[test]
fn an_admitted_spec_asks_for_its_roles_in_order() {
    let (start, end) = ("2026-12-01T08:00:00Z", "2026-12-01T12:00:00Z");
    let admitted = admit(&spec(json!({"resyncInterval": "10m", "roles": [
        {"role": "viewer"},
        {"role": "deployer", "temporary": {"duration": "1h30m"}},
        {"role": "admin", "temporary": {"startTime": start, "expirationTime": end}},
        {"role": "auditor", "temporary": {"expirationTime": end, "duration": "1d"}},
    ]})))
    .unwrap();
    let (start, end) = (start.parse().ok(), end.parse().ok());
    let expected = [
        ("viewer", GrantPeriod::Always),
        ("deployer", GrantPeriod::Within { start: None, seconds: Some(5_400), end: None }),
        ("admin", GrantPeriod::Within { start, seconds: None, end }),
        ("auditor", GrantPeriod::Within { start: None, seconds: Some(86_400), end }),
    ];
    let expected: Vec<AdmittedRole> = expected.map(|(role, when)| AdmittedRole { role: role.to_owned(), when }).into();
    assert_eq!(admitted.roles(), expected);
}

#[test]
fn ids_of_infisical_are_compared_in_lower_case() {
    let spec = spec(json!({
        "project": {"id": PROJECT.to_uppercase()},
        "subject": {"kind": "Identity", "id": IDENTITY.to_uppercase()},
    }));
    let expected = Target {
        project: Project { organization_id: None, id: PROJECT.to_owned(), grant_id: None },
        subject_kind: SubjectKind::Identity,
        subject_id: IDENTITY.to_owned(),
    };
    assert_eq!(target(&spec, &ServerKind::Infisical, &PinnedIds::default()), Ok(Some(expected)));
}

#[test]
fn a_memberships_organization_goes_before_the_providers() {
    let organization = |spec: &ProjectMembershipSpec, server: &ServerKind| {
        target(spec, server, &PinnedIds::default())
            .map(|target| target.and_then(|target| target.project.organization_id))
    };
    let own = zitadel(json!({"project": {"id": "331", "organizationId": "70"}}));
    assert_eq!(organization(&own, &zitadel_server()), Ok(Some("70".to_owned())));
    assert_eq!(organization(&zitadel(json!({})), &zitadel_server()), Ok(Some("69".to_owned())));
    assert_eq!(organization(&zitadel(json!({})), &ServerKind::Zitadel { organization_id: None }), Ok(None));
}

#[test]
fn an_impossible_target_is_refused_with_what_to_write_instead() {
    let uuid = "copy the id from the settings page, or write the name as name, and create the object again";
    let digits = "copy the resource id from the console, or write the name as name, and create the object again";
    let infisical = ServerKind::Infisical;
    for (spec, server, message) in [
        (
            spec(json!({"project": {"id": "web"}})),
            &infisical,
            format!("spec.project.id is \"web\", but Infisical's ids are UUIDs: {uuid}"),
        ),
        (
            spec(json!({"subject": {"kind": "Identity", "id": IDENTITY.replace('-', "")}})),
            &infisical,
            format!("spec.subject.id is {:?}, but Infisical's ids are UUIDs: {uuid}", IDENTITY.replace('-', "")),
        ),
        (
            spec(json!({"project": {"id": PROJECT, "organizationId": "69"}})),
            &infisical,
            "spec.project.organizationId is for ZITADEL; an Infisical project is found without it: create the object again without it".to_owned(),
        ),
        (
            spec(json!({"project": {"id": PROJECT, "grantId": "69"}})),
            &infisical,
            "spec.project.grantId is for ZITADEL; Infisical has no project grants: create the object again without it".to_owned(),
        ),
        (
            zitadel(json!({"project": {"id": "331", "grantId": "a"}})),
            &zitadel_server(),
            format!("spec.project.grantId is \"a\", but ZITADEL's ids are digits: {digits}"),
        ),
        (
            zitadel(json!({"subject": {"kind": "Group", "name": "ops"}})),
            &zitadel_server(),
            "spec.subject.kind is Group, but ZITADEL knows User only: create the object again with kind User".to_owned(),
        ),
        (
            zitadel(json!({"project": {"id": PROJECT}})),
            &zitadel_server(),
            format!("spec.project.id is {PROJECT:?}, but ZITADEL's ids are digits: {digits}"),
        ),
        (
            zitadel(json!({"subject": {"kind": "User", "id": "../332"}})),
            &zitadel_server(),
            format!("spec.subject.id is \"../332\", but ZITADEL's ids are digits: {digits}"),
        ),
        (
            zitadel(json!({"project": {"id": "331", "organizationId": "69\r\nx: y"}})),
            &zitadel_server(),
            format!("spec.project.organizationId is \"69\\r\\nx: y\", but ZITADEL's ids are digits: {digits}"),
        ),
        (
            zitadel(json!({"subject": {"kind": "Identity", "id": "332"}})),
            &zitadel_server(),
            "spec.subject.kind is Identity, but ZITADEL knows User only: create the object again with kind User".to_owned(),
        ),
    ] {
        assert_eq!(target(&spec, server, &PinnedIds::default()), Err(Refusal { reason: Reason::InvalidSpec, message }));
    }
}

#[test]
fn what_a_name_stands_for_is_taken_from_what_was_pinned_and_an_id_from_the_spec() {
    let pinned = PinnedIds { project_id: Some(PROJECT.to_owned()), subject_id: Some(IDENTITY.to_owned()) };
    let subject = json!({"kind": "Identity", "name": "ci-deployer"});
    let named = spec(json!({"project": {"name": "web"}, "subject": subject}));
    let found = target(&named, &ServerKind::Infisical, &pinned).unwrap().unwrap();
    assert_eq!((found.project.id.as_str(), found.subject_id.as_str()), (PROJECT, IDENTITY));
    for missing in [PinnedIds { subject_id: None, ..pinned.clone() }, PinnedIds { project_id: None, ..pinned.clone() }]
    {
        assert_eq!(target(&named, &ServerKind::Infisical, &missing), Ok(None));
    }
    let other = PinnedIds { project_id: Some(IDENTITY.to_owned()), subject_id: Some(PROJECT.to_owned()) };
    let by_id = spec(json!({"project": {"id": PROJECT}, "subject": {"kind": "Identity", "id": IDENTITY}}));
    let found = target(&by_id, &ServerKind::Infisical, &other).unwrap().unwrap();
    assert_eq!((found.project.id.as_str(), found.subject_id.as_str()), (PROJECT, IDENTITY));
    // The resolved value is not a valid id of this server. It is never sent.
    let odd = PinnedIds { subject_id: Some("../x".to_owned()), ..pinned };
    assert!(target(&named, &ServerKind::Infisical, &odd).is_err());
}
