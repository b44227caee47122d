//! Objects, observations and times, few of each, so that they meet: four roles, nine instants around now.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use membership_operator::core::grants::Grant;
use membership_operator::core::layers::{Layer, Phase};
use membership_operator::core::member::{Capabilities, Entry, Member, Term, Verbatim, Window};
use membership_operator::core::plan::PlanInputs;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

/// Infisical as it is now.
pub const INFISICAL: Capabilities = Capabilities {
    enforces_expiry: true,
    permanent_base: Some("no-access"),
    empty_role: Some("no-access"),
    lists_are_current: true,
    creation_role: None,
    invites: false,
};
/// Infisical of October 2024: temporary roles may stand alone.
pub const INFISICAL_2024: Capabilities = Capabilities { permanent_base: None, ..INFISICAL };
/// ZITADEL: it ends nothing, and its lists lag.
pub const ZITADEL: Capabilities = Capabilities {
    enforces_expiry: false,
    permanent_base: None,
    empty_role: None,
    lists_are_current: false,
    creation_role: None,
    invites: false,
};

/// Any provider.
pub fn capabilities() -> impl Strategy<Value = Capabilities> {
    prop_oneof![3 => Just(INFISICAL), 1 => Just(INFISICAL_2024), 2 => Just(ZITADEL)]
}

/// The instant that plans are for.
pub fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// So many minutes after [`now`].
pub fn minutes(minutes: i64) -> Timestamp {
    now() + SignedDuration::from_mins(minutes)
}

fn instant() -> impl Strategy<Value = Timestamp> {
    prop::sample::select(vec![-120, -60, -30, -1, 0, 1, 30, 60, 120]).prop_map(minutes)
}

/// A window that is open now.
fn open() -> impl Strategy<Value = Window> {
    let (start, end) = (prop::sample::select(vec![-120, -1, 0]), prop::sample::select(vec![1, 30, 60, 120]));
    (start, end).prop_map(|(start, end)| Window { start: minutes(start), end: minutes(end) })
}

/// A role that is declared, shown, or both.
pub fn role() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just("deployer"), 4 => Just("viewer"), 2 => Just("admin"), 2 => Just("no-access")]
        .prop_map(str::to_owned)
}

/// For good, or any window: also one that ends before it starts.
pub fn term() -> impl Strategy<Value = Term> {
    prop_oneof![
        2 => Just(Term::Permanent),
        4 => open().prop_map(Term::Temporary),
        2 => (instant(), instant()).prop_map(|(start, end)| Term::Temporary(Window { start, end })),
    ]
}

/// An entry as a provider shows it.
pub fn entry() -> impl Strategy<Value = Entry> {
    (role(), term()).prop_map(|(role, term)| shown_as(Entry::new(role, term)))
}

/// An entry with the words that Infisical gives its window.
pub fn shown_as(mut entry: Entry) -> Entry {
    if let (Term::Temporary(window), None) = (entry.term, &entry.verbatim) {
        let range = format!("{}ms", window.length().as_millis());
        entry.verbatim = Some(Verbatim { range, start: window.start.to_string() });
    }
    entry
}

/// A layer whose record may lag behind what it asks for, or be ahead of it.
pub fn layer() -> impl Strategy<Value = Layer> {
    let phase = prop_oneof![4 => Just(Phase::Counts), 2 => Just(Phase::Holds), 1 => Just(Phase::Leaves)];
    let carried = prop_oneof![6 => Just(Vec::new()), 1 => vec(entry(), 1..3)];
    let grants = btree_map(role(), term(), 0..4);
    let managed = btree_map(role(), term(), 0..4);
    (phase, any::<bool>(), grants, managed, any::<[bool; 4]>(), carried).prop_map(
        |(phase, exclusive, grants, mut managed, recorded, carried)| {
            managed.extend(grants.clone().into_iter().zip(recorded).filter(|(_, r)| *r).map(|(grant, _)| grant));
            let asks = phase == Phase::Counts;
            let grants: Vec<Grant> = grants.into_iter().map(|(role, term)| Grant { role, term }).collect();
            Layer {
                uid: String::new(),
                phase,
                exclusive,
                grants: if asks { grants } else { Vec::new() },
                managed,
                carried,
            }
        },
    )
}

/// A target at an instant: its layers, and what the provider shows.
#[derive(Clone, Debug)]
pub struct PlanningCase {
    pub layers: Vec<Layer>,
    pub observed: Option<Member>,
    pub capabilities: Capabilities,
    pub refused: BTreeSet<String>,
    pub spared: BTreeSet<String>,
    pub now: Timestamp,
}

impl PlanningCase {
    pub fn view(&self) -> PlanInputs<'_> {
        PlanInputs {
            observed: self.observed.as_ref(),
            capabilities: self.capabilities,
            refused: &self.refused,
            spared: &self.spared,
            now: self.now,
        }
    }

    /// What the provider shows.
    pub fn entries(&self) -> &[Entry] {
        self.observed.as_ref().map_or(&[], |member| &member.entries)
    }

    /// Whether `role` is the permanent base.
    pub fn is_base(&self, role: &str) -> bool {
        self.capabilities.empty_role == Some(role)
    }
}

/// A row of these entries.
pub fn member(entries: Vec<Entry>, memberships: u32) -> Member {
    Member { subject_id: "s".to_owned(), entries, memberships, version: None }
}

/// Any target.
pub fn planning_case() -> impl Strategy<Value = PlanningCase> {
    let observed = option::weighted(0.8, (vec(entry(), 0..6), prop_oneof![5 => Just(1), 1 => Just(2_u32)]));
    let refused = prop_oneof![3 => Just(BTreeSet::new()), 1 => btree_set(role(), 1..2)];
    let spared = prop_oneof![2 => Just(BTreeSet::new()), 1 => btree_set(role(), 1..3)];
    let parts = (vec(layer(), 0..4), observed, capabilities(), refused, spared);
    parts.prop_map(|(mut layers, observed, capabilities, refused, spared)| {
        for (index, layer) in layers.iter_mut().enumerate() {
            layer.uid = format!("uid-{index}");
        }
        let observed = observed.map(|(entries, memberships)| match capabilities.enforces_expiry {
            true => member(entries, memberships),
            false => member(without_ends(&entries), 1),
        });
        PlanningCase { layers, observed, capabilities, refused, spared, now: now() }
    })
}

/// Entries as a provider shows them that knows no ends.
pub fn without_ends(entries: &[Entry]) -> Vec<Entry> {
    let roles: BTreeMap<&str, ()> = entries.iter().map(|entry| (entry.role.as_str(), ())).collect();
    roles.into_keys().map(Entry::permanent).collect()
}
