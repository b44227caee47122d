//! The JSON of ZITADEL's APIs, as far as it is read: of management v1, and of what v2 shares with it. The rest of v2 is
//! in `v2::wire`. 64-bit numbers are strings, and zero, empty and false fields are omitted (docs/reference/zitadel.md,
//! Management v1): an empty list has no `result`, and the absence of a `sequence` is a zero.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Deserializes an object only: a struct also accepts an array as its fields in order, so that `[]` would be an empty
/// page.
fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<T, D::Error> {
    T::deserialize(Value::Object(Map::deserialize(from)?)).map_err(D::Error::custom)
}

/// The response to a write.
#[derive(Deserialize, Debug)]
pub(crate) struct WriteResponse {
    pub(crate) details: Details,
}

/// The sequence and the owner of an object.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Details {
    /// The sequence of the last event of the object; 0: there is none.
    #[serde(deserialize_with = "uint64")]
    pub(crate) sequence: u64,
    /// The organization that the object belongs to.
    pub(crate) resource_owner: String,
}

impl Details {
    /// The sequence, if there is one.
    pub(crate) fn version(&self) -> Option<u64> {
        (self.sequence > 0).then_some(self.sequence)
    }
}

/// A page of a list, in v1 and v2. An empty one has its details too; without them it isn't a response of ZITADEL's.
#[derive(Deserialize, Debug)]
pub(crate) struct Page<T> {
    #[serde(alias = "pagination", deserialize_with = "object")]
    pub(crate) details: PageDetails,
    #[serde(default = "Vec::new", alias = "administrators", alias = "projects", alias = "projectGrants")]
    pub(crate) result: Vec<T>,
}

/// The details of a list as a whole.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PageDetails {
    /// The number of rows on all pages, including those that aren't shown; 0 past the end.
    #[serde(deserialize_with = "uint64")]
    pub(crate) total_result: u64,
    /// v2: the number of rows of a page.
    #[serde(deserialize_with = "uint64")]
    pub(crate) applied_limit: u64,
}

/// A member.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub user_id: String,
    #[serde(default)]
    pub(crate) details: Details,
    #[serde(default)]
    pub(crate) roles: Vec<String>,
}

/// The roles that a member can have.
#[derive(Deserialize, Debug)]
pub(crate) struct Roles {
    #[serde(default, rename = "result")]
    _result: Vec<String>,
}

#[derive(Deserialize, Debug)]
pub(crate) struct ProjectById {
    pub(crate) project: ProjectView,
}

/// A project, in v1 and v2.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProjectView {
    #[serde(alias = "projectId")]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: String,
    /// v1.
    #[serde(default)]
    pub(crate) details: Details,
    /// v2: the organization that the project belongs to.
    #[serde(default)]
    pub(crate) organization_id: String,
}

/// A grant of a project by its id, as the organization that created it or the one that received it sees it.
#[derive(Deserialize, Debug)]
pub(crate) struct GrantById {
    #[serde(rename = "projectGrant", alias = "grantedProject")]
    pub(crate) grant: GrantView,
}

/// A grant of a project.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GrantView {
    pub(crate) grant_id: String,
    pub(crate) project_id: String,
}

/// A user by its id, in v1 and v2.
#[derive(Deserialize, Debug)]
pub(crate) struct UserById {
    pub user: UserView,
}

/// A user. Its id is `id` in v1 and `userId` in v2, its name `userName` in v1 and `username` in v2.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserView {
    #[serde(alias = "userId")]
    pub(crate) id: String,
    #[serde(default, alias = "username")]
    pub user_name: String,
    #[serde(default)]
    pub(crate) login_names: Vec<String>,
    /// A machine user has none.
    #[serde(default)]
    pub(crate) human: Human,
}

/// The part that only human users have.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(crate) struct Human {
    pub(crate) email: Email,
}

/// A person's e-mail address; not unique.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(crate) struct Email {
    pub(crate) email: String,
}

/// A refusal, of v1 or v2.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(crate) struct ErrorBody {
    /// The gRPC code; in v2 a string, which is parsed as 0.
    #[serde(deserialize_with = "code")]
    pub(crate) code: i64,
    message: String,
    details: Vec<ErrorDetail>,
}

/// Why. The message may be localised, the id never is.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct ErrorDetail {
    id: String,
    message: String,
    /// v2: the content of the detail in JSON; `value` has the same in protobuf.
    debug: Option<Box<ErrorDetail>>,
}

impl ErrorBody {
    /// The id of the error. `debug` is optional in Connect: without it, the id is in brackets at the end of the
    /// message, in any language.
    pub(crate) fn id(&self) -> Option<&str> {
        let detail_id = self.details().map(|detail| detail.id.as_str()).find(|id| !id.is_empty());
        detail_id.or_else(|| self.message.strip_suffix(')')?.rsplit_once('(').map(|(_, id)| id).filter(|id| is_id(id)))
    }

    /// Whether a detail mentions `what`.
    pub(crate) fn mentions(&self, what: &str) -> bool {
        self.details().any(|detail| detail.message.contains(what))
    }

    fn details(&self) -> impl Iterator<Item = &ErrorDetail> {
        self.details.iter().map(|detail| detail.debug.as_deref().unwrap_or(detail))
    }
}

/// Whether it looks like `PROJECT-D8JxR`.
fn is_id(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.split_once('-').is_some_and(|(kind, rest)| part(kind) && part(rest) && kind == kind.to_ascii_uppercase())
}

fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_i64().unwrap_or_default())
}

fn uint64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Number(u64),
    }
    match Form::deserialize(deserializer)? {
        Form::Number(number) => Ok(number),
        Form::Text(text) => text.parse().map_err(|_| D::Error::custom("no number of 64 bits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_64_bits_are_strings() {
        let read = |json: &str| serde_json::from_str::<WriteResponse>(json).map(|write| write.details.sequence).ok();
        for (json, sequence) in [
            (r#"{"details":{"sequence":"18446744073709551615"}}"#, Some(u64::MAX)),
            (r#"{"details":{"sequence":7}}"#, Some(7)),
            (r#"{"details":{"sequence":"-7"}}"#, None),
            (r#"{"details":{"sequence":"18446744073709551616"}}"#, None),
            (r#"{"details":{"sequence":""}}"#, None),
        ] {
            assert_eq!(read(json), sequence, "{json}");
        }
    }

    #[test]
    fn what_is_zero_is_left_out() {
        let page: Page<Row> =
            serde_json::from_str(r#"{"details":{"viewTimestamp":"2026-11-21T18:35:46.436246Z"}}"#).unwrap();
        assert_eq!((page.details.total_result, page.result.len()), (0, 0));
        let write: WriteResponse =
            serde_json::from_str(r#"{"details":{"resourceOwner":"400623100078656550"}}"#).unwrap();
        assert_eq!((write.details.sequence, write.details.resource_owner.as_str()), (0, "400623100078656550"));
        let row: Row = serde_json::from_str(r#"{"userId":"1"}"#).unwrap();
        assert_eq!((row.details.sequence, row.roles.len()), (0, 0));
        assert!(serde_json::from_str::<Row>("{}").is_err(), "a row without a user is invalid");
        assert!(
            serde_json::from_str::<Page<Row>>(r#"{"details":[]}"#).is_err(),
            "details of nothing are no empty page"
        );
    }

    #[test]
    fn the_id_of_a_refusal_is_found_in_either_api() {
        for (json, id) in [
            (
                r#"{"code":5,"message":"x (A-b)","details":[{"@type":"t","id":"PROJECT-D8JxR","message":"x"}]}"#,
                "PROJECT-D8JxR",
            ),
            (
                r#"{"code":"not_found","message":"x","details":[{"type":"t","value":"Cg","debug":{"id":"PROJECT-37fug"}}]}"#,
                "PROJECT-37fug",
            ),
            (
                r#"{"code":"not_found","message":"x (AUTHZ-cdgFk)","details":[{"type":"t","value":"Cg"}]}"#,
                "AUTHZ-cdgFk",
            ),
            (r#"{"code":5,"message":"Not Found"}"#, ""),
            (r#"{"code":2,"message":"duplicate key (SQLSTATE 23505) ()","details":[{"message":"x"}]}"#, ""),
            (r#"{"code":3,"message":"invalid (value: 1-)"}"#, ""),
        ] {
            let refused: ErrorBody = serde_json::from_str(json).unwrap();
            assert_eq!(refused.id().unwrap_or_default(), id, "{json}");
        }
    }
}
