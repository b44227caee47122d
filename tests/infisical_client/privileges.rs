//! What which rights suffice for, server by server: the table of docs/providers/infisical.md is what the simulated
//! servers answer, which answer as recorded (infisical/permissions.json, infisical-june-2025/permissions.json) and, now,
//! as Infisical's source says.

use std::fmt::Write;

use membership_operator::api::SubjectKind::Identity;
use membership_operator::core::member::Change;
use membership_operator::provider::Error;
use simulator::worlds::{INFISICAL_DEPLOYER, INFISICAL_OPERATOR, INFISICAL_PROJECT};
use simulator::{ErrorStyle, Generations, RoleRow};

use crate::{Stage, permanent};

/// A server, and whether its organizations use the privilege system of March 2025.
const SERVERS: [(&str, Generations, ErrorStyle, bool); 5] = [
    ("October 2024", Generations::G1, ErrorStyle::October2024, false),
    ("June 2025, older organization", Generations::G1, ErrorStyle::June2025, false),
    ("June 2025", Generations::G1, ErrorStyle::June2025, true),
    ("now, older organization", Generations::All, ErrorStyle::Current, false),
    ("now", Generations::All, ErrorStyle::Current, true),
];

/// The rights of the operator's own role, or the built-in role that it has.
const RIGHTS: [(&str, Result<&[&str], &str>); 5] = [
    ("Read, Create, Edit, Delete", Ok(&["read", "create", "edit", "delete"])),
    ("the same without Delete", Ok(&["read", "create", "edit"])),
    ("the four and Grant Privileges", Ok(&["read", "create", "edit", "delete", "grant-privileges"])),
    ("built-in Member", Err("member")),
    ("built-in Admin", Err("admin")),
];

/// What is done, to an identity that has these roles, and how.
type Done = (&'static str, &'static [&'static str], fn() -> Change);

const OPERATIONS: [Done; 5] = [
    ("grant a role below its own permissions", &[], || Change::Create(permanent(&["powerless"]))),
    ("grant Admin", &[], || Change::Create(permanent(&["admin"]))),
    ("grant beside another's Admin", &["admin"], || Change::Replace(permanent(&["admin", "powerless"]))),
    ("take Admin from several roles", &["admin", "powerless"], || Change::Replace(permanent(&["powerless"]))),
    ("end the last role, Admin", &["admin"], || Change::Remove),
];

async fn stage(server: &(&str, Generations, ErrorStyle, bool), rights: Result<&[&str], &str>) -> Stage {
    let (_, generations, style, new) = *server;
    let stage = Stage::new().await;
    stage.be(generations, style);
    stage.server().set_new_privileges(Some(new));
    stage.server().add_custom_role(INFISICAL_PROJECT, "powerless");
    let role = match rights {
        Ok(rights) => {
            let rights: Vec<String> = rights.iter().map(|right| format!("identity:{right}")).collect();
            let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
            stage.server().add_custom_role_with(INFISICAL_PROJECT, "operator", "Operator", &rights);
            "operator"
        }
        Err(built_in) => built_in,
    };
    stage.server().set_caller_roles(INFISICAL_PROJECT, INFISICAL_OPERATOR, &[role]);
    stage
}

async fn outcome(stage: &Stage, has: &[&str], change: Change) -> &'static str {
    stage.server().remove_member(INFISICAL_PROJECT, INFISICAL_DEPLOYER);
    if !has.is_empty() {
        let rows = has.iter().map(|role| RoleRow::permanent(role)).collect();
        stage.server().add_membership(INFISICAL_PROJECT, INFISICAL_DEPLOYER, rows);
    }
    match stage.apply(Identity, INFISICAL_DEPLOYER, change).await {
        Ok(receipt) if receipt.kept.is_some() => "`no-access`",
        Ok(_) => "yes",
        Err(Error::Forbidden { .. } | Error::MayNotGrant { .. }) => "no",
        // What no server answers makes the table differ.
        Err(_) => "another refusal",
    }
}

/// With `UPDATE_DOCS=1` the document is written.
#[tokio::test]
async fn the_documents_table_of_rights_is_what_the_servers_answer() {
    let mut table = String::from("| server | the operator's role |");
    OPERATIONS.iter().for_each(|(name, ..)| write!(table, " {name} |").unwrap());
    table.push_str("\n|---|---|");
    table.push_str(&"---|".repeat(OPERATIONS.len()));
    for server in &SERVERS {
        for (name, rights) in RIGHTS {
            write!(table, "\n| {} | {name} |", server.0).unwrap();
            let stage = stage(server, rights).await;
            for (_, has, change) in OPERATIONS {
                write!(table, " {} |", outcome(&stage, has, change()).await).unwrap();
            }
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers/infisical.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- rights: tests/infisical_client/privileges.rs -->\n", "\n<!-- /rights -->");
    let (before, rest) = document.split_once(begin).expect("where the table begins");
    let (written, after) = rest.split_once(end).expect("where the table ends");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(written, table, "docs/providers/infisical.md: UPDATE_DOCS=1 writes what the servers answer");
}
