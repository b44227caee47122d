//! The members of a project, page by page.
//!
//! Nothing promises an order (reference/zitadel.md, Management v1), so pages may shift under writes: a list whose rows
//! don't add up to what it says of itself is partial.

use std::collections::HashSet;

use serde_json::json;

use super::calls::Calls;
use super::explain::{self, Asked};
use super::owner::{self, Whereabouts};
use super::refusal::Refusal;
use super::wire::{Page, Row};
use crate::member::{Entry, Member, Project};
use crate::provider::http::{Method, Request};
use crate::provider::{Error, Listing};

pub(super) const SEARCH: &str = "/management/v1/projects/{project}/members/_search";

/// Rows a page: the most that newer versions are said to give. Without a limit some give all and others 100.
const PAGE: usize = 1000;

/// More pages than that are no list of members but a server that never ends.
const MOST_PAGES: usize = 1000;

/// Lists a project's members. Nobody there is believed only of a project that is known to be there.
pub async fn list(calls: &Calls<'_>, project: &Project) -> Result<Listing, Error> {
    let mut rows = Rows::default();
    for _ in 0..MOST_PAGES {
        let query = json!({"query": {"offset": rows.taken.to_string(), "limit": PAGE}});
        let page = search(calls, project, &query).await?;
        if !rows.take(page) {
            return match rows.finish() {
                listing if listing.members.is_empty() && !listing.partial => believe_empty(calls, project).await,
                listing => Ok(listing),
            };
        }
    }
    Ok(Listing { partial: true, ..rows.finish() })
}

/// One user's row, where search shows it.
pub async fn find(calls: &Calls<'_>, project: &Project, user: &str) -> Result<Option<Member>, Error> {
    let query = json!({"query": {"limit": PAGE}, "queries": [{"userIdQuery": {"userId": user}}]});
    let page = search(calls, project, &query).await?;
    // What came back is compared with what was asked: a query that a version doesn't know answers with everybody.
    Ok(page.result.into_iter().find(|row| row.user_id == user).map(member))
}

async fn search(calls: &Calls<'_>, project: &Project, query: &serde_json::Value) -> Result<Page, Error> {
    let request = Request::new(Method::Post, SEARCH).id(&project.id).json(query).reads().list();
    let answer = calls.send(request).await?;
    let asked = Asked::of_project(calls.endpoint(), project);
    if !answer.is_success() {
        return Err(explain::error(&asked, &answer, &Refusal::read(&answer)));
    }
    let page: Page = answer.json()?;
    match page.result.iter().any(|row| owner::is_elsewhere(project, &row.details)) {
        true => Err(asked.elsewhere()),
        false => Ok(page),
    }
}

async fn believe_empty(calls: &Calls<'_>, project: &Project) -> Result<Listing, Error> {
    let partial = match owner::locate(calls, project).await? {
        Whereabouts::Here => false,
        Whereabouts::Unknown(_) => true,
    };
    Ok(Listing { members: Vec::new(), partial })
}

/// The rows so far.
#[derive(Debug, Default)]
struct Rows {
    members: Vec<Member>,
    seen: HashSet<String>,
    /// Rows that came, doubled ones among them: the next offset.
    taken: usize,
    /// How many there are, as the last page that knew said.
    total: Option<u64>,
    /// The pages don't fit together.
    shifted: bool,
}

impl Rows {
    /// Takes a page; whether there is another.
    fn take(&mut self, page: Page) -> bool {
        let (total, rows) = (page.details.total_result, page.result.len());
        // Past the end the total is left out: only a page with rows, or the first, says anything by it.
        if rows > 0 || self.total.is_none() {
            self.shifted |= self.total.is_some_and(|before| before != total);
            self.total = Some(total);
        }
        let before = self.members.len();
        for row in page.result {
            if self.seen.insert(row.user_id.clone()) {
                self.members.push(member(row));
            } else {
                self.shifted = true;
            }
        }
        self.taken += rows;
        self.members.len() > before && !self.is_complete()
    }

    fn finish(self) -> Listing {
        let partial = self.shifted || !self.is_complete();
        Listing { members: self.members, partial }
    }

    fn is_complete(&self) -> bool {
        u64::try_from(self.taken).is_ok_and(|taken| Some(taken) == self.total)
    }
}

/// A row as a member. A role that stands twice in it (what a cure may leave behind) counts once.
fn member(row: Row) -> Member {
    let mut entries: Vec<Entry> = Vec::with_capacity(row.roles.len());
    for role in row.roles {
        if entries.iter().all(|entry| entry.role != role) {
            entries.push(Entry::permanent(role));
        }
    }
    let version = (row.details.sequence > 0).then_some(row.details.sequence);
    Member { subject_id: row.user_id, entries, memberships: 1, version }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::zitadel::wire::{Details, PageDetails};

    fn page(total: u64, users: &[u32]) -> Page {
        let row = |user: &u32| Row {
            user_id: user.to_string(),
            details: Details { sequence: 7, resource_owner: "1".to_owned() },
            roles: vec!["PROJECT_OWNER".to_owned()],
        };
        Page { details: PageDetails { total_result: total }, result: users.iter().map(row).collect() }
    }

    #[test]
    fn a_list_that_does_not_add_up_is_partial() {
        // The pages as they come, those that are asked for, the rows, and whether the list is partial.
        type Case = (&'static str, Vec<(u64, Vec<u32>)>, usize, usize, bool);
        let cases: Vec<Case> = vec![
            ("nobody", vec![(0, vec![])], 1, 0, false),
            ("one page", vec![(2, vec![1, 2])], 1, 2, false),
            ("two pages", vec![(3, vec![1, 2]), (3, vec![3])], 2, 3, false),
            ("a server that gives smaller pages", vec![(3, vec![1]), (3, vec![2]), (3, vec![3])], 3, 3, false),
            ("short, and nothing behind it", vec![(3, vec![1, 2]), (0, vec![])], 2, 2, true),
            ("a row of the middle left out", vec![(3, vec![1, 3]), (3, vec![3])], 2, 2, true),
            ("doubled within a page", vec![(3, vec![1, 2, 2])], 1, 2, true),
            ("shifted: doubled on the next page", vec![(4, vec![1, 2]), (4, vec![2, 3])], 2, 3, true),
            ("somebody came in between", vec![(3, vec![1, 2]), (4, vec![3, 4])], 2, 4, true),
            ("somebody went in between", vec![(4, vec![1, 2]), (3, vec![4])], 2, 3, true),
            ("more rows than it says", vec![(1, vec![1, 2]), (0, vec![])], 2, 2, true),
            ("rows and no total", vec![(0, vec![1]), (0, vec![])], 2, 1, true),
            ("a total and no rows", vec![(6, vec![])], 1, 0, true),
            ("the same page for ever", vec![(9, vec![1, 2]), (9, vec![1, 2])], 2, 2, true),
        ];
        for (name, pages, asked, members, partial) in cases {
            let mut rows = Rows::default();
            let mut taken = 0;
            for (total, users) in &pages {
                taken += 1;
                if !rows.take(page(*total, users)) {
                    break;
                }
            }
            let listing = rows.finish();
            assert_eq!((taken, listing.members.len(), listing.partial), (asked, members, partial), "{name}");
        }
    }

    #[test]
    fn a_role_given_twice_is_one_role() {
        let roles = ["PROJECT_OWNER_VIEWER", "PROJECT_OWNER", "PROJECT_OWNER_VIEWER"].map(str::to_owned).to_vec();
        let row = Row { user_id: "3".to_owned(), details: Details::default(), roles };
        let expected = Member {
            subject_id: "3".to_owned(),
            entries: vec![Entry::permanent("PROJECT_OWNER_VIEWER"), Entry::permanent("PROJECT_OWNER")],
            memberships: 1,
            version: None,
        };
        assert_eq!(member(row), expected);
    }
}
