//! Resolves names to ids (name-resolution.json). All results of a server are compared with the requested name.

use serde::Deserialize;

use super::api::{Family, Generation};
use super::client::Calls;
use super::errors::{Meaning, Operation, RequestContext};
use super::ids::normal;
use super::routes;
use super::write::users::UserWrites;
use crate::api::SubjectKind;
use crate::provider::Error;
use crate::provider::http::{Response, text};

/// The fields of a project that names need.
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

/// The product of a project. Servers before 2025 don't report it.
#[derive(Deserialize)]
struct OfProduct {
    #[serde(rename = "type")]
    product: Option<String>,
}

/// The product in whose projects every server stores members.
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

/// What has a requested name.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// The ids of those with exactly this name.
    pub(crate) ids: Vec<String>,
    /// A name that differs from it only in letter case.
    similar: Option<String>,
}

impl Named {
    /// Compares the name of one with the requested name.
    pub(crate) fn take(&mut self, id: &str, known: &str, wanted: &str) {
        let id = normal(id);
        if known != wanted {
            if self.similar.is_none() && known.to_lowercase() == wanted.to_lowercase() {
                self.similar = Some(known.to_owned());
            }
        } else if !self.ids.contains(&id) {
            self.ids.push(id);
        }
    }

    /// The ids, or the error of a name that exists only in another letter case.
    fn found(self, noun: &str, field: &str, wanted: &str) -> Result<Vec<String>, Error> {
        match self.similar.filter(|_| self.ids.is_empty()) {
            Some(similar) => Err(Error::SubjectNotFound { message: in_other_letters(noun, field, wanted, &similar) }),
            None => Ok(self.ids),
        }
    }
}

impl Calls<'_> {
    /// The project with this slug, among those of the credential's organization.
    pub(crate) async fn project_named(&self, slug: &str) -> Result<Vec<String>, Error> {
        // A name that can't be a slug is refused in many ways, and so isn't requested; but it may be one in lower case.
        let small = slug.to_lowercase();
        if !is_slug(slug) {
            let looks_like_one = small != slug && is_slug(&small);
            let found = if looks_like_one { Box::pin(self.project_named(&small)).await? } else { Vec::new() };
            if found.is_empty() {
                return Ok(found);
            }
            let message = in_other_letters("project", "slug", slug, &small);
            return Err(Error::ProjectNotFound { gone: false, message });
        }
        let asked = RequestContext::new(Operation::FindProject, SubjectKind::Identity, slug, "");
        let request = |generation: Generation| routes::project_by_slug(generation, slug);
        match self.send(Family::Projects, &asked, request).await {
            Ok(answer) => {
                let project: ProjectItem = answer.json()?;
                Ok(if project.slug == slug { vec![normal(&project.id)] } else { Vec::new() })
            }
            Err(Meaning::NoSuchName) => Ok(Vec::new()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The project of a request.
    async fn project_by_id(&self, asked: &RequestContext<'_>) -> Result<Response, Meaning> {
        let asked = RequestContext { operation: Operation::LookAtProject, ..*asked };
        let request = |generation: Generation| routes::project(generation, asked.project);
        self.send_once(Family::Projects, &asked, request).await
    }

    /// The meaning of a refusal that a read of the project decides: a deleted project is refused like one that the
    /// caller isn't in, and one whose members are stored elsewhere like one in which the caller lacks permissions. One
    /// more read, only for these. `error`: the meaning otherwise.
    pub(crate) async fn decided_by_project(&self, asked: &RequestContext<'_>, error: Error) -> Error {
        let project = asked.project;
        match (self.project_by_id(asked).await.map_err(Error::from), &error) {
            (Err(gone @ Error::ProjectNotFound { gone: true, .. }), _) => gone,
            (Err(Error::ProjectNotFound { gone: false, .. }), Error::ProjectNotFound { .. }) => {
                Error::ProjectNotFound {
                    gone: false,
                    message: format!(
                        "the operator's identity is not a member of project {project} (Infisical), or the server is too old \
                     to report that there is no such project: add the identity under Access Control → Machine Identities"
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
        project: &str,
        kind: SubjectKind,
        name: &str,
    ) -> Result<Vec<String>, Error> {
        match kind {
            SubjectKind::Identity => self.identities_named(project, name).await,
            SubjectKind::User => {
                let named = UserWrites { calls: self, project }.named(name).await?;
                named.found("user", "e-mail address or name", name)
            }
            SubjectKind::Group => self.groups_named(project, name).await,
        }
    }

    /// Among the organization's identities: names needn't be unique, so that one that is already in the project proves
    /// nothing about the others. There is no look-up for fewer permissions: `…/memberships/available-identities` is for
    /// people only (Infisical's `backend/src/server/routes/v1/identity-project-membership-router.ts`).
    async fn identities_named(&self, project: &str, name: &str) -> Result<Vec<String>, Error> {
        let asked = RequestContext::new(Operation::FindSubject, SubjectKind::Identity, project, name);
        let organization = self.project_by_id(&asked).await?.json::<ById<ProjectItem>>()?.project.org_id;
        let mut named = Named::default();
        let mut seen = 0;
        loop {
            let request = {
                let request = routes::identities(&organization);
                // The search matches any part of a name, in any case, and `\` escapes its wildcards.
                let request = if name.contains('\\') { request } else { request.query("search", name) };
                // Without a limit the response has all of them; the pages of a server that pages anyway are followed.
                if seen == 0 { request } else { request.query("limit", "100").query("offset", seen.to_string()) }
            };
            let page: Identities = self.ask(&asked, request).await?.json()?;
            let rows = page.identity_memberships.len();
            for IdentityItem { identity } in page.identity_memberships {
                named.take(&identity.id, &identity.name, name);
            }
            seen += rows;
            if rows == 0 || seen >= page.total_count {
                return named.found("identity", "name", name);
            }
        }
    }

    /// Among the organization's groups, whose slugs are unique; a caller who may not read them finds those that are in
    /// the project.
    async fn groups_named(&self, project: &str, slug: &str) -> Result<Vec<String>, Error> {
        let asked = RequestContext::new(Operation::FindSubject, SubjectKind::Group, project, slug);
        match self.ask(&asked, routes::groups()).await {
            Ok(answer) => {
                let mut named = Named::default();
                answer.array::<Group>()?.iter().for_each(|group| named.take(&group.id, &group.slug, slug));
                named.found("group", "slug", slug)
            }
            Err(Meaning::Other(forbidden @ Error::Forbidden { .. })) => {
                let found = match self.memberships(project, SubjectKind::Group).await {
                    Ok(list) => list.named(SubjectKind::Group, slug).ids,
                    Err(Error::Forbidden { .. }) => Vec::new(),
                    Err(error) => return Err(error),
                };
                if found.is_empty() { Err(forbidden) } else { Ok(found) }
            }
            Err(refusal) => Err(refusal.into()),
        }
    }
}

/// The message for a name that exists only in another letter case.
fn in_other_letters(noun: &str, field: &str, wanted: &str, known: &str) -> String {
    let known = text::filtered(known, &[]);
    format!(
        "there is no {noun} with the {field} {wanted:?} (Infisical), where upper and lower case count, but one with \
         {known:?}: create the object again with that, if it is the intended one"
    )
}

/// Whether a server may accept it as a slug: lower-case letters, digits and hyphens, at most 64 of them.
fn is_slug(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(known)
}
