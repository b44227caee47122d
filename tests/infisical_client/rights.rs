//! What the operator's own identity needs (docs/providers/infisical.md, "Rights in the project" and "Rights for
//! names"), on servers of every age: exactly these rights suffice, and without any one of them what it is for is
//! refused while the rest continues. As recorded of October 2024 and June 2025 (permissions.json). The table of the
//! document is in `privileges.rs`.

use membership_operator::api::SubjectKind::{self, Group, Identity, User};
use membership_operator::core::member::Change;
use membership_operator::provider::{Error, Provider};
use simulator::worlds::{
    INFISICAL_ADA, INFISICAL_ADA_EMAIL, INFISICAL_DEPLOYER, INFISICAL_OPERATOR, INFISICAL_OPS, INFISICAL_PROJECT,
    INFISICAL_PROJECT_SLUG,
};
use simulator::{ErrorStyle, Generations, OrgRole, RoleRow};

use crate::{AGES, Stage, held, permanent, web};

/// The kinds, one of each who is no member, and how Infisical calls the kind's rights.
const KINDS: [(SubjectKind, &str, &str); 3] =
    [(Identity, INFISICAL_DEPLOYER, "identity"), (User, INFISICAL_ADA, "member"), (Group, INFISICAL_OPS, "groups")];

const ACTIONS: [&str; 4] = ["read", "create", "edit", "delete"];

/// A stage whose operator has these rights in the project and no others, and a role that gives nothing.
async fn with(generations: Generations, style: ErrorStyle, rights: &[String]) -> Stage {
    let stage = Stage::inviting().await;
    stage.be(generations, style);
    let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
    stage.server().add_custom_role_with(INFISICAL_PROJECT, "operator", "Operator", &rights);
    stage.server().add_custom_role(INFISICAL_PROJECT, "powerless");
    stage.server().set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &["operator"]);
    stage.server().set_org_role(INFISICAL_OPERATOR, OrgRole::NoAccess);
    stage
}

/// Four operations, named by the right that each is for. `Ok(true)`: a membership that was to go stays without access.
async fn attempt(stage: &Stage, action: &str, kind: SubjectKind, subject: &str) -> Result<bool, Error> {
    let is_member = stage.server().memberships_of(INFISICAL_PROJECT, subject) > 0;
    if action != "create" && !is_member {
        stage.server().add_membership(INFISICAL_PROJECT, subject, vec![RoleRow::permanent("powerless")]);
    } else if action == "create" && is_member {
        stage.server().remove_member(INFISICAL_PROJECT, subject);
    }
    let receipt = match action {
        "read" => return stage.infisical.list(&stage.read().await, &web(), kind).await.map(|_| false),
        "create" => {
            let name = (kind == User).then_some(INFISICAL_ADA_EMAIL);
            stage.apply_named(kind, subject, name, Change::Create(permanent(&["powerless"]))).await
        }
        "edit" => stage.apply(kind, subject, Change::Replace(permanent(&["powerless"]))).await,
        _ => stage.apply(kind, subject, Change::Remove).await,
    };
    receipt.map(|receipt| receipt.kept.is_some())
}

/// The four rights of a kind, and where the privilege system of March 2025 rules, the one to grant.
fn all_of(kind: &str, style: ErrorStyle) -> Vec<String> {
    let grants = (style == ErrorStyle::June2025).then_some("grant-privileges");
    ACTIONS.into_iter().chain(grants).map(|action| format!("{kind}:{action}")).collect()
}

#[tokio::test]
async fn the_four_rights_of_a_kind_suffice_for_it() {
    for (generations, style) in AGES {
        for (kind, subject, subjects) in KINDS {
            let case = format!("{kind:?} {generations:?} {style:?}");
            let stage = with(generations, style, &all_of(subjects, style)).await;
            for action in ACTIONS {
                let outcome = attempt(&stage, action, kind, subject).await;
                assert!(outcome.is_ok(), "{action} {case}: {outcome:?}");
            }
            assert_eq!(stage.held(subject), held(&[]), "{case}");
            for other in KINDS.iter().filter(|(other, ..)| *other != kind) {
                let error = attempt(&stage, "read", other.0, other.1).await.unwrap_err();
                assert!(matches!(error, Error::Forbidden { .. }), "{other:?} {case}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn without_one_right_its_operation_is_forbidden_and_the_others_go_on() {
    for (generations, style) in AGES {
        for (kind, subject, subjects) in KINDS {
            for lacking in ACTIONS {
                let mut rights = all_of(subjects, style);
                rights.retain(|right| *right != format!("{subjects}:{lacking}"));
                for action in ACTIONS {
                    let case = format!("{action} without {subjects}:{lacking} {generations:?} {style:?}");
                    let stage = with(generations, style, &rights).await;
                    let outcome = attempt(&stage, action, kind, subject).await;
                    // A user's memberships are identified by ids from a list, and a user who was added by mail is
                    // changed right after.
                    let needs: &[&str] = match (kind, action) {
                        (User, "edit") => &["read", "edit"],
                        (User, "delete") => &["read", "delete"],
                        (User, "create") => &["create", "edit"],
                        _ => &[action],
                    };
                    // A caller that may edit and not delete leaves a membership without access behind.
                    let lowers = (action, lacking) == ("delete", "delete");
                    if !needs.contains(&lacking) || lowers {
                        assert_eq!(outcome, Ok(lowers), "{case}");
                        continue;
                    }
                    let error = outcome.unwrap_err();
                    let Error::Forbidden { message } = &error else { panic!("{case}: {error:?}") };
                    let reported = message.contains("give it Read, Create, Edit and Delete on")
                        || message.contains("give it Create on Users");
                    assert!(reported && message.contains(INFISICAL_PROJECT), "{case}: {message}");
                }
            }
        }
    }
}

/// docs/reference/infisical.md, "Three generations": an identity may grant only what it has.
#[tokio::test]
async fn the_rights_alone_take_every_role_away_and_grant_none_above_their_own() {
    // June 2025 requires a permission to grant, not those of the roles: see `privileges.rs`.
    for (generations, style) in AGES.into_iter().filter(|(_, style)| *style != ErrorStyle::June2025) {
        for (kind, subject, subjects) in KINDS {
            let case = format!("{kind:?} {generations:?} {style:?}");
            let stage = with(generations, style, &all_of(subjects, style)).await;
            stage.server().add_membership(INFISICAL_PROJECT, subject, vec![RoleRow::permanent("admin")]);
            let outcome = stage.apply(kind, subject, Change::Replace(permanent(&["viewer"]))).await;
            if kind == User && style == ErrorStyle::October2024 {
                // A caller that may edit users can grant any role there.
                assert!(outcome.is_ok(), "{case}: {outcome:?}");
            } else {
                let error = outcome.unwrap_err();
                let Error::Forbidden { message } = &error else { panic!("{case}: {error:?}") };
                assert!(message.contains("an identity may grant only what it has"), "{case}: {message}");
            }
            stage.apply(kind, subject, Change::Replace(permanent(&["no-access"]))).await.unwrap();
            assert_eq!(stage.held(subject), held(&["no-access"]), "{case}");
            // An identity with more permissions than the operator's isn't deleted before they are revoked.
            stage.server().set_roles(INFISICAL_PROJECT, subject, vec![RoleRow::permanent("admin")]);
            stage.apply(kind, subject, Change::Remove).await.unwrap();
            assert_eq!(stage.server().memberships_of(INFISICAL_PROJECT, subject), 0, "{case}");
            stage.server().add_membership(INFISICAL_PROJECT, subject, vec![RoleRow::permanent("no-access")]);
            // With the rights of the role beside them it is granted.
            stage.server().set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &["operator", "viewer"]);
            stage.apply(kind, subject, Change::Replace(permanent(&["viewer"]))).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_built_in_member_suffices_for_identities_without_admins_and_for_nothing_else() {
    for (generations, style) in AGES.into_iter().filter(|(_, style)| *style != ErrorStyle::June2025) {
        for (kind, subject, _) in KINDS {
            let case = format!("{kind:?} {generations:?} {style:?}");
            let stage = with(generations, style, &[]).await;
            stage.server().set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &["member"]);
            for action in ACTIONS {
                let outcome = attempt(&stage, action, kind, subject).await;
                assert_eq!(outcome.is_ok(), kind == Identity || action == "read", "{action} {case}: {outcome:?}");
            }
            stage.server().remove_member(INFISICAL_PROJECT, subject);
            stage.server().add_membership(INFISICAL_PROJECT, subject, vec![RoleRow::permanent("viewer")]);
            for change in [Change::Replace(permanent(&["admin"])), Change::Replace(permanent(&["viewer", "admin"]))] {
                let error = stage.apply(kind, subject, change).await.unwrap_err();
                assert!(matches!(error, Error::Forbidden { .. }), "{case}: {error:?}");
            }
            // Admin has all of it.
            stage.server().set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &["admin"]);
            stage.apply(kind, subject, Change::Replace(permanent(&["admin"]))).await.unwrap();
            stage.apply(kind, subject, Change::Remove).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_user_new_to_the_organization_is_invited_by_its_admin_only_and_makes_no_account_otherwise() {
    for (generations, style) in AGES {
        let case = format!("{generations:?} {style:?}");
        for (org_role, may) in [(OrgRole::NoAccess, false), (OrgRole::Member, false), (OrgRole::Admin, true)] {
            let stage = with(generations, style, &all_of("member", style)).await;
            stage.server().set_org_role(INFISICAL_OPERATOR, org_role);
            let outcome = stage.infisical.invite(&stage.write().await, &web(), "new@acme.example").await;
            assert_eq!(outcome.is_ok(), may, "{org_role:?} {case}: {outcome:?}");
            let Err(error) = outcome else { continue };
            let Error::Forbidden { message } = &error else { panic!("{case}: {error:?}") };
            assert!(message.contains("organization role Admin"), "{case}: {message}");
            assert!(stage.server().mails().is_empty(), "{case}");
        }
    }
}

/// docs/reference/infisical.md, "Names".
#[tokio::test]
async fn names_of_identities_and_groups_need_the_organization_and_those_of_projects_and_users_the_project() {
    for (generations, style) in AGES {
        for (kind, subject, subjects) in KINDS {
            let case = format!("{kind:?} {generations:?} {style:?}");
            let name = match kind {
                Identity => "ci-deployer",
                User => INFISICAL_ADA_EMAIL,
                Group => "ops",
            };
            let stage = with(generations, style, &[]).await;
            let project = stage.infisical.find_project(&stage.read().await, INFISICAL_PROJECT_SLUG, None).await;
            assert_eq!(project.unwrap(), [INFISICAL_PROJECT], "any membership is enough, {case}");
            let find = async || stage.infisical.find_subject(&stage.read().await, &web(), kind, name).await;
            let error = find().await.unwrap_err();
            let Error::Forbidden { message } = &error else { panic!("{case}: {error:?}") };
            let reported = if kind == User { "give it Read" } else { "organization role Member" };
            assert!(message.contains(reported), "{case}: {message}");
            if kind == User {
                let reads = format!("{subjects}:read");
                stage.server().add_custom_role_with(INFISICAL_PROJECT, "reader", "Reader", &[&reads]);
                stage.server().set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &["reader"]);
                assert_eq!(find().await.unwrap(), Vec::<String>::new(), "who is no member isn't seen, {case}");
                stage.server().add_membership(INFISICAL_PROJECT, subject, vec![RoleRow::permanent("viewer")]);
            } else {
                stage.server().set_org_role(INFISICAL_OPERATOR, OrgRole::Member);
            }
            assert_eq!(find().await.unwrap(), [subject], "{case}");
        }
    }
}
