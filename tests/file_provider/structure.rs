//! The folders of all providers have one shape, and the documentation shows a provider that works.

use std::collections::BTreeSet;
use std::path::Path;

/// What every provider's folder has, as files or as folders of the same name.
const MODULES: [&str; 10] = ["api", "auth", "client", "errors", "ids", "list", "mod", "names", "wire", "write"];

#[test]
fn the_folders_of_both_providers_have_the_same_files_for_the_same_purposes() {
    for provider in ["infisical", "zitadel"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provider").join(provider);
        let name = |entry: std::fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
        let found: BTreeSet<String> = std::fs::read_dir(&folder).unwrap().map(|entry| name(entry.unwrap())).collect();
        let missing: Vec<&str> = MODULES.into_iter().filter(|module| !found.contains(*module)).collect();
        assert!(missing.is_empty(), "src/provider/{provider} has no {missing:?}");
    }
}

#[test]
fn modules_with_parts_are_folders_with_a_file_mod() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        assert!(!folder.with_extension("rs").exists(), "{} stands beside its own file", folder.display());
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
}

#[test]
fn the_example_in_the_documentation_is_the_provider_that_is_tested() {
    let read = |file| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let (document, provider) = (read("docs/adding-a-provider.md"), read("tests/file_provider/provider.rs"));
    let message = "copy tests/file_provider/provider.rs into the last code block of docs/adding-a-provider.md";
    assert!(document.ends_with(&format!("```rust\n{provider}```\n")), "{message}");
}
