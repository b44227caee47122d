//! Sub-organizations: every way to sign in names the one that the provider object names.

use membership_operator::api::SubjectKind;
use membership_operator::core::member::Change;
use membership_operator::provider::infisical::Credentials;
use membership_operator::provider::{Error, Provider};
use serde_json::Value;
use simulator::worlds::{INFISICAL_CLIENT_SECRET, INFISICAL_DEPLOYER, INFISICAL_OPERATOR, INFISICAL_TOKEN};
use simulator::{ErrorStyle, Generations, SubOrganization, worlds};

use crate::other_logins::{service_account, signing_in};
use crate::{Stage, held, permanent, universal_auth, web};

const SUB_ORGANIZATION: &str = "7b0d43d4-7c7e-4b5c-9d8c-0c8c3a6c1c11";

const WAYS: [&str; 3] = ["universal-auth", "kubernetes-auth", "oidc-auth"];

/// The project is one of the sub-organization `platform`, of which the operator's identity is a member or not.
async fn stage(way: &str, organization: Option<&str>, member: bool) -> Stage {
    let stage = match way {
        "universal-auth" => Stage::with(universal_auth(INFISICAL_CLIENT_SECRET)).await,
        way => signing_in(way, service_account()).await,
    };
    let mut world = worlds::demo();
    world.infisical.projects[0].org = Some(SUB_ORGANIZATION.to_owned());
    stage.simulator.load(&world);
    stage.server().add_sub_organization(SubOrganization {
        id: SUB_ORGANIZATION.to_owned(),
        slug: "platform".to_owned(),
        identities: [INFISICAL_DEPLOYER]
            .into_iter()
            .chain(member.then_some(INFISICAL_OPERATOR))
            .map(str::to_owned)
            .collect(),
    });
    Stage { infisical: stage.infisical.in_organization(organization.map(str::to_owned)), ..stage }
}

async fn list(stage: &Stage) -> Result<usize, Error> {
    let permit = stage.read().await;
    stage.infisical.list(&permit, &web(), SubjectKind::Identity).await.map(|listing| listing.members.len())
}

#[tokio::test]
async fn a_project_of_a_sub_organization_is_managed_by_a_credential_of_it() {
    for way in WAYS {
        let stage = stage(way, Some("platform"), true).await;
        assert!(list(&stage).await.is_ok(), "{way}");
        let created = Change::Create(permanent(&["viewer"]));
        stage.apply(SubjectKind::Identity, INFISICAL_DEPLOYER, created).await.unwrap();
        assert_eq!(stage.held(INFISICAL_DEPLOYER), held(&["viewer"]), "{way}");
        assert_eq!(sent(&stage, way)["organizationSlug"], "platform", "{way}");
    }
}

#[tokio::test]
async fn without_a_slug_the_identitys_own_organization_is_signed_in_to() {
    for way in WAYS {
        let stage = stage(way, None, true).await;
        let error = list(&stage).await.unwrap_err();
        assert!(matches!(error, Error::ProjectNotFound { .. } | Error::Forbidden { .. }), "{way}: {error:?}");
        assert_eq!(sent(&stage, way).get("organizationSlug"), None, "{way}");
    }
}

#[tokio::test]
async fn a_refusal_says_to_check_the_sub_organization() {
    for way in WAYS {
        for (organization, member) in [("platfrom", true), ("platform", false)] {
            let stage = stage(way, Some(organization), member).await;
            let error = list(&stage).await.unwrap_err();
            assert!(matches!(error, Error::Unauthorized { .. }), "{way}: {error:?}");
            let check =
                format!("check also that \"{organization}\" (spec.infisical.organizationSlug) is the slug of a");
            assert!(error.to_string().contains(&check), "{way}: {error}");
        }
        let stage = signing_in_wrongly(way).await;
        let error = list(&stage).await.unwrap_err().to_string();
        assert!(!error.contains("organizationSlug"), "{way}: {error}");
    }
}

/// No sub-organization is named, and the sign-in is refused.
async fn signing_in_wrongly(way: &str) -> Stage {
    match way {
        "universal-auth" => Stage::with(universal_auth("wrong-secret-0123")).await,
        way => signing_in(way, service_account().signed("forged")).await,
    }
}

#[tokio::test]
async fn older_servers_ignore_the_slug() {
    for way in WAYS {
        let stage = stage(way, Some("platform"), true).await;
        stage.be(Generations::G1, ErrorStyle::October2024);
        // Its project is still found to be of another organization.
        let error = list(&stage).await.unwrap_err();
        assert!(!matches!(error, Error::Unauthorized { .. }), "{way}: {error:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_given_is_used_as_it_is() {
    let stage = Stage::with(Credentials::Token(INFISICAL_TOKEN.to_owned().into())).await;
    let stage = Stage { infisical: stage.infisical.in_organization(Some("platform".to_owned())), ..stage };
    assert_eq!(list(&stage).await, Ok(2));
    assert_eq!(stage.server().count("POST", "login"), 0);
}

/// The body of the sign-in.
fn sent(stage: &Stage, way: &str) -> Value {
    let requests = stage.server().requests();
    let login = requests.iter().find(|request| request.path.ends_with(&format!("{way}/login"))).unwrap();
    serde_json::from_str(&login.body).unwrap()
}
