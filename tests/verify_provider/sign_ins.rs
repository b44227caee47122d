//! Every way to sign in, with the files as they lie about: a whole run each.

use jiff::Timestamp;
use simulator::worlds::{
    INFISICAL_DEPLOYER, INFISICAL_OPERATOR, ZITADEL_ADA, ZITADEL_CLIENT_ID, ZITADEL_CLIENT_SECRET, zitadel_key_file,
};
use simulator::{Jwt, KubernetesLogin, OidcLogin};

use crate::support::{At, Outcome, Stage, side_by_side};

/// The ways, and what the run calls them.
const WAYS: [(At, &str); 7] = [
    (At::Infisical, "client id and secret"),
    (At::Infisical, "access token"),
    (At::Infisical, "Kubernetes auth"),
    (At::Infisical, "OIDC auth"),
    (At::Zitadel, "personal access token"),
    (At::Zitadel, "key"),
    (At::Zitadel, "client id and secret"),
];

/// A service account's token.
fn service_account(signature: &str) -> String {
    Jwt::service_account("team-a", "operator", &["infisical"], Timestamp::now()).signed(signature).written()
}

async fn stage(at: At) -> Stage {
    let stage = Stage::new(at).await;
    let infisical = stage.simulator.infisical();
    infisical.set_kubernetes_login(KubernetesLogin {
        identity: INFISICAL_OPERATOR.to_owned(),
        allowed_namespaces: "team-a".to_owned(),
        ..KubernetesLogin::default()
    });
    infisical.set_oidc_login(OidcLogin {
        identity: INFISICAL_OPERATOR.to_owned(),
        bound_issuer: "https://127.0.0.1:17443".to_owned(),
        bound_subject: "system:serviceaccount:team-a:operator".to_owned(),
        ..OidcLogin::default()
    });
    stage
}

fn credential(stage: &Stage, way: &str) -> Vec<String> {
    let identity = format!("--identity-id={INFISICAL_OPERATOR}");
    let jwt = || stage.write("jwt", &service_account("signed"));
    match (stage.at, way) {
        (At::Zitadel, "key") => vec![format!("--key-file={}", stage.write("key.json", &zitadel_key_file()))],
        (At::Zitadel, "client id and secret") => vec![
            format!("--client-id-file={}", stage.write("client-id", ZITADEL_CLIENT_ID)),
            format!("--client-secret-file={}", stage.write("client-secret", ZITADEL_CLIENT_SECRET)),
        ],
        (_, "access token") => vec![format!("--token-file={}", stage.file("infisical-token"))],
        (_, "Kubernetes auth") => vec![identity, format!("--kubernetes-token-file={}", jwt())],
        (_, "OIDC auth") => vec![identity, format!("--oidc-token-file={}", jwt())],
        _ => stage.credential(),
    }
}

async fn run(stage: &Stage, credential: Vec<String>) -> Outcome {
    let subject = if stage.at == At::Zitadel { ZITADEL_ADA } else { INFISICAL_DEPLOYER };
    let (project, subject) = (format!("--project-id={}", stage.project()), format!("--subject-id={subject}"));
    stage.run_by(credential, &[&project, &subject]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_credential_lives_a_whole_life() {
    side_by_side(WAYS, async |(at, way)| {
        let stage = stage(at).await;
        let before = stage.world();
        let outcome = run(&stage, credential(&stage, way)).await;
        let failed = outcome.failed();
        assert_eq!((outcome.code, failed), (Some(0), vec![]), "{way}\n{}\n{}", outcome.out, outcome.errors);
        outcome.prints(&[&format!(", by {way}")]);
        assert_eq!(outcome.out.contains("a wrong client secret: skipped"), way == "client id and secret");
        assert_eq!(stage.world(), before, "{way}");
    })
    .await;
}

/// What the server takes no longer is tried once, and nothing else is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_the_server_takes_no_longer_fails_the_sign_in() {
    side_by_side(WAYS, async |(at, way)| {
        let stage = stage(at).await;
        let credential = credential(&stage, way);
        let (infisical, zitadel) = (stage.simulator.infisical(), stage.simulator.zitadel());
        match (at, way) {
            (At::Zitadel, "key") => zitadel.remove_key(simulator::worlds::ZITADEL_KEY_ID),
            (At::Zitadel, "client id and secret") => {
                zitadel.remove_client_secret(simulator::worlds::ZITADEL_OPERATOR);
            }
            (At::Zitadel, _) => zitadel.revoke_token(simulator::worlds::ZITADEL_TOKEN),
            (_, "access token") => infisical.revoke_token(simulator::worlds::INFISICAL_TOKEN),
            (_, "client id and secret") => infisical
                .revoke_secret(simulator::worlds::INFISICAL_CLIENT_ID, simulator::worlds::INFISICAL_CLIENT_SECRET),
            _ => drop(stage.write("jwt", &service_account("forged"))),
        }
        let outcome = run(&stage, credential).await;
        assert_eq!(outcome.code, Some(1), "{way}\n{}\n{}", outcome.out, outcome.errors);
        outcome.prints(&["FAIL", "sign in", "got Unauthorized"]);
        assert_eq!(outcome.out.lines().last(), Some("verify: 0 passed, 1 failed"), "{way}");
        assert_eq!(stage.writes(), Vec::<String>::new(), "{way}");
    })
    .await;
}
