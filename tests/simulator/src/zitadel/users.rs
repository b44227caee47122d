//! Users, as far as they are read: by id, and by user name, login name or e-mail (name-resolution.json, 27 to 55).

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use super::Zitadel;
use super::auth::Call;
use super::connect::ids;
use super::errors::{self, Refusal, answered, malformed};
use super::permission::Permission;
use super::state::{State as Held, User, UserKind, UserState};
use super::text::Text;
use super::wire::{Message, list_details, object_details, without_zeroes, written};

/// The routes of this area.
pub(crate) fn routes() -> Router<Zitadel> {
    Router::new()
        .route("/management/v1/users/_search", post(search))
        .route("/management/v1/users/{user}", get(user))
        .route("/v2/users", post(list))
        .route("/v2/users/{user}", get(user_v2))
}

async fn user(State(zitadel): State<Zitadel>, call: Call, Path(id): Path<String>) -> Result<Response, Refusal> {
    let mut held = zitadel.state();
    held.catch_up();
    call.may(&held, Permission::UserRead, None)?;
    let user = found(&held, &id).ok_or_else(errors::user_not_found)?;
    if user.org != call.org {
        return Err(errors::user_of_another_org());
    }
    Ok(answered(&json!({"user": shown(&id, user)})))
}

/// Users of any organisation, for callers who may read users there, and every user itself.
async fn user_v2(State(zitadel): State<Zitadel>, call: Call, Path(id): Path<String>) -> Result<Response, Refusal> {
    let mut held = zitadel.state();
    held.catch_up();
    let user = found(&held, &id).ok_or_else(errors::user_not_found)?;
    if id != call.user {
        held.may(&call.user, &user.org, Permission::UserRead, Some(&id)).map_err(errors::method_may_not)?;
    }
    let details = details_v2(user);
    Ok(answered(&json!({"details": details, "user": shown_v2(&id, user)})))
}

/// Users of the header's organisation.
async fn search(State(zitadel): State<Zitadel>, call: Call, body: Bytes) -> Result<Response, Refusal> {
    let asked = Asked::read(&body)?;
    let mut held = zitadel.state();
    held.catch_up();
    call.may(&held, Permission::UserRead, None)?;
    let (rows, total) = asked.rows(&held, |_, user| user.org == call.org);
    let rows: Vec<Value> = rows.into_iter().map(|(id, user)| shown(id, user)).collect();
    Ok(answered(&without_zeroes(json!({"details": list_details(total, held.projection.seen), "result": rows}))))
}

/// v2: users of every organisation in which the caller may read them; others aren't even counted
/// (name-resolution.json, 69).
async fn list(State(zitadel): State<Zitadel>, call: Call, body: Bytes) -> Result<Response, Refusal> {
    let asked = Asked::read(&body)?;
    let mut held = zitadel.state();
    held.catch_up();
    let sees = |id: &str, user: &User| {
        id == call.user || held.may(&call.user, &user.org, Permission::UserRead, Some(id)).is_ok()
    };
    let (rows, total) = asked.rows(&held, sees);
    let rows: Vec<Value> = rows.into_iter().map(|(id, user)| shown_v2(id, user)).collect();
    let total = (total > 0).then(|| total.to_string());
    let details = without_zeroes(json!({"totalResult": total, "timestamp": written(held.projection.seen)}));
    Ok(answered(&without_zeroes(json!({"details": details, "result": rows}))))
}

fn found<'a>(held: &'a Held, id: &str) -> Option<&'a User> {
    held.live_user(id).filter(|user| held.orgs.get(&user.org).is_some_and(|org| !org.deleted))
}

struct Asked {
    queries: Vec<Query>,
    offset: usize,
    limit: usize,
}

enum Query {
    UserName(Text),
    LoginName(Text),
    Email(Text),
    Emails(Vec<String>),
    Ids(Vec<String>),
    Org(String),
    Type(String),
}

impl Asked {
    fn read(body: &Bytes) -> Result<Self, Refusal> {
        let message = Message::read(body)?;
        let empty = Map::new();
        let page = message.object("query")?.unwrap_or(&empty);
        let queries = message.list("queries")?.iter().enumerate().map(|(at, query)| {
            Query::read(query).ok_or_else(|| {
                malformed(format!(
                    "invalid ListUsersRequest.Queries[{at}]: embedded message failed validation | \
                     caused by: invalid SearchQuery.Query: value is required"
                ))
            })
        });
        Ok(Self {
            queries: queries.collect::<Result<_, _>>()?,
            offset: message.number(page, "offset", "uint64")?,
            limit: message.number(page, "limit", "uint32")?,
        })
    }

    /// The rows that fit, the newest first, and how many fit in all: 0 past the end.
    fn rows<'a>(&self, held: &'a Held, sees: impl Fn(&str, &User) -> bool) -> (Vec<(&'a str, &'a User)>, usize) {
        let mut fitting: Vec<(&str, &User)> = held
            .users
            .keys()
            .filter_map(|id| Some((id.as_str(), found(held, id)?)))
            .filter(|(id, user)| sees(id, user) && self.queries.iter().all(|query| query.fits(id, user)))
            .collect();
        fitting.sort_by_key(|(_, user)| std::cmp::Reverse(user.created));
        let total = fitting.len();
        let (default, most) = held.page;
        let limit = if self.limit == 0 { default } else { self.limit.min(most) };
        let rows: Vec<_> = fitting.into_iter().skip(self.offset).take(limit).collect();
        let total = if rows.is_empty() { 0 } else { total };
        (rows, total)
    }
}

impl Query {
    fn read(query: &Value) -> Option<Self> {
        let text = |name: &str, field: &str| query.get(name).map(|query| Text::read(query, field));
        let string = |name: &str, field: &str| {
            let string = query.get(name)?.get(field).and_then(Value::as_str);
            Some(string.unwrap_or_default().to_owned())
        };
        None.or_else(|| text("userNameQuery", "userName").map(Self::UserName))
            .or_else(|| text("loginNameQuery", "loginName").map(Self::LoginName))
            // In a member search the field is `email`; here that is a misspelt one, and the text is empty.
            .or_else(|| text("emailQuery", "emailAddress").map(Self::Email))
            .or_else(|| query.get("inUserEmailsQuery").map(|query| Self::Emails(ids(query, "userEmails"))))
            .or_else(|| query.get("inUserIdsQuery").map(|query| Self::Ids(ids(query, "userIds"))))
            .or_else(|| string("organizationIdQuery", "organizationId").map(Self::Org))
            .or_else(|| string("typeQuery", "type").map(Self::Type))
    }

    fn fits(&self, id: &str, user: &User) -> bool {
        let email = match &user.kind {
            UserKind::Human { email, .. } => Some(email),
            UserKind::Machine { .. } => None,
        };
        match self {
            Self::UserName(name) => name.fits(&user.user_name),
            Self::LoginName(name) => user.login_name.as_ref().is_some_and(|held| name.fits(held)),
            Self::Email(text) => email.is_some_and(|email| text.fits(email)),
            Self::Emails(emails) => email.is_some_and(|email| emails.contains(email)),
            Self::Ids(ids) => ids.iter().any(|one| one == id),
            Self::Org(org) => user.org == *org,
            Self::Type(wanted) => wanted == if email.is_some() { "TYPE_HUMAN" } else { "TYPE_MACHINE" },
        }
    }
}

fn state(user: &User) -> &'static str {
    match user.state {
        UserState::Active => "USER_STATE_ACTIVE",
        UserState::Initial => "USER_STATE_INITIAL",
        UserState::Inactive => "USER_STATE_INACTIVE",
    }
}

fn login_names(user: &User) -> Vec<&String> {
    user.login_name.iter().collect()
}

fn shown(id: &str, user: &User) -> Value {
    let mut row = json!({
        "id": id,
        "details": object_details(user.sequence, user.created, user.changed, &user.org),
        "state": state(user),
        "userName": user.user_name,
        "loginNames": login_names(user),
        "preferredLoginName": user.login_name,
    });
    match &user.kind {
        UserKind::Machine { name } => row["machine"] = json!({"name": name}),
        UserKind::Human { first_name, last_name, email } => {
            row["human"] = json!({
                "profile": {
                    "firstName": first_name,
                    "lastName": last_name,
                    "displayName": user.display_name(),
                    "preferredLanguage": "und",
                },
                "email": {"email": email},
                "phone": {},
            });
        }
    }
    without_zeroes(row)
}

fn details_v2(user: &User) -> Value {
    object_details(user.sequence, user.created, user.changed, &user.org)
}

fn shown_v2(id: &str, user: &User) -> Value {
    let mut row = json!({
        "userId": id,
        "details": details_v2(user),
        "state": state(user),
        "username": user.user_name,
        "loginNames": login_names(user),
        "preferredLoginName": user.login_name,
    });
    match &user.kind {
        UserKind::Machine { name } => row["machine"] = json!({"name": name}),
        UserKind::Human { first_name, last_name, email } => {
            row["human"] = json!({
                "profile": {
                    "givenName": first_name,
                    "familyName": last_name,
                    "nickName": "",
                    "displayName": user.display_name(),
                    "preferredLanguage": "und",
                    "gender": "GENDER_UNSPECIFIED",
                },
                "email": {"email": email},
                "phone": {},
            });
        }
    }
    without_zeroes(row)
}
