//! What is generated and committed is what the source says.

use std::collections::BTreeMap;
use std::fs;

use membership_operator::api::crds;

use crate::support::path;

#[test]
fn crds_holds_what_the_types_say() {
    let committed: BTreeMap<String, String> = fs::read_dir(path("crds"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    let generated = BTreeMap::from_iter(crds::files().unwrap());
    assert_eq!(
        committed.keys().collect::<Vec<_>>(),
        generated.keys().collect::<Vec<_>>(),
        "crds/ (left) doesn't hold the files that are generated (right): run `make generate`"
    );
    for (name, text) in &generated {
        let differs = committed[name].lines().zip(text.lines()).find(|(committed, generated)| committed != generated);
        assert_eq!(differs, None, "crds/{name} is stale, here (left) and as generated (right): run `make generate`");
        assert_eq!(committed[name].len(), text.len(), "crds/{name} is stale: run `make generate`");
    }
}

#[test]
fn the_crds_are_printed_as_one_document_a_kind() {
    let text = crds::yaml().unwrap();
    let files = crds::files().unwrap();
    assert_eq!(text.matches("\n---\n").count() + 1, files.len());
    for (name, document) in files {
        assert!(text.contains(&document), "{name} isn't in what is printed");
    }
    assert_eq!(text, crds::yaml().unwrap(), "the second rendering differs from the first");
}
