//! Role rows as tests and worlds write them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::state::{Row, State, StoredRole, Window, new_id};
use super::time;

/// One role of a member of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleRow {
    /// The row's id; empty in a row that is still to be stored.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The role's slug: a built-in one or that of a custom role.
    pub role: String,
    /// When it runs; none if it is permanent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporary: Option<Window>,
}

impl RoleRow {
    /// A permanent role.
    pub fn permanent(role: &str) -> Self {
        Self { id: String::new(), role: role.to_owned(), temporary: None }
    }

    /// A role from `start`, cut to milliseconds, for `range` (such as `2h`). A range that Infisical refuses ends at
    /// its start.
    pub fn temporary(role: &str, start: Timestamp, range: &str) -> Self {
        let start = time::cut(start);
        let milliseconds = time::range_milliseconds(range).unwrap_or(0.0);
        let end = time::plus(start, milliseconds).unwrap_or(start);
        Self { temporary: Some(Window { range: range.to_owned(), start, end }), ..Self::permanent(role) }
    }
}

impl State {
    /// The row as it is stored; a slug that the project hasn't becomes a custom role of it.
    pub(crate) fn stored(&mut self, project: &str, row: &RoleRow, now: Timestamp) -> Row {
        let role = match self.role_of_slug(project, &row.role) {
            Some(role) => role,
            None => StoredRole::Custom(self.add_role(project, &row.role, &row.role, [], now)),
        };
        let id = if row.id.is_empty() { new_id() } else { row.id.clone() };
        Row { id, role, window: row.temporary.clone(), created: now }
    }
}
