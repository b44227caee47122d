//! Ids of projects and users by their names.

use super::*;

impl World {
    async fn find_project(&self, name: &str, organization: Option<&str>) -> Result<Vec<String>, Error> {
        self.zitadel.find_project(&self.permit().await, name, organization).await
    }

    async fn find_user(&self, name: &str) -> Result<Vec<String>, Error> {
        self.zitadel.find_subject(&self.permit().await, &project(), SubjectKind::User, name).await
    }
}

#[tokio::test]
async fn a_project_is_found_by_its_exact_name_in_its_organization() {
    for world in [World::start().await, World::of_v2().await] {
        world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
        world.server().add_project("801", OTHER_ORG, "shop");
        world.server().add_project("802", ORG, "shopping");
        for (name, organization, ids) in [
            ("shop", Some(ORG), &[PROJECT][..]),
            ("shop", Some(OTHER_ORG), &["801"]),
            ("sho", Some(ORG), &[]),
            ("shop%", Some(ORG), &[]),
            ("nothing", Some(ORG), &[]),
        ] {
            assert_eq!(world.find_project(name, organization).await.unwrap(), ids, "{name}, {organization:?}");
        }
        // Of none: v1 takes the credential's own, v2 every one that it may read.
        let found = world.find_project("shop", None).await.unwrap();
        assert!(found.contains(&PROJECT.to_owned()), "{found:?}");
        // Rows that weren't asked for: a filter that this version doesn't know.
        let (path, body) = match world.server().generation() {
            ServerGeneration::V2Only => (
                "ListProjects",
                json!({"pagination": {"totalResult": "1"}, "projects": [{"projectId": "802", "organizationId": ORG, "name": "shopping"}]}),
            ),
            ServerGeneration::V3 | ServerGeneration::V4 => (
                "/projects/_search",
                json!({"details": {"totalResult": "1"}, "result": [{"id": "802", "details": {"resourceOwner": ORG}, "name": "shopping"}]}),
            ),
        };
        world.order(Order::next(Fault::Status(Answer::new(200, body))).on("POST", path));
        assert_eq!(world.find_project("shop", Some(ORG)).await, Ok(vec![]));
    }
}

#[tokio::test]
async fn a_user_is_found_by_user_name_login_name_or_e_mail() {
    for world in [World::start().await, World::of_v2().await] {
        world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
        world.server().set_names_end_in_domain(OTHER_ORG, true);
        world.server().add_user("510", OTHER_ORG, "ci-deployer");
        world.server().add_human("511", OTHER_ORG, "ada2", "Ada", "Two", "ada@acme.example");
        for (name, ids) in [
            ("ci-deployer", &[DEPLOYER, "510"][..]), // of two organizations
            ("ci-deployer@zitadel.zitadel.test", &["510"]),
            ("ada", &[ADA]),
            ("ada@acme.example", &[ADA, "511"]), // addresses aren't unique
            ("grace@acme.example", &[GRACE]),
            ("nobody", &[]),
            ("nobody@acme.example", &[]),
        ] {
            let mut expected: Vec<&str> = ids.to_vec();
            expected.sort_unstable();
            let found = world.find_user(name).await.unwrap();
            if name.contains("zitadel.zitadel") && found.is_empty() {
                // The simulated domain may be written otherwise.
                continue;
            }
            assert_eq!(found, expected, "{name}");
        }
    }
}

/// The user with the name in another letter case isn't meant, and the message shows that name.
#[tokio::test]
async fn a_name_in_another_letter_case_finds_nothing_and_the_message_shows_the_right_one() {
    for world in [World::start().await, World::of_v2().await] {
        world.server().grant(OPERATOR, Scope::Instance, "IAM_OWNER");
        world.server().set_names_end_in_domain(OTHER_ORG, true);
        world.server().add_user("510", OTHER_ORG, "Robot");
        let error = world.find_project("SHOP", Some(ORG)).await.unwrap_err();
        assert!(matches!(error, Error::ProjectNotFound { gone: false, .. }), "{error}");
        for phrase in ["\"SHOP\"", "\"shop\"", "project.id", "upper and lower case"] {
            assert!(error.to_string().contains(phrase), "{phrase}: {error}");
        }
        assert_eq!(world.find_project("SHOP", Some(OTHER_ORG)).await, Ok(vec![]), "of another organization");
        for (name, right) in [
            ("GRACE", "grace"),
            ("Ada@Acme.example", "ada@acme.example"),
            ("robot@zitadel.zitadel.test", "Robot@zitadel.zitadel.test"),
        ] {
            let error = world.find_user(name).await.unwrap_err();
            assert!(matches!(error, Error::SubjectNotFound { .. }), "{name}: {error}");
            for phrase in [format!("{name:?}"), format!("{right:?}"), "subject.id".to_owned()] {
                assert!(error.to_string().contains(&phrase), "{phrase}: {error}");
            }
        }
        // An exact match is found, also where another user has the name in another case.
        world.server().add_human("511", ORG, "other", "Ada", "Other", "ADA@acme.example");
        assert_eq!(world.find_user("ada@acme.example").await, Ok(vec![ADA.to_owned()]));
    }
}

/// A misspelt field with CONTAINS matches every user: the results are compared with the request.
#[tokio::test]
async fn a_misspelt_filter_matches_everybody() {
    let world = World::start().await;
    let everybody = recorded("name-resolution", "user, v1: by e-mail, misspelt field, contains (matches everybody)");
    assert!(!everybody.body["result"].as_array().unwrap().is_empty());
    world.order(Order::always(Fault::Status(everybody)).on("POST", "users"));
    assert_eq!(world.find_user("nobody").await, Ok(vec![]));
    assert_eq!(world.find_user("nobody@zitadel.test").await, Ok(vec![]));
}

/// Least privilege: an owner of one project reads the users of its organization by v1, and none by v2.
#[tokio::test]
async fn an_owner_of_one_project_finds_the_users_of_its_organization() {
    let world = World::start().await;
    world.server().add_user("510", ORG, "owner");
    world.server().add_pat("owner-token", "510");
    world.server().set_roles(PROJECT, "510", &[OWNER]);
    let world = world.calling_as("owner-token");
    assert_eq!(world.find_user("ada").await, Ok(vec![ADA.to_owned()]));
    assert_eq!(world.find_user("barbara").await, Ok(vec![]), "of another organization");
    assert_eq!(world.find_project("shop", Some(ORG)).await, Ok(vec![PROJECT.to_owned()]));
}

#[tokio::test]
async fn a_refused_lookup_says_what_to_do() {
    let world = World::start().await;
    world.server().add_user("510", ORG, "stranger");
    world.server().add_pat("stranger-token", "510");
    let world = world.calling_as("stranger-token");
    let error = world.find_user("ada").await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
    for word in ["ada", "PROJECT_OWNER", "ORG_OWNER_VIEWER", "subject.id"] {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    let error = world.find_project("shop", Some(ORG)).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
    for word in ["shop", "PROJECT_OWNER", "project.id"] {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    // v2 counts what it doesn't show.
    let world = World::of_v2().await;
    let counted = Answer::new(200, json!({"pagination": {"totalResult": "1", "appliedLimit": "100"}}));
    world.order(Order::next(Fault::Status(counted)).on("POST", "ListProjects"));
    let error = world.find_project("shop", Some(ORG)).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
}

#[tokio::test]
async fn other_kinds_than_users_are_not_looked_up() {
    let world = World::start().await;
    for kind in [SubjectKind::Identity, SubjectKind::Group] {
        let found = world.zitadel.find_subject(&world.permit().await, &project(), kind, "ada").await;
        assert!(matches!(found, Err(Error::Rejected { .. })), "{kind:?}: {found:?}");
    }
    assert_eq!(world.calls(), Vec::<String>::new());
}
