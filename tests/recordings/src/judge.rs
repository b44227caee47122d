//! Whether the client makes of each recorded answer what is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::client::{Bench, ReplayCase};
use crate::expected::{Expected, Judged, Verdict};
use crate::reading;
use crate::readme;
use crate::recording::{Exchange, Recording};
use crate::report::{Failure, Report};

/// Judges all recordings below a folder, which has a README and a file of expectations for each provider.
///
/// # Errors
/// What can't be read.
pub async fn judge(folder: &Path, recordings: &[Recording]) -> Result<Report, String> {
    let named = readme::read(folder)?;
    let mut report = Report::default();
    let bench = Bench::start().await;
    let collections: BTreeSet<&str> = recordings.iter().map(|recording| recording.collection.as_str()).collect();
    for collection in collections {
        let expected = Expected::read(&folder.join(collection).join("expected.yaml"))?;
        let mut rows = BTreeSet::new();
        for recording in recordings.iter().filter(|recording| recording.collection == collection) {
            let file = recording.id();
            match named.get(&file) {
                Some(directions) if directions.client => {}
                Some(_) => continue,
                None => report.fail(Failure::of_file(&file, "README.md doesn't name this file: say what it is for")),
            }
            one(&bench, &expected, recording, &mut rows, &mut report).await;
        }
        for row in (0..expected.rows()).filter(|row| expected.is_own(*row) && !rows.contains(row)) {
            let what = format!("{} is of no exchange: take it out", expected.row(row));
            report.fail(Failure::of_file(&format!("{collection}/expected.yaml"), &what));
        }
    }
    for file in named.keys() {
        if recordings.iter().all(|recording| recording.id() != *file) {
            report.fail(Failure::of_file(file, "README.md names this file, and it isn't there"));
        }
    }
    Ok(report)
}

async fn one(
    bench: &Bench,
    expected: &Expected,
    recording: &Recording,
    rows: &mut BTreeSet<usize>,
    report: &mut Report,
) {
    let file = recording.id();
    let (mut passed, mut judged, mut left_out) = (0, 0, 0);
    for (number, exchange) in recording.exchanges.iter().enumerate() {
        let failure = |expected: &str, came: &str, because: &str| Failure {
            place: format!("{file} {number}"),
            what: format!("{:?} ({} {})", exchange.name, exchange.request.method, exchange.request.path),
            expected: expected.to_owned(),
            came: came.to_owned(),
            because: because.to_owned(),
        };
        match expected.verdict(&recording.file, number, exchange) {
            Verdict::LeftOut(row) => {
                left_out += 1;
                rows.insert(expected.rows() - expected.left_out.len() + row);
                let left_out = &expected.left_out[row];
                report.leave_out("C", &recording.provider, &left_out.because);
            }
            Verdict::Unknown(what) => {
                judged += 1;
                report.fail(failure("a row in expected.yaml", &what, ""));
            }
            Verdict::Judged(found) => {
                judged += 1;
                rows.insert(found.row);
                match play(bench, expected, recording, &found, exchange).await {
                    Ok(()) => passed += 1,
                    Err((expect, came)) => report.fail(failure(&expect, &came, found.because)),
                }
            }
        }
    }
    report.file(&file, "C", passed, judged, left_out);
}

/// Plays one exchange; otherwise what was expected and what came.
async fn play(
    bench: &Bench,
    expected: &Expected,
    recording: &Recording,
    judged: &Judged<'_>,
    exchange: &Exchange,
) -> Result<(), (String, String)> {
    let provider = recording.provider.as_str();
    let mut with = Vec::new();
    for id in judged.with {
        with.push(
            named(recording, id)
                .ok_or_else(|| (format!("{id} among the exchanges of this file"), "none".to_owned()))?,
        );
    }
    let exchange = exchange.clone().without_ellipsis();
    let case = ReplayCase::new(provider, judged.call, &judged.pattern, &judged.values, &exchange, with);
    let outcome = bench.play(provider, &case).await;
    let expect = expectation(provider, judged, &exchange, &case)?;
    let mut came = outcome.made.clone();
    for trouble in &outcome.trouble {
        came.push_str("; ");
        came.push_str(trouble);
    }
    for (method, path) in &outcome.asked {
        if let Some(row) = expected.left_out(method, path) {
            came.push_str(&format!(
                "; it asked {method} {path}, which leftOut row {} says that it never does",
                row + 1
            ));
        }
    }
    if came == expect { Ok(()) } else { Err((expect, came)) }
}

fn named<'r>(recording: &'r Recording, id: &str) -> Option<&'r Exchange> {
    let (file, number) = id.rsplit_once(' ')?;
    (file == recording.file).then(|| recording.exchanges.get(number.parse::<usize>().ok()?)).flatten()
}

/// What is expected, in full: what `read` and `Retry-After` stand for is looked up in the recorded answer.
fn expectation(
    provider: &str,
    judged: &Judged<'_>,
    exchange: &Exchange,
    case: &ReplayCase<'_>,
) -> Result<String, (String, String)> {
    if judged.expect == "read" {
        let read = reading::read(provider, judged.call.drive, exchange, &case.name);
        return read.ok_or_else(|| ("something to read in the answer".to_owned(), exchange.response.body.to_string()));
    }
    let wait = exchange.response.headers.get("retry-after").map(String::as_str).unwrap_or("no Retry-After");
    Ok(judged.expect.replace("Retry-After", &format!("{wait} s")))
}

/// What the client makes of each exchange of a folder of its own, one line each: nothing is expected of them.
///
/// # Errors
/// What can't be read.
pub async fn report_differences(home: &Path, recordings: &[Recording]) -> Result<Report, String> {
    let mut report = Report::default();
    let bench = Bench::start().await;
    let mut calls: BTreeMap<&str, Expected> = BTreeMap::new();
    for provider in ["infisical", "zitadel"] {
        calls.insert(provider, Expected::read(&home.join(provider).join("expected.yaml"))?);
    }
    for recording in recordings {
        let provider = recording.provider.as_str();
        let expected = &calls[provider];
        let mut expected_value = 0;
        for (number, exchange) in recording.exchanges.iter().enumerate() {
            let place = format!("{provider}/{} {number} {:?}", recording.file, exchange.name);
            let Some((call, pattern, values)) = expected.call(&exchange.request.method, &exchange.request.path) else {
                println!("{place} → not an endpoint that the operator calls");
                report.leave_out("C", provider, "endpoints that the operator doesn't call");
                continue;
            };
            let exchange = exchange.clone().without_ellipsis();
            let case = ReplayCase::new(provider, call, &pattern, &values, &exchange, Vec::new());
            let outcome = bench.play(provider, &case).await;
            let trouble: String = outcome.trouble.iter().map(|trouble| format!("; {trouble}")).collect();
            // One line, however many members there are.
            let made = outcome.made.split_whitespace().collect::<Vec<_>>().join(" ");
            println!("{place} → {made}{trouble}");
            expected_value += 1;
        }
        report.file(
            &format!("{provider}/{}", recording.file),
            "C",
            expected_value,
            expected_value,
            recording.exchanges.len() - expected_value,
        );
    }
    Ok(report)
}
