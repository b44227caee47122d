//! The members of a project, or of a grant of it, with the API that the instance serves.

use super::api::Api;
use super::client::Calls;
use super::errors::messages::RequestContext;
use super::errors::{Meaning, Refusal};
use super::list::{MembersPage, Part, Rows};
use super::write::{self, MemberApi, MemberWrite};
use super::{v1, v2};
use crate::core::member::{Member, Project, Target};
use crate::provider::{Error, Listing, Receipt};

/// The members of a project, or of the target's grant of it.
pub(crate) struct ProjectMembers<'a> {
    calls: &'a Calls<'a>,
    project: &'a Project,
    api: MembersApi<'a>,
}

/// The served API, with what it names the project by.
enum MembersApi<'a> {
    ManagementV1,
    InternalPermissionV2(v2::Resource<'a>),
}

impl<'a> ProjectMembers<'a> {
    /// The members of `project`, whose ids are checked.
    pub(crate) async fn of(calls: &'a Calls<'a>, project: &'a Project) -> Result<Self, Error> {
        let api = match calls.api().await? {
            Api::ManagementV1 => MembersApi::ManagementV1,
            Api::InternalPermissionV2 => {
                MembersApi::InternalPermissionV2(calls.zitadel.granted_to.resource(calls, project).await?)
            }
        };
        Ok(Self { calls, project, api })
    }

    /// Lists them. An empty list is trusted only if the project or grant is known to exist.
    pub(crate) async fn list(&self) -> Result<Listing, Error> {
        let mut rows = Rows::default();
        while let Some(offset) = rows.next_page() {
            rows.take(self.page(Part::From(offset)).await?);
        }
        if rows.are_hidden() && self.hides_rows() {
            return Err(self.calls.about(self.project).hidden());
        }
        let listing = rows.finish();
        if listing.members.is_empty() && !listing.partial {
            self.locate().await?;
        }
        Ok(listing)
    }

    /// One user's row, if search shows it. The results are compared with the request: a query that a version doesn't
    /// know returns every member.
    async fn find(&self, user: &str) -> Result<Option<Member>, Error> {
        let page = self.page(Part::Of(user)).await?;
        if page.rows.is_empty() && page.total > 0 && self.hides_rows() {
            return Err(self.calls.about(self.project).hidden());
        }
        Ok(page.rows.into_iter().flatten().find(|member| member.subject_id == user))
    }

    async fn page(&self, part: Part<'_>) -> Result<MembersPage, Refusal> {
        match &self.api {
            MembersApi::ManagementV1 => match v1::page(self.calls, self.project, part).await {
                Err(refusal) => Err(self.explained(refusal, false).await),
                page => page,
            },
            MembersApi::InternalPermissionV2(resource) => v2::page(self.calls, resource, part).await,
        }
    }

    /// Whether rows that the credential may not see are counted and not shown.
    fn hides_rows(&self) -> bool {
        matches!(self.api, MembersApi::InternalPermissionV2(_))
    }

    /// Looks up the project or grant. [`Error::ProjectNotFound`] if it doesn't exist or belongs to another
    /// organization; [`Meaning::is_no_answer`] if the credential may not read it.
    async fn locate(&self) -> Result<(), Refusal> {
        match &self.api {
            MembersApi::ManagementV1 => v1::locate(self.calls, self.project).await,
            MembersApi::InternalPermissionV2(resource) => v2::locate(self.calls, resource).await,
        }
    }

    /// A refused call about members, after a read of the project where that may show what the refusal means: after one
    /// for lack of permissions that the project no longer exists, and after one that reports no project when a member is
    /// added (`adds`) that it is missing or belongs to another organization.
    async fn explained(&self, refused: Refusal, adds: bool) -> Refusal {
        let lacks_rights = refused.meaning.is_for_lack_of_rights();
        let names_none = adds && matches!(refused.meaning, Meaning::NoProjectHere | Meaning::NoGrantHere);
        if !lacks_rights && !names_none {
            return refused;
        }
        let Err(located) = self.locate().await else { return refused };
        let is_reason = match lacks_rights {
            true => located.meaning.is_no_answer() || matches!(located.error, Error::ProjectNotFound { .. }),
            false => !located.meaning.is_no_answer(),
        };
        if is_reason { located } else { refused }
    }
}

/// One member of a project, or of a grant of it.
pub(crate) struct ProjectMember<'a> {
    members: ProjectMembers<'a>,
    user: &'a str,
}

impl<'a> ProjectMember<'a> {
    /// The member that a target names; its ids are checked.
    pub(crate) async fn of(calls: &'a Calls<'a>, target: &'a Target) -> Result<Self, Error> {
        Ok(Self { members: ProjectMembers::of(calls, &target.project).await?, user: &target.subject_id })
    }

    /// Sends a write. The version of the row that shows it; `None`: the server had nothing to write.
    async fn send(&self, write: MemberWrite<'_>) -> Result<Option<u64>, Refusal> {
        let ProjectMembers { calls, project, api } = &self.members;
        let asked = RequestContext { user: self.user, write: Some(write), ..calls.about(project) };
        let written = match api {
            MembersApi::ManagementV1 => {
                let answer = calls.send(&asked, v1::write_request(project, self.user, write)).await;
                answer.and_then(|answer| Ok(v1::version(project, &answer)?))
            }
            MembersApi::InternalPermissionV2(resource) => {
                let answer = calls.send_about_none(&asked, v2::write_request(resource, self.user, write)).await;
                answer.and_then(|answer| Ok(v2::version(&answer, write)?))
            }
        };
        match written {
            Err(refused) => Err(self.members.explained(refused, matches!(write, MemberWrite::Add(_))).await),
            version => version,
        }
    }
}

impl MemberApi for ProjectMember<'_> {
    async fn write(&self, write: MemberWrite<'_>) -> Result<Receipt, Refusal> {
        let version = match (self.send(write).await, write) {
            // Nothing was found. The response is the same for a project or grant that no longer exists; with v1 also
            // for a member of another organization's project (trap 3), and with v2 for a caller without permission to
            // remove (internal-permissions-v2.json, "no rights: delete of one who is not an administrator").
            (Ok(None), MemberWrite::Remove) => {
                self.members.locate().await?;
                None
            }
            // v4 responds to a list that equals the current one with 200 and the old sequence, v3 and before refuse it:
            // the sequence is then that of the row that shows the list.
            (Err(Refusal { meaning: Meaning::Unchanged, .. }), MemberWrite::Change(roles)) => {
                let shown = self.find().await?;
                let shown = shown.filter(|member| write::roles(&member.entries).is_ok_and(|shown| shown == roles));
                shown.and_then(|member| member.version)
            }
            (version, _) => version?,
        };
        Ok(Receipt { version, ..Receipt::default() })
    }

    async fn find(&self) -> Result<Option<Member>, Error> {
        self.members.find(self.user).await
    }

    fn another_list(&self, roles: &[String]) -> Option<Vec<String>> {
        match self.members.api {
            // v1 accepts a role twice, and considers that another list (docs/reference/zitadel.md, trap 2).
            MembersApi::ManagementV1 => Some(roles.iter().chain(roles.last()).cloned().collect()),
            // Roles may not be repeated; another order of several is another list.
            MembersApi::InternalPermissionV2(_) => (roles.len() > 1).then(|| roles.iter().rev().cloned().collect()),
        }
    }
}
