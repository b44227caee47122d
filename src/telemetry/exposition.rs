//! The text formats of `/metrics`, and the choice between them by the request of a scraper.

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The classic format of Prometheus, 0.0.4.
    Classic,
}

impl Format {
    /// The format that an `Accept` header prefers: OpenMetrics if it is listed with at least the quality of plain text.
    pub fn accepted(header: Option<&str>) -> Self {
        let accepted = |name: &str| {
            let ranges = header.unwrap_or_default().split(',').map(str::trim);
            ranges.filter(|range| range.split(';').next().is_some_and(|range| range.trim() == name)).map(quality).max()
        };
        match accepted("application/openmetrics-text") {
            Some(quality) if quality > 0 && quality >= accepted("text/plain").unwrap_or_default() => Self::OpenMetrics,
            _ => Self::Classic,
        }
    }

    /// The `Content-Type` of a response in this format.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The quality of a range of an `Accept` header, in thousandths.
fn quality(range: &str) -> u32 {
    let parameter = range.split(';').skip(1).find_map(|parameter| parameter.trim().strip_prefix("q="));
    let quality: f64 = parameter.map_or(1.0, |quality| quality.parse().unwrap_or_default());
    (quality.clamp(0.0, 1.0) * 1000.0) as u32
}

/// Converts an exposition from OpenMetrics to the classic format: a counter is described under the name of its samples,
/// and there are no units and no end marker.
pub fn classic(open_metrics: &str) -> String {
    let counters: Vec<&str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let described = line.strip_prefix("# ").and_then(|rest| rest.split_once(' '));
        let (keyword, name, rest) = match described.and_then(|(keyword, rest)| Some((keyword, rest.split_once(' ')?))) {
            Some((keyword, (name, rest))) if counters.contains(&name) => (keyword, name, rest),
            _ => {
                text.extend([line, "\n"]);
                continue;
            }
        };
        text.extend(["# ", keyword, " ", name, "_total ", rest, "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;
    use crate::telemetry::Metrics;

    #[test]
    fn a_scraper_is_answered_in_the_format_that_it_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.3,*/*;q=0.1";
        for (header, format) in [
            (None, Format::Classic),
            (Some("*/*"), Format::Classic),
            (Some("text/plain"), Format::Classic),
            (Some("text/plain;version=0.0.4;q=1,*/*;q=0.1"), Format::Classic),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=0, text/plain"), Format::Classic),
            (Some("application/openmetrics-text;q=0.2,text/plain;q=0.9"), Format::Classic),
            (Some(prometheus), Format::OpenMetrics),
        ] {
            assert_eq!(Format::accepted(header), format, "{header:?}");
        }
    }

    /// Seen failing with the OpenMetrics text under the classic content type: counters have no help.
    #[test]
    fn every_sample_of_the_classic_format_has_a_help_and_a_type_under_its_own_name() {
        let metrics = Metrics::default();
        metrics.count_reason(Reason::Forbidden);
        metrics.unrevoked(Reason::Forbidden);
        metrics.pass(std::time::Duration::from_secs(1), true);
        metrics.api_server_timed_out("single");
        let text = metrics.text(Format::Classic).unwrap();
        let described = |keyword: &str, name: &str| {
            let start = format!("# {keyword} {name} ");
            text.lines().any(|line| line.starts_with(&start) && line.len() > start.len())
        };
        let mut samples = 0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            // The samples of a histogram are described under its name.
            let base =
                ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
            for keyword in ["HELP", "TYPE"] {
                assert!(described(keyword, base), "no {keyword} of {base} in\n{text}");
            }
            samples += 1;
        }
        assert!(samples > 20, "{text}");
        assert!(text.contains("# TYPE membership_passes_total counter\n"), "{text}");
        let comments = text.lines().filter(|line| line.starts_with('#'));
        let known = |line: &&str| line.starts_with("# HELP ") || line.starts_with("# TYPE ");
        assert_eq!(comments.filter(|line| !known(line)).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
