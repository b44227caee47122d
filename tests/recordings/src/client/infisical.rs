//! Scenes of Infisical.

mod neutral;

use std::collections::BTreeMap;

use membership_operator::core::member::Project;
use membership_operator::provider::http::Endpoint;
use membership_operator::provider::infisical::{Credentials, Infisical, TokenSource};

use self::neutral::Healthy;
use super::{Bench, ReplayCase, operation};
use crate::expected::Drive;
use crate::path::parameter;
use crate::recording::Exchange;
use crate::server::{Answer, Asked};

const PROJECT: &str = "6ec3d92b-3251-4084-9a12-ffb509a03ffc";
const SUBJECT: &str = "24160fbf-24bd-49d7-95de-feb53df75187";
const MEMBERSHIP: &str = "8215268c-f7c6-4620-93a0-35227c73ea2f";
const ORGANIZATION: &str = "4ff5f99e-b91a-41b8-a466-47fc1703e621";
/// The name of a subject whose name isn't part of the request.
const NAME: &str = "dora@acme.example";
const SLUG: &str = "stand-in-slug";

/// The values of the path; where the client would refuse to send one (no UUID), a stand-in.
pub fn values(recorded: &BTreeMap<String, String>, exchange: &Exchange) -> BTreeMap<String, String> {
    let mut values = recorded.clone();
    for (name, stand_in) in
        [("project", PROJECT), ("subject", SUBJECT), ("membership", MEMBERSHIP), ("organization", ORGANIZATION)]
    {
        let value = values.entry(name.to_owned()).or_insert_with(|| stand_in.to_owned());
        *value = if is_uuid(value) { value.to_lowercase() } else { stand_in.to_owned() };
    }
    if let Some(slug) = values.get_mut("slug").filter(|slug| !is_slug(slug)) {
        SLUG.clone_into(slug);
    }
    let body = &exchange.response.body;
    let organization = [&body["workspace"]["orgId"], &body["orgId"]].into_iter().find_map(|id| id.as_str());
    if let Some(organization) = organization {
        values.insert("organization".to_owned(), organization.to_owned());
    }
    // Whom the answer speaks of, where the path doesn't say.
    let expected_value = [&exchange.response.body["memberships"][0], &exchange.response.body["membership"]];
    if let Some(id) = expected_value.into_iter().find_map(|row| row["userId"].as_str())
        && !recorded.contains_key("subject")
    {
        values.insert("subject".to_owned(), id.to_owned());
    }
    values
}

/// Small letters, digits and hyphens: what isn't that isn't asked for.
fn is_slug(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// The name that is looked for: the one of the request, else that of the first row of the answer.
pub fn name(values: &BTreeMap<String, String>, exchange: &Exchange) -> String {
    let body = &exchange.response.body;
    let sent = |field: &str| {
        let value = exchange.request.body.as_ref()?.get(field)?;
        let name = value.as_str().or(value[0].as_str())?;
        // Nobody is invited by a name that is no e-mail address in small letters.
        let invites = field != "username";
        Some(if invites && (!name.contains('@') || name.to_lowercase() != name) { NAME } else { name }.to_owned())
    };
    let row = ["groupMemberships", "workspaces"].iter().find_map(|list| body[list].get(0)).or(body.get(0));
    let expected_value = row.and_then(|row| row["slug"].as_str().or(row["group"]["slug"].as_str())).map(str::to_owned);
    values
        .get("slug")
        .cloned()
        .or_else(|| parameter(&exchange.request.path, "search"))
        .or_else(|| sent("username"))
        .or_else(|| sent("emails"))
        .or_else(|| sent("usernames"))
        .or(expected_value)
        .unwrap_or_else(|| NAME.to_owned())
}

/// Plays the client's part.
pub async fn operate(bench: &Bench, case: &ReplayCase<'_>) -> String {
    let endpoint = Endpoint::parse(&bench.server.url).expect("an endpoint");
    let infisical = Infisical::new(&bench.client, endpoint, credentials(case.drive)).inviting_users(true);
    match case.drive {
        _ if case.drive.signs_in() => operation::sign_in(bench, &infisical, case).await,
        _ => {
            let project = Project { organization_id: None, id: case.value("project").to_owned(), grant_id: None };
            operation::run(&infisical, case, project, case.value("subject").to_owned(), "viewer").await
        }
    }
}

fn credentials(drive: Drive) -> Credentials {
    match drive {
        Drive::SignIn => Credentials::UniversalAuth {
            client_id: "client".to_owned(),
            client_secret: "secret-of-the-client".to_owned().into(),
        },
        Drive::SignInKubernetes => {
            Credentials::Kubernetes { identity_id: SUBJECT.to_owned(), token: service_account() }
        }
        Drive::SignInOidc => Credentials::Oidc { identity_id: SUBJECT.to_owned(), token: service_account() },
        _ => Credentials::Token("token-of-the-operator".to_owned().into()),
    }
}

fn service_account() -> TokenSource {
    TokenSource::new(|| Ok("token-of-the-service-account".to_owned().into()))
}

/// What answers everything but the recorded request.
pub fn neutral(case: &ReplayCase<'_>) -> impl FnMut(&Asked, usize) -> Option<Answer> + Send + 'static {
    let mut server = Healthy::new(case);
    move |asked, served| server.answer(asked, served)
}

/// Whether the answer is a page of several.
pub fn is_paged(case: &ReplayCase<'_>) -> bool {
    case.pattern.fill(&BTreeMap::new()).starts_with("/api/v2/organizations/")
}
