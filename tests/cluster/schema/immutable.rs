//! What can't be changed once it is written, and what can.

use serde_json::{Value, json};

use super::{numbered, provider_with, refusals, with, zitadel};
use crate::support::{changed, membership, provider, with_namespace, without};

const PROVIDER: &str = "spec.providerRef: Invalid value: providerRef can't be changed: delete this object and create one for the other provider";
const PROJECT: &str = "spec.project: Invalid value: project can't be changed, nor one of its fields added or removed: delete this object and create one for the other project";
const SUBJECT: &str =
    "spec.subject: Invalid value: subject can't be changed: delete this object and create one for the other subject";
const KIND: &str =
    "spec: Invalid value: a provider can't turn from Infisical into ZITADEL or back: create another provider object";
const URL: &str =
    "url can't be changed, since memberships at the old server would be left behind: create another provider object";
const ORGANIZATION: &str = "spec.zitadel.organizationId: Invalid value: organizationId can't be changed, added or removed, since memberships in the old one would be left behind";

const SUB_ORGANIZATION: &str = "spec.infisical.organizationSlug: Invalid value: organizationSlug can't be changed, added or removed, since memberships in the old organization would be left behind";
const INSTANCE: &str = "spec.zitadel.instanceHost: Invalid value: instanceHost can't be changed, added or removed, since memberships at the old instance would be left behind";

/// Applies what comes first, then what comes second: it is refused with this sentence, or accepted where there is none.
async fn expect_after(cases: Vec<(Value, Value, &str)>) {
    with_namespace(async |ns| {
        let (before, after): (Vec<Value>, Vec<Value>) =
            cases.iter().map(|(before, after, _)| (before.clone(), after.clone())).unzip();
        ns.apply(&before).await;
        let mut wrong = String::new();
        for ((_, after, sentence), found) in cases.iter().zip(refusals(&ns, &after).await) {
            if !found.contains(sentence) || sentence.is_empty() != found.is_empty() {
                wrong += &format!("\n{}\n  expected: {sentence:?}\n  there was: {found:?}\n", after["spec"]);
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    })
    .await;
}

#[tokio::test]
async fn what_a_membership_is_about_cant_be_changed() {
    let plain = |i| membership(&numbered(i));
    let digits = |i| with(i, "/spec/project/id", json!("456"));
    let named = |i, name: &str| with(i, "/spec/subject", json!({"kind": "User", "name": name}));
    let organization = "/spec/project/organizationId";
    let in_organization = |i| changed(digits(i), organization, json!("123"));
    expect_after(vec![
        (plain(0), with(0, "/spec/providerRef/name", json!("other")), PROVIDER),
        (plain(1), with(1, "/spec/project/id", json!("other")), PROJECT),
        (digits(2), in_organization(2), PROJECT),
        (in_organization(3), digits(3), PROJECT),
        (in_organization(4), changed(digits(4), organization, json!("789")), PROJECT),
        (plain(5), with(5, "/spec/subject/id", json!("other")), SUBJECT),
        (plain(6), with(6, "/spec/subject/kind", json!("User")), SUBJECT),
        (digits(13), changed(digits(13), "/spec/project/grantId", json!("789")), PROJECT),
        (plain(14), with(14, "/spec/project", json!({"name": "web"})), PROJECT),
        (named(15, "ada@example.com"), named(15, "bob@example.com"), SUBJECT),
        (named(16, "ada@example.com"), plain(16), SUBJECT),
        // The default, written out.
        (plain(7), with(7, "/spec/providerRef/kind", json!("MembershipProvider")), ""),
        (with(17, "/spec/providerRef/kind", json!("MembershipProvider")), plain(17), ""),
        (plain(18), with(18, "/spec/providerRef/kind", json!("ClusterMembershipProvider")), PROVIDER),
        (with(19, "/spec/providerRef/kind", json!("ClusterMembershipProvider")), plain(19), PROVIDER),
        (plain(8), with(8, "/spec/roles", json!([{"role": "admin", "temporary": {"duration": "1h"}}])), ""),
        (with(9, "/spec/suspend", json!(true)), plain(9), ""),
        (plain(10), with(10, "/spec/managementPolicy", json!("Observe")), ""),
        (plain(11), with(11, "/spec/deletionPolicy", json!("Orphan")), ""),
        (in_organization(12), changed(in_organization(12), "/spec/justification", json!("because")), ""),
    ])
    .await;
}

#[tokio::test]
async fn the_server_that_a_provider_means_cant_be_changed() {
    let plain = |i| provider(&numbered(i));
    let organization = "/spec/zitadel/organizationId";
    let in_sub = |i, slug: &str| provider_with(i, "/spec/infisical/organizationSlug", json!(slug));
    let at_instance = |i, host: &str| changed(zitadel(i), "/spec/zitadel/instanceHost", json!(host));
    let key = json!({"name": "zitadel", "key": "key.json"});
    expect_after(vec![
        (plain(0), provider_with(0, "/spec/infisical/url", json!("https://eu.infisical.com")), URL),
        (zitadel(1), changed(zitadel(1), "/spec/zitadel/url", json!("https://other.example.com")), URL),
        (zitadel(2), changed(zitadel(2), organization, json!("1")), ORGANIZATION),
        (zitadel(3), without(zitadel(3), organization), ORGANIZATION),
        (without(zitadel(4), organization), zitadel(4), ORGANIZATION),
        (in_sub(17, "a"), in_sub(17, "b"), SUB_ORGANIZATION),
        (in_sub(18, "a"), plain(18), SUB_ORGANIZATION),
        (plain(19), in_sub(19, "a"), SUB_ORGANIZATION),
        (in_sub(20, "a"), changed(in_sub(20, "a"), "/spec/resyncInterval", json!("1h")), ""),
        (plain(5), zitadel(5), KIND),
        (zitadel(6), plain(6), KIND),
        // The credential, and how much is asked of the server, may change.
        (
            plain(7),
            provider_with(7, "/spec/infisical/auth", json!({"tokenSecretRef": {"name": "infisical", "key": "token"}})),
            "",
        ),
        (zitadel(8), changed(zitadel(8), "/spec/zitadel/auth/personalAccessTokenSecretRef/name", json!("other")), ""),
        (plain(9), provider_with(9, "/spec/limits/readsPerMinute", json!(60)), ""),
        (plain(10), provider_with(10, "/spec/resyncInterval", json!("1h")), ""),
        (at_instance(11, "a.example"), at_instance(11, "b.example"), INSTANCE),
        (at_instance(12, "a.example"), zitadel(12), INSTANCE),
        (zitadel(13), at_instance(13, "a.example"), INSTANCE),
        (zitadel(14), changed(zitadel(14), "/spec/zitadel/auth", json!({"privateKeyJwtSecretRef": key})), ""),
        (plain(15), provider_with(15, "/spec/caBundle", json!({"secretRef": key})), ""),
        (plain(16), provider_with(16, "/spec/infisical/inviteUsers", json!(true)), ""),
    ])
    .await;
}
