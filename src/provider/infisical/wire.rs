//! Role lists on the wire: converts entries to what is sent, and rows to entries.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::range;
use super::role_ids::RoleIds;
use crate::core::member::{Entry, Term, Verbatim, Window};
use crate::provider::Error;

/// The value of `role` for every custom role. Used as a role itself, it locks its holder out
/// (docs/reference/infisical.md, "Roles in answers").
const CUSTOM: &str = "custom";

/// One item of the list that is sent. Unknown fields are stripped by the server, and temporary ones without
/// `isTemporary: true` create a *permanent* role: so there are exactly two shapes.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleItem {
    role: String,
    is_temporary: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    window: Option<WindowItem>,
}

#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct WindowItem {
    temporary_mode: &'static str,
    temporary_range: String,
    temporary_access_start_time: String,
}

impl RoleItem {
    /// The role's slug.
    pub(crate) fn role(&self) -> &str {
        &self.role
    }
}

/// A row of `roles` in GET and list.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleRow {
    role: String,
    custom_role_id: Option<String>,
    custom_role_slug: Option<String>,
    #[serde(default)]
    is_temporary: Option<bool>,
    temporary_range: Option<String>,
    temporary_access_start_time: Option<String>,
    temporary_access_end_time: Option<String>,
}

/// The list to send for `entries`, each role once.
pub(crate) fn items(entries: &[Entry]) -> Result<Vec<RoleItem>, Error> {
    let mut once: Vec<&Entry> = Vec::with_capacity(entries.len());
    for entry in entries.iter().filter(|entry| !is_foreign_custom(entry)) {
        if entry.role == CUSTOM {
            return Err(Error::Rejected {
                message: "the role \"custom\" locks its holder out of the project at Infisical: write the slug of the \
                          custom role, as shown under Access Control → Roles"
                    .to_owned(),
            });
        }
        // A custom role that occurs twice is refused (errors.json, "same custom role twice"), and concurrent writers
        // leave such rows behind. The later end of the two is in force.
        match once.iter_mut().find(|kept| kept.role == entry.role) {
            Some(kept) if kept.term.later(entry.term) != kept.term => *kept = entry,
            Some(_) => {}
            None => once.push(entry),
        }
    }
    // An empty list is refused, or on October 2024 accepted and stored as a broken row (identity-extras.json, "create
    // with an empty list of roles"). The omitted literal `custom` granted no more than this.
    if once.is_empty() {
        return Ok(vec![item(&Entry::permanent(super::NO_ACCESS))?]);
    }
    once.into_iter().map(item).collect()
}

fn item(entry: &Entry) -> Result<RoleItem, Error> {
    let window = match (&entry.term, &entry.verbatim) {
        (Term::Permanent, _) => None,
        (Term::Temporary(_), Some(verbatim)) => Some((verbatim.range.clone(), verbatim.start.clone())),
        (Term::Temporary(window), None) => Some(sent_window(&entry.role, window)?),
    };
    Ok(RoleItem {
        role: entry.role.clone(),
        is_temporary: window.is_some(),
        window: window.map(|(temporary_range, temporary_access_start_time)| WindowItem {
            temporary_mode: "relative",
            temporary_range,
            temporary_access_start_time,
        }),
    })
}

/// The range and the start. Both ends are truncated to milliseconds, as the server does with the start, so that the end
/// it computes is the intended end.
fn sent_window(role: &str, window: &Window) -> Result<(String, String), Error> {
    let length = window.end.as_millisecond() - window.start.as_millisecond();
    if length <= 0 {
        return Err(Error::Rejected {
            message: format!("the role \"{role}\" would end at {}, before it starts: write a later end", window.end),
        });
    }
    Ok((range::text(length), range::start(window.start)))
}

impl RoleRow {
    /// The slug of a custom role whose id is missing in the row.
    pub(crate) fn slug_without_id(&self) -> Option<&str> {
        self.custom_role_slug.as_deref().filter(|_| self.custom_role_id.is_none())
    }

    /// The row with the id of its custom role, if that is among these.
    pub(crate) fn with_id(mut self, ids: &RoleIds) -> Self {
        let id = self.slug_without_id().and_then(|slug| ids.get(slug)).cloned();
        self.custom_role_id = self.custom_role_id.or(id);
        self
    }
}

/// The entry of a row; `None` if it can't be understood.
pub(crate) fn entry(row: RoleRow) -> Option<Entry> {
    let literal = row.role == CUSTOM && row.custom_role_slug.is_none();
    if literal && row.custom_role_id.is_some() {
        // A custom role that isn't named.
        return None;
    }
    // Temporary fields without `isTemporary: true` are a permanent role (docs/reference/infisical.md, "PATCH and
    // time").
    let (term, verbatim) = if row.is_temporary == Some(true) { temporary(&row)? } else { (Term::Permanent, None) };
    Some(Entry {
        role_id: row.custom_role_id.filter(|_| row.custom_role_slug.is_some()),
        role: row.custom_role_slug.unwrap_or(row.role),
        term,
        // Only a row from the server has this mark: it distinguishes the literal `custom` from a declared one.
        verbatim: if literal { Some(Verbatim { range: String::new(), start: String::new() }) } else { verbatim },
    })
}

fn temporary(row: &RoleRow) -> Option<(Term, Option<Verbatim>)> {
    let time = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
    let start = time(&row.temporary_access_start_time);
    let length = row.temporary_range.as_deref().and_then(range::length);
    let computed = || start?.checked_add(length?).ok();
    let end = match &row.temporary_access_end_time {
        Some(text) => text.parse().ok()?,
        None => computed()?,
    };
    let verbatim = row
        .temporary_range
        .clone()
        .zip(row.temporary_access_start_time.clone())
        .filter(|_| start.is_some())
        // If it is sent back, the end is computed again: a row with another end (written in the database) keeps its
        // end.
        .filter(|_| computed().is_none_or(|computed| computed.as_millisecond().abs_diff(end.as_millisecond()) <= 1))
        .map(|(range, start)| Verbatim { range, start });
    let window = Window { start: start.unwrap_or(end), end };
    Some((Term::Temporary(window), verbatim))
}

/// A row of the literal `custom` that another writer created. It grants nothing, locks its holder out, and the server
/// accepts no list with it: it is omitted from what is sent, which unlocks the holder.
fn is_foreign_custom(entry: &Entry) -> bool {
    entry.role == CUSTOM && entry.verbatim.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sent(entries: &[Entry]) -> Value {
        serde_json::to_value(items(entries).unwrap()).unwrap()
    }

    fn row(value: Value) -> Option<Entry> {
        entry(serde_json::from_value(value).unwrap())
    }

    fn window(start: &str, end: &str) -> Term {
        Term::Temporary(Window { start: start.parse().unwrap(), end: end.parse().unwrap() })
    }

    #[test]
    fn entries_of_ours_are_sent_in_the_two_accepted_shapes() {
        let entries = [
            Entry::permanent("viewer"),
            Entry::new("admin", window("2026-12-01T08:00:00.0004Z", "2026-12-01T09:30:00Z")),
        ];
        assert_eq!(
            sent(&entries),
            json!([
                {"role": "viewer", "isTemporary": false},
                {"role": "admin", "isTemporary": true, "temporaryMode": "relative", "temporaryRange": "90m",
                 "temporaryAccessStartTime": "2026-12-01T08:00:00Z"},
            ])
        );
    }

    #[test]
    fn an_unmanaged_entry_goes_back_byte_for_byte() {
        for range in ["1 hour", "60000", "1.5h", "1M", "1y"] {
            let length = range::length(range).unwrap();
            let start: Timestamp = "2026-11-21T16:43:22.799Z".parse().unwrap();
            let entry = row(json!({
                "role": "custom", "customRoleId": "e174695b", "customRoleSlug": "deployer", "isTemporary": true,
                "temporaryMode": "relative", "temporaryRange": range,
                "temporaryAccessStartTime": "2026-11-21T16:43:22.799Z",
                "temporaryAccessEndTime": start.checked_add(length).unwrap().to_string(),
            }))
            .unwrap();
            assert_eq!(entry.role, "deployer");
            assert_eq!(
                sent(&[entry]),
                json!([{"role": "deployer", "isTemporary": true, "temporaryMode": "relative",
                        "temporaryRange": range, "temporaryAccessStartTime": "2026-11-21T16:43:22.799Z"}])
            );
        }
    }

    #[test]
    fn an_end_that_the_range_does_not_give_is_kept() {
        let entry = row(json!({
            "role": "admin", "isTemporary": true, "temporaryRange": "2h",
            "temporaryAccessStartTime": "2026-11-21T10:00:00.000Z", "temporaryAccessEndTime": "2026-11-21T11:00:00.000Z",
        }))
        .unwrap();
        assert_eq!(entry.term, window("2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"));
        assert_eq!(sent(&[entry])[0]["temporaryRange"], "1h");
    }

    #[test]
    fn temporary_fields_without_the_mark_are_a_permanent_role() {
        for mark in [json!(false), Value::Null] {
            let entry = row(json!({
                "role": "admin", "isTemporary": mark, "temporaryRange": "2h",
                "temporaryAccessStartTime": "2026-11-21T10:00:00.000Z", "temporaryAccessEndTime": "2026-11-21T12:00:00.000Z",
            }));
            assert_eq!(entry, Some(Entry::permanent("admin")));
        }
        assert_eq!(row(json!({"role": "admin"})), Some(Entry::permanent("admin")));
    }

    #[test]
    fn a_row_that_says_too_little_is_not_understood() {
        for value in [
            json!({"role": "custom", "customRoleId": "e174695b"}),
            json!({"role": "admin", "isTemporary": true}),
            json!({"role": "admin", "isTemporary": true, "temporaryRange": "2h"}),
            json!({"role": "admin", "isTemporary": true, "temporaryAccessEndTime": "tomorrow"}),
        ] {
            assert_eq!(row(value.clone()), None, "{value}");
        }
        let end_only =
            row(json!({"role": "admin", "isTemporary": true, "temporaryAccessEndTime": "2026-11-21T12:00:00Z"}));
        assert_eq!(end_only.unwrap().term, window("2026-11-21T12:00:00Z", "2026-11-21T12:00:00Z"));
    }

    #[test]
    fn the_literal_custom_is_never_sent() {
        let unmanaged =
            row(json!({"role": "custom", "customRoleId": null, "customRoleSlug": null, "isTemporary": false})).unwrap();
        assert_eq!(unmanaged.role, "custom");
        assert_eq!(
            sent(&[Entry::permanent("viewer"), unmanaged.clone()]),
            json!([{"role": "viewer", "isTemporary": false}])
        );
        assert_eq!(sent(&[unmanaged]), json!([{"role": "no-access", "isTemporary": false}]));
        let declared = items(&[Entry::permanent("viewer"), Entry::permanent("custom")]).unwrap_err();
        assert!(matches!(&declared, Error::Rejected { message } if message.contains("slug")), "{declared}");
    }

    #[test]
    fn one_role_twice_is_sent_once_with_the_later_end() {
        let short = Entry::new("deployer", window("2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"));
        let long = Entry::new("deployer", window("2026-11-21T10:00:00Z", "2026-11-21T12:00:00Z"));
        for entries in [[short.clone(), long.clone()], [long, short]] {
            let sent = sent(&entries);
            assert_eq!(sent.as_array().unwrap().len(), 1);
            assert_eq!(sent[0]["temporaryRange"], "2h");
        }
    }

    #[test]
    fn a_window_of_nothing_is_refused_before_sending() {
        let entry = Entry::new("admin", window("2026-11-21T10:00:00.0001Z", "2026-11-21T10:00:00.0009Z"));
        assert!(matches!(items(&[entry]), Err(Error::Rejected { .. })));
    }
}
