//! The policies that a platform team binds, with the example's bindings and ConfigMap narrowed to one namespace.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::{Account, Answer, assert_refused, held};
use crate::support::{Namespace, OPERATOR, SOON, changed, eventually, membership, path, plane, with_namespace};

const PERMANENT: &str = "membership-no-permanent-roles";
const LONGEST: &str = "membership-longest-duration";
const JUSTIFICATION: &str = "membership-justification";

/// How the API server begins where a binding's ConfigMap isn't there.
const NO_PARAMETERS: &str = "failed to configure binding: no params found";

/// Has the example's binding of a policy at work in one namespace, with a ConfigMap of its own, and returns when it
/// refuses `probe`.
async fn bound(ns: &Namespace, policy: &str, parameters: Option<Value>, probe: &Value) -> Account {
    let plane = plane().await;
    let tenant = Account::tenant(plane, ns).await;
    let admin = plane.kubectl();
    let optional = path("deploy/policies/optional");
    // Several tests do so at once.
    admin.ok(&["apply", "--server-side", "--kustomize", &optional]).await.unwrap();
    let name = format!("{}-{policy}", ns.name);
    let has_parameters = parameters.is_some();
    if let Some(data) = parameters {
        let metadata = json!({"name": name, "namespace": OPERATOR.0});
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
        admin.apply(&map.to_string()).await.unwrap();
    }
    let mut binding = example().into_iter().find(|object| object["spec"]["policyName"] == policy).unwrap();
    binding["metadata"]["name"] = json!(name);
    binding["spec"]["paramRef"]["name"] = json!(name);
    binding["spec"]["matchResources"] =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns.name}}});
    admin.apply(&binding.to_string()).await.unwrap();
    eventually(SOON, &format!("{policy} is at work"), async || match tenant.try_create(probe).await {
        Err(sentence) if sentence.contains(policy) && sentence.contains(NO_PARAMETERS) != has_parameters => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    tenant
}

/// The objects of the example.
fn example() -> Vec<Value> {
    let folder = path("deploy/policies/optional/example");
    let text =
        ["bindings.yaml", "parameters.yaml"].map(|file| std::fs::read_to_string(format!("{folder}/{file}")).unwrap());
    let documents = text.iter().flat_map(|text| serde_yaml_ng::Deserializer::from_str(text));
    documents.map(|document| Value::deserialize(document).unwrap()).collect()
}

/// The example's parameters.
fn parameters() -> Value {
    example().into_iter().find(|object| object["kind"] == "ConfigMap").unwrap()["data"].clone()
}

fn with_roles(roles: Value) -> Value {
    changed(membership("ci"), "/spec/roles", roles)
}

fn temporary(temporary: Value) -> Value {
    with_roles(json!([{"role": "admin", "temporary": temporary}]))
}

fn in_hours(hours: i64) -> String {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    (now + SignedDuration::from_hours(hours)).to_string()
}

#[tokio::test]
async fn a_role_of_the_list_is_refused_permanently_and_accepted_temporarily() {
    let refused = with_roles(json!([{"role": "admin"}, {"role": "viewer"}, {"role": "PROJECT_OWNER"}]));
    with_namespace(async |ns| {
        let tenant = bound(&ns, PERMANENT, Some(parameters()), &refused).await;
        let sentence = "not for good here: admin, PROJECT_OWNER. Give the role an end, as temporary: {duration: 2h}";
        assert_refused(tenant.create(&refused).await, PERMANENT, sentence);
        assert_refused(tenant.apply("ci", &refused).await, PERMANENT, sentence);
        tenant.create(&with_roles(json!([{"role": "viewer"}, {"role": "administrator"}]))).await.unwrap();
        tenant.apply("ci", &temporary(json!({"duration": "2h"}))).await.unwrap();
        let sentence = "not for good here: admin. Give the role an end, as temporary: {duration: 2h}";
        let patch = json!({"spec": {"roles": [{"role": "admin"}]}});
        assert_refused(tenant.merge("ci", &patch).await, PERMANENT, sentence);
        // To have it shown now and granted later is the same wish.
        let observed = changed(with_roles(json!([{"role": "admin"}])), "/spec/managementPolicy", json!("Observe"));
        assert_refused(
            tenant.try_create(&changed(observed, "/metadata/name", json!("other"))).await,
            PERMANENT,
            sentence,
        );
    })
    .await;
}

#[tokio::test]
async fn a_star_is_every_role_and_a_missing_list_is_reported() {
    let refused = with_roles(json!([{"role": "viewer"}]));
    with_namespace(async |ns| {
        let tenant = bound(&ns, PERMANENT, Some(json!({"noPermanentRoles": "*\n"})), &refused).await;
        let sentence = "not for good here: viewer. Give the role an end, as temporary: {duration: 2h}";
        assert_refused(tenant.create(&refused).await, PERMANENT, sentence);
    })
    .await;
    with_namespace(async |ns| {
        let tenant = bound(&ns, PERMANENT, Some(json!({"roles": "admin"})), &refused).await;
        let sentence = format!(
            "the ConfigMap {}/{}-{PERMANENT} names no roles in noPermanentRoles: ask the platform team to write them \
             there, as \"admin, PROJECT_OWNER\", or * for every role",
            OPERATOR.0, ns.name
        );
        assert_refused(tenant.create(&refused).await, PERMANENT, &sentence);
    })
    .await;
}

#[tokio::test]
async fn a_temporary_role_runs_no_longer_than_the_platform_says() {
    let longer = temporary(json!({"duration": "8h1s"}));
    with_namespace(async |ns| {
        let tenant = bound(&ns, LONGEST, Some(parameters()), &longer).await;
        let start = "2026-12-01T08:00:00Z";
        for refused in [
            json!({"duration": "8h1s"}),
            json!({"duration": "1w"}),
            json!({"startTime": start, "expirationTime": "2026-12-01T16:00:01Z"}),
            json!({"startTime": start, "expirationTime": "2999-12-01T16:00:00Z"}),
            json!({"startTime": start, "duration": "9h", "expirationTime": "2026-12-01T16:00:00.5Z"}),
            json!({"expirationTime": in_hours(9)}),
        ] {
            assert_refused(tenant.create(&temporary(refused)).await, LONGEST, TOO_LONG);
        }
        for taken in [
            json!({"duration": "8h"}),
            json!({"duration": "7h59m60s"}),
            json!({"startTime": "2999-12-01T08:00:00Z", "duration": "8h"}),
            json!({"startTime": start, "expirationTime": "2026-12-01T16:00:00Z"}),
            json!({"startTime": start, "duration": "9h", "expirationTime": "2026-12-01T16:00:00Z"}),
            json!({"duration": "8h", "expirationTime": in_hours(9)}),
            json!({"expirationTime": in_hours(8)}),
        ] {
            tenant.try_create(&temporary(taken)).await.unwrap();
        }
        // Permanent roles are another policy's.
        tenant.create(&membership("ci")).await.unwrap();
        let patch = json!({"spec": {"roles": [{"role": "admin", "temporary": {"duration": "9h"}}]}});
        assert_refused(tenant.merge("ci", &patch).await, LONGEST, TOO_LONG);
        assert_refused(tenant.apply("ci", &longer).await, LONGEST, TOO_LONG);
        // On an object that is there already it counts from its creation as well.
        tenant.merge("ci", &temporary(json!({"expirationTime": in_hours(7)}))).await.unwrap();
        let answer = tenant.merge("ci", &temporary(json!({"expirationTime": in_hours(9)}))).await;
        assert_refused(answer, LONGEST, TOO_LONG);
    })
    .await;
}

const TOO_LONG: &str = "at most 8h at a time here: admin. Write a duration of at most 8h, or an expirationTime at most 8h \
                        after the startTime (without a startTime: after the object was created)";

#[tokio::test]
async fn the_longest_duration_may_be_for_some_roles_only() {
    let longer = temporary(json!({"duration": "9h"}));
    with_namespace(async |ns| {
        let data = json!({"longestDuration": "8h", "longestDurationRoles": "owner\nadmin\n"});
        let tenant = bound(&ns, LONGEST, Some(data), &longer).await;
        assert_refused(tenant.create(&longer).await, LONGEST, TOO_LONG);
        let viewer = changed(longer.clone(), "/spec/roles/0/role", json!("viewer"));
        tenant.create(&viewer).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_invalid_longest_duration_is_reported_and_the_operator_goes_on() {
    let short = temporary(json!({"duration": "1s"}));
    with_namespace(async |ns| {
        ns.apply(&[changed(short.clone(), "/metadata/name", json!("before"))]).await;
        let tenant = bound(&ns, LONGEST, Some(json!({"longestDuration": "8 hours"})), &short).await;
        let name = format!("{}-{LONGEST}", ns.name);
        let admin = plane().await.kubectl();
        for wrong in ["8 hours", "", "8h30", "0h", "1h1d", "3653d", "999999999w", "9999999999999999999d"] {
            let patch = json!({"data": {"longestDuration": wrong}}).to_string();
            let namespace = format!("--namespace={}", OPERATOR.0);
            admin.ok(&["patch", "configmap", &name, &namespace, "--type=merge", "--patch", &patch]).await.unwrap();
            let sentence = format!(
                "the ConfigMap {}/{name} says longestDuration: \"{wrong}\", which isn't a duration: ask the platform team \
                 to write one there, as 8h or 1d",
                OPERATOR.0
            );
            eventually(SOON, &sentence, async || match tenant.try_create(&short).await {
                Err(refused) if refused.ends_with(&sentence) => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        }
        held(&Account::operator(plane().await, &ns).await, "before").await;
    })
    .await;
}

fn justified(text: &str) -> Value {
    changed(membership("ci"), "/spec/justification", json!(text))
}

#[tokio::test]
async fn a_justification_is_needed_and_looks_as_the_platform_wants_it() {
    with_namespace(async |ns| {
        let tenant = bound(&ns, JUSTIFICATION, Some(parameters()), &membership("ci")).await;
        let missing = "spec.justification is missing: write why this access is needed, as \"INC-4711: hotfix rollout\" \
                       (it must match ^[A-Z]+-[0-9]+: .+)";
        let other = "spec.justification isn't as it has to be here: write why this access is needed, as \
                     \"INC-4711: hotfix rollout\" (it must match ^[A-Z]+-[0-9]+: .+)";
        assert_refused(tenant.create(&membership("ci")).await, JUSTIFICATION, missing);
        assert_refused(tenant.create(&justified(" ")).await, JUSTIFICATION, missing);
        assert_refused(tenant.create(&justified("because")).await, JUSTIFICATION, other);
        assert_refused(tenant.apply("ci", &justified("see INC-4711: x")).await, JUSTIFICATION, other);
        tenant.apply("ci", &justified("INC-4711: rollout")).await.unwrap();
        let answer = tenant.merge("ci", &json!({"spec": {"justification": null}})).await;
        assert_refused(answer, JUSTIFICATION, missing);
        assert_refused(tenant.merge("ci", &json!({"spec": {"justification": "x"}})).await, JUSTIFICATION, other);
    })
    .await;
}

#[tokio::test]
async fn without_a_pattern_any_justification_will_do() {
    with_namespace(async |ns| {
        let tenant = bound(&ns, JUSTIFICATION, Some(json!({})), &membership("ci")).await;
        let sentence = "spec.justification is missing: write why this access is needed";
        assert_refused(tenant.create(&membership("ci")).await, JUSTIFICATION, sentence);
        tenant.create(&justified("because")).await.unwrap();
    })
    .await;
}

/// An object from before the policies, with everything that they refuse.
async fn old(ns: &Namespace) -> Value {
    let object = with_roles(json!([{"role": "admin"}, {"role": "deployer", "temporary": {"duration": "9h"}}]));
    ns.apply(std::slice::from_ref(&object)).await;
    object
}

/// What must always pass: less access, its end, and the operator's own writes.
async fn still_passes(ns: &Namespace, tenant: &Account) {
    let operator = Account::operator(plane().await, ns).await;
    held(&operator, "ci").await;
    tenant.merge("ci", &json!({"metadata": {"annotations": {"membership.dev/reconcile-at": "1"}}})).await.unwrap();
    tenant.merge("ci", &json!({"spec": {"suspend": true}})).await.unwrap();
    let less = json!({"spec": {"roles": [{"role": "deployer", "temporary": {"duration": "9h"}}, {"role": "admin"}]}});
    tenant.merge("ci", &less).await.unwrap();
    let less = json!({"spec": {"roles": [{"role": "admin"}]}});
    tenant.merge("ci", &less).await.unwrap();
    ns.ok(&["delete", "pm/ci", "--wait=false"]).await;
    tenant.merge("ci", &json!({"spec": {"deletionPolicy": "Orphan"}})).await.unwrap();
    operator.merge("ci", &json!({"metadata": {"finalizers": []}})).await.unwrap();
    assert!(ns.run(&["get", "pm/ci"], "").await.stderr.contains("not found"));
}

async fn more(tenant: &Account) -> Answer {
    let roles = json!([
        {"role": "admin"}, {"role": "PROJECT_OWNER"},
        {"role": "deployer", "temporary": {"duration": "10h"}},
    ]);
    tenant.merge("ci", &json!({"spec": {"roles": roles}})).await
}

#[tokio::test]
async fn what_was_there_before_a_policy_may_shrink_and_end_but_not_grow() {
    for policy in [PERMANENT, LONGEST, JUSTIFICATION] {
        with_namespace(async |ns| {
            let probe = changed(old(&ns).await, "/metadata/name", json!("new"));
            let tenant = bound(&ns, policy, Some(parameters()), &probe).await;
            let refused = more(&tenant).await.unwrap_err();
            assert!(refused.contains(policy), "{refused}");
            still_passes(&ns, &tenant).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_binding_without_its_config_map_refuses_everybody_but_status_is_written() {
    with_namespace(async |ns| {
        ns.apply(&[changed(membership("ci"), "/metadata/name", json!("before"))]).await;
        let tenant = bound(&ns, PERMANENT, None, &membership("ci")).await;
        let sentence = tenant.create(&membership("ci")).await.unwrap_err();
        assert!(sentence.contains(NO_PARAMETERS), "{sentence}");
        // The API server looks for the parameters before it looks what the policy is for.
        let operator = Account::operator(plane().await, &ns).await;
        let finalizer = json!({"metadata": {"finalizers": ["membership.dev/revoke"]}});
        let sentence = operator.merge("before", &finalizer).await.unwrap_err();
        assert!(sentence.contains(NO_PARAMETERS), "{sentence}");
        operator.merge("before/status", &json!({"status": {"activeRoles": "viewer"}})).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_pattern_that_is_none_refuses() {
    with_namespace(async |ns| {
        let tenant = bound(&ns, JUSTIFICATION, Some(json!({"justificationPattern": "["})), &justified("x")).await;
        let sentence = tenant.create(&justified("x")).await.unwrap_err();
        assert!(sentence.contains("error parsing regexp"), "{sentence}");
    })
    .await;
}

#[tokio::test]
async fn the_largest_membership_fits_the_policies_budget() {
    let role = |n: usize, hours: usize| {
        let name = format!("{n:0>128}");
        json!({"role": name, "temporary": {"duration": format!("0000000001h{hours:0>9}m000000001s")}})
    };
    let largest = |hours: usize| -> Value { (0..32).map(|n| role(n, hours)).collect() };
    with_namespace(async |ns| {
        let probe = with_roles(largest(600));
        let tenant = bound(&ns, LONGEST, Some(parameters()), &probe).await;
        tenant.create(&with_roles(largest(1))).await.unwrap();
        tenant.merge("ci", &json!({"spec": {"roles": largest(2)}})).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_example_applies_and_again_changes_nothing_and_deploy_has_none_of_it() {
    let admin = plane().await.kubectl();
    let example = path("deploy/policies/optional/example");
    // Really applied it would bind the policies in every other test's namespace.
    admin.ok(&["apply", "--dry-run=server", "--kustomize", &example]).await.unwrap();
    let installed = admin.ok(&["kustomize", &path("deploy")]).await.unwrap();
    assert!(installed.contains("name: membership-operator-only"));
    for policy in [PERMANENT, LONGEST, JUSTIFICATION] {
        assert!(!installed.contains(policy), "{policy} is installed by default");
    }
}
