//! Peculiarities of ZITADEL: the organization of a request, and the order of roles.

use serde_json::json;
use simulator::worlds;

use crate::evidence::assert_presentable;
use crate::in_memory::in_memory;
use crate::stage::with_stage;
use crate::subject::{each, in_seconds, with};

#[tokio::test]
async fn the_organization_is_the_memberships_or_else_the_providers() {
    with_stage(async |stage| {
        let zitadel = stage.simulator.zitadel();
        // The operator may write in a second organization as well.
        zitadel.add_project("400623430000000001", worlds::ZITADEL_ORG, "other");
        zitadel.grant(worlds::ZITADEL_OPERATOR, simulator::Scope::Org(worlds::ZITADEL_ORG.to_owned()), "ORG_OWNER");
        let (here, there) = (stage.user("here"), stage.user("there"));
        let [a, ..] = here.names();
        stage.declare(&here, json!([{"role": a}])).await;
        let project = json!({"id": "400623430000000001", "organizationId": worlds::ZITADEL_ORG});
        stage.api.apply(&[with(there.declares(json!([{"role": a}])), json!({"project": project}))]).await;
        for (subject, organization) in [(&here, worlds::ZITADEL_PROJECT_ORG), (&there, worlds::ZITADEL_ORG)] {
            stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
            let target = stage.api.get(&subject.object()).await["status"]["target"].clone();
            assert_eq!(target["organizationId"], organization, "{target:#}");
        }
        here.has(&[a]).await;
        assert_eq!(zitadel.roles("400623430000000001", &there.id), [a], "in the other organization's project");
        stage.delete(&there.object()).await;
        assert!(zitadel.roles("400623430000000001", &there.id).is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_order_of_the_same_roles_is_no_difference() {
    in_memory(async |stage| {
        let subject = stage.user("order");
        let [a, b, ..] = subject.names();
        subject.by_hand(&[b, a]);
        stage.declare(&subject, json!([{"role": a}, {"role": b}])).await;
        stage.has_condition(&subject.object(), "Ready", "True", "Converged").await;
        subject.by_hand(&[a, b]);
        stage.reconcile_now(&subject.object()).await;
        assert!(subject.writes().is_empty(), "expected no write, there was {:#?}", subject.writes());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_change_is_one_put_of_a_sorted_list() {
    in_memory(async |stage| {
        let subject = stage.user("put");
        let [a, b, c, _] = subject.names();
        subject.by_hand(&[c]);
        stage.declare(&subject, json!([{"role": b}, {"role": a}])).await;
        subject.has(&[a, b]).await;
        stage.ready(&subject.object()).await;
        let mut sorted = [a, b];
        sorted.sort_unstable();
        let writes = subject.writes();
        let bodies: Vec<(&str, &str)> =
            writes.iter().map(|write| (write.method.as_str(), write.body.as_str())).collect();
        assert_eq!(bodies, [("PUT", json!({"roles": sorted}).to_string().as_str())]);
    })
    .await;
}

/// The roles that members can have are configured on the instance: a list with one that was removed there is refused,
/// even if it is merely sent again.
#[tokio::test(start_paused = true)]
async fn a_role_that_is_not_configured_any_more_keeps_no_other_role_in_force_and_is_named() {
    in_memory(async |stage| {
        let (zitadel, custom) = (stage.simulator.zitadel(), "PROJECT_DEPLOYER");
        zitadel.configure_role(custom);
        let (ending, blocked, managed) = (stage.user("ending"), stage.user("blocked"), stage.user("managed"));
        let [a, ..] = ending.names();
        let additive = json!({"roleManagement": "Additive"});
        for user in [&ending, &blocked] {
            user.by_hand(&[custom]);
        }
        let end = in_seconds(6);
        let roles = json!([{"role": a, "temporary": {"expirationTime": end}}]);
        stage.api.apply(&[ending.declares_with(roles, additive.clone())]).await;
        let temporary = json!({"role": a, "temporary": {"expirationTime": end}});
        stage.declare(&managed, json!([{"role": custom}, temporary])).await;
        each([&ending, &managed], async |user| user.has(&[a, custom]).await).await;
        zitadel.unconfigure_role(custom);

        stage.api.apply(&[blocked.declares_with(json!([{"role": a}]), additive)]).await;
        let message = stage.is_stalled(&blocked.object(), "RoleNotFound").await;
        assert_presentable(&message);
        assert!(message.starts_with(&format!("{custom:?} is no role")), "{message}");
        blocked.has_now(&[custom], "what isn't ours stays");

        each([&ending, &managed], async |user| {
            user.ends(a, end, "beside a role that is not configured any more").await;
            user.has_now(&[], "the role gives no right, and no list with it is accepted");
        })
        .await;
        stage.is_stalled(&managed.object(), "RoleNotFound").await;
        stage.delete(&managed.object()).await;

        blocked.by_hand(&[]);
        stage.reconcile_now(&blocked.object()).await;
        stage.ready(&blocked.object()).await;
        blocked.has_now(&[a], "without the role");
    })
    .await;
}

/// Project and user names are unique regardless of case; the message about a name in another case shows the right one,
/// but not past the rules of a ClusterMembershipProvider.
#[tokio::test(start_paused = true)]
async fn a_name_in_another_letter_case_is_answered_with_the_right_one_where_the_rules_allow_it() {
    in_memory(async |stage| {
        let role = "PROJECT_OWNER_VIEWER";
        let of_no_other_user = json!([stage.rule(&[role], json!({"subjects": [worlds::ZITADEL_DEPLOYER]}))]);
        let of_no_other_project = json!([stage.rule(&[role], json!({"projects": [worlds::ZITADEL_PROJECT]}))]);
        stage.api.apply(&[stage.central_zitadel("users", of_no_other_user)]).await;
        stage.api.apply(&[stage.central_zitadel("projects", of_no_other_project)]).await;
        let named = |name: &str, project: &str, user: &str| {
            let fields = json!({"project": {"name": project}, "subject": {"kind": "User", "name": user}});
            with(stage.of_user(name, json!([{ "role": role }])), fields)
        };
        let objects = [
            named("project", "SHOP", "grace"),
            named("user", "shop", "GRACE"),
            stage.by("users", named("similar-user", "shop", "GRACE")),
            stage.by("users", named("no-user", "shop", "NOBODY")),
            stage.by("projects", named("similar-project", "SHOP", "grace")),
            stage.by("projects", named("no-project", "NONE", "grace")),
        ];
        stage.api.apply(&objects).await;
        for (object, reason, right) in
            [("pm/project", "ProjectNotFound", "\"shop\""), ("pm/user", "SubjectNotFound", "\"grace\"")]
        {
            let message = stage.is_stalled(object, reason).await;
            assert_presentable(&message);
            assert!(message.contains(right), "{object}: {message}");
        }
        for (similar, missing, names) in [
            ("pm/similar-user", "pm/no-user", ["GRACE", "NOBODY"]),
            ("pm/similar-project", "pm/no-project", ["SHOP", "NONE"]),
        ] {
            let similar = stage.is_stalled(similar, "NotAllowed").await;
            let missing = stage.is_stalled(missing, "NotAllowed").await;
            assert_eq!(
                similar.replace(names[0], names[1]),
                missing,
                "whether there is one isn't for the namespace to see"
            );
        }
    })
    .await;
}
