//! The plot, written from a report without a library: memberships that are correct at the provider over time.
//!
//! Its colors follow the theme of the page (`prefers-color-scheme`). The two colors can be distinguished by people who see
//! few colors, and the generator's line is dashed besides.

use std::fmt::Write;

use crate::report::{NamedCurve, Report};
use crate::table::short;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 56.0;

const STYLE: &str = "
  svg { font: 13px system-ui, sans-serif; --ink: #1f2328; --grid: #d1d9e0; --a: #0969da; --b: #bc4c00 }
  @media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --grid: #3d444d; --a: #58a6ff; --b: #f0883e } }
  text { fill: var(--ink) } .title { font-size: 15px; font-weight: 600 }
  .grid { stroke: var(--grid); stroke-width: 1 }
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
  .c0 { stroke: var(--a) } .c1 { stroke: var(--b); stroke-dasharray: 7 4 }
";

/// The plot as SVG; `None`: the report has no curve.
pub fn of(report: &Report) -> Option<String> {
    let points = || report.curves.iter().flat_map(|curve| &curve.points);
    let (end, most) = (points().map(|(at, _)| *at).fold(0.0, f64::max), points().map(|(_, count)| *count).max()?);
    if report.curves.is_empty() || most == 0 || end <= 0.0 {
        return None;
    }
    let (step_x, step_y) = (step(end), step(number(most)));
    let (end, most) = ((end / step_x).ceil() * step_x, (number(most) / step_y).ceil() * step_y);
    let x = |at: f64| LEFT + at / end * (WIDTH - LEFT - RIGHT);
    let y = |count: f64| HEIGHT - BOTTOM - count / most * (HEIGHT - TOP - BOTTOM);

    let mut svg = String::new();
    let title = format!("Memberships correct at the provider ({} arriving at once)", report.n);
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{title}">"#
    );
    let _ = writeln!(svg, "<style>{STYLE}</style>");
    let _ = writeln!(svg, r#"<text class="title" x="{LEFT}" y="24">{title}</text>"#);
    for at in ticks(most, step_y) {
        let (y, right) = (y(at), WIDTH - RIGHT);
        let _ = writeln!(svg, r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{right}" y2="{y:.1}"/>"#);
        let _ = writeln!(svg, r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text>"#, LEFT - 8.0, y + 4.0, short(at));
    }
    for at in ticks(end, step_x) {
        let (x, bottom) = (x(at), HEIGHT - BOTTOM + 18.0);
        let _ = writeln!(svg, r#"<text x="{x:.1}" y="{bottom}" text-anchor="middle">{}</text>"#, short(at));
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    let _ = writeln!(svg, r#"<text x="{middle}" y="{}" text-anchor="middle">seconds</text>"#, HEIGHT - 16.0);
    for (number, curve) in report.curves.iter().enumerate() {
        let line: Vec<String> =
            curve.points.iter().map(|(at, count)| format!("{:.1},{:.1}", x(*at), y(self::number(*count)))).collect();
        let _ = writeln!(svg, r#"<polyline class="line c{number}" points="{}"/>"#, line.join(" "));
    }
    legend(&mut svg, &report.curves);
    svg.push_str("</svg>\n");
    Some(svg)
}

fn legend(svg: &mut String, curves: &[NamedCurve]) {
    for (number, curve) in curves.iter().enumerate() {
        let y = HEIGHT - BOTTOM - 14.0 - 20.0 * self::number(curves.len() - 1 - number);
        let (x1, x2) = (WIDTH - RIGHT - 250.0, WIDTH - RIGHT - 220.0);
        let _ = writeln!(svg, r#"<line class="line c{number}" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}"/>"#);
        let _ = writeln!(svg, r#"<text x="{}" y="{}">{}</text>"#, x2 + 8.0, y + 4.0, escaped(&curve.name));
    }
}

/// A round step that divides a length into four to ten parts.
fn step(length: f64) -> f64 {
    let magnitude = 10_f64.powf((length / 4.0).log10().floor());
    let fits = |factor: &&f64| length / (*factor * magnitude) >= 4.0;
    [5.0, 2.0, 1.0].iter().find(fits).unwrap_or(&1.0) * magnitude
}

fn ticks(end: f64, step: f64) -> impl Iterator<Item = f64> {
    (0..=20).map(f64::from).map(move |n| n * step).take_while(move |at| *at <= end + step / 1000.0)
}

fn number(count: usize) -> f64 {
    crate::measure::number(count)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn plotted() -> Report {
        let curve = |name: &str, end: f64| NamedCurve { name: name.to_owned(), points: vec![(0.0, 0), (end, 1000)] };
        Report { curves: vec![curve("operator", 8.0), curve("generator", 10.0)], ..report(0.8, None) }
    }

    #[test]
    fn the_plot_has_a_line_for_each_curve_and_follows_the_theme() {
        let svg = of(&plotted()).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(
            svg.contains("prefers-color-scheme: dark") && svg.contains(">operator<") && svg.contains(">generator<")
        );
        // The generator's line ends at the right, at the top.
        assert!(svg.contains("70.0,324.0 736.0,48.0"), "{svg}");
    }

    #[test]
    fn without_a_curve_there_is_no_plot() {
        assert_eq!(of(&report(0.8, None)), None);
    }

    #[test]
    fn steps_are_round() {
        for (length, expected) in [(10.0, 2.0), (43.0, 10.0), (1000.0, 200.0), (10_000.0, 2000.0), (0.9, 0.2)] {
            assert!((step(length) - expected).abs() < 1e-9, "{length}: {}", step(length));
        }
    }
}
