//! Whether an observation shows that a write was carried out. Pure. A successful response is no proof: ZITADEL may lose
//! a write whose response was 200 (docs/reference/zitadel.md, trap 4), and Infisical may merge the lists of two writers
//! (docs/reference/infisical.md, "PATCH and time").

use crate::core::member::{Capabilities, Change, Entry, Member, Receipt};

/// What an observation that began after a write shows about the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The write is in force.
    Shown,
    /// The provider has not carried it out, or does not show it yet.
    NotYet,
    /// Another write was made since.
    Overtaken,
}

/// Compares the observed row (`None`: there is no row) with `change`, whose response was `receipt`.
pub fn confirmation(
    change: &Change,
    receipt: Receipt,
    shown: Option<&Member>,
    capabilities: Capabilities,
) -> Confirmation {
    let removes = *change == Change::Remove;
    let shown_or_overtaken = |is_shown| if is_shown { Confirmation::Shown } else { Confirmation::Overtaken };
    if receipt.kept.is_some() && removes {
        return shown_or_overtaken(shown.is_none_or(|member| capabilities.is_without_access(member)));
    }
    let entries = shown.map_or(&[][..], |member| &member.entries);
    let same = key(entries, capabilities) == key(change.outcome(), capabilities)
        && shown.is_none_or(|member| member.memberships == 1);
    if capabilities.lists_are_current {
        return shown_or_overtaken(same && shown.is_some() != removes);
    }
    let Some(member) = shown else {
        return if removes { Confirmation::Shown } else { Confirmation::NotYet };
    };
    match (member.version, receipt.version) {
        (Some(shown), Some(written)) if shown > written => shown_or_overtaken(same),
        (Some(shown), Some(written)) if shown == written && same && !removes => Confirmation::Shown,
        _ => Confirmation::NotYet,
    }
}

/// What a list grants: its roles and, if the provider keeps them, their ends in milliseconds. The order is irrelevant.
fn key(entries: &[Entry], capabilities: Capabilities) -> Vec<(&str, Option<i64>)> {
    let end = |entry: &Entry| entry.term.end().filter(|_| capabilities.enforces_expiry).map(|end| end.as_millisecond());
    let mut key: Vec<_> = entries.iter().map(|entry| (entry.role.as_str(), end(entry))).collect();
    key.sort_unstable();
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFISICAL: Capabilities = Capabilities {
        enforces_expiry: true,
        permanent_base: Some("no-access"),
        empty_role: Some("no-access"),
        lists_are_current: true,
        creation_role: None,
        invites: false,
    };
    const ZITADEL: Capabilities = Capabilities {
        enforces_expiry: false,
        permanent_base: None,
        empty_role: None,
        lists_are_current: false,
        creation_role: None,
        invites: false,
    };

    fn row(roles: &[&str], version: Option<u64>, memberships: u32) -> Option<Member> {
        Some(Member {
            subject_id: "s".into(),
            entries: roles.iter().map(|role| Entry::permanent(*role)).collect(),
            memberships,
            version,
        })
    }

    #[test]
    fn a_write_is_done_only_when_an_observation_shows_it() {
        use Confirmation::{NotYet, Overtaken, Shown};
        let replace = Change::Replace(vec![Entry::permanent("a"), Entry::permanent("b")]);
        let cases = [
            // ZITADEL: the sequence of the row must have reached that of the write.
            (ZITADEL, &replace, Some(5), row(&["b", "a"], Some(5), 1), Shown),
            (ZITADEL, &replace, Some(5), row(&["a"], Some(4), 1), NotYet),
            (ZITADEL, &replace, Some(5), row(&["a", "b"], Some(4), 1), NotYet),
            (ZITADEL, &replace, Some(5), row(&["a"], Some(6), 1), Overtaken),
            (ZITADEL, &replace, Some(5), row(&["a", "b"], Some(6), 1), Shown),
            (ZITADEL, &replace, Some(5), None, NotYet),
            (ZITADEL, &Change::Remove, Some(5), None, Shown),
            (ZITADEL, &Change::Remove, Some(5), row(&["a"], Some(4), 1), NotYet),
            (ZITADEL, &Change::Remove, Some(5), row(&["a"], Some(6), 1), Overtaken),
            (ZITADEL, &Change::Remove, None, row(&["a"], Some(6), 1), NotYet),
            // Infisical: the list is what is in force.
            (INFISICAL, &replace, None, row(&["a", "b"], None, 1), Shown),
            (INFISICAL, &replace, None, row(&["a", "b", "c"], None, 1), Overtaken),
            (INFISICAL, &replace, None, row(&["a", "b"], None, 2), Overtaken),
            (INFISICAL, &replace, None, None, Overtaken),
            (INFISICAL, &Change::Remove, None, None, Shown),
            (INFISICAL, &Change::Remove, None, row(&["a"], None, 1), Overtaken),
        ];
        for (index, (capabilities, change, version, shown, expected)) in cases.into_iter().enumerate() {
            let found = confirmation(change, Receipt { version, ..Receipt::default() }, shown.as_ref(), capabilities);
            assert_eq!(found, expected, "case {index}");
        }
    }
}
