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

    fn take(&mut self, part: usize, event: Event<ConfigMap>) {
        let store = self.store.clone();
        let known = |part: usize| {
            let of_part = store.iter().filter(|((namespace, _), _)| namespace == NAMESPACES[part]);
            of_part.map(|((_, name), value)| object(part, name, value)).collect()
        };
        for event in self.merge.take(part, event, known) {
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

    fn lists(&mut self, part: usize, names: &[&str]) {
        self.take(part, Event::Init);
        names.iter().for_each(|name| self.take(part, Event::InitApply(object(part, name, "1"))));
        self.take(part, Event::InitDone);
    }

    fn holds(&self) -> Vec<String> {
        self.store.iter().map(|((namespace, name), value)| format!("{namespace}/{name}={value}")).collect()
    }
}

#[test]
fn the_events_of_a_single_watch_are_passed_on_at_once() {
    let mut merged = MergedStore::by(1);
    merged.lists(0, &["x", "y"]);
    merged.take(0, Event::Apply(object(0, "x", "2")));
    merged.take(0, Event::Delete(object(0, "y", "1")));
    assert_eq!((merged.holds(), merged.lists), (vec!["a/x=2".to_owned()], 1));
}

#[test]
fn nothing_is_emitted_before_all_lists_and_then_the_current_state() {
    let mut merged = MergedStore::by(2);
    merged.lists(0, &["x", "y"]);
    merged.take(0, Event::Apply(object(0, "x", "2")));
    merged.take(0, Event::Apply(object(0, "z", "1")));
    merged.take(0, Event::Delete(object(0, "y", "1")));
    assert_eq!((merged.holds().len(), merged.lists), (0, 0));
    merged.lists(1, &["x"]);
    assert_eq!((merged.holds().join(" "), merged.lists), ("a/x=2 a/z=1 b/x=1".to_owned(), 1));
}

#[test]
fn a_relist_of_one_drops_what_is_gone_there_and_nothing_of_the_others() {
    let mut merged = MergedStore::by(2);
    merged.lists(0, &["x", "y"]);
    merged.lists(1, &["x"]);
    merged.take(1, Event::Apply(object(1, "w", "3")));
    merged.take(0, Event::Init);
    merged.take(0, Event::InitApply(object(0, "y", "4")));
    // The other watches continue in the meantime.
    merged.take(1, Event::Delete(object(1, "x", "1")));
    merged.take(0, Event::InitDone);
    assert_eq!((merged.holds().join(" "), merged.lists), ("a/y=4 b/w=3".to_owned(), 2));
}

#[test]
fn a_list_that_restarts_before_all_are_complete_is_waited_for() {
    let mut merged = MergedStore::by(2);
    merged.lists(0, &["x", "y"]);
    // Both namespaces are listed again.
    merged.take(0, Event::Init);
    merged.take(0, Event::InitApply(object(0, "x", "1")));
    merged.lists(1, &["x"]);
    assert_eq!((merged.holds().len(), merged.lists), (0, 0), "a part of a list was reported as all of it");
    merged.take(0, Event::InitApply(object(0, "y", "1")));
    merged.take(0, Event::InitDone);
    assert_eq!((merged.holds().join(" "), merged.lists), ("a/x=1 a/y=1 b/x=1".to_owned(), 1));
}
