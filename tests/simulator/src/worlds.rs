//! Worlds as JSON: the initial state of a simulated provider. [`demo`] is the one of the playground.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::OrgRole;

mod zitadel_demo;

pub use zitadel_demo::*;

/// The forms of Infisical's part.
pub mod infisical {
    pub use crate::infisical::{
        ClientWorld, ClusterWorld, CustomRoleWorld, GroupWorld, IdentityWorld, InfisicalWorld, MembershipWorld,
        ProjectWorld, SeatWorld, UserWorld,
    };
}

/// The forms of ZITADEL's part.
pub mod zitadel {
    pub use crate::zitadel::{
        ClientWorld, GrantWorld, KeyWorld, MemberWorld, OrgWorld, ProjectGrantWorld, ProjectWorld, UserWorld,
        ZitadelWorld,
    };
}

/// The state of both providers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct World {
    /// Infisical's part.
    pub infisical: infisical::InfisicalWorld,
    /// ZITADEL's part.
    pub zitadel: zitadel::ZitadelWorld,
}

/// The demo's Infisical project, named Web.
pub const INFISICAL_PROJECT: &str = "6ec3d92b-3251-4084-9a12-ffb509a03ffc";
/// The demo's second Infisical project, `billing`.
pub const INFISICAL_OTHER_PROJECT: &str = "f0158193-48e8-406a-bfe9-dac61e775704";
/// The identity that the operator signs in as: admin of both projects.
pub const INFISICAL_OPERATOR: &str = "e54ff709-c9cb-426d-9464-a53bfba31daa";
/// The identity `ci-deployer`, a member of nothing yet.
pub const INFISICAL_DEPLOYER: &str = "24160fbf-24bd-49d7-95de-feb53df75187";
/// The identity `reporter`, a member of nothing yet.
pub const INFISICAL_REPORTER: &str = "c7e4e5d3-f44e-42c0-b7cd-f56f9b698566";
/// The identity `on-call`, viewer of `web` before any operator came.
pub const INFISICAL_ON_CALL: &str = "399d7a52-b368-49a8-a7e4-754884bbb5a2";
/// The user Ada Lovelace, a member of nothing yet.
pub const INFISICAL_ADA: &str = "887a2772-9d1d-4eb3-8005-26255afced48";
/// Her e-mail address, which is her username.
pub const INFISICAL_ADA_EMAIL: &str = "ada@acme.example";
/// The group Ops, which Ada is in; a member of nothing yet.
pub const INFISICAL_OPS: &str = "866559bf-fa52-4244-ac16-9deea4ce350d";
/// The name of that group.
pub const INFISICAL_OPS_NAME: &str = "Ops";
/// The slug of the project `web`: its name in a ProjectMembership. A server of October 2024 takes none under five
/// characters.
pub const INFISICAL_PROJECT_SLUG: &str = "web-shop";
/// The organisation of all this.
pub const INFISICAL_ORG: &str = crate::infisical::DEFAULT_ORG;
/// The operator's client id for universal auth.
pub const INFISICAL_CLIENT_ID: &str = "ccce6593-1ade-42ec-a45f-561fa7257243";
/// The operator's client secret for universal auth.
pub const INFISICAL_CLIENT_SECRET: &str = "demo-client-secret";
/// The operator's static access token.
pub const INFISICAL_TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.demo.operator";

/// The world of the playground: a project or two at each provider, some subjects, and the operator's own credentials.
/// Its ids are the constants of this module.
pub fn demo() -> World {
    World { infisical: demo_infisical(), zitadel: demo_zitadel() }
}

fn demo_infisical() -> infisical::InfisicalWorld {
    use infisical::{
        ClientWorld, CustomRoleWorld, GroupWorld, IdentityWorld, InfisicalWorld, MembershipWorld, ProjectWorld,
        UserWorld,
    };

    let role = |slug: &str, name: &str, rights: &[&str]| CustomRoleWorld {
        slug: slug.to_owned(),
        name: name.to_owned(),
        rights: rights.iter().map(|right| (*right).to_owned()).collect(),
    };
    let project = |id: &str, slug: &str, name: &str| ProjectWorld {
        id: id.to_owned(),
        slug: slug.to_owned(),
        name: name.to_owned(),
        org: None,
        product: None,
        custom_roles: vec![
            role("deployer", "Deployer", &["secrets:read", "secrets:write"]),
            role("auditor", "Auditor", &["identity:read", "secrets:read"]),
        ],
    };
    let identity = |id: &str, name: &str, auth_method: Option<&str>| IdentityWorld {
        id: id.to_owned(),
        name: name.to_owned(),
        auth_method: auth_method.map(str::to_owned),
        org: None,
        // Only the operator may look up names.
        org_role: if auth_method.is_some() { OrgRole::Member } else { OrgRole::NoAccess },
        managed_by: None,
    };
    let membership = |project: &str, subject: &str, role: &str| MembershipWorld {
        project: project.to_owned(),
        subject: subject.to_owned(),
        roles: vec![crate::RoleRow::permanent(role)],
    };
    InfisicalWorld {
        generations: None,
        error_style: None,
        projects: vec![
            project(INFISICAL_PROJECT, INFISICAL_PROJECT_SLUG, "Web"),
            project(INFISICAL_OTHER_PROJECT, "billing", "Billing"),
        ],
        identities: vec![
            identity(INFISICAL_OPERATOR, "membership-operator", Some("universal-auth")),
            identity(INFISICAL_DEPLOYER, "ci-deployer", None),
            identity(INFISICAL_REPORTER, "reporter", None),
            identity(INFISICAL_ON_CALL, "on-call", None),
        ],
        users: vec![UserWorld {
            id: INFISICAL_ADA.to_owned(),
            email: INFISICAL_ADA_EMAIL.to_owned(),
            first_name: Some("Ada".to_owned()),
            last_name: Some("Lovelace".to_owned()),
            seats: None,
        }],
        groups: vec![GroupWorld {
            id: INFISICAL_OPS.to_owned(),
            slug: "ops".to_owned(),
            name: INFISICAL_OPS_NAME.to_owned(),
            org: None,
            users: vec![INFISICAL_ADA.to_owned()],
        }],
        clients: vec![ClientWorld {
            client_id: INFISICAL_CLIENT_ID.to_owned(),
            client_secret: INFISICAL_CLIENT_SECRET.to_owned(),
            identity: INFISICAL_OPERATOR.to_owned(),
            token_ttl: 7200,
            token_max_ttl: 14400,
        }],
        tokens: BTreeMap::from([(INFISICAL_TOKEN.to_owned(), INFISICAL_OPERATOR.to_owned())]),
        admin_tokens: BTreeMap::new(),
        memberships: vec![
            membership(INFISICAL_PROJECT, INFISICAL_OPERATOR, "admin"),
            membership(INFISICAL_OTHER_PROJECT, INFISICAL_OPERATOR, "admin"),
            membership(INFISICAL_PROJECT, INFISICAL_ON_CALL, "viewer"),
        ],
        ..InfisicalWorld::default()
    }
}
