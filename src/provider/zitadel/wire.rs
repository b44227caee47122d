//! The JSON of the management API v1, as far as it is read.
//!
//! Numbers of 64 bits are strings, and whatever is zero, empty or false is left out (reference/zitadel.md, Management
//! v1): an empty list has no `result`, and the absence of a `sequence` is a zero.

use serde::{Deserialize, Deserializer};

/// What a write answers.
#[derive(Deserialize, Debug)]
pub struct Write {
    pub details: Details,
}

/// When and by whose an object is.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// The sequence of the last event of the object; 0: there is none.
    #[serde(deserialize_with = "uint64")]
    pub sequence: u64,
    /// The organization that the object belongs to.
    pub resource_owner: String,
}

/// A page of members. An empty one has its details all the same; without them it is no answer of ZITADEL's.
#[derive(Deserialize, Debug)]
pub struct Page {
    pub details: PageDetails,
    #[serde(default)]
    pub result: Vec<Row>,
}

/// What is said of a list as a whole.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct PageDetails {
    /// How many rows there are on all pages; 0 past the end.
    #[serde(deserialize_with = "uint64")]
    pub total_result: u64,
}

/// A member.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub user_id: String,
    #[serde(default)]
    pub details: Details,
    #[serde(default)]
    pub roles: Vec<String>,
}

/// The roles that a member can have.
#[derive(Deserialize, Debug)]
pub struct Roles {
    #[serde(default, rename = "result")]
    _result: Vec<String>,
}

/// A project by its id.
#[derive(Deserialize, Debug)]
pub struct ProjectById {
    pub project: ProjectView,
}

/// A project.
#[derive(Deserialize, Debug)]
pub struct ProjectView {
    pub id: String,
    #[serde(default)]
    pub details: Details,
}

/// A user by its id, in v1 and v2.
#[derive(Deserialize, Debug)]
pub struct UserById {
    pub user: UserView,
}

/// A user. Its id is `id` in v1 and `userId` in v2.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    #[serde(alias = "userId")]
    pub id: String,
    #[serde(default)]
    pub login_names: Vec<String>,
}

/// A refusal.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct Refused {
    /// The gRPC code.
    pub code: i64,
    pub details: Vec<RefusedDetail>,
}

/// Why. The message may be localised, the id never is.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub struct RefusedDetail {
    pub id: String,
    pub message: String,
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
        Form::Text(text) => text.parse().map_err(|_| serde::de::Error::custom("no number of 64 bits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_64_bits_are_strings() {
        let read = |json: &str| serde_json::from_str::<Write>(json).map(|write| write.details.sequence).ok();
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
        let page: Page =
            serde_json::from_str(r#"{"details":{"viewTimestamp":"2026-11-21T18:35:46.436246Z"}}"#).unwrap();
        assert_eq!((page.details.total_result, page.result.len()), (0, 0));
        let write: Write = serde_json::from_str(r#"{"details":{"resourceOwner":"400623100078656550"}}"#).unwrap();
        assert_eq!((write.details.sequence, write.details.resource_owner.as_str()), (0, "400623100078656550"));
        let row: Row = serde_json::from_str(r#"{"userId":"1"}"#).unwrap();
        assert_eq!((row.details.sequence, row.roles.len()), (0, 0));
        assert!(serde_json::from_str::<Row>("{}").is_err(), "a row of nobody makes no sense");
    }
}
