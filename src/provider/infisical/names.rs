//! What names stand for (name-resolution.json). Whatever a server answers is compared with what was asked for.

use serde::Deserialize;

use super::api::{Family, Generation};
use super::errors::{Meaning, Operation, RequestContext};
use super::ids::normal;
use super::write::users::UserWrites;
use super::{Infisical, routes};
use crate::api::SubjectKind;
use crate::provider::Error;
use crate::provider::http::{Response, text};
use crate::provider::session::PermitUse;

/// A project, as far as names need it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProjectItem {
    id: String,
    slug: String,
    org_id: String,
}

/// A project by its id; the older path calls it a workspace.
#[derive(Deserialize)]
struct ById<T> {
    #[serde(alias = "workspace")]
    project: T,
}

/// What product a project is of. Servers before 2025 don't say.
#[derive(Deserialize)]
struct OfProduct {
    #[serde(rename = "type")]
    product: Option<String>,
}

/// The product whose projects every server keeps members of.
const SECRETS: &str = "secret-manager";

/// A page of an organization's identities.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identities {
    identity_memberships: Vec<IdentityItem>,
    total_count: usize,
}

#[derive(Deserialize)]
struct IdentityItem {
    identity: Identity,
}

#[derive(Deserialize)]
struct Identity {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Group {
    id: String,
    slug: String,
}

impl Infisical {
    /// The project with this slug, among those of the credential's organization.
    pub(crate) async fn project_named(&self, permit_use: &PermitUse<'_>, slug: &str) -> Result<Vec<String>, Error> {
        // What can't be a slug is refused in many ways, and so isn't asked for; but its small letters may be one.
        let small = slug.to_lowercase();
        if !is_slug(slug) {
            let looks_like_one = small != slug && is_slug(&small);
            let found =
                if looks_like_one { Box::pin(self.project_named(permit_use, &small)).await? } else { Vec::new() };
            return if found.is_empty() { Ok(found) } else { Err(in_other_letters("project", "slug", slug, &small)) };
        }
        let asked = asked(Operation::FindProject, SubjectKind::Identity, slug, "");
        let request = |generation: Generation| routes::project_by_slug(generation, slug);
        match self.send(permit_use, Family::Projects, &asked, request).await {
            Ok(answer) => {
                let project: ProjectItem = answer.json()?;
                Ok(if project.slug == slug { vec![normal(&project.id)] } else { Vec::new() })
            }
            Err(Meaning::NoSuchName) => Ok(Vec::new()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The project that something was asked of.
    async fn project_by_id(&self, permit_use: &PermitUse<'_>, asked: &RequestContext<'_>) -> Result<Response, Meaning> {
        let asked = RequestContext { operation: Operation::LookAtProject, ..*asked };
        let request = |generation: Generation| routes::project(generation, asked.project);
        self.send_once(permit_use, Family::Projects, &asked, request).await
    }

    /// What a refusal means that the project itself has to decide: one that is gone is refused like one that the caller
    /// isn't in, and one whose members are kept elsewhere like one that the caller lacks rights in. A read more, only for
    /// these. `error`: what it is otherwise.
    pub(crate) async fn decided_by_project(
        &self,
        permit_use: &PermitUse<'_>,
        asked: &RequestContext<'_>,
        error: Error,
    ) -> Error {
        let project = asked.project;
        match (self.project_by_id(permit_use, asked).await.map_err(Error::from), &error) {
            (Err(gone @ Error::ProjectNotFound { gone: true, .. }), _) => gone,
            (Err(Error::ProjectNotFound { gone: false, .. }), Error::ProjectNotFound { .. }) => {
                Error::ProjectNotFound {
                    gone: false,
                    message: format!(
                        "the operator's identity is not a member of project {project} (Infisical), or the server is too old \
                     to tell that there is no such project: add the identity under Access Control → Machine Identities"
                    ),
                }
            }
            (Ok(answer), Error::Forbidden { .. }) => match answer.json::<ById<OfProduct>>().map(|p| p.project) {
                Ok(OfProduct { product: Some(product) }) if product != SECRETS => Error::Rejected {
                    message: format!(
                        "project {project} is of the product {:?}, whose members Infisical keeps elsewhere, so that \
                         the operator can't manage them: this is no lack of rights; declare roles in projects of other \
                         products only",
                        answer.filtered(&product)
                    ),
                },
                Ok(_) | Err(_) => error,
            },
            (Ok(_) | Err(_), _) => error,
        }
    }

    /// The subjects of this kind with exactly this name that could be members of the project.
    pub(crate) async fn subjects_named(
        &self,
        permit_use: &PermitUse<'_>,
        project: &str,
        kind: SubjectKind,
        name: &str,
    ) -> Result<Vec<String>, Error> {
        match kind {
            SubjectKind::Identity => self.identities_named(permit_use, project, name).await,
            SubjectKind::User => {
                match (UserWrites { infisical: self, permit_use, project }).named_or_similar(name).await? {
                    (found, Some(similar)) if found.is_empty() => {
                        Err(in_other_letters("user", "e-mail address or name", name, &similar))
                    }
                    (found, _) => Ok(found),
                }
            }
            SubjectKind::Group => self.groups_named(permit_use, project, name).await,
        }
    }

    /// Among the organization's identities: names needn't be unique, so that one who is in the project already says
    /// nothing about the others. There is no look-up for fewer rights: `…/memberships/available-identities` is for
    /// people only (Infisical's `backend/src/server/routes/v1/identity-project-membership-router.ts`).
    async fn identities_named(
        &self,
        permit_use: &PermitUse<'_>,
        project: &str,
        name: &str,
    ) -> Result<Vec<String>, Error> {
        let asked = asked(Operation::FindSubject, SubjectKind::Identity, project, name);
        let organization = self.project_by_id(permit_use, &asked).await?.json::<ById<ProjectItem>>()?.project.org_id;
        let mut found: Vec<String> = Vec::new();
        let mut similar: Option<String> = None;
        let mut seen = 0;
        loop {
            let request = {
                let request = routes::identities(&organization);
                // The search is for any part of a name, whatever the case, and `\` escapes its wildcards.
                let request = if name.contains('\\') { request } else { request.query("search", name) };
                // Without limit all of them come at once; a server that pages all the same is followed.
                if seen == 0 { request } else { request.query("limit", "100").query("offset", seen.to_string()) }
            };
            let page: Identities = self.ask(permit_use, &asked, request).await?.json()?;
            let rows = page.identity_memberships.len();
            for IdentityItem { identity } in page.identity_memberships {
                let id = normal(&identity.id);
                if identity.name == name && !found.contains(&id) {
                    found.push(id);
                } else if is_similar(&identity.name, name) {
                    similar = Some(identity.name);
                }
            }
            seen += rows;
            if rows == 0 || seen >= page.total_count {
                return match similar.filter(|_| found.is_empty()) {
                    Some(similar) => Err(in_other_letters("identity", "name", name, &similar)),
                    None => Ok(found),
                };
            }
        }
    }

    /// Among the organization's groups, whose slugs are unique; anyone who may not read them finds those that are in the
    /// project.
    async fn groups_named(&self, permit_use: &PermitUse<'_>, project: &str, slug: &str) -> Result<Vec<String>, Error> {
        let asked = asked(Operation::FindSubject, SubjectKind::Group, project, slug);
        match self.ask(permit_use, &asked, routes::groups()).await {
            Ok(answer) => {
                let groups: Vec<Group> = answer.array()?;
                let found: Vec<_> = groups.iter().filter(|g| g.slug == slug).map(|g| normal(&g.id)).collect();
                match groups.iter().find(|group| found.is_empty() && is_similar(&group.slug, slug)) {
                    Some(similar) => Err(in_other_letters("group", "slug", slug, &similar.slug)),
                    None => Ok(found),
                }
            }
            Err(Meaning::Other(forbidden @ Error::Forbidden { .. })) => {
                let found = match self.memberships(permit_use, project, SubjectKind::Group).await {
                    Ok(list) => list.named(SubjectKind::Group, slug),
                    Err(Error::Forbidden { .. }) => Vec::new(),
                    Err(error) => return Err(error),
                };
                if found.is_empty() { Err(forbidden) } else { Ok(found) }
            }
            Err(refusal) => Err(refusal.into()),
        }
    }
}

/// Whether two names differ in their letters' case only.
pub(crate) fn is_similar(known: &str, wanted: &str) -> bool {
    known != wanted && known.to_lowercase() == wanted.to_lowercase()
}

/// The error of a name that nobody has and that somebody has in other letters.
pub(crate) fn in_other_letters(noun: &str, field: &str, wanted: &str, known: &str) -> Error {
    let known = text::filtered(known, &[]);
    let message = format!(
        "there is no {noun} with the {field} {wanted:?} (Infisical), where upper and lower case count, but one with \
         {known:?}: create the object again with that, if it is meant"
    );
    match noun {
        "project" => Error::ProjectNotFound { gone: false, message },
        _ => Error::SubjectNotFound { message },
    }
}

fn asked<'a>(operation: Operation, kind: SubjectKind, project: &'a str, subject: &'a str) -> RequestContext<'a> {
    RequestContext { operation, kind, project, subject, roles: &[] }
}

/// What some server takes for a slug: small letters, digits and hyphens, at most 64 of them.
fn is_slug(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(known)
}
