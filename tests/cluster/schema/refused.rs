//! Objects that are refused at apply time, each with the sentence that says what to write instead.

use serde_json::{Value, json};

use super::{numbered, provider_with, refusals, temporary, with, zitadel};
use crate::support::{changed, membership, provider, with_namespace, without};

const DURATION: &str = "write weeks, days, hours, minutes and seconds, whole numbers in this order and each at most once, as 1d, 90m or 1h30m";
const NOTHING: &str = "this is a duration of zero: write at least 1s";
const TEN_YEARS: &str = "this is longer than ten years: write at most 3652d";
/// Durations that both the API server and the operator refuse, and what the API server says of them.
pub const DURATIONS: &[(&str, &[&str])] = &[
    (DURATION, &["", "2 hours", "90", "90min", "1.5h", "-1h", "30m1h", "1h1h", "1H", "P1D", "100ms", "1h\n", "h"]),
    (NOTHING, &["0s", "0w00d0h"]),
    (
        TEN_YEARS,
        &["3653d", "315576001s", "521w5d12h1s", "1000000000s", "9999999999999999999999s", "999999999w999999999d"],
    ),
];
const NO_END: &str =
    "a temporary role needs an end: set duration (as 2h), expirationTime, or both; for a permanent role omit temporary";
const BACKWARDS: &str = "expirationTime must be after startTime: write a later expirationTime or an earlier startTime";
const YEAR: &str = "write a year from 2000 to 2999; for a role without an end omit temporary";
const ROLE: &str = "write the role's slug (Infisical, as viewer) or its key (ZITADEL, as PROJECT_OWNER): letters, digits, and - _ . : after the first";
const ID: &str =
    "write the id as the provider shows it, a UUID at Infisical and digits at ZITADEL: no name, no URL, no spaces";
const NAME: &str = "write the object's name: lower-case letters, digits, - and ., with a letter or digit at both ends";
const KEY: &str = "write a key of the Secret's data, as client-secret: letters, digits, and - _ .";
const URL: &str =
    "write the server's address as https://app.example.com: scheme http or https, a host, no user, query or fragment";
const ONE_SERVER: &str = "write exactly one of infisical and zitadel: a second server needs a second provider object";
const ONE_AUTH: &str = "write exactly one way to sign in: universalAuth or tokenSecretRef";
const ONE_ZITADEL_AUTH: &str =
    "write exactly one way to sign in: personalAccessTokenSecretRef, privateKeyJwtSecretRef or clientCredentials";
const ONE_BUNDLE: &str = "write exactly one source of the certificates: inline, configMapRef or secretRef";
const INSTANCE: &str = "spec.zitadel.instanceHost";
const HOST: &str = "write the instance's domain, as auth.example.com";
const SLUG: &str = "write the sub-organization's slug, as platform-team";
const LIMIT: &str = "write at least 1, or omit the limit";

/// Applies them all, and fails for each that isn't refused at this field with this sentence.
async fn expect_refused(cases: Vec<(Value, &str, &str)>) {
    with_namespace(async |ns| {
        let objects: Vec<Value> = cases.iter().map(|(object, ..)| object.clone()).collect();
        let found = refusals(&ns, &objects).await;
        let mut wrong = String::new();
        for ((object, field, sentence), found) in cases.iter().zip(found) {
            let at_field = found.contains(&format!("{field}: "));
            if !(at_field && found.contains(sentence)) {
                wrong += &format!("\n{}\n  expected: {field}: … {sentence}\n  there was: {found}\n", object["spec"]);
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    })
    .await;
}

#[tokio::test]
async fn a_temporary_role_that_makes_no_sense_is_refused() {
    let duration = |i, text: &str| temporary(i, json!({ "duration": text }));
    let at = "spec.roles[0].temporary.duration";
    let start = "2026-12-01T08:00:00Z";
    let mut cases = vec![
        (temporary(0, json!({})), "spec.roles[0].temporary", NO_END),
        (temporary(1, json!({ "startTime": start })), "spec.roles[0].temporary", NO_END),
        (
            temporary(2, json!({"startTime": start, "expirationTime": start})),
            "spec.roles[0].temporary.expirationTime",
            BACKWARDS,
        ),
        (
            // The same instant, written in two zones.
            temporary(3, json!({"startTime": start, "expirationTime": "2026-12-01T09:00:00+01:00"})),
            "spec.roles[0].temporary.expirationTime",
            BACKWARDS,
        ),
        (
            temporary(4, json!({"expirationTime": "9999-12-31T23:59:59Z"})),
            "spec.roles[0].temporary.expirationTime",
            YEAR,
        ),
        (
            temporary(5, json!({"duration": "1h", "startTime": "1970-01-01T00:00:00Z"})),
            "spec.roles[0].temporary.startTime",
            YEAR,
        ),
        (
            temporary(6, json!({"expirationTime": "tomorrow"})),
            "spec.roles[0].temporary.expirationTime",
            "must be of type date-time",
        ),
        (
            temporary(7, json!({"expirationTime": "2026-12-01"})),
            "spec.roles[0].temporary.expirationTime",
            "must be of type date-time",
        ),
        // The API server's own check lets these two pass; the operator couldn't read them.
        (
            temporary(8, json!({"expirationTime": "2026-12-01T08:00:00x5Z"})),
            "spec.roles[0].temporary.expirationTime",
            "should match",
        ),
        (
            temporary(9, json!({"expirationTime": "2026-12-01T08:00:00.1234567890Z"})),
            "spec.roles[0].temporary.expirationTime",
            "should match",
        ),
        (duration(10, &"1".repeat(33)), at, "may not be more than 32"),
    ];
    for (sentence, texts) in DURATIONS {
        for text in *texts {
            cases.push((duration(cases.len(), text), at, sentence));
        }
    }
    expect_refused(cases).await;
}

#[tokio::test]
async fn a_membership_that_cant_be_meant_is_refused() {
    let roles: Vec<Value> = (0..33).map(|n| json!({"role": format!("role-{n}")})).collect();
    let organization = "organizationId is for ZITADEL, whose project ids are digits: omit it for an Infisical project, or write ZITADEL's project id";
    let digits = "write the organization's id, which is digits";
    expect_refused(vec![
        (
            with(0, "/spec/roles/0/role", json!("custom")),
            "spec.roles[0].role",
            "\"custom\" is how Infisical marks every custom role, not a role: write the role's own slug",
        ),
        (with(1, "/spec/roles/0/role", json!("Web admins")), "spec.roles[0].role", ROLE),
        (with(2, "/spec/roles/0/role", json!("")), "spec.roles[0].role", ROLE),
        (with(3, "/spec/roles/0/role", json!("r".repeat(129))), "spec.roles[0].role", "may not be more than 128"),
        (with(4, "/spec/roles", json!([])), "spec.roles", "should have at least 1 items"),
        (with(5, "/spec/roles", json!(roles)), "spec.roles", "must have at most 32 items"),
        (
            with(
                6,
                "/spec/roles",
                json!([{"role": "viewer"}, {"role": "admin"}, {"role": "viewer", "temporary": {"duration": "1h"}}]),
            ),
            "spec.roles",
            "a role is declared more than once: leave one entry for each role; to change when it runs, change its entry",
        ),
        (
            with(130, "/spec/roles", ["b", "a", "b", "a", "b"].map(|role| json!({ "role": role })).into()),
            "spec.roles",
            "a role is declared more than once",
        ),
        (without(membership(&numbered(7)), "/spec/roles"), "spec.roles", "Required value"),
        (with(8, "/spec/project/organizationId", json!("123")), "spec.project.organizationId", organization),
        (
            changed(with(9, "/spec/project/id", json!("456")), "/spec/project/organizationId", json!("acme")),
            "spec.project.organizationId",
            digits,
        ),
        (with(10, "/spec/project/id", json!("../other")), "spec.project.id", ID),
        (with(11, "/spec/project/id", json!("")), "spec.project.id", ID),
        (with(12, "/spec/subject/id", json!("ada@example.com")), "spec.subject.id", ID),
        (
            without(membership(&numbered(13)), "/spec/subject/id"),
            "spec.subject",
            "exactly one of subject.id and subject.name",
        ),
        (without(membership(&numbered(14)), "/spec/subject/kind"), "spec.subject.kind", "Required value"),
        (
            with(15, "/spec/subject/kind", json!("Robot")),
            "spec.subject.kind",
            "supported values: \"Identity\", \"User\", \"Group\"",
        ),
        (
            with(117, "/spec/subject/name", json!("ci-deployer")),
            "spec.subject",
            "write exactly one of subject.id and subject.name",
        ),
        (
            with(118, "/spec/project/name", json!("web")),
            "spec.project",
            "write exactly one of project.id and project.name",
        ),
        (with(119, "/spec/project", json!({})), "spec.project", "write exactly one of project.id and project.name"),
        (
            with(120, "/spec/project/grantId", json!("123")),
            "spec.project.grantId",
            "grantId is for ZITADEL, whose project ids are digits",
        ),
        (
            with(121, "/spec/project", json!({"name": "shop", "grantId": "acme"})),
            "spec.project.grantId",
            "write the project grant's id, which is digits",
        ),
        (with(122, "/spec/project", json!({"name": " web"})), "spec.project.name", "no space at either end"),
        (with(123, "/spec/project", json!({"name": ""})), "spec.project.name", "1 to 200 characters on one line"),
        (with(124, "/spec/subject", json!({"kind": "User", "name": "a\nb"})), "spec.subject.name", "on one line"),
        (
            with(125, "/spec/subject", json!({"kind": "User", "name": "a".repeat(201)})),
            "spec.subject.name",
            "may not be more than 200",
        ),
        (with(126, "/spec/project", json!({"name": "web\u{a0}"})), "spec.project.name", "no space at either end"),
        (with(127, "/spec/project", json!({"name": "\u{3000}web"})), "spec.project.name", "no space at either end"),
        (with(128, "/spec/justification", json!("\u{202e}txet")), "spec.justification", "bidirectional override"),
        (with(129, "/spec/justification", json!("\u{1b}[2J")), "spec.justification", "a control character"),
        (
            with(16, "/spec/providerRef/kind", json!("Provider")),
            "spec.providerRef.kind",
            "supported values: \"MembershipProvider\", \"ClusterMembershipProvider\"",
        ),
        (with(17, "/spec/providerRef/name", json!("Infisical")), "spec.providerRef.name", NAME),
        (
            with(18, "/spec/roleManagement", json!("exclusive")),
            "spec.roleManagement",
            "supported values: \"Exclusive\", \"Additive\"",
        ),
        (
            with(19, "/spec/managementPolicy", json!("Delete")),
            "spec.managementPolicy",
            "supported values: \"Enforce\", \"Observe\"",
        ),
        (
            with(20, "/spec/adoptionPolicy", json!("Always")),
            "spec.adoptionPolicy",
            "supported values: \"Adopt\", \"Refuse\"",
        ),
        (
            with(21, "/spec/deletionPolicy", json!("Retain")),
            "spec.deletionPolicy",
            "supported values: \"Delete\", \"Orphan\"",
        ),
        (with(22, "/spec/resyncInterval", json!("10 minutes")), "spec.resyncInterval", DURATION),
        (with(23, "/spec/resyncInterval", json!("0m")), "spec.resyncInterval", NOTHING),
        (with(24, "/spec/resyncInterval", json!("11w3600d")), "spec.resyncInterval", TEN_YEARS),
        (with(25, "/spec/justification", json!("x".repeat(513))), "spec.justification", "may not be more than 512"),
        (with(26, "/spec/suspend", json!("yes")), "spec.suspend", "must be of type boolean"),
    ])
    .await;
}

/// Right-to-left marks and overrides, zero-width and other characters that do not show, at any place of a name.
#[tokio::test]
async fn a_name_with_a_character_that_does_not_show_is_refused() {
    let names = [
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{180e}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{200f}',
        '\u{202a}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{2069}',
        '\u{206f}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{fff9}',
        '\u{e0061}',
        '\u{e0100}',
    ]
    .map(|hidden| format!("ada{hidden}@example.com"));
    let mut cases = Vec::new();
    for name in names.iter().chain(&["\u{200b}ada".to_owned(), "ada\u{200f}".to_owned()]) {
        let subject = with(cases.len(), "/spec/subject", json!({"kind": "User", "name": name}));
        cases.push((subject, "spec.subject.name", "a character that is invisible"));
        let project = with(cases.len(), "/spec/project", json!({"name": name}));
        cases.push((project, "spec.project.name", "type the text instead of pasting it"));
    }
    expect_refused(cases).await;
}

#[tokio::test]
async fn a_provider_that_cant_be_meant_is_refused() {
    let infisical = |i, pointer: &str, value| provider_with(i, &format!("/spec/infisical/{pointer}"), value);
    let reference = json!({"name": "infisical", "key": "token"});
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let both = changed(zitadel(1), "/spec/infisical", provider("")["spec"]["infisical"].clone());
    let mut cases = vec![
        (provider_with(0, "/spec", json!({})), "spec", ONE_SERVER),
        (both, "spec", ONE_SERVER),
        (infisical(2, "auth", json!({})), "spec.infisical.auth", ONE_AUTH),
        (infisical(3, "auth/tokenSecretRef", reference.clone()), "spec.infisical.auth", ONE_AUTH),
        (changed(zitadel(4), "/spec/zitadel/auth", json!({})), "spec.zitadel.auth", ONE_ZITADEL_AUTH),
        (infisical(5, "url", json!("app.infisical.com")), "spec.infisical.url", URL),
        (infisical(6, "url", json!("ftp://app.infisical.com")), "spec.infisical.url", URL),
        (infisical(7, "url", json!("https://me:secret@app.infisical.com")), "spec.infisical.url", URL),
        (infisical(8, "url", json!("https://app.infisical.com/?org=1")), "spec.infisical.url", URL),
        (infisical(9, "url", json!("https://")), "spec.infisical.url", URL),
        (infisical(32, "url", json!("https://bücher.example")), "spec.infisical.url", "another host as xn--…"),
        (infisical(33, "url", json!("https://app.example.com/ü")), "spec.infisical.url", URL),
        (infisical(34, "url", json!("https://app\u{200b}.example.com")), "spec.infisical.url", URL),
        (infisical(10, "url", json!("https://app.infisical.com:https")), "spec.infisical.url", URL),
        (
            infisical(11, "url", json!(format!("https://{}", "a".repeat(512)))),
            "spec.infisical.url",
            "may not be more than 512",
        ),
        (changed(zitadel(12), "/spec/zitadel/url", json!("auth.example.com")), "spec.zitadel.url", URL),
        (
            changed(zitadel(13), "/spec/zitadel/organizationId", json!("acme.example")),
            "spec.zitadel.organizationId",
            "write the organization's id, which is digits",
        ),
        (infisical(37, "organizationSlug", json!("Platform Team")), "spec.infisical.organizationSlug", SLUG),
        (infisical(38, "organizationSlug", json!("")), "spec.infisical.organizationSlug", SLUG),
        (
            infisical(39, "organizationSlug", json!("a".repeat(65))),
            "spec.infisical.organizationSlug",
            "may not be more than 64",
        ),
        (provider_with(14, "/spec/limits/readsPerMinute", json!(0)), "spec.limits.readsPerMinute", LIMIT),
        (provider_with(15, "/spec/limits/writesPerMinute", json!(-5)), "spec.limits.writesPerMinute", LIMIT),
        (provider_with(16, "/spec/limits/maxInFlight", json!(0)), "spec.limits.maxInFlight", LIMIT),
        (
            provider_with(17, "/spec/limits/maxInFlight", json!(1001)),
            "spec.limits.maxInFlight",
            "should be less than or equal to 1000",
        ),
        (provider_with(35, "/spec/limits/minResyncInterval", json!("60")), "spec.limits.minResyncInterval", DURATION),
        (provider_with(36, "/spec/limits/minResyncInterval", json!("0s")), "spec.limits.minResyncInterval", NOTHING),
        (provider_with(18, "/spec/resyncInterval", json!("soon")), "spec.resyncInterval", DURATION),
        (provider_with(19, "/spec/resyncInterval", json!("0s")), "spec.resyncInterval", NOTHING),
        (provider_with(20, "/spec/resyncInterval", json!("11w3600d")), "spec.resyncInterval", TEN_YEARS),
        (
            changed(zitadel(21), "/spec/zitadel/auth/privateKeyJwtSecretRef", reference.clone()),
            "spec.zitadel.auth",
            ONE_ZITADEL_AUTH,
        ),
        (
            changed(zitadel(22), "/spec/zitadel/auth", json!({"clientCredentials": {"clientIdSecretRef": reference}})),
            "spec.zitadel.auth.clientCredentials.clientSecretSecretRef",
            "Required value",
        ),
        (changed(zitadel(23), "/spec/zitadel/instanceHost", json!("https://a.example")), INSTANCE, HOST),
        (changed(zitadel(24), "/spec/zitadel/instanceHost", json!("Auth.example.com")), INSTANCE, HOST),
        (changed(zitadel(25), "/spec/zitadel/instanceHost", json!("auth.example.com/")), INSTANCE, HOST),
        (provider_with(26, "/spec/caBundle", json!({})), "spec.caBundle", ONE_BUNDLE),
        (
            provider_with(27, "/spec/caBundle", json!({"inline": certificate, "secretRef": {"name": "ca"}})),
            "spec.caBundle",
            ONE_BUNDLE,
        ),
        (provider_with(28, "/spec/caBundle", json!({"inline": "TUlJ"})), "spec.caBundle.inline", "not base64-encoded"),
        (
            provider_with(29, "/spec/caBundle", json!({"inline": format!("{certificate}-----BEGIN PRIVATE KEY-----")})),
            "spec.caBundle.inline",
            "this contains a private key",
        ),
        (
            provider_with(30, "/spec/caBundle", json!({"inline": certificate.repeat(2000)})),
            "spec.caBundle.inline",
            "may not be more than 65536",
        ),
        (
            provider_with(31, "/spec/caBundle", json!({"configMapRef": {"name": "ca", "key": "ca/crt"}})),
            "spec.caBundle.configMapRef.key",
            "write a key of the object's data",
        ),
    ];
    let universal = "spec.infisical.auth.universalAuth";
    let zitadel_auth = |auth| changed(zitadel(0), "/spec/zitadel/auth", auth);
    let client = "spec.zitadel.auth.clientCredentials";
    let client_credentials = json!({"clientCredentials": {
        "clientIdSecretRef": reference, "clientSecretSecretRef": reference,
    }});
    let references: [(Value, String); 7] = [
        (provider(""), format!("{universal}.clientIdSecretRef")),
        (provider(""), format!("{universal}.clientSecretSecretRef")),
        (infisical(0, "auth", json!({"tokenSecretRef": reference})), "spec.infisical.auth.tokenSecretRef".to_owned()),
        (zitadel(0), "spec.zitadel.auth.personalAccessTokenSecretRef".to_owned()),
        (
            zitadel_auth(json!({"privateKeyJwtSecretRef": reference})),
            "spec.zitadel.auth.privateKeyJwtSecretRef".to_owned(),
        ),
        (zitadel_auth(client_credentials.clone()), format!("{client}.clientIdSecretRef")),
        (zitadel_auth(client_credentials), format!("{client}.clientSecretSecretRef")),
    ];
    let fields: Vec<(&Value, String, &str, &str)> = references
        .iter()
        .flat_map(|(object, at)| {
            [(object, format!("{at}.name"), "My Secret", NAME), (object, format!("{at}.key"), "client/id", KEY)]
        })
        .collect();
    for (object, field, text, sentence) in &fields {
        let object = changed((*object).clone(), &format!("/{}", field.replace('.', "/")), json!(text));
        cases.push((changed(object, "/metadata/name", json!(numbered(cases.len()))), field, sentence));
    }
    expect_refused(cases).await;
}

#[tokio::test]
async fn an_empty_temporary_is_no_permanent_grant() {
    with_namespace(async |ns| {
        let text = temporary(0, Value::Null).to_string();
        // (Client-side `kubectl apply` drops a null before it sends the object.)
        let output = ns.run(&["apply", "--server-side", "--filename=-"], &text).await;
        crate::support::assert_contains(
            &output.stderr,
            "spec.roles[0].temporary: Invalid value: temporary is empty: set duration (as 2h), expirationTime, or both; for a permanent role omit temporary",
        );
    })
    .await;
}

#[tokio::test]
async fn a_field_that_doesnt_exist_is_refused_by_name() {
    let cases = [
        (with(0, "/spec/role", json!("viewer")), "spec.role"),
        (with(1, "/spec/roles/0/duration", json!("2h")), "spec.roles[0].duration"),
        (with(2, "/spec/project/slug", json!("web")), "spec.project.slug"),
        (with(3, "/spec/subject/email", json!("ada@example.com")), "spec.subject.email"),
        // What only a provider of the cluster has.
        (provider_with(5, "/spec/allow", json!([])), "spec.allow"),
        (provider_with(6, "/spec/infisical/auth/kubernetesAuth", json!({})), "spec.infisical.auth.kubernetesAuth"),
        (
            provider_with(7, "/spec/caBundle/configMapRef", json!({"name": "ca", "namespace": "other"})),
            "spec.caBundle.configMapRef.namespace",
        ),
        (
            provider_with(8, "/spec/infisical/auth/universalAuth/clientIdSecretRef/namespace", json!("other")),
            "spec.infisical.auth.universalAuth.clientIdSecretRef.namespace",
        ),
    ];
    with_namespace(async |ns| {
        let objects: Vec<Value> = cases.iter().map(|(object, _)| object.clone()).collect();
        let output = ns.try_apply(&objects).await;
        for (_, field) in &cases {
            crate::support::assert_contains(&output.stderr, &format!("unknown field {field:?}"));
        }
        assert_eq!(output.stdout, "", "nothing of it was applied");
    })
    .await;
}
