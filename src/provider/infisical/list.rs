//! A project's list of memberships, folded into one row a subject.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::api::{Family, Generation};
use super::client::Calls;
use super::errors::{Operation, RequestContext};
use super::names::Named;
use super::role_ids::RoleIds;
use super::routes;
use super::wire::{self, RoleRow};
use crate::api::SubjectKind;
use crate::core::member::Member;
use crate::provider::{Error, Listing, locked};

/// The most rows of a list: more than fit into [`LIST_LIMIT`](crate::provider::http::LIST_LIMIT) as servers write them
/// (about 700 bytes each), and few enough to be held in memory, with any content.
const MOST_ROWS: usize = 200_000;

/// The response of the list. `totalCount` isn't read: it counts rows that are never listed (one without roles,
/// identity-extras.json "list"; those that the caller may not read), so that a shorter list proves nothing.
#[derive(Deserialize)]
pub(crate) struct Memberships {
    #[serde(rename = "memberships", alias = "identityMemberships", alias = "groupMemberships")]
    #[serde(deserialize_with = "rows")]
    rows: Vec<Lenient>,
}

/// Reads rows up to the maximum.
fn rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Lenient>, D::Error> {
    struct Rows;

    impl<'de> Visitor<'de> for Rows {
        type Value = Vec<Lenient>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list of memberships")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let mut rows = Vec::new();
            while let Some(row) = sequence.next_element()? {
                if rows.len() == MOST_ROWS {
                    return Err(A::Error::custom("more rows than a list can have"));
                }
                rows.push(row);
            }
            Ok(rows)
        }
    }

    deserializer.deserialize_seq(Rows)
}

/// A row that can't be decoded must not make the others undecodable.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient {
    Row(Box<Row>),
    Unreadable(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    #[serde(alias = "identityId", alias = "groupId")]
    user_id: Option<String>,
    #[serde(alias = "identity", alias = "group")]
    user: Option<RowSubject>,
    project_id: Option<String>,
    project: Option<Id>,
    roles: Vec<RoleRow>,
}

/// The subject of a row. October 2024 names users by their e-mail only (user-memberships.json, "list").
#[derive(Deserialize)]
struct RowSubject {
    id: String,
    email: Option<String>,
    username: Option<String>,
    slug: Option<String>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

/// The ids of the memberships of each subject, in the order of the list.
pub(crate) type MembershipIds = HashMap<String, Vec<String>>;

impl Calls<'_> {
    /// The members of one kind of a project.
    pub(crate) async fn list_members(&self, project: &str, kind: SubjectKind) -> Result<Listing, Error> {
        let memberships = self.memberships(project, kind).await?;
        let ids = match memberships.lacks_role_ids() {
            true => self.role_ids(project, kind).await?,
            false => RoleIds::new(),
        };
        Ok(memberships.fold(project, &ids))
    }

    /// The list of a project's members of one kind.
    pub(crate) async fn memberships(&self, project: &str, kind: SubjectKind) -> Result<Memberships, Error> {
        let asked = RequestContext::new(Operation::List, kind, project, "");
        let request = |generation: Generation| routes::members(kind, generation, project);
        let list: Memberships = self.send(Family::Members(kind), &asked, request).await?.json()?;
        if kind == SubjectKind::User {
            locked(&self.infisical.users).insert(project.to_owned(), list.ids());
        }
        Ok(list)
    }

    /// The ids of a user's memberships in the last list, if no write to the user has followed it.
    pub(crate) fn take_ids(&self, project: &str, user: &str) -> Option<Vec<String>> {
        locked(&self.infisical.users).get_mut(project)?.remove(user)
    }
}

impl Memberships {
    /// The members, in the order of the list. Rows that can't be understood, occur twice or belong to another project
    /// are left out, and make the listing partial. `ids`: those of custom roles that the list shows without ids.
    pub(crate) fn fold(self, project: &str, ids: &RoleIds) -> Listing {
        let mut listing = Listing::default();
        let mut seen: HashSet<String> = HashSet::new();
        let mut index: HashMap<String, usize> = HashMap::new();
        for lenient in self.rows {
            let member = match lenient {
                Lenient::Row(row) if seen.insert(row.id.clone()) => member(*row, project, ids),
                Lenient::Row(_) | Lenient::Unreadable(_) => None,
            };
            let Some(member) = member else {
                listing.partial = true;
                continue;
            };
            match index.get(&member.subject_id).and_then(|&at| listing.members.get_mut(at)) {
                // Several memberships of one subject, created by a race (docs/reference/infisical.md, "PATCH and
                // time").
                Some(first) => {
                    first.memberships += 1;
                    first.entries.extend(member.entries);
                }
                None => {
                    index.insert(member.subject_id.clone(), listing.members.len());
                    listing.members.push(member);
                }
            }
        }
        listing
    }

    /// Whether the list shows a custom role without its id.
    pub(crate) fn lacks_role_ids(&self) -> bool {
        self.rows().flat_map(|row| &row.roles).any(|role| role.slug_without_id().is_some())
    }

    /// The ids of all memberships, also of those whose roles can't be understood.
    pub(crate) fn ids(&self) -> MembershipIds {
        let mut ids = MembershipIds::new();
        for row in self.rows() {
            let Some(subject) = row.subject() else { continue };
            let of = ids.entry(subject).or_default();
            if !of.contains(&row.id) {
                of.push(row.id.clone());
            }
        }
        ids
    }

    /// The subjects with this name: a user's e-mail or username, a group's slug.
    pub(crate) fn named(&self, kind: SubjectKind, name: &str) -> Named {
        let mut named = Named::default();
        for subject in self.rows().filter_map(|row| row.user.as_ref()) {
            let names = match kind {
                SubjectKind::User => [&subject.email, &subject.username],
                SubjectKind::Group | SubjectKind::Identity => [&subject.slug, &None],
            };
            names.into_iter().flatten().for_each(|known| named.take(&subject.id, known, name));
        }
        named
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter_map(|lenient| match lenient {
            Lenient::Row(row) => Some(&**row),
            Lenient::Unreadable(_) => None,
        })
    }
}

impl Row {
    /// Newer generations omit one or the other form of each id.
    fn subject(&self) -> Option<String> {
        let id = self.user_id.as_ref().or(self.user.as_ref().map(|subject| &subject.id))?;
        Some(id.to_ascii_lowercase())
    }
}

fn member(row: Row, project: &str, ids: &RoleIds) -> Option<Member> {
    let subject_id = row.subject()?;
    let of = row.project_id.or(row.project.map(|project| project.id));
    if of.is_some_and(|of| !of.eq_ignore_ascii_case(project)) {
        return None;
    }
    let entries = row.roles.into_iter().map(|role| wire::entry(role.with_id(ids))).collect::<Option<Vec<_>>>()?;
    Some(Member { subject_id, entries, memberships: 1, version: None })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const PROJECT: &str = "6ec3d92b-3251-4084-9a12-ffb509a03ffc";

    fn list(rows: &Value) -> Memberships {
        serde_json::from_value(json!({"identityMemberships": rows, "totalCount": 99})).unwrap()
    }

    fn fold(rows: Value) -> Listing {
        list(&rows).fold(PROJECT, &RoleIds::new())
    }

    fn roles(listing: &Listing) -> Vec<(&str, u32, Vec<&str>)> {
        listing
            .members
            .iter()
            .map(|m| (m.subject_id.as_str(), m.memberships, m.entries.iter().map(|e| e.role.as_str()).collect()))
            .collect()
    }

    #[test]
    fn several_memberships_of_one_identity_are_one_row_that_shows_it() {
        let listing = fold(json!([
            {"id": "m1", "identityId": "AAAA", "roles": [{"role": "viewer"}]},
            {"id": "m2", "identity": {"id": "bbbb"}, "project": {"id": PROJECT}, "roles": [{"role": "admin"}]},
            {"id": "m3", "identityId": "aaaa", "projectId": PROJECT.to_uppercase(), "roles": [{"role": "member"}, {"role": "viewer"}]},
        ]));
        assert_eq!(roles(&listing), [("aaaa", 2, vec!["viewer", "member", "viewer"]), ("bbbb", 1, vec!["admin"])]);
        assert!(!listing.partial);
    }

    #[test]
    fn a_custom_role_has_the_id_that_its_row_says_or_else_the_project() {
        let ids = RoleIds::from([("deployer".to_owned(), "x".to_owned()), ("releaser".to_owned(), "y".to_owned())]);
        let rows = json!([{"id": "m1", "identityId": "aaaa", "roles": [
            {"role": "viewer"},
            {"role": "custom", "customRoleSlug": "deployer"},
            {"role": "custom", "customRoleSlug": "releaser", "customRoleId": "z"},
            {"role": "custom", "customRoleSlug": "created-since"},
        ]}]);
        assert!(list(&rows).lacks_role_ids());
        let listing = list(&rows).fold(PROJECT, &ids);
        let known: Vec<Option<&str>> =
            listing.members[0].entries.iter().map(|entry| entry.role_id.as_deref()).collect();
        assert_eq!(known, [None, Some("x"), Some("z"), None]);
        let rows = json!([{"id": "m1", "identityId": "aaaa", "roles": [
            {"role": "viewer"}, {"role": "custom", "customRoleSlug": "releaser", "customRoleId": "z"},
        ]}]);
        assert!(!list(&rows).lacks_role_ids(), "built-in roles have no ids");
    }

    #[test]
    fn what_can_not_be_understood_makes_the_listing_partial() {
        let good = json!({"id": "m1", "identityId": "aaaa", "roles": [{"role": "viewer"}]});
        for bad in [
            json!("row"),
            json!({"id": "m2", "roles": []}),
            json!({"id": "m2", "identityId": "bbbb"}),
            json!({"id": "m2", "identityId": "bbbb", "roles": [{"slug": "viewer"}]}),
            json!({"id": "m2", "identityId": "bbbb", "roles": [{"role": "custom", "customRoleId": "x"}]}),
            json!({"id": "m2", "identityId": "bbbb", "projectId": "another", "roles": []}),
            // The same membership twice, as in pages of a shifting list.
            json!({"id": "m1", "identityId": "aaaa", "roles": [{"role": "admin"}]}),
        ] {
            let listing = fold(json!([good, bad]));
            assert!(listing.partial, "{bad}");
            assert_eq!(roles(&listing), [("aaaa", 1, vec!["viewer"])], "{bad}");
        }
        assert_eq!(fold(json!([])), Listing::default());
    }

    #[test]
    fn users_and_groups_are_rows_as_well() {
        for (container, id, subject) in [
            ("memberships", "userId", "user"),
            ("groupMemberships", "groupId", "group"),
            ("identityMemberships", "identityId", "identity"),
        ] {
            let rows = json!([
                {"id": "m1", id: "aaaa", subject: {"id": "aaaa"}, "roles": [{"role": "viewer"}]},
                {"id": "m2", id: "aaaa", subject: {"id": "aaaa"}, "roles": [{"role": "custom", "customRoleId": "x"}]},
            ]);
            let list = || serde_json::from_value::<Memberships>(json!({container: rows})).unwrap();
            assert_eq!(
                list().ids(),
                MembershipIds::from([("aaaa".to_owned(), vec!["m1".to_owned(), "m2".to_owned()])])
            );
            let listing = list().fold(PROJECT, &RoleIds::new());
            assert!(listing.partial, "{container}");
            assert_eq!(roles(&listing), [("aaaa", 1, vec!["viewer"])], "{container}");
        }
    }

    #[test]
    fn a_name_is_compared_to_the_letter() {
        let rows = json!([
            {"id": "m1", "userId": "a", "user": {"id": "a", "email": "dora@acme.example"}, "roles": []},
            {"id": "m2", "userId": "b", "user": {"id": "b", "email": "DORA@acme.example", "username": null}, "roles": []},
            {"id": "m3", "userId": "c", "user": {"id": "c", "email": null, "username": "dora@acme.example"}, "roles": []},
            {"id": "m4", "userId": "a", "user": {"id": "a", "email": "dora@acme.example"}, "roles": []},
        ]);
        assert_eq!(list(&rows).named(SubjectKind::User, "dora@acme.example").ids, ["a", "c"]);
        assert_eq!(list(&rows).named(SubjectKind::User, "DORA@acme.example").ids, ["b"]);
        assert!(list(&rows).named(SubjectKind::User, "Dora@acme.example").ids.is_empty());
        assert!(list(&rows).named(SubjectKind::Group, "dora@acme.example").ids.is_empty());
    }
}
