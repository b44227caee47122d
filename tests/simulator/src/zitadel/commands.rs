//! The writes of members, of projects and of grants, by either API: what is checked, in which order, and the result
//! (project-members.json, project-grant-members.json, internal-permissions-v2.json).
//!
//! They decide from the events, search reads the projection: that is why a PUT can answer 200 for a member that search
//! never shows.

use std::sync::MutexGuard;

use jiff::Timestamp;

use super::Zitadel;
use super::auth::Call;
use super::errors::{self, Refusal};
use super::events::{Kind, Member, Resource};
use super::permission::Permission;
use super::state::{ServerGeneration, State};

/// A write of one member.
pub(crate) struct Command<'a> {
    pub(crate) zitadel: &'a Zitadel,
    pub(crate) call: &'a Call,
    pub(crate) resource: Resource,
    pub(crate) user: String,
    /// The organisation that the project must be of: management v1's, while v2 takes the project's own.
    pub(crate) org: Option<&'a str>,
}

/// A completed write, now or earlier.
pub(crate) struct Written {
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    /// The project's organisation.
    pub(crate) org: String,
}

impl From<&Member> for Written {
    fn from(member: &Member) -> Self {
        Self { sequence: member.sequence, at: member.changed, org: member.org.clone() }
    }
}

impl Command<'_> {
    /// Makes the user a member.
    pub(crate) async fn add(self, roles: Vec<String>) -> Result<Written, Refusal> {
        let granted_org = {
            let held = self.held();
            self.check_roles(&held, &roles, ["PROJECT-W8m4l", "PROJECT-3m9ds"], ["PROJECT-8fi7G", "PROJECT-m9gKK"])?;
            held.live_user(&self.user).ok_or_else(errors::no_user)?;
            let granted_org = self.check_resource(&held)?;
            self.check_rights(&held, Permission::MemberWrite, Permission::GrantMemberWrite)?;
            if held.member(&self.resource, &self.user).is_some_and(|member| member.exists) {
                return Err(self.exists_already(&held));
            }
            granted_org
        };
        let org = self.held().org_of_project(&self.resource.project);
        self.push(Kind::MemberAdded { user: self.user.clone(), org, granted_org, roles }).await
    }

    /// Sets these roles of a member. Whether user and project exist is not checked: the response for a ghost is 200
    /// (`docs/reference/zitadel.md`, trap 1).
    pub(crate) async fn change(self, roles: Vec<String>) -> Result<Written, Refusal> {
        {
            let held = self.held();
            self.check_roles(&held, &roles, ["PROJECT-LiaZi", "PROJECT-3m9d"], ["PROJECT-109fs", "PROJECT-m0sDf"])?;
            let missing = if self.is_grant() { errors::no_grant_member } else { errors::no_member };
            let member = self.member(&held).filter(|member| member.exists).ok_or_else(missing)?;
            self.check_rights(&held, Permission::MemberWrite, Permission::GrantMemberWrite)?;
            // Lists are compared as they are, the order and repetitions among it.
            if member.roles == roles {
                return match held.generation {
                    ServerGeneration::V3 if self.is_grant() => Err(errors::grant_unchanged()),
                    ServerGeneration::V3 => Err(errors::unchanged()),
                    ServerGeneration::V4 | ServerGeneration::V2Only => Ok(Written::from(member)),
                };
            }
        }
        let user = self.user.clone();
        self.push(Kind::MemberChanged { user, roles }).await
    }

    /// Removes a member. For one that was removed before it returns that removal, for one that never was a member
    /// nothing.
    pub(crate) async fn remove(self) -> Result<Option<Written>, Refusal> {
        {
            let held = self.held();
            match self.member(&held) {
                None => return Ok(None),
                Some(member) if !member.exists => return Ok(Some(Written::from(member))),
                Some(_) => self.check_rights(&held, Permission::MemberDelete, Permission::GrantMemberDelete)?,
            }
        }
        let user = self.user.clone();
        self.push(Kind::MemberRemoved { user }).await.map(Some)
    }

    fn is_grant(&self) -> bool {
        self.resource.grant.is_some()
    }

    fn held(&self) -> MutexGuard<'_, State> {
        let mut held = self.zitadel.state();
        held.catch_up();
        held
    }

    /// The member on the write side; a project's only under the right organisation.
    fn member<'s>(&self, held: &'s State) -> Option<&'s Member> {
        let member = held.member(&self.resource, &self.user)?;
        let fits = self.is_grant() || self.org.is_none_or(|org| org == member.org);
        fits.then_some(member)
    }

    fn check_roles(
        &self,
        held: &State,
        roles: &[String],
        of_project: [&'static str; 2],
        of_grant: [&'static str; 2],
    ) -> Result<(), Refusal> {
        let is_grant = self.is_grant();
        let [empty, unknown] = if is_grant { of_grant } else { of_project };
        let refused = |id| if is_grant { errors::invalid_grant_member(id) } else { errors::invalid_member(id) };
        let known = |role: &String| if is_grant { held.is_grant_role(role) } else { held.is_project_role(role) };
        if roles.is_empty() {
            return Err(refused(empty));
        }
        if roles.iter().all(known) { Ok(()) } else { Err(refused(unknown)) }
    }

    /// That the project, or the grant, is there to be added to; the organisation that it is granted to.
    fn check_resource(&self, held: &State) -> Result<Option<String>, Refusal> {
        let Some(id) = &self.resource.grant else {
            let project = held.projects.get(&self.resource.project).filter(|project| !project.deleted);
            let fits = project.is_some_and(|project| self.org.is_none_or(|org| org == project.org));
            return if fits { Ok(None) } else { Err(errors::no_project_to_add_to()) };
        };
        let grant = held.live_grant(id).filter(|grant| grant.project == self.resource.project);
        grant.map(|grant| Some(grant.granted_org.clone())).ok_or_else(errors::no_grant_to_add_to)
    }

    /// The methods' own check of the caller's permissions: on a grant in the organisation that it was granted to.
    fn check_rights(&self, held: &State, on_project: Permission, on_grant: Permission) -> Result<(), Refusal> {
        let refused = match &self.resource.grant {
            None => {
                let org = held.org_of_project(&self.resource.project);
                held.may(&self.call.user, &org, on_project, Some(&self.resource.project))
            }
            Some(grant) => {
                let org = held.grants.get(grant).map(|grant| grant.granted_org.as_str()).unwrap_or_default();
                held.may(&self.call.user, org, on_grant, Some(grant))
            }
        };
        refused.map_err(errors::method_may_not)
    }

    fn exists_already(&self, held: &State) -> Refusal {
        if !self.is_grant() {
            return errors::member_exists();
        }
        // Management v1 looks for the member under the header's organisation: under another one it doesn't find it,
        // and the unique constraint refuses.
        let finds_it = self.org.is_none_or(|org| org == held.org_of_project(&self.resource.project));
        if finds_it { errors::grant_member_exists() } else { errors::grant_member_exists_by_now() }
    }

    async fn push(&self, kind: Kind) -> Result<Written, Refusal> {
        let now = self.zitadel.now();
        if !self.call.faults.window.is_zero() {
            tokio::time::sleep(self.call.faults.window).await;
        }
        let mut held = self.zitadel.state();
        let (sequence, at) =
            held.push(&self.resource, kind, self.call.faults.lost, now).map_err(|_| errors::member_exists_by_now())?;
        Ok(Written { sequence, at, org: held.org_of_project(&self.resource.project) })
    }
}
