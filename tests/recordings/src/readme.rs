//! Which recording is to be taken in which direction: the table of `tests/contracts/README.md`.

use std::collections::BTreeMap;
use std::path::Path;

/// The directions of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// The answers against the client.
    pub client: bool,
    /// The requests against the simulator.
    pub simulator: bool,
}

/// The files that the table names, as `infisical/errors.json`.
///
/// # Errors
/// Where there is no such table.
pub fn read(folder: &Path) -> Result<BTreeMap<String, Directions>, String> {
    let path = folder.join("README.md");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let files = files(&text);
    if files.is_empty() { Err(format!("{} has no table of files", path.display())) } else { Ok(files) }
}

fn files(text: &str) -> BTreeMap<String, Directions> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [names, _, uses] = cells.as_slice() else { continue };
        let Some((provider, names)) = names.split_once('/') else { continue };
        let letters: Vec<&str> = uses.split(|c: char| !c.is_ascii_alphabetic()).collect();
        let directions = Directions { client: letters.contains(&"C"), simulator: letters.contains(&"S") };
        for name in names.split(',') {
            found.insert(format!("{provider}/{}.json", name.trim()), directions);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_files_and_directions() {
        let files =
            files("| file | what | use |\n|---|---|---|\n| a/x, y | z | C; S for lists |\n| b/z | Z | C; F |\n");
        let of = |client, simulator| Directions { client, simulator };
        let expected = [("a/x.json", of(true, true)), ("a/y.json", of(true, true)), ("b/z.json", of(true, false))];
        assert_eq!(files, expected.map(|(file, directions)| (file.to_owned(), directions)).into());
    }
}
