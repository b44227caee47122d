use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;

use super::*;

/// The contents of a store that receives the merged events of two watches, and the number of complete lists.
struct MergedStore {
    merge: Merge<ConfigMap>,
    store: BTreeMap<(String, String), String>,
    listing: BTreeMap<(String, String), String>,
    lists: usize,
}

const NAMESPACES: [&str; 2] = ["a", "b"];

fn object(part: usize, name: &str, value: &str) -> ConfigMap {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(NAMESPACES[part].to_owned()),
        resource_version: Some(value.to_owned()),
        ..ObjectMeta::default()
    };
    ConfigMap { metadata, ..ConfigMap::default() }
}

fn entry(object: &ConfigMap) -> ((String, String), String) {
    let key = (object.namespace().unwrap_or_default(), object.name_any());
    (key, object.resource_version().unwrap_or_default())
}

impl MergedStore {
    fn by(parts: usize) -> Self {
        Self { merge: Merge::new(parts), store: BTreeMap::new(), listing: BTreeMap::new(), lists: 0 }
    }

    fn take(&mut self, part: usize, event: Event<ConfigMap>, leads: bool) {
        let store = self.store.clone();
        let known = |part: usize| {
            let of_part = store.iter().filter(|((namespace, _), _)| namespace == NAMESPACES[part]);
            of_part.map(|((_, name), value)| object(part, name, value)).collect()
        };
        for event in self.merge.take(part, event, leads, known) {
            match event {
                Event::Init => self.listing.clear(),
                Event::InitApply(object) => drop(self.listing.insert(entry(&object).0, entry(&object).1)),
                Event::InitDone => {
                    self.store = std::mem::take(&mut self.listing);
                    self.lists += 1;
                }
                Event::Apply(object) => drop(self.store.insert(entry(&object).0, entry(&object).1)),
                Event::Delete(object) => drop(self.store.remove(&entry(&object).0)),
            }
        }
    }

    fn lists(&mut self, part: usize, names: &[&str], leads: bool) {
        self.take(part, Event::Init, leads);
        names.iter().for_each(|name| self.take(part, Event::InitApply(object(part, name, "1")), leads));
        self.take(part, Event::InitDone, leads);
    }

    fn holds(&self) -> Vec<String> {
        self.store.iter().map(|((namespace, name), value)| format!("{namespace}/{name}={value}")).collect()
    }
}

#[test]
fn the_events_of_a_single_watch_are_passed_on_at_once() {
    let mut merged = MergedStore::by(1);
    merged.lists(0, &["x", "y"], false);
    merged.take(0, Event::Apply(object(0, "x", "2")), false);
    merged.take(0, Event::Delete(object(0, "y", "1")), false);
    assert_eq!((merged.holds(), merged.lists), (vec!["a/x=2".to_owned()], 1));
}

#[test]
fn nothing_is_emitted_before_all_lists_and_then_the_current_state() {
    let mut merged = MergedStore::by(2);
    merged.lists(0, &["x", "y"], false);
    merged.take(0, Event::Apply(object(0, "x", "2")), false);
    merged.take(0, Event::Apply(object(0, "z", "1")), false);
    merged.take(0, Event::Delete(object(0, "y", "1")), false);
    assert_eq!((merged.holds().len(), merged.lists), (0, 0));
    merged.lists(1, &["x"], false);
    assert_eq!((merged.holds().join(" "), merged.lists), ("a/x=2 a/z=1 b/x=1".to_owned(), 1));
}

#[test]
fn a_relist_of_one_drops_what_is_gone_there_and_nothing_of_the_others() {
    let mut merged = MergedStore::by(2);
    merged.lists(0, &["x", "y"], false);
    merged.lists(1, &["x"], false);
    merged.take(1, Event::Apply(object(1, "w", "3")), false);
    merged.take(0, Event::Init, false);
    merged.take(0, Event::InitApply(object(0, "y", "4")), false);
    // The other watches continue in the meantime.
    merged.take(1, Event::Delete(object(1, "x", "1")), false);
    merged.take(0, Event::InitDone, false);
    assert_eq!((merged.holds().join(" "), merged.lists), ("a/y=4 b/w=3".to_owned(), 2));
}

#[test]
fn all_are_listed_again_when_this_replica_begins_to_lead() {
    let mut merged = MergedStore::by(2);
    merged.lists(0, &["x"], false);
    merged.lists(1, &["x"], false);
    merged.lists(0, &["x"], true);
    assert!(!merged.merge.is_led(), "b was listed by a replica that stood by");
    merged.lists(1, &["x"], true);
    assert!(merged.merge.is_led());
}

#[test]
fn a_list_that_restarts_before_all_are_complete_is_waited_for() {
    let mut merged = MergedStore::by(2);
    merged.lists(0, &["x", "y"], false);
    // This replica begins to lead: both namespaces are listed again.
    merged.take(0, Event::Init, true);
    merged.take(0, Event::InitApply(object(0, "x", "1")), true);
    merged.lists(1, &["x"], true);
    assert_eq!((merged.holds().len(), merged.lists), (0, 0), "a part of a list was told as all of it");
    merged.take(0, Event::InitApply(object(0, "y", "1")), true);
    merged.take(0, Event::InitDone, true);
    assert_eq!((merged.holds().join(" "), merged.lists), ("a/x=1 a/y=1 b/x=1".to_owned(), 1));
    assert!(merged.merge.is_led());
}
