//! What a run is asked to do, and how large its rows are.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// The rows that can be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// Permanent memberships by id arrive at once at Infisical.
    Arrival,
    /// The operator starts when everything has converged.
    Restart,
    /// Nothing changes for several resync intervals.
    Idle,
    /// 1 % of the memberships are removed by hand.
    Drift,
    /// All memberships are deleted.
    Deletion,
    /// Temporary memberships by id arrive at once.
    Temporary,
    /// Permanent memberships by name arrive at once.
    Names,
    /// Memberships arrive at once at ZITADEL.
    Zitadel,
    /// 1,000 grants end within one second at Infisical.
    Expiry,
    /// 200 grants end at the same instant at ZITADEL.
    ExpiryZitadel,
    /// 8 grants end while the roles of 300 memberships are replaced at ZITADEL.
    Replacements,
    /// 50 memberships are changed while the provider is down.
    Outage,
    /// 20 grants end behind a backlog of grants that are throttled.
    Backlog,
}

impl Row {
    /// Its name, as it is typed.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// What to run. Each option can also be given as a variable, as `make bench` does.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// How many memberships: 1,000 is the quick form, 10,000 the standard one, 100,000 the large one.
    #[arg(long, env = "N", default_value_t = 1_000)]
    pub n: usize,
    /// The delay of each request to Infisical, in milliseconds; at ZITADEL it is half as long.
    #[arg(long, env = "DELAY", default_value_t = 20)]
    pub delay: u64,
    /// Only these rows, with commas.
    #[arg(long, env = "ONLY", value_enum, value_delimiter = ',')]
    pub only: Vec<Row>,
    /// How many pairs of operator and generator; by default 3, and 1 from 50,000 memberships on.
    #[arg(long, env = "PAIRS")]
    pub pairs: Option<usize>,
    /// How long the outage lasts, in seconds; by default 120, and 15 below 10,000 memberships.
    #[arg(long, env = "OUTAGE")]
    pub outage: Option<u64>,
    /// Assert every bound.
    #[arg(long, env = "CHECK", num_args = 0..=1, default_missing_value = "1", default_value = "0", value_parser = flag)]
    pub check: bool,
    /// The operator, built for release.
    #[arg(long, env = "OPERATOR_BINARY", value_name = "FILE")]
    pub operator: PathBuf,
    /// Where the report goes; the plot goes beside it.
    #[arg(long, default_value = "target/bench.json", value_name = "FILE")]
    pub output: PathBuf,
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "yes" => Ok(true),
        "" | "0" | "false" | "no" => Ok(false),
        _ => Err("write 1 or 0".to_owned()),
    }
}

impl Settings {
    /// Whether a row is to be measured.
    pub fn has(&self, row: Row) -> bool {
        self.only.is_empty() || self.only.contains(&row)
    }

    /// Whether any of these rows is to be measured.
    pub fn has_any(&self, rows: &[Row]) -> bool {
        rows.iter().any(|row| self.has(*row))
    }

    /// How many pairs are run.
    pub fn pairs(&self) -> usize {
        self.pairs.unwrap_or(if self.n >= 50_000 { 1 } else { 3 }).max(1)
    }

    /// Projects at Infisical: 100 at 10,000 memberships.
    pub fn projects(&self) -> usize {
        (self.n / 100).max(5)
    }

    /// Memberships of the rows that repeat the arrival with other objects.
    pub fn variants(&self) -> usize {
        self.n.min((self.n / 5).max(200))
    }

    /// Memberships at ZITADEL: 2,000 in the standard form and above.
    pub fn zitadel(&self) -> usize {
        self.n.min((self.n / 5).clamp(100, 2_000))
    }

    /// Projects at ZITADEL.
    pub fn zitadel_projects(&self) -> usize {
        (self.zitadel() / 100).max(2)
    }

    /// Grants that end within one second at Infisical.
    pub fn ends(&self) -> usize {
        self.n.min(1_000)
    }

    /// Grants that end at the same instant at ZITADEL.
    pub fn zitadel_ends(&self) -> usize {
        self.n.min(200)
    }

    /// Roles that are replaced at ZITADEL.
    pub fn replacements(&self) -> usize {
        self.n.min(300)
    }

    /// Grants that are throttled.
    pub fn backlog(&self) -> usize {
        (self.n / 2).clamp(100, 5_000)
    }

    /// Length of the outage.
    pub fn outage(&self) -> Duration {
        let by_size = match self.n {
            10_000.. => 120,
            500.. => 15,
            _ => 3,
        };
        Duration::from_secs(self.outage.unwrap_or(by_size))
    }

    /// The resync interval of the rows that wait for one, in seconds.
    pub fn resync(&self) -> u64 {
        u64::try_from(self.n / 300).unwrap_or(u64::MAX).clamp(4, 300)
    }

    /// The longest wait for `count` memberships: a machine that is busy may take many times as long as usual.
    pub fn limit(&self, count: usize) -> Duration {
        Duration::from_secs(120) + Duration::from_millis(100) * u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How long to wait from now until grants end that still have to be created and granted.
    pub fn until_ends(&self, count: usize) -> Duration {
        Duration::from_secs(8) + Duration::from_millis(30) * u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The command that repeats the run.
    pub fn command(&self) -> String {
        let mut command = format!("make bench N={}", self.n);
        if self.delay != 20 {
            command.push_str(&format!(" DELAY={}", self.delay));
        }
        if !self.only.is_empty() {
            let names: Vec<String> = self.only.iter().map(|row| row.name()).collect();
            command.push_str(&format!(" ONLY={}", names.join(",")));
        }
        for (name, value) in
            [("PAIRS", self.pairs.map(|n| n.to_string())), ("OUTAGE", self.outage.map(|n| n.to_string()))]
        {
            value.into_iter().for_each(|value| command.push_str(&format!(" {name}={value}")));
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings(arguments: &[&str]) -> Settings {
        let all = ["bench", "--operator=x"].iter().chain(arguments);
        Line::try_parse_from(all).unwrap().settings
    }

    #[test]
    fn the_sizes_follow_from_the_number_of_memberships() {
        for (n, projects, zitadel, pairs, backlog, outage) in [
            (50, 5, 50, 3, 100, 3),
            (1_000, 10, 200, 3, 500, 15),
            (10_000, 100, 2_000, 3, 5_000, 120),
            (100_000, 1_000, 2_000, 1, 5_000, 120),
        ] {
            let settings = settings(&["--n", &n.to_string()]);
            let found = (
                settings.projects(),
                settings.zitadel(),
                settings.pairs(),
                settings.backlog(),
                settings.outage().as_secs(),
            );
            assert_eq!(found, (projects, zitadel, pairs, backlog, outage), "{n}");
        }
    }

    #[test]
    fn the_command_repeats_the_run() {
        assert_eq!(settings(&["--n=50"]).command(), "make bench N=50");
        let all = settings(&["--n=50", "--delay=5", "--only=arrival,expiry-zitadel", "--pairs=1"]);
        assert_eq!(all.command(), "make bench N=50 DELAY=5 ONLY=arrival,expiry-zitadel PAIRS=1");
        assert!(all.has(Row::ExpiryZitadel) && !all.has(Row::Outage));
    }
}
