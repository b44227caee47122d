//! A project's list of identity memberships, folded into one row a subject.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::roles::{self, RoleRow};
use crate::member::Member;
use crate::provider::Listing;

/// The answer of the list. `totalCount` isn't read: it counts rows that are never listed (one without roles,
/// identity-extras.json "list"; those that the caller may not read), so that a shorter list says nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Memberships {
    identity_memberships: Vec<Lenient>,
}

/// A row that can't be read must not make the others unreadable.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient {
    Row(Row),
    Unreadable(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    identity_id: Option<String>,
    identity: Option<Named>,
    project_id: Option<String>,
    project: Option<Named>,
    roles: Vec<RoleRow>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

impl Memberships {
    /// The members, in the order of the list. What can't be understood, stands twice or belongs to another project is
    /// left out, and makes the listing partial.
    pub(super) fn fold(self, project: &str) -> Listing {
        let mut listing = Listing::default();
        let mut seen: HashSet<String> = HashSet::new();
        let mut index: HashMap<String, usize> = HashMap::new();
        for lenient in self.identity_memberships {
            let Lenient::Row(row) = lenient else {
                listing.partial = true;
                continue;
            };
            if !seen.insert(row.id.clone()) {
                listing.partial = true;
                continue;
            }
            let Some(member) = member(row, project) else {
                listing.partial = true;
                continue;
            };
            match index.get(&member.subject_id).and_then(|&at| listing.members.get_mut(at)) {
                // Several memberships of one identity: a race made them (reference/infisical.md, "PATCH and time").
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
}

fn member(row: Row, project: &str) -> Option<Member> {
    // Newer generations leave out one or the other form of each id.
    let identity = row.identity_id.or(row.identity.map(|identity| identity.id))?;
    let of = row.project_id.or(row.project.map(|project| project.id));
    if of.is_some_and(|of| !of.eq_ignore_ascii_case(project)) {
        return None;
    }
    let entries = row.roles.into_iter().map(roles::entry).collect::<Option<Vec<_>>>()?;
    Some(Member { subject_id: identity.to_ascii_lowercase(), entries, memberships: 1, version: None })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const PROJECT: &str = "6ec3d92b-3251-4084-9a12-ffb509a03ffc";

    fn fold(rows: Value) -> Listing {
        let list: Memberships = serde_json::from_value(json!({"identityMemberships": rows, "totalCount": 99})).unwrap();
        list.fold(PROJECT)
    }

    fn roles(listing: &Listing) -> Vec<(&str, u32, Vec<&str>)> {
        listing
            .members
            .iter()
            .map(|m| (m.subject_id.as_str(), m.memberships, m.entries.iter().map(|e| e.role.as_str()).collect()))
            .collect()
    }

    #[test]
    fn several_memberships_of_one_identity_are_one_row_that_says_so() {
        let listing = fold(json!([
            {"id": "m1", "identityId": "AAAA", "roles": [{"role": "viewer"}]},
            {"id": "m2", "identity": {"id": "bbbb"}, "project": {"id": PROJECT}, "roles": [{"role": "admin"}]},
            {"id": "m3", "identityId": "aaaa", "projectId": PROJECT.to_uppercase(), "roles": [{"role": "member"}, {"role": "viewer"}]},
        ]));
        assert_eq!(roles(&listing), [("aaaa", 2, vec!["viewer", "member", "viewer"]), ("bbbb", 1, vec!["admin"])]);
        assert!(!listing.partial);
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
            // The same membership twice, as pages of a shifting list show it.
            json!({"id": "m1", "identityId": "aaaa", "roles": [{"role": "admin"}]}),
        ] {
            let listing = fold(json!([good, bad]));
            assert!(listing.partial, "{bad}");
            assert_eq!(roles(&listing), [("aaaa", 1, vec!["viewer"])], "{bad}");
        }
        assert_eq!(fold(json!([])), Listing::default());
    }
}
