//! What may be granted.

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulator::worlds;

use super::super::subject::{each, in_seconds, with};
use crate::evidence::assert_presentable;
use crate::in_memory::{in_memory, now};
use crate::stage::{Stage, with_stage};
use crate::support::assert_contains;

const OTHER_ID: &str = "00000000-0000-4000-8000-999999999999";

/// Each kind of rule: what it is besides roles and namespace, which grant is requested, and what is missing ("" for
/// nothing).
fn cases(stage: &Stage) -> Vec<(&'static str, Value, Value, &'static str)> {
    let admin = |temporary: Value| json!([{"role": "admin", "temporary": temporary}]);
    let viewer = json!([{"role": "viewer"}]);
    let elsewhere = json!({"namespaces": {"names": [format!("{}-x", stage.namespace())]}});
    let soon = json!({"expirationTime": in_seconds(3600), "duration": "2h"});
    vec![
        ("namespace", elsewhere, viewer.clone(), "no allow rule for namespace"),
        ("every", json!({"namespaces": {"selector": {}}}), viewer.clone(), ""),
        ("project", json!({"projects": [worlds::INFISICAL_PROJECT]}), viewer.clone(), ""),
        ("projects", json!({"projects": [worlds::INFISICAL_OTHER_PROJECT]}), viewer.clone(), "with project 6ec3d92b"),
        ("kind", json!({"subjectKinds": ["Identity"]}), viewer.clone(), ""),
        ("kinds", json!({"subjectKinds": ["User", "Group"]}), viewer.clone(), "with the subject kind Identity"),
        ("subjects", json!({"subjects": [OTHER_ID]}), viewer.clone(), "with Identity 00000000"),
        ("role", json!({}), json!([{"role": "viewer"}, {"role": "deployer"}]), "with role \"deployer\""),
        ("roles", json!({"roles": ["*"]}), json!([{"role": "viewer"}, {"role": "deployer"}]), ""),
        ("within", json!({"maxDuration": "4h"}), admin(json!({"duration": "4h"})), ""),
        ("longer", json!({"maxDuration": "4h"}), admin(json!({"duration": "5h"})), "for more than 4h"),
        (
            "for-good",
            json!({"maxDuration": "4h"}),
            json!([{"role": "admin"}]),
            "permanently: set its temporary to at most 4h",
        ),
        ("dated", json!({"requireExpirationTime": true}), admin(soon), ""),
        (
            "undated",
            json!({"requireExpirationTime": true}),
            admin(json!({"duration": "1h"})),
            "without temporary.expirationTime",
        ),
    ]
}

#[tokio::test]
async fn each_kind_of_rule_allows_what_fits_it_and_refuses_the_rest_with_what_is_missing() {
    with_stage(async |stage| {
        each(cases(&stage), async |(name, fields, roles, missing)| {
            let rules = json!([stage.rule(&["viewer", "admin"], fields)]);
            stage.api.apply(&[stage.central(name, rules)]).await;
            let subject = stage.identity(name);
            stage.api.apply(&[stage.by(name, subject.declares(roles.clone()))]).await;
            let object = subject.object();
            if missing.is_empty() {
                stage.has_condition(&object, "Ready", "True", "Converged").await;
                let role = roles[0]["role"].as_str().unwrap();
                assert!(subject.holds().contains(role), "{name}: {role} was to be granted");
                return;
            }
            let message = stage.has_condition(&object, "Ready", "False", "NotAllowed").await;
            stage.has_condition(&object, "Stalled", "True", "NotAllowed").await;
            assert_contains(&message, missing);
            assert_presentable(&message);
            subject.has_now(&[], name);
            subject.is_member(0).await;
            // It holds nothing, so that it is deleted immediately.
            stage.delete(&object).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn both_providers_are_under_rules() {
    in_memory(async |stage| {
        let of = |roles: &[&str]| json!([stage.rule(roles, json!({}))]);
        stage.centrals(of(&["viewer"]), of(&["PROJECT_OWNER_VIEWER"])).await;
        each(stage.both("ruled"), async |subject| {
            let [viewer, more, ..] = subject.names();
            stage.api.apply(&[stage.central_object(&subject, json!([{"role": viewer}, {"role": more}]))]).await;
            stage.has_condition(&subject.object(), "Ready", "False", "NotAllowed").await;
            subject.has_now(&[], "where one role isn't allowed none is granted");
            stage.api.apply(&[stage.central_object(&subject, json!([{"role": viewer}]))]).await;
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            subject.has_now(&[viewer], "as the rule says");
            stage.delete(&subject.object()).await;
            subject.has(&[]).await;
            subject.is_member(0).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_isnt_allowed_learns_nothing_of_what_others_may_do_and_sees_nothing_of_the_provider() {
    in_memory(async |stage| {
        let secret = json!({
            "namespaces": {"names": ["team-hidden"]}, "projects": [worlds::INFISICAL_PROJECT],
            "subjects": [OTHER_ID], "roles": ["hidden-role"], "maxDuration": "17h",
        });
        stage.api.apply(&[stage.central("hidden", json!([secret]))]).await;
        let provider = format!("clustermembershipprovider/{}", stage.central_name("hidden"));
        stage.ready(&provider).await;
        let looking = stage.identity("looking");
        looking.by_hand(&["admin"]);
        let object = looking.declares_with(json!([{"role": "viewer"}]), json!({"managementPolicy": "Observe"}));
        let mut named = stage.by("hidden", looking.layer("named", json!([{"role": "viewer"}])));
        named["spec"]["project"] = json!({"name": worlds::INFISICAL_PROJECT_SLUG});
        stage.simulator.infisical().clear_requests();
        stage.api.apply(&[stage.by("hidden", object), named]).await;
        for object in [&looking.object(), "pm/named"] {
            stage.has_condition(object, "Ready", "False", "NotAllowed").await;
            let reported = stage.api.get(object).await["status"].to_string();
            for hidden in ["team-hidden", "hidden-role", "17h", OTHER_ID, "\"admin\"", "drift\":[{"] {
                assert!(!reported.contains(hidden), "{object} shows {hidden}: {reported}");
            }
        }
        // Neither a list nor a name was requested with a credential that isn't theirs.
        let asked: Vec<String> = stage.simulator.infisical().requests().iter().map(|r| r.path.clone()).collect();
        let of_the_project =
            |path: &&String| path.contains(worlds::INFISICAL_PROJECT) || path.contains(worlds::INFISICAL_PROJECT_SLUG);
        let asked: Vec<&String> = asked.iter().filter(of_the_project).collect();
        assert!(asked.is_empty(), "expected that nothing is asked, there was {asked:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_longer_end_is_refused_from_the_recorded_start_on_and_the_old_one_stands() {
    in_memory(async |stage| {
        let rules = json!([stage.rule(&["deployer"], json!({"maxDuration": "8s"}))]);
        stage.api.apply(&[stage.central("short", rules)]).await;
        let subject = stage.identity("longer");
        let grant = |duration: &str| json!([{"role": "deployer", "temporary": {"duration": duration}}]);
        stage.api.apply(&[stage.by("short", subject.declares(grant("6s")))]).await;
        let object = subject.object();
        let role = stage.role_is(&object, "deployer", "Active").await;
        let end = super::super::subject::time(&role["expirationTime"]);
        let later = end + SignedDuration::from_secs(600);
        let put_off = json!([{"role": "deployer", "temporary": {"expirationTime": later}}]);
        stage.api.merge(&object, &json!({"spec": {"roles": put_off}})).await;
        stage.has_condition(&object, "Ready", "False", "NotAllowed").await;
        subject.ends("deployer", end, "the end that was admitted").await;
        stage.api.merge(&object, &json!({"spec": {"roles": grant("1h")}})).await;
        stage.is_seen(&object).await;
        stage.has_condition(&object, "Ready", "False", "NotAllowed").await;
        subject.has_now(&[], "after its end");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn names_are_looked_up_where_a_rule_may_allow_it_and_what_they_stand_for_decides() {
    in_memory(async |stage| {
        let rules = json!([stage.rule(&["viewer"], json!({"subjects": [worlds::INFISICAL_DEPLOYER]}))]);
        stage.api.apply(&[stage.central("named", rules)]).await;
        let by_name = |name: &str, subject: &str| {
            let object = stage.by("named", stage.of_identity(name, json!([{"role": "viewer"}])));
            with(object, json!({"project": {"name": worlds::INFISICAL_PROJECT_SLUG}, "subject": {"kind": "Identity", "name": subject}}))
        };
        let missing = by_name("nobody", "nobody-at-all");
        stage.api.apply(&[by_name("allowed", "ci-deployer"), by_name("refused", "reporter"), missing]).await;
        stage.has_condition("pm/allowed", "Ready", "True", "Converged").await;
        stage.identity_has(&["viewer"]).await;
        // The namespace must not learn whether a name that no rule lists exists, nor its id.
        let refused = stage.has_condition("pm/refused", "Ready", "False", "NotAllowed").await;
        let unknown = stage.has_condition("pm/nobody", "Ready", "False", "NotAllowed").await;
        assert_eq!(refused.replace("reporter", "nobody-at-all"), unknown);
        assert!(!refused.contains(worlds::INFISICAL_REPORTER), "{refused}");
        // Nor whether there is one whose name has another letter case.
        stage.api.apply(&[by_name("cased", "Reporter"), by_name("cased-allowed", "CI-Deployer")]).await;
        for (object, name) in [("pm/cased", "Reporter"), ("pm/cased-allowed", "CI-Deployer")] {
            let cased = stage.has_condition(object, "Ready", "False", "NotAllowed").await;
            assert_eq!(cased.replace(name, "nobody-at-all"), unknown);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_is_reported_where_any_name_may_be_used() {
    in_memory(async |stage| {
        stage.api.apply(&[stage.central("open", json!([stage.rule(&["viewer"], json!({}))]))]).await;
        let object = stage.by("open", stage.of_identity("nobody", json!([{"role": "viewer"}])));
        stage.api.apply(&[with(object, json!({"subject": {"kind": "Identity", "name": "nobody-at-all"}}))]).await;
        stage.has_condition("pm/nobody", "Stalled", "True", "SubjectNotFound").await;
        let object = stage.by("open", stage.of_identity("cased", json!([{"role": "viewer"}])));
        stage.api.apply(&[with(object, json!({"subject": {"kind": "Identity", "name": "CI-Deployer"}}))]).await;
        let reported = stage.has_condition("pm/cased", "Stalled", "True", "SubjectNotFound").await;
        assert_contains(&reported, "\"ci-deployer\"");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_cluster_provider_is_reported_to_its_maintainer() {
    in_memory(async |stage| {
        let mut broken = stage.central("broken", json!([stage.rule(&["viewer"], json!({}))]));
        let secret = json!({"namespace": stage.namespace(), "name": "of-the-platform-team", "key": "client-secret"});
        broken["spec"]["infisical"]["auth"]["universalAuth"]["clientSecretSecretRef"] = secret;
        stage.api.apply(&[broken]).await;
        let provider = format!("clustermembershipprovider/{}", stage.central_name("broken"));
        let reported = stage.has_condition(&provider, "Ready", "False", "Unauthorized").await;
        assert_contains(&reported, "of-the-platform-team");
        let tenant = stage.identity("tenant");
        stage.api.apply(&[stage.by("broken", tenant.declares(json!([{"role": "viewer"}])))]).await;
        let message = stage.has_condition(&tenant.object(), "Reconciling", "True", "ProviderNotReady").await;
        assert_contains(&message, "Unauthorized");
        assert!(!message.contains("of-the-platform-team"), "{message}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_subject_that_the_operator_signs_in_as_is_refused() {
    in_memory(async |stage| {
        let rules = json!([stage.rule(&["*"], json!({}))]);
        stage.api.apply(&[stage.central("own", rules)]).await;
        let infisical = stage.simulator.infisical();
        let roles = || infisical.effective_roles(worlds::INFISICAL_PROJECT, worlds::INFISICAL_OPERATOR, now());
        let before = roles();
        assert!(before.contains("admin"), "{before:?}");
        let ourselves = |name: &str| {
            let subject = json!({"kind": "Identity", "id": worlds::INFISICAL_OPERATOR});
            with(stage.of_identity(name, json!([{"role": "viewer"}])), json!({ "subject": subject }))
        };
        stage.api.apply(&[stage.by("own", ourselves("of-cluster")), ourselves("of-namespace")]).await;
        for object in ["pm/of-cluster", "pm/of-namespace"] {
            let message = stage.has_condition(object, "Ready", "False", "NotAllowed").await;
            assert_contains(&message, "the account that the operator itself uses");
            stage.delete(object).await;
        }
        assert_eq!(roles(), before);
    })
    .await;
}
