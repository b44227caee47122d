//! The members of a project, page by page, with either API. The order isn't guaranteed (docs/reference/zitadel.md,
//! Management v1), so pages may shift under writes: a list whose rows don't match its own count is partial.

use std::collections::HashSet;

use super::wire::PageDetails;
use crate::core::member::{Entry, Member};
use crate::provider::Listing;

/// Rows per page: the most that v2 and newer versions of v1 return. Without a limit some return all and others 100.
pub(crate) const PAGE: usize = 1000;

/// The most pages: a server with more never ends the list.
const MOST_PAGES: usize = 1000;

/// A part of the members.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    /// A page, from this offset on.
    From(usize),
    /// One user's row.
    Of(&'a str),
}

/// A page as received.
#[derive(Debug)]
pub(crate) struct MembersPage {
    /// The number of rows on all pages; 0 past the end.
    pub(crate) total: u64,
    /// The rows; `None`: one of something else than requested.
    pub(crate) rows: Vec<Option<Member>>,
    /// The offset from this page to the next one: at least the number of rows.
    pub(crate) step: usize,
}

impl MembersPage {
    pub(crate) fn new(details: &PageDetails, rows: Vec<Option<Member>>) -> Self {
        let limit = usize::try_from(details.applied_limit).unwrap_or(PAGE);
        Self { total: details.total_result, step: limit.max(rows.len()), rows }
    }
}

/// The rows so far.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    members: Vec<Member>,
    seen: HashSet<String>,
    /// The number of received rows, including duplicates and unexpected ones.
    came: usize,
    /// Where the next page begins.
    offset: usize,
    /// The total, from the last page that reported it.
    total: Option<u64>,
    /// The pages are inconsistent.
    shifted: bool,
    /// The number of received pages.
    pages: usize,
    /// The last page was the last.
    ended: bool,
}

impl Rows {
    /// Where the next page begins; `None`: there are no more.
    pub(crate) fn next_page(&self) -> Option<usize> {
        (!self.ended && self.pages < MOST_PAGES).then_some(self.offset)
    }

    /// The server counts rows, and none was received.
    pub(crate) fn are_hidden(&self) -> bool {
        self.came == 0 && self.total.is_some_and(|total| total > 0)
    }

    /// Adds a page.
    pub(crate) fn take(&mut self, page: MembersPage) {
        let came = page.rows.len();
        // Past the end the total is omitted: it is only meaningful on a page with rows, or on the first.
        if came > 0 || self.total.is_none() {
            self.shifted |= self.total.is_some_and(|before| before != page.total);
            self.total = Some(page.total);
        }
        // Rows that the credential may not see are omitted from their page, which is then shorter.
        let mut progress = page.step > came;
        for row in page.rows {
            match row {
                None => progress = true,
                Some(member) if self.seen.insert(member.subject_id.clone()) => {
                    progress = true;
                    self.members.push(member);
                }
                Some(_) => self.shifted = true,
            }
        }
        self.came += came;
        self.offset += page.step;
        self.pages += 1;
        let before_end = u64::try_from(self.offset).is_ok_and(|offset| self.total.is_some_and(|total| offset < total));
        self.ended = !(progress && before_end);
    }

    /// The list, and whether it is complete.
    pub(crate) fn finish(self) -> Listing {
        let complete = u64::try_from(self.came).is_ok_and(|came| Some(came) == self.total);
        Listing { members: self.members, partial: self.shifted || !self.ended || !complete }
    }
}

/// A row as a member. A role that occurs twice in it (a repair may leave that behind) counts once.
pub(crate) fn member(user: String, roles: Vec<String>, version: Option<u64>) -> Member {
    let mut entries: Vec<Entry> = Vec::with_capacity(roles.len());
    for role in roles {
        if entries.iter().all(|entry| entry.role != role) {
            entries.push(Entry::permanent(role));
        }
    }
    Member { subject_id: user, entries, memberships: 1, version }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(user: u32) -> Member {
        member(user.to_string(), vec!["PROJECT_OWNER".to_owned()], Some(7))
    }

    fn page(total: u64, users: &[u32]) -> MembersPage {
        MembersPage { total, rows: users.iter().map(|user| Some(row(*user))).collect(), step: users.len() }
    }

    #[test]
    fn a_list_that_does_not_add_up_is_partial() {
        // The received pages, the requested ones, the rows, and whether the list is partial.
        type Case = (&'static str, Vec<(u64, Vec<u32>)>, usize, usize, bool);
        let cases: Vec<Case> = vec![
            ("no members", vec![(0, vec![])], 1, 0, false),
            ("one page", vec![(2, vec![1, 2])], 1, 2, false),
            ("two pages", vec![(3, vec![1, 2]), (3, vec![3])], 2, 3, false),
            ("a server that gives smaller pages", vec![(3, vec![1]), (3, vec![2]), (3, vec![3])], 3, 3, false),
            ("short, and nothing behind it", vec![(3, vec![1, 2]), (0, vec![])], 2, 2, true),
            ("a row of the middle left out", vec![(3, vec![1, 3]), (3, vec![3])], 2, 2, true),
            ("doubled within a page", vec![(3, vec![1, 2, 2])], 1, 2, true),
            ("shifted: doubled on the next page", vec![(4, vec![1, 2]), (4, vec![2, 3])], 2, 3, true),
            ("a member was added in between", vec![(3, vec![1, 2]), (4, vec![3, 4])], 2, 4, true),
            ("a member was removed in between", vec![(4, vec![1, 2]), (3, vec![4])], 2, 3, true),
            ("more rows than its total", vec![(1, vec![1, 2])], 1, 2, true),
            ("rows and no total", vec![(0, vec![1])], 1, 1, true),
            ("a total and no rows", vec![(6, vec![])], 1, 0, true),
            ("the same page for ever", vec![(9, vec![1, 2]), (9, vec![1, 2])], 2, 2, true),
        ];
        for (name, pages, asked, members, partial) in cases {
            let mut rows = Rows::default();
            let mut taken = 0;
            for (total, users) in &pages {
                taken += 1;
                rows.take(page(*total, users));
                if rows.next_page().is_none() {
                    break;
                }
            }
            let listing = rows.finish();
            assert_eq!((taken, listing.members.len(), listing.partial), (asked, members, partial), "{name}");
        }
    }

    #[test]
    fn rows_that_are_hidden_make_pages_short_and_the_list_partial() {
        let mut rows = Rows::default();
        rows.take(MembersPage { step: 2, ..page(3, &[]) });
        assert!(rows.are_hidden());
        assert_eq!(rows.next_page(), Some(2), "the second page may have one to be seen");
        rows.take(MembersPage { step: 2, ..page(3, &[3]) });
        assert_eq!((rows.next_page(), rows.are_hidden()), (None, false));
        let listing = rows.finish();
        assert_eq!((listing.members, listing.partial), (vec![row(3)], true));
    }

    #[test]
    fn rows_of_something_else_are_no_members() {
        let mut rows = Rows::default();
        let of_two = |rows| MembersPage { total: 4, rows, step: 2 };
        rows.take(of_two(vec![None, None]));
        assert_eq!(rows.next_page(), Some(2));
        rows.take(of_two(vec![None, Some(row(1))]));
        assert_eq!(rows.next_page(), None);
        assert_eq!(rows.finish(), Listing { members: vec![row(1)], partial: false });
    }

    #[test]
    fn a_role_given_twice_is_one_role() {
        let roles = ["PROJECT_OWNER_VIEWER", "PROJECT_OWNER", "PROJECT_OWNER_VIEWER"].map(str::to_owned).to_vec();
        let entries = vec![Entry::permanent("PROJECT_OWNER_VIEWER"), Entry::permanent("PROJECT_OWNER")];
        let expected = Member { subject_id: "3".to_owned(), entries, memberships: 1, version: None };
        assert_eq!(member("3".to_owned(), roles, None), expected);
    }
}
