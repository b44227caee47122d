//! The search for members: the rows, and their form (project-members.json, 48 to 64).

use serde_json::{Map, Value, json};

use super::errors::{Refusal, malformed};
use super::projection::MemberRow;
use super::state::{State, User, UserKind};
use super::text::Text;
use super::wire::{Message, object_details, without_zeroes};

/// The queries of a search: all must match. There is no order; `asc` is ignored.
pub(crate) struct Search {
    queries: Vec<Query>,
    offset: usize,
    /// 0 means the default.
    limit: usize,
}

enum Query {
    UserId(String),
    FirstName(Text),
    LastName(Text),
    Email(Text),
}

impl Search {
    /// Reads a search of this name, such as `ListProjectMembersRequest`.
    pub(crate) fn read(message: &Message, request: &str) -> Result<Self, Refusal> {
        let empty = Map::new();
        let page = message.object("query")?.unwrap_or(&empty);
        let queries = message
            .list("queries")?
            .iter()
            .enumerate()
            .map(|(at, query)| Query::read(request, at, query))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            queries,
            offset: message.number(page, "offset", "uint64")?,
            limit: message.number(page, "limit", "uint32")?,
        })
    }

    /// The rows that fit, as they are shown, and how many fit in all: 0 past the end, because it is counted over the
    /// rows that are returned (project-members.json, 60).
    pub(crate) fn apply<'a>(&self, state: &State, rows: impl Iterator<Item = &'a MemberRow>) -> (Vec<Value>, usize) {
        let fitting: Vec<(&MemberRow, &User, &str)> = rows
            .filter_map(|row| {
                let user = state.users.get(&row.user)?;
                Some((row, user, user.login_name.as_deref()?))
            })
            .filter(|(row, user, _)| self.queries.iter().all(|query| query.fits(row, user)))
            .collect();
        let total = fitting.len();
        let (default, most) = state.page;
        let limit = if self.limit == 0 { default } else { self.limit.min(most) };
        let page: Vec<Value> = fitting
            .into_iter()
            .skip(self.offset)
            .take(limit)
            .map(|(row, user, login_name)| shown(row, user, login_name))
            .collect();
        let total = if page.is_empty() { 0 } else { total };
        (page, total)
    }
}

impl Query {
    fn read(request: &str, at: usize, query: &Value) -> Result<Self, Refusal> {
        let text = |kind: &str, field: &str| query.get(kind).map(|query| Text::read(query, field));
        if let Some(query) = query.get("userIdQuery") {
            let id = query.get("userId").and_then(Value::as_str).unwrap_or_default();
            return Ok(Self::UserId(id.to_owned()));
        }
        if let Some(text) = text("firstNameQuery", "firstName") {
            return Ok(Self::FirstName(text));
        }
        if let Some(text) = text("lastNameQuery", "lastName") {
            return Ok(Self::LastName(text));
        }
        if let Some(text) = text("emailQuery", "email") {
            return Ok(Self::Email(text));
        }
        Err(malformed(format!(
            "invalid {request}.Queries[{at}]: embedded message failed validation | \
             caused by: invalid SearchQuery.Query: value is required"
        )))
    }

    fn fits(&self, row: &MemberRow, user: &User) -> bool {
        let (first, last, email) = match &user.kind {
            UserKind::Human { first_name, last_name, email } => {
                (first_name.as_str(), last_name.as_str(), email.as_str())
            }
            UserKind::Machine { .. } => ("", "", ""),
        };
        match self {
            Self::UserId(id) => row.user == *id,
            Self::FirstName(text) => text.fits(first),
            Self::LastName(text) => text.fits(last),
            Self::Email(text) => text.fits(email),
        }
    }
}

impl User {
    /// The user's name in a member's row.
    pub(crate) fn display_name(&self) -> String {
        match &self.kind {
            UserKind::Human { first_name, last_name, .. } => format!("{first_name} {last_name}"),
            UserKind::Machine { name } => name.clone(),
        }
    }
}

fn shown(row: &MemberRow, user: &User, login_name: &str) -> Value {
    let (kind, first_name, last_name, email) = match &user.kind {
        UserKind::Human { first_name, last_name, email } => {
            ("TYPE_HUMAN", first_name.as_str(), last_name.as_str(), email.as_str())
        }
        UserKind::Machine { .. } => ("TYPE_MACHINE", "", "", ""),
    };
    without_zeroes(json!({
        "userId": row.user,
        "details": object_details(row.sequence, row.created, row.changed, &row.org),
        "roles": row.roles,
        "preferredLoginName": login_name,
        "email": email,
        "firstName": first_name,
        "lastName": last_name,
        "displayName": user.display_name(),
        "userType": kind,
        "userResourceOwner": row.user_org,
    }))
}
