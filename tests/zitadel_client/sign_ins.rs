//! ZITADEL's three ways to sign in against the simulated instance itself, which checks signatures, claims and secrets.

use membership_operator::provider::zitadel::KeyFile;
use simulator::worlds::{
    ZITADEL_CLIENT_ID, ZITADEL_CLIENT_SECRET, ZITADEL_KEY_ID, ZITADEL_PUBLIC_KEY, zitadel_key_file,
};

use super::*;

/// The operator's three credentials.
fn ways() -> [(&'static str, Credentials); 3] {
    let key = KeyFile::parse(&SecretString::from(zitadel_key_file())).unwrap();
    [
        ("token", Credentials::PersonalAccessToken(SecretString::from(TOKEN.to_owned()))),
        ("key", Credentials::PrivateKeyJwt(key)),
        ("secret", secret(ZITADEL_CLIENT_SECRET)),
    ]
}

fn secret(secret: &str) -> Credentials {
    let client_secret = SecretString::from(secret.to_owned());
    Credentials::ClientCredentials { client_id: ZITADEL_CLIENT_ID.to_owned(), client_secret }
}

async fn signed_in(credentials: Credentials) -> World {
    let mut world = World::start().await;
    world.zitadel = signing_in(world.server().url(), credentials, None);
    world.server().clear_requests();
    world
}

fn sign_ins(world: &World) -> usize {
    world.server().count("POST", "/oauth/v2/token")
}

#[tokio::test]
async fn every_way_to_sign_in_may_look_and_write_by_either_api() {
    for generation in [ServerGeneration::V4, ServerGeneration::V2Only] {
        for (way, credentials) in ways() {
            let world = signed_in(credentials).await;
            world.server().set_generation(generation);
            world.verify().await.unwrap();
            for project in [project(), grant()] {
                let member = if project.grant_id.is_some() { BARBARA } else { ADA };
                let viewer = if project.grant_id.is_some() { GRANT_VIEWER } else { VIEWER };
                let target = member_of(&project, member);
                world.apply(&target, &create(&[viewer])).await.unwrap();
                assert_eq!(roles(world.shown(&target).await.as_ref()), [viewer], "{way} {generation:?}");
                world.apply(&target, &Change::Remove).await.unwrap();
                assert_eq!(world.shown(&target).await, None, "{way} {generation:?}");
            }
            assert_eq!(sign_ins(&world), usize::from(way != "token"), "{way} {generation:?}");
        }
    }
}

#[tokio::test]
async fn a_token_that_has_ended_is_replaced_by_another_sign_in() {
    for (way, credentials) in ways().into_iter().skip(1) {
        let world = signed_in(credentials).await;
        world.verify().await.unwrap();
        world.server().revoke_token(OPERATOR);
        // Its own tokens are what was revoked; a new one is taken.
        assert!(world.list(&project()).await.is_ok(), "{way}");
        assert_eq!(sign_ins(&world), 2, "{way}");
    }
}

#[tokio::test]
async fn what_was_removed_at_the_server_says_what_to_check_and_is_left_alone() {
    for (way, credentials) in ways() {
        let world = signed_in(credentials).await;
        match way {
            "token" => world.server().revoke_token(TOKEN),
            "key" => world.server().remove_key(ZITADEL_KEY_ID),
            _ => world.server().remove_client_secret(OPERATOR),
        }
        let error = world.verify().await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{way}: {error:?}");
        let text = error.to_string();
        let phrase = match way {
            "token" => "put it into the Secret",
            "key" => ZITADEL_KEY_ID,
            _ => "a new one replaces the old",
        };
        assert!(text.contains(phrase), "{way}: {text}");
        assert!(!text.contains("eyJ") && !text.contains(ZITADEL_CLIENT_SECRET), "{way}: {text}");
        let asked = sign_ins(&world);
        assert!(world.verify().await.is_err(), "{way}");
        assert_eq!(sign_ins(&world), asked, "{way}: it is left alone");
    }
}

#[tokio::test]
async fn a_user_that_was_deactivated_or_deleted_signs_in_no_more() {
    for (way, credentials) in ways() {
        for deleted in [false, true] {
            let world = signed_in(credentials.clone()).await;
            if deleted {
                world.server().delete_user(OPERATOR)
            } else {
                world.server().deactivate_user(OPERATOR)
            }
            let error = world.verify().await.unwrap_err();
            assert!(matches!(error, Error::Unauthorized { .. }), "{way}, deleted {deleted}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_secret_and_another_users_key_are_refused() {
    let world = signed_in(secret("wrong-secret-0123")).await;
    let error = world.verify().await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert!(!error.to_string().contains("wrong-secret"), "{error}");
    // The key's id is known, and it is another user's.
    let world = signed_in(ways()[1].1.clone()).await;
    world.server().remove_key(ZITADEL_KEY_ID);
    assert!(world.server().add_key(ZITADEL_KEY_ID, DEPLOYER, ZITADEL_PUBLIC_KEY, None));
    let error = world.verify().await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
}

/// As in a cluster: the URL's host is none of the instance's.
#[tokio::test]
async fn every_way_to_sign_in_names_the_instance_where_the_url_does_not() {
    for (way, credentials) in ways() {
        let world = World::start().await;
        world.server().set_domains(&["auth.example.com"]);
        let unnamed = signing_in(world.server().url(), credentials.clone(), None);
        let error = unnamed.verify(&world.permit().await).await.unwrap_err();
        assert!(error.to_string().contains("instanceHost"), "{way}: {error}");
        let named = signing_in(world.server().url(), credentials, Some("auth.example.com"));
        assert!(named.verify(&world.permit().await).await.is_ok(), "{way}");
    }
}
