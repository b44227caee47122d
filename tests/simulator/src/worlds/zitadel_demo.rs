//! ZITADEL's part of the playground.

use std::collections::BTreeMap;

use serde_json::json;

use super::zitadel::{
    ClientWorld, GrantWorld, KeyWorld, MemberWorld, OrgWorld, ProjectGrantWorld, ProjectWorld, UserWorld, ZitadelWorld,
};
use crate::Scope;

/// The demo's ZITADEL organisation, the instance's default one.
pub const ZITADEL_ORG: &str = "400623100078656550";
/// The demo's second ZITADEL organisation, `acme`, which the project is in.
pub const ZITADEL_PROJECT_ORG: &str = "400623435136371750";
/// The demo's ZITADEL project, `shop`.
pub const ZITADEL_PROJECT: &str = "400623434683386918";
/// The machine user that the operator signs in as: owner of the organisation `acme`.
pub const ZITADEL_OPERATOR: &str = "400623100079180838";
/// The machine user `ci-deployer`, a member of nothing yet.
pub const ZITADEL_DEPLOYER: &str = "400623434716941350";
/// The person Ada Lovelace, a member of nothing yet.
pub const ZITADEL_ADA: &str = "400623434800827430";
/// The person Grace Hopper, PROJECT_OWNER_VIEWER before any operator came.
pub const ZITADEL_GRACE: &str = "400623435086040102";
/// The operator's personal access token.
pub const ZITADEL_TOKEN: &str = "demo-personal-access-token";

/// The demo's third ZITADEL organisation, `globex`, which the project `shop` is granted to.
pub const ZITADEL_GRANTED_ORG: &str = "400623621816454182";
/// The grant of `shop` to `globex`.
pub const ZITADEL_GRANT: &str = "400623621984226342";
/// The person Barbara Liskov of `globex`, user name `barbara`, a member of nothing yet.
pub const ZITADEL_BARBARA: &str = "400623622101666854";
/// The id of the operator's key.
pub const ZITADEL_KEY_ID: &str = "400624056296016934";
/// The operator's key, PEM of PKCS#1. Made for this, and worth nothing anywhere else.
pub const ZITADEL_KEY: &str = include_str!("demo-key.pem");
/// The public half of it.
pub const ZITADEL_PUBLIC_KEY: &str = include_str!("demo-key.public.pem");
/// The operator's client id, its user name.
pub const ZITADEL_CLIENT_ID: &str = "membership-operator";
/// The operator's client secret.
pub const ZITADEL_CLIENT_SECRET: &str = "demo-client-secret";

/// The operator's key as the file that ZITADEL hands out (zitadel/auth.json, 19).
pub fn zitadel_key_file() -> String {
    json!({
        "type": "serviceaccount",
        "keyId": ZITADEL_KEY_ID,
        "key": ZITADEL_KEY,
        "expirationDate": "2036-01-01T00:00:00Z",
        "userId": ZITADEL_OPERATOR,
    })
    .to_string()
}

pub(super) fn demo_zitadel() -> ZitadelWorld {
    let org = |id: &str, name: &str| OrgWorld { id: id.to_owned(), name: name.to_owned(), ..OrgWorld::default() };
    let machine = |id: &str, name: &str| UserWorld {
        id: id.to_owned(),
        org: ZITADEL_PROJECT_ORG.to_owned(),
        name: name.to_owned(),
        ..UserWorld::default()
    };
    let person = |id: &str, org: (&str, &str), first_name: &str, last_name: &str| UserWorld {
        id: id.to_owned(),
        org: org.0.to_owned(),
        name: first_name.to_lowercase(),
        first_name: first_name.to_owned(),
        last_name: last_name.to_owned(),
        email: format!("{}@{}.example", first_name.to_lowercase(), org.1),
        ..UserWorld::default()
    };
    let member = |grant: Option<&str>, user: &str, role: &str| MemberWorld {
        project: ZITADEL_PROJECT.to_owned(),
        grant: grant.map(str::to_owned),
        user: user.to_owned(),
        roles: vec![role.to_owned()],
    };
    let (acme, globex) = ((ZITADEL_PROJECT_ORG, "acme"), (ZITADEL_GRANTED_ORG, "globex"));
    ZitadelWorld {
        orgs: vec![org(ZITADEL_ORG, "ZITADEL"), org(acme.0, acme.1), org(globex.0, globex.1)],
        users: vec![
            machine(ZITADEL_OPERATOR, ZITADEL_CLIENT_ID),
            machine(ZITADEL_DEPLOYER, "ci-deployer"),
            person(ZITADEL_ADA, acme, "Ada", "Lovelace"),
            person(ZITADEL_GRACE, acme, "Grace", "Hopper"),
            person(ZITADEL_BARBARA, globex, "Barbara", "Liskov"),
        ],
        projects: vec![ProjectWorld {
            id: ZITADEL_PROJECT.to_owned(),
            org: ZITADEL_PROJECT_ORG.to_owned(),
            name: "shop".to_owned(),
        }],
        project_grants: vec![ProjectGrantWorld {
            id: ZITADEL_GRANT.to_owned(),
            project: ZITADEL_PROJECT.to_owned(),
            org: ZITADEL_GRANTED_ORG.to_owned(),
        }],
        pats: BTreeMap::from([(ZITADEL_TOKEN.to_owned(), ZITADEL_OPERATOR.to_owned())]),
        keys: vec![KeyWorld {
            id: ZITADEL_KEY_ID.to_owned(),
            user: ZITADEL_OPERATOR.to_owned(),
            public_key: ZITADEL_PUBLIC_KEY.to_owned(),
            ends: None,
        }],
        clients: vec![ClientWorld { user: ZITADEL_OPERATOR.to_owned(), secret: ZITADEL_CLIENT_SECRET.to_owned() }],
        grants: vec![GrantWorld {
            user: ZITADEL_OPERATOR.to_owned(),
            scope: Scope::Org(ZITADEL_PROJECT_ORG.to_owned()),
            role: "ORG_OWNER".to_owned(),
        }],
        members: vec![
            member(None, ZITADEL_GRACE, "PROJECT_OWNER_VIEWER"),
            // Rights on a grant's members are those in the organisation that it is to: the owner of `acme` has none.
            member(Some(ZITADEL_GRANT), ZITADEL_OPERATOR, "PROJECT_GRANT_OWNER"),
        ],
        ..ZitadelWorld::default()
    }
}
