//! The rows and the tests that show them: `rows.yaml`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The rows up to this one are all there.
const COMPLETE: usize = 40;

/// What must hold under one fault.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its number.
    pub row: u32,
    /// The fault, and what is expected.
    pub fault: String,
    /// The tests that show it, by binary (`lib`: the library's own). A name that ends in `*` is every test that begins so.
    pub tests: BTreeMap<String, Vec<String>>,
}

/// All of them.
pub fn rows() -> Result<Vec<Row>, String> {
    read(include_str!("../rows.yaml"))
}

fn read(text: &str) -> Result<Vec<Row>, String> {
    let rows: Vec<Row> = serde_yaml_ng::from_str(text).map_err(|error| format!("rows.yaml can't be read: {error}"))?;
    let numbers: Vec<u32> = rows.iter().map(|row| row.row).collect();
    let complete = (1..).zip(&numbers).take(COMPLETE).filter(|(expected, row)| expected == *row).count() == COMPLETE;
    if !(complete && numbers.is_sorted_by(|a, b| a < b)) {
        return Err(format!(
            "rows.yaml is to have the rows 1 to {COMPLETE} and more in their order, and has {numbers:?}"
        ));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_there_once_and_in_its_order() {
        assert!(rows().is_ok(), "{:?}", rows().err());
        let one = "- {row: 2, fault: a write that is lost, tests: {}}";
        assert!(read(one).is_err_and(|error| error.contains("has [2]")));
    }

    #[test]
    fn no_test_is_named_twice_in_a_row() {
        for row in rows().unwrap_or_default() {
            for (binary, names) in &row.tests {
                let mut once = names.clone();
                once.sort();
                once.dedup();
                assert_eq!(once.len(), names.len(), "row {}, {binary}", row.row);
            }
        }
    }
}
