//! Peculiarities of Infisical: the permanent base, several memberships of one identity, the server of October 2024, the
//! static token.

use serde_json::json;
use simulator::{Fault, Order, RoleRow};

use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::subject::{in_seconds, is_empty, time, with};

#[tokio::test]
async fn a_membership_of_temporary_roles_only_stands_on_the_base_that_gives_nothing() {
    with_stage(async |stage| {
        let subject = stage.identity("base");
        let roles = json!([{"role": "admin", "temporary": {"duration": "6s"}}]);
        stage.api.apply(&[subject.declares_with(roles, json!({"resyncInterval": "1s"}))]).await;
        subject.has(&["admin"]).await;
        let base = RoleRow::permanent("no-access");
        assert!(subject.rows().contains(&base), "{:#?}", subject.rows());
        // It is not drift, and no reason to write again.
        stage.ready(&subject.object()).await;
        let written = subject.writes().len();
        subject.is_listed(2).await;
        let status = stage.api.get(&subject.object()).await["status"].clone();
        assert!(is_empty(&status["drift"]), "{status:#}");
        assert_eq!(status["activeRoles"], "admin", "{status:#}");
        assert_eq!(subject.writes().len(), written, "{:#?}", subject.writes());
        // It is removed with the last role.
        let end = time(&stage.role_is(&subject.object(), "admin", "Active").await["expirationTime"]);
        subject.ends("admin", end, "on the base").await;
        subject.is_member(0).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_base_is_no_drift_to_one_who_observes() {
    in_memory(async |stage| {
        let subject = stage.identity("base");
        subject.rows_by_hand(vec![RoleRow::permanent("no-access"), RoleRow::temporary("admin", in_seconds(-60), "1h")]);
        let roles = json!([{"role": "admin", "temporary": {"startTime": in_seconds(-60), "duration": "1h"}}]);
        let rows = subject.rows();
        stage.api.apply(&[subject.declares_with(roles, json!({"managementPolicy": "Observe"}))]).await;
        stage.reason_is(&subject.object(), "Observed").await;
        let drift = stage.api.get(&subject.object()).await["status"]["drift"].clone();
        // The two starts may be a second apart, which is a difference, too.
        let of_base = drift.as_array().is_some_and(|drift| drift.iter().any(|drift| drift["role"] == "no-access"));
        assert!(!of_base, "{drift:#} from {rows:#?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn several_memberships_of_one_identity_are_deleted_and_created_again() {
    in_memory(async |stage| {
        let subject = stage.identity("doubled");
        let infisical = stage.simulator.infisical();
        for role in ["admin", "viewer", "viewer"] {
            infisical.add_membership(simulator::worlds::INFISICAL_PROJECT, &subject.id, vec![RoleRow::permanent(role)]);
        }
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        subject.is_member(1).await;
        subject.has(&["viewer"]).await;
        stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        let methods: Vec<String> = subject.writes().into_iter().map(|write| write.method).collect();
        assert_eq!(methods, ["DELETE", "POST"], "a PATCH would write one of them, and maybe not the one that counts");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn unmanaged_roles_come_back_when_several_memberships_are_merged() {
    in_memory(async |stage| {
        let subject = stage.identity("doubled");
        let infisical = stage.simulator.infisical();
        let temporary = RoleRow::temporary("deployer", in_seconds(-60), "1.5h");
        for rows in [vec![RoleRow::permanent("auditor")], vec![temporary.clone(), RoleRow::permanent("auditor")]] {
            infisical.add_membership(simulator::worlds::INFISICAL_PROJECT, &subject.id, rows);
        }
        let object = subject.declares_with(json!([{"role": "viewer"}]), json!({"roleManagement": "Additive"}));
        stage.api.apply(&[object]).await;
        subject.has(&["auditor", "deployer", "viewer"]).await;
        subject.is_member(1).await;
        assert!(subject.rows().contains(&temporary), "expected {temporary:#?} in {:#?}", subject.rows());
        stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        let status = stage.api.get(&subject.object()).await["status"].clone();
        assert!(is_empty(&status["carriedRoles"]), "what came back needn't be remembered: {status:#}");
        // They are still unmanaged.
        stage.delete(&subject.object()).await;
        subject.has_now(&["auditor", "deployer"], "after ours went");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_server_of_october_2024_works_the_same_way() {
    in_memory(async |stage| {
        stage.simulator.infisical().be_october_2024();
        let mut provider = stage.infisical_provider();
        provider["metadata"]["name"] = json!("old");
        stage.api.apply(&[provider]).await;
        stage.provider_is_ready("old").await;
        let api = stage.api.get("membershipprovider/old").await["status"]["api"].clone();
        assert_eq!(api, "workspace/v2");
        stage.simulator.infisical().clear_requests();
        let old = json!({"providerRef": {"name": "old"}, "resyncInterval": "1s"});
        let subject = stage.identity("old");
        let roles = json!([{"role": "viewer"}, {"role": "deployer", "temporary": {"duration": "5s"}}]);
        stage.api.apply(&[with(subject.declares(roles), old.clone())]).await;
        subject.has(&["viewer", "deployer"]).await;
        let end = time(&stage.role_is(&subject.object(), "deployer", "Active").await["expirationTime"]);
        subject.ends("deployer", end, "October 2024").await;
        stage.ready(&subject.object()).await;
        subject.by_hand(&["admin"]);
        subject.has(&["viewer"]).await;
        stage.delete(&subject.object()).await;
        subject.has_now(&[], "after its object was deleted");
        // A membership with temporary roles only is accepted there.
        let alone = stage.identity("alone");
        let roles = json!([{"role": "viewer", "temporary": {"duration": "1h"}}]);
        stage.api.apply(&[with(alone.declares(roles), old)]).await;
        alone.has(&["viewer"]).await;
        assert_eq!(alone.rows().len(), 1, "{:#?}", alone.rows());
        let writes = [subject.writes(), alone.writes()].concat();
        assert!(writes.iter().all(|write| write.path.starts_with("/api/v2/workspace/")), "{writes:#?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_static_token_works_without_signing_in() {
    in_memory(async |stage| {
        let mut provider = stage.infisical_provider();
        provider["metadata"]["name"] = json!("static");
        provider["spec"]["infisical"]["auth"] = json!({"tokenSecretRef": {"name": "infisical", "key": "token"}});
        stage.provider_is_ready("infisical").await;
        stage.simulator.infisical().clear_requests();
        stage.api.apply(&[provider]).await;
        stage.provider_is_ready("static").await;
        let subject = stage.identity("static");
        let fields = json!({"providerRef": {"name": "static"}});
        stage.api.apply(&[subject.declares_with(json!([{"role": "viewer"}]), fields)]).await;
        subject.has(&["viewer"]).await;
        stage.delete(&subject.object()).await;
        subject.has_now(&[], "after its object was deleted");
        assert_eq!(stage.simulator.infisical().count("POST", "/login"), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_done_only_when_none_of_several_memberships_is_left() {
    in_memory(async |stage| {
        let (subject, infisical) = (stage.identity("doubled"), stage.simulator.infisical());
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        stage.ready(&subject.object()).await;
        for role in ["viewer", "viewer"] {
            infisical.add_membership(simulator::worlds::INFISICAL_PROJECT, &subject.id, vec![RoleRow::permanent(role)]);
        }
        assert_eq!(subject.memberships(), 3);
        // The first removal fails.
        infisical.order(Order::next(Fault::status(503)).on("DELETE", &subject.id));
        stage.delete(&subject.object()).await;
        assert_eq!(subject.memberships(), 0, "left with {:?}", subject.holds());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_several_memberships_makes_one_of_them_without_a_patch() {
    in_memory(async |stage| {
        let (subject, infisical) = (stage.identity("doubled"), stage.simulator.infisical());
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        stage.ready(&subject.object()).await;
        infisical.add_membership(simulator::worlds::INFISICAL_PROJECT, &subject.id, vec![RoleRow::permanent("admin")]);
        stage.reconcile_now(&subject.object()).await;
        subject.is_member(1).await;
        subject.has(&["viewer"]).await;
        stage.change(&subject, json!({"roles": [{"role": "deployer"}]})).await;
        stage.ready(&subject.object()).await;
        subject.has_now(&["deployer"], "when one membership is left");
        let methods: Vec<String> = subject.writes().into_iter().map(|write| write.method).collect();
        assert_eq!(methods, ["POST", "DELETE", "POST", "PATCH"], "{:#?}", subject.writes());
    })
    .await;
}
