//! What `deploy/` ships: it applies, gives the operator the rights that it uses and no others, and the examples fit the
//! demo's world.

use std::collections::BTreeSet;
use std::fs;

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};
use simulator::worlds;

use crate::support::{OPERATOR, assert_contains, operator_on, path, plane, with_namespace_on};

/// Every document of `deploy/examples/`, in the order in which kubectl applies them.
fn examples() -> Vec<Value> {
    let mut files: Vec<_> = fs::read_dir(path("deploy/examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    texts
        .flat_map(|text| {
            let documents = serde_yaml_ng::Deserializer::from_str(&text).map(|d| Value::deserialize(d).unwrap());
            documents.collect::<Vec<_>>()
        })
        .collect()
}

#[tokio::test]
async fn a_pod_of_the_deployment_passes_restricted_pod_security() {
    let admin = plane().await.kubectl();
    let namespace = format!("--namespace={}", OPERATOR.0);
    let text = admin.ok(&["get", "deployment", "membership-operator", &namespace, "--output=json"]).await.unwrap();
    let deployment: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 2);
    // Only Pods of one rollout are spread over the nodes: those of the last one are about to go.
    let spread = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"];
    assert_eq!(spread[0]["matchLabelKeys"], json!(["pod-template-hash"]));
    let enforced = admin.ok(&["get", "namespace", OPERATOR.0, "--output=jsonpath={.metadata.labels}"]).await.unwrap();
    assert_contains(&enforced, r#""pod-security.kubernetes.io/enforce":"restricted""#);

    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("as-deployed");
    admin.ok_with_input(&["create", &namespace, "--filename=-"], &pod.to_string()).await.unwrap();
    // That the namespace really refuses what isn't restricted.
    pod["metadata"]["name"] = json!("with-capabilities");
    pod["spec"]["containers"][0]["securityContext"]["capabilities"] = json!({});
    let refused = admin.run_with_input(&["create", &namespace, "--filename=-"], &pod.to_string()).await.unwrap();
    assert_contains(&refused.stderr, "violates PodSecurity");
}

#[tokio::test]
async fn the_operator_has_the_rights_that_it_uses_and_no_others() {
    let plane = plane().await;
    let operator = operator_on(plane).await;
    with_namespace_on(plane, async |ns| {
        let allowed = async |verb: &str, resource: &str| {
            let namespace = format!("--namespace={}", ns.name);
            // `kind/status` would be an object of the name `status`.
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            let subresource = format!("--subresource={subresource}");
            let arguments = ["auth", "can-i", verb, resource, &subresource, &namespace];
            let answer = operator.run(&arguments).await.unwrap();
            // A kind that kubectl couldn't look up is checked without a group, where no user has a permission.
            assert!(!answer.stderr.contains("doesn't have a resource type"), "{verb} {resource}: {}", answer.stderr);
            answer.stdout.trim() == "yes"
        };
        let memberships = "projectmemberships.membership.dev";
        let providers = "membershipproviders.membership.dev";
        let cluster_providers = "clustermembershipproviders.membership.dev";
        let (memberships_status, providers_status) = (&format!("{memberships}/status"), &format!("{providers}/status"));
        for (verb, resource) in [
            ("list", memberships),
            ("watch", memberships),
            ("patch", memberships),
            ("patch", memberships_status),
            ("list", providers),
            ("watch", providers),
            ("patch", providers),
            ("patch", providers_status),
            ("operate", memberships),
            ("operate", providers),
            ("list", cluster_providers),
            ("watch", cluster_providers),
            ("patch", cluster_providers),
            ("patch", &format!("{cluster_providers}/status")),
            ("operate", cluster_providers),
            ("list", "namespaces"),
            ("watch", "namespaces"),
            ("create", "events.events.k8s.io"),
            ("patch", "events.events.k8s.io"),
        ] {
            assert!(allowed(verb, resource).await, "the operator may not {verb} {resource}");
        }
        // The Lease in its own namespace: create can't be restricted to a name.
        let of_lease = async |verb: &str, lease: &str, namespace: &str| {
            let (lease, namespace) = (format!("leases.coordination.k8s.io{lease}"), format!("--namespace={namespace}"));
            operator.run(&["auth", "can-i", verb, &lease, &namespace]).await.unwrap().stdout.trim() == "yes"
        };
        for (verb, lease, namespace, may) in [
            ("create", "", OPERATOR.0, true),
            ("get", "/membership-operator", OPERATOR.0, true),
            ("update", "/membership-operator", OPERATOR.0, true),
            ("update", "/another", OPERATOR.0, false),
            ("get", "", OPERATOR.0, false),
            ("delete", "/membership-operator", OPERATOR.0, false),
            ("get", "/membership-operator", &ns.name, false),
            ("create", "", &ns.name, false),
        ] {
            assert_eq!(of_lease(verb, lease, namespace).await, may, "{verb} leases{lease} in {namespace}");
        }
        for (verb, resource) in [
            ("get", memberships),
            ("create", memberships),
            ("update", memberships),
            ("delete", memberships),
            ("update", memberships_status),
            ("abandon", memberships),
            ("update", providers),
            ("create", providers),
            ("delete", providers),
            ("get", "secrets"),
            ("list", "secrets"),
            ("watch", "secrets"),
            ("get", "configmaps"),
            ("get", "namespaces"),
            ("patch", "namespaces"),
            ("delete", cluster_providers),
            ("create", "serviceaccounts/token"),
            ("delete", "events.events.k8s.io"),
            ("*", "*"),
        ] {
            assert!(!allowed(verb, resource).await, "the operator may {verb} {resource}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_namespace_lets_the_operator_read_its_secrets_and_config_maps_by_name_only() {
    let plane = plane().await;
    let operator = operator_on(plane).await;
    with_namespace_on(plane, async |ns| {
        ns.ok(&["create", "secret", "generic", "infisical", "--from-literal=client-id=1"]).await;
        let namespace = format!("--namespace={}", ns.name);
        let read = ["get", "secret", "infisical", &namespace, "--output=name"];
        assert_contains(&operator.run(&read).await.unwrap().stderr, "Forbidden");
        // The command that the provider's condition says.
        let account = format!("--serviceaccount={}:{}", OPERATOR.0, OPERATOR.1);
        let role = "membership-operator-secrets";
        ns.ok(&["create", "rolebinding", role, &format!("--clusterrole={role}"), &account]).await;
        assert_eq!(operator.ok(&read).await.unwrap(), "secret/infisical\n");
        for kind in ["secrets", "configmaps"] {
            assert_contains(&operator.run(&["get", kind, &namespace]).await.unwrap().stderr, "Forbidden");
        }
        ns.ok(&["create", "configmap", "authorities", "--from-literal=ca.crt=x"]).await;
        let read = ["get", "configmap", "authorities", &namespace, "--output=name"];
        assert_eq!(operator.ok(&read).await.unwrap(), "configmap/authorities\n");
    })
    .await;
}

/// Fields are written as the API server stores them, defaults within lists among them: kubectl compares lists as a whole.
/// Seen failing without `protocol`, `scope` and `strategy.type`.
#[tokio::test]
async fn applied_again_nothing_that_is_shipped_changes() {
    let plane = plane().await;
    let admin = plane.kubectl();
    with_namespace_on(plane, async |ns| {
        let namespace = format!("--namespace={}", ns.name);
        for (how, what) in [
            ("--filename", "crds"),
            ("--kustomize", "deploy"),
            ("--filename", "deploy/examples"),
            ("--filename", "deploy/namespaced/operate.yaml"),
            ("--filename", "deploy/namespaced/namespace.yaml"),
        ] {
            let what = path(what);
            let mut arguments = vec!["apply", how, &what];
            if what.ends_with("namespace.yaml") {
                arguments.push(&namespace);
            }
            admin.ok(&arguments).await.unwrap();
            let again = admin.ok(&arguments).await.unwrap();
            let changed: Vec<&str> = again.lines().filter(|line| !line.ends_with(" unchanged")).collect();
            assert_eq!(changed, Vec::<&str>::new(), "of {what}");
        }
        admin.ok(&["delete", "--filename", &path("deploy/examples"), "--wait=false"]).await.unwrap();
        // Under names that no other test has.
        let optional = admin.ok(&["kustomize", &path("deploy/policies/optional")]).await.unwrap();
        let optional = optional.replace("name: membership-", "name: again-");
        let apply = ["apply", "--filename=-"];
        admin.ok_with_input(&apply, &optional).await.unwrap();
        let again = admin.ok_with_input(&apply, &optional).await.unwrap();
        assert!(again.lines().count() == 3 && again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    })
    .await;
}

#[tokio::test]
async fn the_budget_for_disruptions_applies_to_the_pods_of_the_deployment() {
    let admin = plane().await.kubectl();
    admin.ok(&["apply", "--filename", &path("deploy/disruption-budget.yaml")]).await.unwrap();
    let namespace = format!("--namespace={}", OPERATOR.0);
    let selector = async |object: &str| {
        let path = "--output=jsonpath={.spec.selector.matchLabels}";
        admin.ok(&["get", object, "membership-operator", &namespace, path]).await.unwrap()
    };
    assert_eq!(selector("poddisruptionbudget").await, selector("deployment").await);
}

#[test]
fn the_examples_name_what_the_demo_world_holds() {
    let world = worlds::demo();
    let known = |kind: &str| -> BTreeSet<String> {
        let infisical = &world.infisical;
        let zitadel = &world.zitadel;
        match kind {
            "project" => infisical
                .projects
                .iter()
                .flat_map(|p| [p.id.clone(), p.slug.clone()])
                .chain(zitadel.projects.iter().map(|p| p.id.clone()))
                .collect(),
            _ => infisical
                .identities
                .iter()
                .map(|i| i.id.clone())
                .chain(infisical.users.iter().map(|user| user.email.clone()))
                .chain(infisical.groups.iter().map(|group| group.slug.clone()))
                .chain(zitadel.users.iter().map(|u| u.id.clone()))
                .collect(),
        }
    };
    let (projects, subjects) = (known("project"), known("subject"));
    let examples = examples();
    let of = |kind: &'static str| examples.iter().filter(move |example| example["kind"] == kind);
    for example in of("ProjectMembership") {
        assert_eq!(example["metadata"]["namespace"], "team-a", "{example}");
        let named = |of: &str| example["spec"][of]["id"].as_str().or(example["spec"][of]["name"].as_str()).unwrap();
        assert!(projects.contains(named("project")), "{example}");
        assert!(subjects.contains(named("subject")), "{example}");
        let grant = example["spec"]["project"]["grantId"].as_str();
        assert!(grant.is_none_or(|grant| world.zitadel.project_grants.iter().any(|g| g.id == grant)), "{example}");
        let provider = &example["spec"]["providerRef"]["name"];
        assert!(of("MembershipProvider").any(|p| p["metadata"]["name"] == *provider), "{example}");
    }
    let secret = |name: &str, key: &str| {
        let secret = of("Secret").find(|secret| secret["metadata"]["name"] == name).unwrap();
        let bytes: ByteString = serde_json::from_value(secret["data"][key].clone()).unwrap();
        String::from_utf8(bytes.0).unwrap()
    };
    let client = &world.infisical.clients[0];
    assert_eq!(secret("infisical", "client-id"), client.client_id);
    assert_eq!(secret("infisical", "client-secret"), client.client_secret);
    assert!(world.zitadel.pats.contains_key(&secret("zitadel", "token")));
    let zitadel = of("MembershipProvider").find(|p| p["metadata"]["name"] == "zitadel").unwrap();
    assert_eq!(zitadel["spec"]["zitadel"]["organizationId"], world.zitadel.projects[0].org);
}
