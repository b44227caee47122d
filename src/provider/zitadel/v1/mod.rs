//! Members of projects and of project grants by the management API v1.
//!
//! Both are written and read the same way at different paths; what their answers mean differs in ids only, which
//! [`ServerRefusal`] knows.

mod owner;
mod search;

use serde_json::json;

use super::client::Calls;
use super::errors::messages::{self, RequestContext};
use super::errors::{Meaning, ServerRefusal};
use super::wire;
use super::write::{self, Members, WriteRefusal};
use crate::core::member::{Member, Project, Target};
use crate::provider::error::Effect;
use crate::provider::http::{Method, Request, Response};
use crate::provider::{Error, Receipt};

pub(crate) use search::list;

/// Where the members of a project are.
struct Routes {
    members: &'static str,
    member: &'static str,
    search: &'static str,
}

const OF_PROJECTS: Routes = Routes {
    members: "/management/v1/projects/{project}/members",
    member: "/management/v1/projects/{project}/members/{user}",
    search: "/management/v1/projects/{project}/members/_search",
};

const OF_GRANTS: Routes = Routes {
    members: "/management/v1/projects/{project}/grants/{grant}/members",
    member: "/management/v1/projects/{project}/grants/{grant}/members/{user}",
    search: "/management/v1/projects/{project}/grants/{grant}/members/_search",
};

/// A request for members of a project, or of the grant of it that is meant.
fn request(method: Method, route: fn(&Routes) -> &'static str, project: &Project) -> Request<'_> {
    match &project.grant_id {
        None => Request::new(method, route(&OF_PROJECTS)).id(&project.id),
        Some(grant) => Request::new(method, route(&OF_GRANTS)).id(&project.id).id(grant),
    }
}

/// One member of a project or of a project grant.
pub(crate) struct ManagementMember<'a> {
    calls: &'a Calls<'a>,
    target: &'a Target,
}

impl<'a> ManagementMember<'a> {
    /// The member that a target names; its ids are checked.
    pub(crate) fn new(calls: &'a Calls<'a>, target: &'a Target) -> Self {
        Self { calls, target }
    }

    fn asked(&self) -> RequestContext<'_> {
        RequestContext::of_project(self.calls.endpoint(), &self.target.project).user(&self.target.subject_id)
    }

    async fn refused(&self, meaning: Meaning, error: Error) -> Error {
        owner::explain_refusal(self.calls, &self.target.project, meaning, error).await
    }

    /// What the server says that it did.
    fn details(&self, answer: &Response) -> Result<wire::Details, Error> {
        let details = answer.json::<wire::Write>()?.details;
        if owner::is_elsewhere(&self.target.project, &details) {
            // It may have been done all the same: look, and be told by the list what is wrong.
            let what = "wrote under another organization than the one asked for";
            return Err(answer.context.unreachable(what, Effect::Unknown));
        }
        Ok(details)
    }

    /// What v4 answers to a list that stands already, with 200 and the old sequence, v3 and before refuse: the sequence is
    /// then that of the row that shows the list.
    async fn unchanged(&self, roles: &[String]) -> Result<Receipt, Error> {
        let shown = self.find().await?.filter(|member| write::roles(&member.entries).is_ok_and(|shown| shown == roles));
        Ok(Receipt { version: shown.and_then(|member| member.version), ..Receipt::default() })
    }

    fn receipt(&self, answer: &Response) -> Result<Receipt, Error> {
        let sequence = self.details(answer)?.sequence;
        Ok(Receipt { version: (sequence > 0).then_some(sequence), ..Receipt::default() })
    }
}

impl Members for ManagementMember<'_> {
    async fn add(&self, roles: &[String]) -> Result<Receipt, WriteRefusal> {
        let Target { project, subject_id: user, .. } = self.target;
        let body = json!({"userId": user, "roles": roles});
        let answer = self.calls.send(request(Method::Post, |routes| routes.members, project).json(&body)).await?;
        if answer.is_success() {
            return Ok(self.receipt(&answer)?);
        }
        let refusal = ServerRefusal::of_adding(&answer);
        let error = messages::error(&self.asked().roles(roles), &answer, &refusal);
        match refusal.meaning() {
            Meaning::AMember => Err(WriteRefusal::AMember(error)),
            Meaning::NoProjectHere | Meaning::NoGrantHere => {
                // Missing, or another organization's: the answer doesn't tell, the project or the grant itself does.
                owner::locate(self.calls, project).await?;
                Err(error.into())
            }
            meaning => Err(self.refused(meaning, error).await.into()),
        }
    }

    async fn change(&self, roles: &[String]) -> Result<Receipt, WriteRefusal> {
        let Target { project, subject_id: user, .. } = self.target;
        let request = request(Method::Put, |routes| routes.member, project).id(user).json(&json!({"roles": roles}));
        let answer = self.calls.send(request).await?;
        if answer.is_success() {
            return Ok(self.receipt(&answer)?);
        }
        let refusal = ServerRefusal::read(&answer);
        let error = messages::error(&self.asked().roles(roles), &answer, &refusal);
        match refusal.meaning() {
            Meaning::NotAMember => Err(WriteRefusal::NotAMember(error)),
            Meaning::Unchanged => Ok(self.unchanged(roles).await?),
            meaning => Err(self.refused(meaning, error).await.into()),
        }
    }

    async fn remove(&self) -> Result<Receipt, Error> {
        let Target { project, subject_id: user, .. } = self.target;
        let answer = self.calls.send(request(Method::Delete, |routes| routes.member, project).id(user)).await?;
        if !answer.is_success() {
            let refusal = ServerRefusal::read(&answer);
            let error = messages::error(&self.asked(), &answer, &refusal);
            return Err(self.refused(refusal.meaning(), error).await);
        }
        let receipt = self.receipt(&answer)?;
        if receipt.version.is_none() {
            // Nothing was found, and the same is said of a member of another organization's project (trap 3) and of a
            // grant that is gone.
            owner::locate(self.calls, project).await?.known()?;
        }
        Ok(receipt)
    }

    async fn find(&self) -> Result<Option<Member>, Error> {
        search::find(self.calls, &self.target.project, &self.target.subject_id).await
    }

    /// v1 doesn't mind a role that is given twice, and takes it for another list (docs/reference/zitadel.md, trap 2).
    fn another_list(&self, roles: &[String]) -> Option<Vec<String>> {
        Some(roles.iter().chain(roles.last()).cloned().collect())
    }
}
