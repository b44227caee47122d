//! What the server refuses, and what goes wrong on the way.

use membership_operator::provider::zitadel::KeyFile;

use super::*;

#[tokio::test]
async fn a_role_that_no_member_can_have_is_named() {
    let world = World::start().await;
    for (wanted, named) in [
        (vec!["deployer"], Some("deployer")),
        (vec![OWNER, "deployer"], Some("deployer")),
        (vec!["PROJECT_NOPE"], Some("PROJECT_NOPE")),
        (vec![OWNER, "PROJECT_NOPE"], Some("PROJECT_NOPE")),
        (vec![OWNER, "PROJECT_NOPE", "deployer"], Some("deployer")),
        (vec![OWNER, "PROJECT_NEITHER", "PROJECT_NOPE"], None),
    ] {
        for change in [create(&wanted), replace(&wanted)] {
            let user = target(if matches!(change, Change::Create(_)) { ADA } else { GRACE });
            let error = world.apply(&user, &change).await.unwrap_err();
            let Error::RoleNotFound { role, message } = &error else { panic!("{wanted:?}: {error}") };
            assert_eq!(role.as_deref(), named, "{wanted:?}");
            assert!(message.contains("PROJECT_OWNER") && message.contains("user grants"), "{message}");
        }
    }
}

#[tokio::test]
async fn only_a_token_that_is_refused_fails_verification() {
    let world = World::start().await;
    let server = world.server().clone();
    server.add_user("510", ORG, "owner");
    server.add_pat("owner-token", "510");
    server.set_roles(PROJECT, "510", &[OWNER]);
    server.add_user("511", OTHER_ORG, "guest");
    server.add_pat("guest-token", "511");
    server.set_roles(PROJECT, "511", &[OWNER]);
    server.add_pat_until("expired-token", "510", server.now());
    let mut world = world;
    for (token, verified) in
        [(TOKEN, true), ("owner-token", true), ("guest-token", true), ("nobody-token", false), ("expired-token", false)]
    {
        world = world.calling_as(token);
        let found = world.zitadel.verify(&world.permit().await).await;
        assert_eq!(found.is_ok(), verified, "{token}: {found:?}");
        let listed = world.list(&project()).await;
        assert_eq!(listed.is_ok(), verified, "{token}: {listed:?}");
        if !verified {
            for error in [found.unwrap_err(), listed.unwrap_err()] {
                assert!(matches!(error, Error::Unauthorized { .. }), "{token}: {error}");
                assert!(!error.to_string().contains(token), "{error}");
            }
        }
    }
    world = world.calling_as(TOKEN);
    for fault in [
        Fault::Status(recorded("auth", "Host: unknown")),
        Fault::Html,
        Fault::status(404),
        Fault::status(502),
        Fault::Truncated,
    ] {
        // Where management v1 isn't served, v2 is asked as well.
        world.order(Order::always(fault.clone()));
        let error = world.zitadel.verify(&world.permit().await).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{fault:?}: {error}");
        world.server().clear_orders();
    }
    world.order(Order::next(Fault::status(403)));
    let error = world.zitadel.verify(&world.permit().await).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "refused by something else: {error}");
    assert_eq!(world.zitadel.verify(&world.permit().await).await.unwrap().api, "management/v1");
}

/// The addresses that people copy: of an API, and of the console, which answers every path with its page.
#[tokio::test]
async fn a_url_with_a_path_says_what_to_write_instead() {
    let key = simulator::worlds::zitadel_key_file();
    let key = KeyFile::parse(&SecretString::from(key)).unwrap();
    let token = Credentials::PersonalAccessToken(SecretString::from(TOKEN.to_owned()));
    for (path, page) in [("/management/v1", false), ("/v2", false), ("/ui/console", true), ("/ui/v2/login", false)] {
        for credentials in [token.clone(), Credentials::PrivateKeyJwt(key.clone())] {
            let mut world = World::start().await;
            let root = world.server().url().to_owned();
            world.zitadel = signing_in(&format!("{root}{path}"), credentials, None);
            if page {
                world.order(Order::always(Fault::Html));
            }
            let error = world.verify().await.unwrap_err();
            assert!(matches!(error, Error::Unreachable { .. }), "{path}: {error}");
            for phrase in [format!("ends in {path:?}"), format!("with {root} alone")] {
                assert!(error.to_string().contains(&phrase), "{path}: {phrase}: {error}");
            }
        }
    }
    let mut world = World::start().await;
    world.zitadel = client(world.server().url(), TOKEN);
    world.order(Order::always(Fault::Html));
    let error = world.verify().await.unwrap_err();
    assert!(!error.to_string().contains("ends in"), "without a path: {error}");
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_never_an_empty_list_nor_a_done_write() {
    let world = World::start().await;
    let (none, unknown) = (Effect::None, Effect::Unknown);
    for (fault, reason, read, write) in [
        (Fault::Html, "Unreachable", none, unknown),
        (Fault::Truncated, "Unreachable", none, unknown),
        (Fault::status(500), "Unreachable", none, unknown),
        (Fault::status(503), "Unreachable", none, unknown),
        (Fault::status(504), "Unreachable", none, unknown),
        (Fault::StatusAfter(Answer::new(504, Value::Null)), "Unreachable", none, unknown),
        (Fault::ResetAfter, "Unreachable", none, unknown),
        (Fault::status(404), "Unreachable", none, none),
        (Fault::Status(recorded("auth", "Host: unknown")), "Unreachable", none, none),
        (Fault::zitadel_collision(), "Unreachable", none, none),
        (Fault::status(400), "Rejected", none, none),
        (Fault::status(403), "Forbidden", none, none),
    ] {
        world.order(Order::next(fault.clone()));
        let listed = world.list(&project()).await.unwrap_err();
        world.find_out().await;
        assert_eq!((format!("{:?}", listed.reason()).as_str(), listed.effect()), (reason, read), "{fault:?}: {listed}");
        for change in [create(&[OWNER]), replace(&[OWNER]), Change::Remove] {
            let before: &[&str] = if matches!(change, Change::Create(_)) { &[] } else { &[VIEWER] };
            world.server().set_roles(PROJECT, ADA, before);
            world.order(Order::next(fault.clone()));
            let error = world.apply(&target(ADA), &change).await.unwrap_err();
            world.find_out().await;
            let found = (format!("{:?}", error.reason()), error.effect());
            assert_eq!(found, (reason.to_owned(), write), "{fault:?}, {change:?}: {error}");
            assert!(error.to_string().len() < 800 && !error.to_string().contains(TOKEN), "{error}");
        }
    }
}

#[tokio::test]
async fn too_many_requests_pause_the_quota() {
    let world = World::start().await;
    world.order(Order::next(Fault::zitadel_rate_limited()));
    let error = world.apply(&target(ADA), &create(&[OWNER])).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { after: None, .. }), "{error}");
    let next = world.quota.permit(RequestKind::Read, Urgency::Revoke, "test");
    assert!(tokio::time::timeout(Duration::from_millis(100), next).await.is_err(), "no request meanwhile");
}
