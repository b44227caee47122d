//! What an Infisical server refuses for lack of permissions, and what is carried out nevertheless: the privilege system
//! of March 2025, deleted projects, and products whose members are stored elsewhere (docs/reference/infisical.md, "A
//! server of June 2025").

use serde_json::json;
use simulator::{ErrorStyle, Generations, worlds};

use crate::in_memory::in_memory;
use crate::stage::Stage;
use crate::subject::{Subject, each};
use crate::support::{SOON, assert_contains, eventually};

/// The servers whose organizations have the privilege system of March 2025.
const SERVERS: [(Generations, ErrorStyle); 2] =
    [(Generations::G1, ErrorStyle::June2025), (Generations::All, ErrorStyle::Current)];

/// Gives the operator's identity a separate role with these permissions on identities.
fn may(stage: &Stage, rights: &[&str]) {
    let infisical = stage.simulator.infisical();
    let rights: Vec<String> = rights.iter().map(|right| format!("identity:{right}")).collect();
    let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
    let role = format!("keeper-of-{}", rights.len());
    infisical.add_custom_role_with(worlds::INFISICAL_PROJECT, &role, &role, &rights);
    infisical.set_caller_roles(worlds::INFISICAL_PROJECT, worlds::INFISICAL_OPERATOR, &[&role]);
}

fn methods(subject: &Subject) -> Vec<String> {
    subject.writes().into_iter().map(|write| write.method).collect()
}

/// Seen failing with `converge::is_worth_a_try` true of everything: the other role is removed with the membership.
#[tokio::test(start_paused = true)]
async fn without_the_right_to_grant_only_memberships_that_hold_nothing_else_are_removed() {
    in_memory(async |stage| {
        let infisical = stage.simulator.infisical();
        infisical.add_custom_role(worlds::INFISICAL_PROJECT, "powerless");
        infisical.add_custom_role(worlds::INFISICAL_PROJECT, "harmless");
        for (generations, style) in SERVERS {
            infisical.be(generations, style);
            infisical.set_new_privileges(Some(true));
            may(&stage, &["read", "create", "edit", "delete", "grant-privileges"]);
            let name = |what: &str| format!("{what}-{style:?}").to_lowercase();
            let (alone, beside) = (stage.identity(&name("alone")), stage.identity(&name("beside")));
            beside.by_hand(&["harmless"]);
            each([&alone, &beside], async |subject| {
                let fields = json!({"roleManagement": "Additive"});
                stage.api.apply(&[subject.declares_with(json!([{"role": "powerless"}]), fields)]).await;
                stage.ready(&subject.object()).await;
            })
            .await;
            may(&stage, &["read", "create", "edit", "delete"]);
            stage.delete(&alone.object()).await;
            alone.has_now(&[], "its own was all that it had");
            let written = methods(&beside).len();
            stage.api.ask_to_delete(&beside.object()).await;
            let message = stage.has_condition(&beside.object(), "Ready", "False", "RevokeFailed").await;
            assert_contains(&message, "may not grant any role");
            assert_contains(&message, "Grant Privileges");
            beside.sees_writes(written + 2).await;
            assert!(!methods(&beside).contains(&"DELETE".to_owned()), "{:#?}", beside.writes());
            beside.has_now(&["harmless", "powerless"], "none of its roles may be removed alone");
            // With the permission it is removed automatically.
            may(&stage, &["read", "create", "edit", "delete", "grant-privileges"]);
            stage.api.is_gone(&beside.object()).await;
            beside.has_now(&["harmless"], "what others granted stays");
        }
    })
    .await;
}

impl Subject {
    /// Waits until this number of writes about it was sent.
    async fn sees_writes(&self, writes: usize) {
        eventually(SOON, &format!("{writes} writes about {}", self.name), async || {
            let sent = self.writes().len();
            if sent >= writes { Ok(()) } else { Err(format!("{sent}")) }
        })
        .await;
    }
}

/// A server of June 2025 responds as if a permission was lacking. Seen failing with `Infisical::decided_by_project`
/// returning the refusal as it is: `RevokeFailed` permanently.
#[tokio::test(start_paused = true)]
async fn objects_of_every_kind_go_when_their_project_is_proved_gone() {
    in_memory(async |stage| {
        let infisical = stage.simulator.infisical();
        infisical.be_june_2025();
        infisical.set_caller_roles(worlds::INFISICAL_PROJECT, worlds::INFISICAL_OPERATOR, &["admin"]);
        let kinds = |name: &str| [stage.identity(name), stage.person(name), stage.group(name)];
        let (waiting, deleting) = (kinds("waiting"), kinds("deleting"));
        each(waiting.iter().chain(&deleting), async |subject| {
            stage.declare(subject, json!([{"role": "viewer"}])).await;
            stage.ready(&subject.object()).await;
        })
        .await;
        // Not while the operator is only locked out.
        infisical.remove_member(worlds::INFISICAL_PROJECT, worlds::INFISICAL_OPERATOR);
        each(&deleting, async |subject| {
            stage.api.ask_to_delete(&subject.object()).await;
            let message = stage.has_condition(&subject.object(), "Ready", "False", "RevokeFailed").await;
            assert_contains(&message, "is not a member of project");
        })
        .await;
        infisical.delete_project(worlds::INFISICAL_PROJECT);
        each(&deleting, async |subject| stage.api.is_gone(&subject.object()).await).await;
        each(&waiting, async |subject| {
            stage.reconcile_now(&subject.object()).await;
            let message = stage.has_condition(&subject.object(), "Stalled", "True", "ProjectNotFound").await;
            assert!(!message.contains("give it"), "{message}");
            stage.delete(&subject.object()).await;
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_product_whose_members_are_kept_elsewhere_is_reported_as_such() {
    in_memory(async |stage| {
        let infisical = stage.simulator.infisical();
        infisical.be_current();
        infisical.set_product(worlds::INFISICAL_PROJECT, "cert-manager");
        let subject = stage.identity("elsewhere");
        stage.declare(&subject, json!([{"role": "viewer"}])).await;
        let message = stage.has_condition(&subject.object(), "Stalled", "True", "Rejected").await;
        assert_contains(&message, "cert-manager");
        assert_contains(&message, "no lack of rights");
    })
    .await;
}
