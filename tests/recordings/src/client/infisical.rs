//! Scenes of Infisical.

use std::collections::BTreeMap;

use membership_operator::member::Project;
use membership_operator::provider::http::Endpoint;
use membership_operator::provider::infisical::{Credentials, Infisical};
use serde_json::{Value, json};

use super::{Bench, Scene, operation};
use crate::expected::Drive;
use crate::path::parameter;
use crate::recording::Exchange;
use crate::server::{Answer, Asked};

const PROJECT: &str = "6ec3d92b-3251-4084-9a12-ffb509a03ffc";
const SUBJECT: &str = "24160fbf-24bd-49d7-95de-feb53df75187";
const MEMBERSHIP: &str = "8215268c-f7c6-4620-93a0-35227c73ea2f";
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
const ORGANIZATION: &str = "4ff5f99e-b91a-41b8-a466-47fc1703e621";
/// The name of a subject whose name isn't part of the request.
const NAME: &str = "dora@acme.example";
/// A slug.
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
    let told = [&exchange.response.body["memberships"][0], &exchange.response.body["membership"]];
    if let Some(id) = told.into_iter().find_map(|row| row["userId"].as_str())
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
    let told = row.and_then(|row| row["slug"].as_str().or(row["group"]["slug"].as_str())).map(str::to_owned);
    values
        .get("slug")
        .cloned()
        .or_else(|| parameter(&exchange.request.path, "search"))
        .or_else(|| sent("username"))
        .or_else(|| sent("emails"))
        .or_else(|| sent("usernames"))
        .or(told)
        .unwrap_or_else(|| NAME.to_owned())
}

/// Plays the client's part.
pub async fn operate(bench: &Bench, scene: &Scene<'_>) -> String {
    let endpoint = Endpoint::parse(&bench.server.url).expect("an endpoint");
    let infisical = Infisical::new(&bench.client, endpoint, credentials(scene.drive), true);
    match scene.drive {
        _ if scene.drive.signs_in() => operation::sign_in(bench, &infisical, scene).await,
        _ => {
            let project = Project { organization_id: None, id: scene.value("project").to_owned(), grant_id: None };
            operation::run(&infisical, scene, project, scene.value("subject").to_owned(), "viewer").await
        }
    }
}

fn credentials(drive: Drive) -> Credentials {
    match drive {
        Drive::SignIn => Credentials::UniversalAuth {
            client_id: "client".to_owned(),
            client_secret: "secret-of-the-client".to_owned().into(),
        },
        _ => Credentials::Token("token-of-the-operator".to_owned().into()),
    }
}

/// What a healthy server of October 2024 answers to everything but the recorded request. It has one member, whom the
/// scene is about; `served`: how often the recorded answer was given before.
pub fn neutral(scene: &Scene<'_>) -> impl FnMut(&Asked, usize) -> Option<Answer> + Send + 'static {
    let [project, subject, membership] = ["project", "subject", "membership"].map(|name| scene.value(name).to_owned());
    let (name, drive, mut there) = (scene.name.clone(), scene.drive, scene.is_member() || scene.drive == Drive::Look);
    // A recording of a newer path is of a server that has lost it: it was there until then.
    let newer = newer_route(&scene.pattern.fill(&BTreeMap::new()));
    let organization = scene.value("organization").to_owned();
    let by_name = drive == Drive::FindSubject;
    let pages = is_paged(scene);
    move |asked, served| {
        let path = asked.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let row = |id: &str, inner: &str| {
            json!({"id": membership, id: subject, "projectId": project, "roles": [role("viewer")],
                   inner: {"id": subject, "name": name, "slug": name, "email": name, "username": name}})
        };
        // Whoever is looked up is found nowhere but in the recorded answer.
        let rows = |id: &str, inner: &str| if there && !by_name { json!([row(id, inner)]) } else { json!([]) };
        let plain = json!({"id": membership, "projectId": project});
        let body = match (asked.method.as_str(), parts.as_slice()) {
            ("POST", [.., "auth", _, "login"]) => {
                json!({"accessToken": "another-token", "expiresIn": 7200, "accessTokenMaxTTL": 7200, "tokenType": "Bearer"})
            }
            (_, ["api", "v1", "projects", ..]) if newer.is_none() || newer_route(path) != newer || served > 0 => {
                return Some(no_route(asked));
            }
            ("GET", ["api", "v2", "organizations", of, "identity-memberships"]) => {
                let found = json!([{"id": membership, "identity": {"id": subject, "name": name}}]);
                // After the recorded page there is no other.
                let rows = if *of == organization && !pages { found } else { json!([]) };
                json!({"totalCount": rows.as_array().map(Vec::len), "identityMemberships": rows})
            }
            ("GET", ["api", "v1", "groups"]) => json!([]),
            ("GET", [.., p, "identity-memberships" | "memberships" | "groups"])
            | ("GET", [.., p, "identity-memberships" | "groups", _])
            | ("GET", ["api", "v1", "workspace", p])
                if *p == NOBODY =>
            {
                return Some(refused(
                    403,
                    "Identity is not a member of the specified project",
                    "You are not allowed to access this resource",
                ));
            }
            (_, ["api", "v1", "projects", p, ..]) if *p == NOBODY => {
                return Some(refused(
                    403,
                    "You are not member of this project",
                    "You are not allowed to access this resource",
                ));
            }
            ("GET", [.., "identity-memberships"]) => {
                let rows = rows("identityId", "identity");
                json!({"totalCount": rows.as_array().map(Vec::len), "identityMemberships": rows})
            }
            ("POST", [.., "identity-memberships", _]) if drive == Drive::Look => {
                return Some(refused(400, "BadRequest", "Identity with id x already exists in project with id y"));
            }
            ("GET", [.., "identity-memberships", _]) => json!({"identityMembership": row("identityId", "identity")}),
            ("POST" | "DELETE", [.., "identity-memberships", _]) => json!({"identityMembership": plain}),
            ("POST", [.., "groups", _]) if drive == Drive::Look => {
                return Some(refused(400, "BadRequest", "Group with ID x already exists in project with id y"));
            }
            ("GET", [.., "workspace", _, "groups"]) => json!({"groupMemberships": rows("groupId", "group")}),
            ("GET", [.., "groups", _]) => json!({"groupMembership": row("groupId", "group")}),
            ("POST" | "DELETE", [.., "groups", _]) => json!({"groupMembership": plain}),
            ("GET", [.., "workspace", _, "memberships"]) => json!({"memberships": rows("userId", "user")}),
            ("POST", [.., "memberships", "details"]) if there => json!({"membership": row("userId", "user")}),
            ("POST", [.., "memberships", "details"]) => {
                return Some(refused(404, "NotFound", "Project membership not found for user x"));
            }
            ("POST", [.., "memberships"]) => {
                there = true;
                json!({"memberships": [{"id": membership, "userId": subject, "projectId": project}]})
            }
            ("DELETE", [.., "memberships", _]) => json!({"membership": plain}),
            ("PATCH", [.., "identity-memberships" | "groups" | "memberships", _]) => json!({"roles": [role("viewer")]}),
            ("GET", ["api", "v2", "workspace", _] | ["api", "v1", "workspace", _]) => {
                json!({"workspace": {"id": project, "slug": name, "orgId": organization}, "id": project, "slug": name, "name": name, "orgId": organization})
            }
            ("GET", [.., "organizations", _, "workspaces"]) => json!({"workspaces": []}),
            _ => return None,
        };
        Some(Answer::json(200, &body))
    }
}

/// Whether the answer is a page of several.
pub fn is_paged(scene: &Scene<'_>) -> bool {
    scene.pattern.fill(&BTreeMap::new()).starts_with("/api/v2/organizations/")
}

/// Of a path below `/api/v1/projects/{project}`: what kind of memberships it is about, without ids.
fn newer_route(path: &str) -> Option<String> {
    let (_, below) = path.strip_prefix("/api/v1/projects/")?.split_once('/')?;
    let is_id = |part: &&str| part.starts_with('{') || is_uuid(part);
    Some(below.split('/').filter(|part| !is_id(part)).collect::<Vec<_>>().join("/"))
}

fn role(slug: &str) -> Value {
    json!({"id": MEMBERSHIP, "role": slug, "customRoleId": null, "customRoleSlug": null, "isTemporary": false,
           "temporaryMode": null, "temporaryRange": null, "temporaryAccessStartTime": null, "temporaryAccessEndTime": null})
}

fn refused(status: u16, name: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"statusCode": status, "message": message, "error": name}))
}

/// With a space: the words of the HTTP framework (reference/infisical.md, "Three generations").
fn no_route(asked: &Asked) -> Answer {
    refused(404, "Not Found", &format!("Route {}:{} not found", asked.method, asked.path))
}
