//! Users of Infisical are invited by mail: only if requested, once, and no invited user remains.

use serde_json::json;
use simulator::worlds::{INFISICAL_ADA, INFISICAL_ADA_EMAIL, INFISICAL_PROJECT};
use simulator::{Answer, Fault, Order};

use crate::support::{At, Outcome, Stage, side_by_side};

async fn run(stage: &Stage, about: &[&str]) -> Outcome {
    let project = format!("--project-id={INFISICAL_PROJECT}");
    stage.run_at(&[&[project.as_str(), "--subject-kind=User"], about].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_user_is_invited_by_default() {
    let id = format!("--subject-id={INFISICAL_ADA}");
    let name = format!("--subject-name={INFISICAL_ADA_EMAIL}");
    for about in [vec![id.as_str()], vec![&name], vec![&id, "--subject-name=other@acme.example", "--invite-users"]] {
        let stage = Stage::new(At::Infisical).await;
        let outcome = run(&stage, &about).await;
        assert_eq!((outcome.code, stage.writes()), (Some(2), vec![]), "{}\n{}", outcome.out, outcome.errors);
        for word in ["is not in the project", "sends mail", "--invite-users"] {
            assert!(outcome.errors.contains(word), "{}", outcome.errors);
        }
        assert_eq!(stage.simulator.infisical().mails(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_request_a_user_is_mailed_once_and_removed_in_the_end() {
    side_by_side([At::OldInfisical, At::Infisical, At::NewInfisical], async |at| {
        let stage = Stage::new(at).await;
        let before = stage.world();
        let outcome = run(&stage, &["--invite-users", "--subject-name", INFISICAL_ADA_EMAIL]).await;
        assert_eq!((outcome.code, outcome.failed()), (Some(0), vec![]), "{at:?}\n{}\n{}", outcome.out, outcome.errors);
        outcome.prints(&["SENDS MAIL"]);
        outcome.prints(&["ok", "is invited", &format!("got {INFISICAL_ADA}")]);
        outcome.prints(&["ok", "revoked: expected no membership; got no membership (1 write)"]);
        outcome.prints(&["ok", INFISICAL_ADA, "is restored", "got no membership"]);
        assert_eq!(stage.simulator.infisical().mails().len(), 1, "{at:?}");
        assert_eq!(stage.world(), before, "{at:?}");
    })
    .await;
}

/// October 2024 makes every invited user a `member` first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_that_fails_half_way_leaves_no_user_behind() {
    side_by_side([At::OldInfisical, At::NewInfisical], async |at| {
        let stage = Stage::new(at).await;
        let before = stage.world();
        let broken = Fault::Status(Answer::new(502, json!("bad gateway")));
        stage.simulator.infisical().order(Order::next(broken).on("PATCH", "/memberships/"));
        let outcome = run(&stage, &["--invite-users", "--subject-name", INFISICAL_ADA_EMAIL]).await;
        assert_eq!(outcome.code, Some(1), "{at:?}\n{}", outcome.out);
        outcome.prints(&["FAIL", "is invited", "got Unreachable"]);
        outcome.prints(&["ok", INFISICAL_ADA, "is restored", "got no membership"]);
        assert_eq!(stage.world(), before, "{at:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invited_user_is_removed_when_a_later_step_fails() {
    let stage = Stage::new(At::Infisical).await;
    let before = stage.world();
    stage.simulator.infisical().order(Order::nth(3, Fault::Reset).on("PATCH", "/memberships/"));
    let outcome = run(&stage, &["--invite-users", "--subject-name", INFISICAL_ADA_EMAIL]).await;
    assert_eq!(outcome.code, Some(1), "{}", outcome.out);
    outcome.prints(&["FAIL", "got Unreachable"]);
    outcome.prints(&["ok", INFISICAL_ADA, "is restored", "got no membership"]);
    assert_eq!(stage.world(), before);
}
