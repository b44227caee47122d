//! Writing the memberships of users. They are keyed by the membership's own id, which a list shows, and are created
//! only by an invitation, which sends the user mail.

use serde::Deserialize;
use serde_json::json;

use super::{MembershipWrite, Removal};
use crate::api::SubjectKind;
use crate::core::member::{Change, Entry};
use crate::provider::error::Effect;
use crate::provider::infisical::api::{Family, Generation};
use crate::provider::infisical::client::Calls;
use crate::provider::infisical::errors::{self, Meaning, Operation, RequestContext};
use crate::provider::infisical::ids::normal;
use crate::provider::infisical::names::Named;
use crate::provider::infisical::wire::{self, RoleItem};
use crate::provider::infisical::{MEMBER, NO_ACCESS, routes};
use crate::provider::{Error, locked};

/// How often the list is read again while several memberships of a user become one or none. Each time at least one is
/// removed.
const ROUNDS: usize = 32;

/// The routes of users' memberships.
const USERS: Family = Family::Members(SubjectKind::User);

/// The response to an invitation: users who are already members are left out (user-memberships.json, "create again").
#[derive(Deserialize)]
struct Invitation {
    memberships: Vec<CreatedMembership>,
}

/// A membership that was just created.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreatedMembership {
    id: String,
    user_id: String,
}

/// The response to a look-up by username.
#[derive(Deserialize)]
struct Details {
    membership: CreatedMembership,
}

/// The users of one project, to be written under one permit.
pub(crate) struct UserWrites<'a> {
    pub(crate) calls: &'a Calls<'a>,
    pub(crate) project: &'a str,
}

impl UserWrites<'_> {
    /// Carries out a change.
    pub(crate) async fn apply(&self, user: &str, name: Option<&str>, change: &Change) -> Result<Removal, Error> {
        match change {
            Change::Create(entries) => self.create(user, name, &wire::items(entries)?).await?,
            Change::Replace(entries) => self.replace(user, &wire::items(entries)?).await?,
            Change::Recreate(entries) => self.make_one(user, &wire::items(entries)?).await?,
            Change::Remove => return self.remove(user).await,
        }
        Ok(Removal::Absent)
    }

    /// Invites a user by name, without any permissions, and returns its id.
    pub(crate) async fn invite(&self, name: &str) -> Result<String, Error> {
        self.may_invite(Some(name), name)?;
        let Some(made) = self.add(name).await? else {
            return match <[String; 1]>::try_from(self.named(name).await?.ids) {
                Ok([user]) => Ok(user),
                Err(_) => Err(Error::Changed {
                    message: format!(
                        "Infisical reports that {name:?} is a member of project {} already, and lists no such user",
                        self.project
                    ),
                }),
            };
        };
        self.settle(&made, &wire::items(&[Entry::permanent(NO_ACCESS)])?).await?;
        Ok(made.user_id)
    }

    /// The project's users with exactly this name, and a name of one that differs only in letter case: an invitation by
    /// that name would create another account (user-memberships.json, "…in other letter case").
    pub(crate) async fn named(&self, name: &str) -> Result<Named, Error> {
        let mut named = self.calls.memberships(self.project, SubjectKind::User).await?.named(SubjectKind::User, name);
        if !named.ids.is_empty() || self.calls.infisical.found(USERS) != Some(Generation::G1) {
            return Ok(named);
        }
        // October 2024 lists users without their usernames, which may be another than the e-mail; its look-up by
        // username is case-sensitive (user-memberships.json, "details: other letter case").
        let asked = RequestContext::new(Operation::FindSubject, SubjectKind::User, self.project, name);
        let body = json!({ "username": name });
        let request = |generation: Generation| routes::details(generation, self.project).json(&body);
        match self.calls.send(USERS, &asked, request).await {
            Ok(answer) => named.ids.push(normal(&answer.json::<Details>()?.membership.user_id)),
            Err(Meaning::NotMember(_)) => {}
            Err(refusal) => return Err(refusal.into()),
        }
        Ok(named)
    }

    /// POST by name, and PATCH by the id in its response. A user found under the name counts only if it is `user`.
    async fn create(&self, user: &str, name: Option<&str>, items: &[RoleItem]) -> Result<(), Error> {
        let name = self.may_invite(name, user)?;
        let key = || (self.project.to_owned(), user.to_owned(), name.to_owned());
        let namesakes = &self.calls.infisical.namesakes;
        let known = locked(namesakes).get(&key()).cloned();
        if let Some(namesake) = known {
            return Err(self.recycled(name, user, &namesake));
        }
        match self.add(name).await? {
            Some(made) if made.user_id == user => self.settle(&made, items).await,
            Some(namesake) => {
                locked(namesakes).insert(key(), namesake.user_id.clone());
                self.take_back(&namesake).await?;
                Err(self.recycled(name, user, &namesake.user_id))
            }
            None => match self.named(name).await?.ids.as_slice() {
                [other] if other != user => Err(self.recycled(name, user, other)),
                _ => Err(Error::Changed {
                    message: format!("user {user} is a member of project {} already (Infisical)", self.project),
                }),
            },
        }
    }

    /// PATCH: the whole list.
    async fn replace(&self, user: &str, items: &[RoleItem]) -> Result<(), Error> {
        if let Some([id]) = self.calls.take_ids(self.project, user).as_deref() {
            match self.one(user, id).patch(items).await {
                // The membership was created again since it was listed.
                Err(Meaning::NotMember(_)) => {}
                outcome => return Ok(outcome?),
            }
        }
        match self.look_up(user).await?.as_slice() {
            [id] => Ok(self.one(user, id).patch(items).await?),
            ids => Err(Error::Changed {
                message: format!("user {user} has {} memberships of project {} (Infisical)", ids.len(), self.project),
            }),
        }
    }

    /// Replaces several memberships by one with these roles, without an invitation: each is PATCHed, so that the one in
    /// effect grants this and no more, the surplus is removed, and the remaining one is PATCHed. Today's servers write
    /// and remove an arbitrary one of a user's memberships, not the one in the path (Infisical's
    /// `backend/src/server/routes/v1/project-membership-router.ts` and `updateMembership` in
    /// `backend/src/services/membership-user/membership-user-service.ts`); there all of them are in effect, so that
    /// removing never grants more. This is repeated until the list shows one.
    async fn make_one(&self, user: &str, items: &[RoleItem]) -> Result<(), Error> {
        let mut written = false;
        for _ in 0..ROUNDS {
            let ids = match self.look_up(user).await {
                Err(error) if written => return Err(errors::after_a_write(error)),
                ids => ids?,
            };
            let Some((stays, surplus)) = ids.split_first() else {
                return Err(Error::Changed {
                    message: format!("user {user} is not a member of project {} any more (Infisical)", self.project),
                });
            };
            let mut missed = false;
            for id in &ids {
                match self.one(user, id).patch(items).await {
                    Ok(()) => written = true,
                    Err(Meaning::NotMember(_)) => missed = true,
                    Err(refusal) if written => return Err(errors::after_a_write(refusal.into())),
                    Err(refusal) => return Err(refusal.into()),
                }
            }
            if surplus.is_empty() && !missed {
                return Ok(());
            }
            tracing::debug!(user, project = self.project, stays, surplus = surplus.len(), "several memberships");
            if let Removal::Kept(why) = self.remove_each(user, surplus).await.map_err(errors::after_a_write)? {
                return Err(Error::Rejected {
                    message: format!(
                        "user {user} has several memberships of project {} (Infisical), which gives each of them the same \
                         roles now and removes none: {why}",
                        self.project
                    ),
                });
            }
        }
        Err(self.calls.unfinished(&format!("user {user} still has several memberships")))
    }

    /// Removes all memberships. It is also a success if there is none.
    async fn remove(&self, user: &str) -> Result<Removal, Error> {
        let mut known = self.calls.take_ids(self.project, user).filter(|ids| !ids.is_empty());
        let mut doubt: Option<Error> = None;
        for _ in 0..ROUNDS {
            let ids = match known.take() {
                Some(ids) => ids,
                None => self.look_up(user).await.map_err(|error| doubt.clone().unwrap_or(error))?,
            };
            match (ids.as_slice(), doubt) {
                ([], _) => return Ok(Removal::Gone),
                (_, Some(error)) => return Err(error),
                ([_], None) => {}
                // If only the first is in effect, the next one takes its place when it is removed: none may grant
                // anything then.
                ([..], None) => self.empty_each(user, &ids).await?,
            }
            doubt = match self.remove_each(user, &ids).await {
                Ok(Removal::Gone) if ids.len() == 1 => return Ok(Removal::Gone),
                Ok(Removal::Kept(why)) => return Ok(Removal::Kept(why)),
                Ok(_) => None,
                // October 2024 responds to the removal of a missing membership with 500 (user-memberships.json, "delete
                // again"), and a response may be lost: the list shows whether it is gone.
                Err(error) if error.effect() == Effect::Unknown => Some(error),
                Err(error) => return Err(error),
            };
        }
        Err(self.calls.unfinished(&format!("user {user} still has memberships")))
    }

    async fn empty_each(&self, user: &str, ids: &[String]) -> Result<(), Error> {
        for id in ids {
            match self.one(user, id).empty().await {
                Ok(()) | Err(Meaning::NotMember(_)) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Ok(())
    }

    /// Removes each of these memberships. [`Removal::Absent`]: some no longer existed.
    async fn remove_each(&self, user: &str, ids: &[String]) -> Result<Removal, Error> {
        let mut removed = Removal::Gone;
        for id in ids {
            match (self.one(user, id).take_away().await?, removed) {
                (Removal::Gone, _) | (Removal::Absent, Removal::Kept(_)) => {}
                (other, _) => removed = other,
            }
        }
        Ok(removed)
    }

    /// The name to invite user `who` by, if that is allowed.
    fn may_invite<'n>(&self, name: Option<&'n str>, who: &str) -> Result<&'n str, Error> {
        let project = self.project;
        let Some(name) = name.filter(|_| self.calls.infisical.invite_users) else {
            return Err(Error::Rejected {
                message: format!(
                    "user {who} is not a member of project {project}, and Infisical lets a machine identity add users by \
                     e-mail only, which sends them mail: add the user manually once, or declare subject.name and set \
                      inviteUsers: true on the provider"
                ),
            });
        };
        // Every unknown name creates an account: a typo, or the address in another letter case (user-memberships.json,
        // "create: an unknown username…", "…in other letter case"). Today's servers refuse both.
        if !name.contains('@') || name.to_lowercase() != name {
            return Err(Error::Rejected {
                message: format!(
                    "{name:?} is not a member of project {project}, and users can't be invited to Infisical by such a \
                     name: write the user's e-mail address in lower case, or add the user manually once"
                ),
            });
        }
        Ok(name)
    }

    /// POST. `None`: the user with this name is already a member. On October 2024 the new member is a `member` until
    /// the PATCH that follows, whichever roles are requested (user-memberships.json, "create with roleSlugs").
    async fn add(&self, name: &str) -> Result<Option<CreatedMembership>, Error> {
        let roles = [NO_ACCESS.to_owned()];
        let asked = RequestContext::new(Operation::Invite, SubjectKind::User, self.project, name);
        let asked = RequestContext { roles: &roles, ..asked };
        let body = json!({ "usernames": [name], "roleSlugs": roles });
        let request = |generation: Generation| routes::invitation(generation, self.project).json(&body);
        let answer = self.calls.send(USERS, &asked, request).await?;
        let made = answer.json::<Invitation>()?.memberships.pop();
        Ok(made.map(|made| CreatedMembership { user_id: normal(&made.user_id), ..made }))
    }

    /// Grants its roles to a member that was just created. If they are refused, the member is left without any and is
    /// kept: adding it again would send mail again. If even that fails, it is removed.
    async fn settle(&self, made: &CreatedMembership, items: &[RoleItem]) -> Result<(), Error> {
        let one = self.one(&made.user_id, &made.id);
        let Err(refusal) = one.patch(items).await else {
            return Ok(());
        };
        let error = Error::from(refusal);
        if error.effect() == Effect::Unknown {
            return Err(error);
        }
        if one.empty().await.is_ok() || one.delete().await.is_ok() {
            return Err(error);
        }
        Err(self.left_behind(made, &error.to_string()))
    }

    /// Removes a user that was just added by mistake.
    async fn take_back(&self, namesake: &CreatedMembership) -> Result<(), Error> {
        match self.one(&namesake.user_id, &namesake.id).take_away().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.left_behind(namesake, &error.to_string())),
        }
    }

    fn left_behind(&self, made: &CreatedMembership, why: &str) -> Error {
        Error::Unreachable {
            message: format!(
                "user {} was added to project {} at Infisical and may be left there with the role {MEMBER}: {why}: check \
                 under Access Control → Users",
                made.user_id, self.project
            ),
            effect: Effect::Unknown,
        }
    }

    fn recycled(&self, name: &str, user: &str, other: &str) -> Error {
        Error::SubjectNotFound {
            message: format!(
                "{name:?} is the name of user {other} now, not of {user}, which this object was created for (Infisical): no \
                 access was granted; create the object again for the intended user"
            ),
        }
    }

    /// The ids of the user's memberships, as listed now.
    async fn look_up(&self, user: &str) -> Result<Vec<String>, Error> {
        self.calls.memberships(self.project, SubjectKind::User).await?;
        Ok(self.calls.take_ids(self.project, user).unwrap_or_default())
    }

    fn one<'b>(&'b self, user: &'b str, id: &'b str) -> MembershipWrite<'b> {
        let UserWrites { calls, project } = self;
        MembershipWrite { calls, kind: SubjectKind::User, project, subject: user, id }
    }
}
