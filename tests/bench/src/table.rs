//! The table at the end of a run, in Markdown, so that it can be pasted.

use crate::report::{Figure, Report};

/// The table.
pub fn of(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "{} at {}: {} memberships, {:.0} s, on {} cores with {:.0} GB, Linux {}, {} (load before: {:.1})\n\n",
        report.command,
        report.commit,
        report.n,
        report.seconds,
        machine.cores,
        machine.memory,
        machine.kernel,
        machine.disk,
        machine.load_before
    );
    let mut rows = vec![["row", "figure", "measured", "bound", "", "note"].map(str::to_owned)];
    rows.extend(report.figures.iter().map(row));
    let widths: Vec<usize> = (0..6)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    for (at, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| padded(cell, *width)).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if at == 0 {
            let lines: Vec<String> = widths.iter().map(|width| "-".repeat((*width).max(1))).collect();
            text.push_str(&format!("| {} |\n", lines.join(" | ")));
        }
    }
    for failure in &report.failures {
        text.push_str(&format!("\n{} was not measured: {}\n", failure.row, failure.message));
    }
    text
}

fn row(figure: &Figure) -> [String; 6] {
    let verdict = match figure.is_within() {
        Some(true) => "",
        Some(false) => "VIOLATED",
        None => "",
    };
    let bound = figure.bound.map(|most| format!("≤ {}", short(most))).unwrap_or_default();
    let measured = format!("{} {}", short(figure.value), figure.unit);
    [&figure.row, &figure.name, measured.trim(), &bound, verdict, &figure.note].map(str::to_owned)
}

/// A number with as many digits as matter.
pub fn short(value: f64) -> String {
    let size = value.abs();
    match () {
        () if (size - size.round()).abs() < 1e-9 => format!("{value:.0}"),
        () if size >= 100.0 => format!("{value:.0}"),
        () if size >= 10.0 => format!("{value:.1}"),
        () if size >= 1.0 => format!("{value:.2}"),
        () => format!("{value:.3}"),
    }
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.chars().count())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn a_violated_bound_is_marked() {
        let text = of(&report(1.25, Some(0.85)));
        assert!(
            text.contains("| arrival | time, ratio to the generator | 1.25 ×   | ≤ 0.850 | VIOLATED | 0.8, 0.9 |"),
            "{text}"
        );
        assert!(!of(&report(0.8, Some(0.85))).contains("VIOLATED"));
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [(2.0, "2"), (0.0512, "0.051"), (1.234, "1.23"), (51.23, "51.2"), (519.8, "520")] {
            assert_eq!(short(value), expected);
        }
    }
}
