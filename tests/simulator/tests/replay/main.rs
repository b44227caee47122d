//! The recorded exchanges, sent to the simulator in their order: does it answer as the real servers did?
//!
//! What a recording presupposes is in a small world file beside it (`tests/contracts/*/worlds`), which also says
//! what happened at the server between the exchanges, and which exchanges are not replayed, and why. Every other
//! exchange must match: see `compare.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where something is wrong")]

mod compare;
mod recording;
mod run;
mod zitadel;

use run::replay;

macro_rules! recordings {
    ($($name:ident: $provider:literal $file:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                replay($provider, $file).await;
            }
        )*
    };
}

recordings! {
    infisical_membership_lifecycle: "infisical" "membership-lifecycle";
    infisical_errors: "infisical" "errors";
    infisical_temporary_grants: "infisical" "temporary-grants";
    infisical_auth: "infisical" "auth";
    infisical_identity_extras: "infisical" "identity-extras";
    infisical_pagination: "infisical" "pagination";
    infisical_rate_limit: "infisical" "rate-limit";
    infisical_permissions: "infisical" "permissions";
    infisical_user_memberships: "infisical" "user-memberships";
    infisical_group_memberships: "infisical" "group-memberships";
    infisical_name_resolution: "infisical" "name-resolution";
    infisical_kubernetes_auth: "infisical" "kubernetes-auth";
    infisical_oidc_auth: "infisical" "oidc-auth";
    zitadel_project_members: "zitadel" "project-members";
    zitadel_organization_header: "zitadel" "organization-header";
    zitadel_project_grant_members: "zitadel" "project-grant-members";
    zitadel_internal_permissions_v2: "zitadel" "internal-permissions-v2";
    zitadel_auth: "zitadel" "auth";
    zitadel_name_resolution: "zitadel" "name-resolution";
    zitadel_permissions: "zitadel" "permissions";
    zitadel_concurrency: "zitadel" "concurrency";
}
