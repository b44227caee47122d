//! The API server is unavailable and returns.

use jiff::SignedDuration;
use serde_json::json;

use simulation::scheduler::Server;
use simulator::{Fault, Order};

use super::{alone, operator};
use crate::evidence::Call;
use crate::in_memory::in_memory;
use crate::subject::{Subject, each, in_seconds, until};
use crate::support::{SOON, changed, eventually};

/// Seen failing when the pause after a fault considers only the object with the fault: the later end waited for the API
/// server.
#[tokio::test(start_paused = true)]
async fn without_the_api_server_ends_are_kept_and_with_it_all_goes_on() {
    in_memory(async |stage| {
        let unavailable = |down| stage.memory().scheduler.is_down(Server::Kubernetes, down);
        let end = in_seconds(12);
        let subjects = stage.both("cut-off");
        for subject in &subjects {
            let [a, b, ..] = subject.names();
            stage.declare(subject, json!([{"role": a}, {"role": b, "temporary": {"expirationTime": end}}])).await;
            stage.ready(&subject.object()).await;
        }
        // Another declaration of each target, whose role ends later.
        let later = end + SignedDuration::from_secs(4);
        for subject in &subjects {
            let roles = json!([{"role": subject.names()[3], "temporary": {"expirationTime": later}}]);
            let object = subject.declares_with(roles, json!({"roleManagement": "Additive"}));
            let name = format!("beside-{}", subject.name);
            stage.api.apply(&[changed(object, "/metadata/name", json!(name))]).await;
            stage.ready(&format!("pm/{name}")).await;
        }
        unavailable(true);
        until(end).await;
        each(&subjects, async |subject| {
            let [_, b, _, d] = subject.names();
            subject.ends(b, end, "without the API server").await;
            // The report of that end fails, and so does the first request for the next one.
            let (method, list) = subject.call(Call::List);
            stage.at(subject).order(Order::next(Fault::status(503)).on(method, &list));
            subject.ends(d, later, "after a report that failed").await;
        })
        .await;
        unavailable(false);
        let after = stage.both("after");
        each(subjects.iter().chain(&after), async |subject| {
            let [a, b, c, _] = subject.names();
            if subject.name.starts_with("after") {
                stage.declare(subject, json!([{"role": a}, {"role": c}])).await;
            } else {
                stage.role_is(&subject.object(), b, "Expired").await;
                stage.change(subject, json!({"roles": [{"role": a}, {"role": c}]})).await;
            }
            stage.ready_in_time(&subject.object()).await;
            subject.has_now(&[a, c], "with the API server back");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_outage_of_the_api_server_is_two_lines_in_the_log_and_what_waited_runs_when_it_is_over() {
    alone(async |plane, stage| {
        let own = operator(plane).await;
        let end = in_seconds(12);
        let subjects: Vec<_> = (0..3).flat_map(|number| stage.both(&format!("out-{number}"))).collect();
        let temporary = |subject: &Subject| {
            let [a, b, ..] = subject.names();
            subject.declares(json!([{"role": a}, {"role": b, "temporary": {"expirationTime": end}}]))
        };
        stage.api.apply(&subjects.iter().map(temporary).collect::<Vec<_>>()).await;
        each(&subjects, async |subject| stage.ready(&subject.object()).await).await;
        // Other tests' operators have written to the same file.
        let all = || std::fs::read_to_string(own.log_file()).unwrap_or_default();
        let before = all().len();
        let log = || all().get(before..).unwrap_or_default().to_owned();
        let reported = |line: &&str| !line.contains(" DEBUG ");
        let lines = |part: &str| log().lines().filter(reported).filter(|line| line.contains(part)).count();
        plane.kill_apiserver().await.unwrap();
        each(&subjects, async |subject| subject.ends(subject.names()[1], end, "without the API server").await).await;
        eventually(SOON, "the outage is reported", async || {
            if lines("the Kubernetes API server is unavailable") == 1 { Ok(()) } else { Err(log()) }
        })
        .await;
        // It lasts for several times the wait after a fault.
        until(end + SignedDuration::from_secs(7)).await;
        plane.start_apiserver().await.unwrap();
        each(&subjects, async |subject| {
            stage.role_is(&subject.object(), subject.names()[1], "Expired").await;
        })
        .await;
        assert_eq!(lines("API server is unavailable"), 1, "{}", log());
        assert_eq!(lines("API server is available again"), 1, "{}", log());
        assert_eq!(lines("a request to the API server failed"), 0, "no line for an object: {}", log());
        own.stop().await.unwrap();
    })
    .await;
}
