//! The modules build on each other in one direction, and what is decided in `core` depends on nothing that waits or sends.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

use std::path::{Path, PathBuf};

/// Each module uses only those before it.
const ORDER: [&str; 10] =
    ["api", "clock", "core", "transport", "telemetry", "lease", "kubernetes", "provider", "controller", "cli"];

/// What `core` may use besides the standard library and `api`.
const OF_CORE: &str = "jiff";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The source files below a path, without those that hold tests alone.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
        return if is_test { Vec::new() } else { vec![path.to_owned()] };
    }
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap() != "tests").flat_map(|path| sources(&path)).collect()
}

/// A file's code, without comments and without its tests.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn files_of(module: &str) -> Vec<PathBuf> {
    let (folder, file) = (root().join("src").join(module), root().join(format!("src/{module}.rs")));
    sources(if folder.exists() { &folder } else { &file })
}

/// The first parts of the paths that begin with `crate::`.
fn used(code: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.split("crate::").skip(1).map(move |rest| rest.split(|c| !is_name(c)).next().unwrap_or_default())
}

/// Seen failing with `use crate::controller` in `provider`.
#[test]
fn each_module_uses_only_those_before_it() {
    let mut wrong = Vec::new();
    for (place, module) in ORDER.iter().enumerate() {
        for file in files_of(module) {
            for other in used(&code(&file)) {
                let known = ORDER.iter().position(|known| *known == other);
                if known.is_none_or(|known| known > place) {
                    wrong.push(format!("{} uses crate::{other}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "src/lib.rs has the order of the modules: {ORDER:?}\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_its_place_in_the_order() {
    let entries = std::fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    let missing: Vec<String> =
        names.filter(|name| !["lib", "main"].contains(&&**name) && !ORDER.contains(&&**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Seen failing with `use tokio::time::Instant` in `core/notices.rs`.
#[test]
fn the_core_depends_on_nothing_that_waits_or_sends() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names: Vec<String> = dependencies
        .lines()
        .filter_map(|line| line.split([' ', '.', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#') && *name != OF_CORE)
        .map(|name| name.replace('-', "_"))
        .collect();
    assert!(names.iter().any(|name| name == "tokio"), "{names:?}");
    let mut wrong = Vec::new();
    for file in files_of("core") {
        let code = code(&file);
        let is_used = |name: &&String| {
            let path = format!("{name}::");
            let mut found = code.match_indices(&path).map(|(at, _)| code[..at].chars().next_back());
            found.any(|before| !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':'))
        };
        wrong.extend(names.iter().filter(is_used).map(|name| format!("{} uses {name}", file.display())));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The paths that a `use` of this tree brings in: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expanded(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    parts.iter().flat_map(|part| expanded(part)).map(|part| format!("{}{part}", prefix.trim())).collect()
}

/// The modules of `controller`, each with those that it uses. Those of `controller/state` count as modules of their own.
fn uses_in_controller() -> std::collections::BTreeMap<String, std::collections::BTreeSet<String>> {
    let folder = root().join("src/controller");
    let name = |path: &[&str]| match path {
        ["state", module, ..] if *module != "mod" => Some(format!("state::{module}")),
        [module, ..] if *module != "mod" => Some((*module).to_owned()),
        _ => None,
    };
    let mut uses = std::collections::BTreeMap::<_, std::collections::BTreeSet<String>>::new();
    for file in sources(&folder) {
        let relative = file.strip_prefix(&folder).unwrap().with_extension("");
        let mut path: Vec<&str> = relative.iter().map(|part| part.to_str().unwrap()).collect();
        if path.last() == Some(&"mod") {
            path.pop();
        }
        let Some(module) = name(&path) else { continue };
        let code = code(&file);
        let imported = code.split("\nuse ").skip(1).flat_map(|rest| expanded(rest.split(';').next().unwrap()));
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let inline = code.split("super::").skip(1).map(|rest| {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            format!("super::{}", &rest[..end])
        });
        let of = uses.entry(module.clone()).or_default();
        for used in imported.chain(inline.filter(|path| path.matches("super::").count() == 1)) {
            let parts: Vec<&str> = used.split("::").collect();
            let supers = parts.iter().take_while(|part| **part == "super").count();
            let absolute: Vec<&str> = match (supers, &parts[..]) {
                (0, ["crate", "controller", rest @ ..]) => rest.to_vec(),
                (0, _) => continue,
                (supers, parts) if supers <= path.len() => {
                    path[..path.len() - supers].iter().chain(&parts[supers..]).copied().collect()
                }
                _ => continue,
            };
            of.extend(name(&absolute).filter(|used| *used != module));
        }
    }
    let known: Vec<String> = uses.keys().cloned().collect();
    uses.values_mut().for_each(|used| used.retain(|used| known.contains(used)));
    uses
}

/// Seen failing with `use super::release` in `controller/write.rs`.
#[test]
fn the_modules_of_the_controller_build_on_each_other_in_one_direction() {
    let mut uses = uses_in_controller();
    assert!(uses["reconcile"].contains("snapshot") && uses["context"].contains("state::targets"), "{uses:#?}");
    // Those that use nothing that is left are removed, until only cycles are left.
    while let Some(last) = uses.iter().find(|(_, used)| used.is_empty()).map(|(module, _)| module.clone()) {
        uses.remove(&last);
        uses.values_mut().for_each(|used| used.retain(|used| *used != last));
    }
    assert!(uses.is_empty(), "these modules use each other: {uses:#?}");
}
