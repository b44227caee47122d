//! Members of projects and of project grants by v2, which calls them administrators: Connect with JSON
//! (docs/reference/zitadel.md, v2).
//!
//! The organization is taken from the project, so that no header is sent. There are no sequences: a write is known by
//! its date, in microseconds since 1970, which is how precisely ZITADEL's database keeps it. All events of one project
//! have the database's clock, so that a later write has a later date.

mod grants;
mod list;
mod owner;
mod resource;
mod wire;

use jiff::Timestamp;
use serde_json::json;

use super::client::Calls;
use super::errors::messages::{self, RequestContext};
use super::errors::{Meaning, ServerRefusal};
use super::list::ProjectPresence;
use super::write::{Members, WriteRefusal};
use crate::core::member::{Member, Target};
use crate::provider::http::{Method, Request, Response};
use crate::provider::{Error, Receipt};

pub(crate) use self::grants::GrantedTo;
pub(crate) use self::list::{check, list, probe};
pub(crate) use self::resource::Resource;
pub(crate) use self::wire::{ProjectItem as NamedProject, Projects};

const CREATE: &str = "/zitadel.internal_permission.v2.InternalPermissionService/CreateAdministrator";
const UPDATE: &str = "/zitadel.internal_permission.v2.InternalPermissionService/UpdateAdministrator";
const DELETE: &str = "/zitadel.internal_permission.v2.InternalPermissionService/DeleteAdministrator";

/// A version of a row.
fn version(date: Timestamp) -> Option<u64> {
    u64::try_from(date.as_microsecond()).ok()
}

/// One administrator of a project or a project grant.
pub(crate) struct Administrator<'a> {
    calls: &'a Calls<'a>,
    target: &'a Target,
    resource: &'a Resource<'a>,
}

impl<'a> Administrator<'a> {
    /// The member of `resource` that a target names; its ids are checked.
    pub(crate) fn new(calls: &'a Calls<'a>, target: &'a Target, resource: &'a Resource<'a>) -> Self {
        Self { calls, target, resource }
    }

    fn asked(&self) -> RequestContext<'_> {
        RequestContext::of_project(self.calls.endpoint(), &self.target.project).user(&self.target.subject_id)
    }

    /// The error of a write that was refused: where it was for lack of rights, the project itself may say that it is gone.
    async fn refused(&self, meaning: Meaning, refused: Error) -> Error {
        match meaning.is_for_lack_of_rights() {
            true => {
                ProjectPresence::explain(owner::locate(self.calls, &self.target.project, self.resource).await, refused)
            }
            false => refused,
        }
    }

    async fn send(&self, route: &'static str, roles: Option<&[String]>) -> Result<Response, Error> {
        let mut body = json!({"userId": self.target.subject_id, "resource": self.resource.json()});
        if let (Some(roles), Some(body)) = (roles, body.as_object_mut()) {
            body.insert("roles".to_owned(), json!(roles));
        }
        self.calls.send_about_none(Request::new(Method::Post, route).json(&body)).await
    }

    /// What was written, by its date.
    fn receipt(answer: &Response) -> Result<Receipt, Error> {
        match answer.json::<wire::WriteResponse>()?.date {
            Some(date) => Ok(Receipt { version: version(date), ..Receipt::default() }),
            None => Err(answer.nonsense("no date of what was written")),
        }
    }
}

impl Members for Administrator<'_> {
    async fn add(&self, roles: &[String]) -> Result<Receipt, WriteRefusal> {
        let answer = self.send(CREATE, Some(roles)).await?;
        if answer.is_success() {
            return Ok(Self::receipt(&answer)?);
        }
        let refusal = ServerRefusal::of_adding(&answer);
        let error = messages::error(&self.asked().roles(roles), &answer, &refusal);
        match refusal.meaning() {
            Meaning::AMember => Err(WriteRefusal::AMember(error)),
            Meaning::NoProjectHere | Meaning::NoGrantHere => {
                owner::locate(self.calls, &self.target.project, self.resource).await?;
                Err(error.into())
            }
            meaning => Err(self.refused(meaning, error).await.into()),
        }
    }

    async fn change(&self, roles: &[String]) -> Result<Receipt, WriteRefusal> {
        let answer = self.send(UPDATE, Some(roles)).await?;
        if answer.is_success() {
            return Ok(Self::receipt(&answer)?);
        }
        let refusal = ServerRefusal::read(&answer);
        let error = messages::error(&self.asked().roles(roles), &answer, &refusal);
        match refusal.meaning() {
            Meaning::NotAMember => Err(WriteRefusal::NotAMember(error)),
            meaning => Err(self.refused(meaning, error).await.into()),
        }
    }

    async fn remove(&self) -> Result<Receipt, Error> {
        let answer = self.send(DELETE, None).await?;
        if !answer.is_success() {
            let refusal = ServerRefusal::read(&answer);
            let error = messages::error(&self.asked(), &answer, &refusal);
            return Err(self.refused(refusal.meaning(), error).await);
        }
        let date = answer.json::<wire::WriteResponse>()?.date;
        if date.is_none() {
            // Nothing was found, and the same is said to who may not remove anybody (internal-permissions-v2.json, "no
            // rights: delete of one who is not an administrator") and of a project that is gone.
            owner::locate(self.calls, &self.target.project, self.resource).await?.known()?;
        }
        Ok(Receipt { version: date.and_then(version), ..Receipt::default() })
    }

    async fn find(&self) -> Result<Option<Member>, Error> {
        list::find(self.calls, &self.target.project, self.resource, &self.target.subject_id).await
    }

    /// Roles may not be repeated; the order of several makes another list.
    fn another_list(&self, roles: &[String]) -> Option<Vec<String>> {
        (roles.len() > 1).then(|| roles.iter().rev().cloned().collect())
    }
}
