//! Writing the memberships of users. They are keyed by the membership's own id, which a list tells, and come about by
//! an invitation only, which mails the user.

use serde::Deserialize;
use serde_json::json;

use super::{MembershipWrite, Removal};
use crate::api::SubjectKind;
use crate::core::member::{Change, Entry, Target};
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::infisical::api::{Family, Generation};
use crate::provider::infisical::client::locked;
use crate::provider::infisical::errors::{self, Meaning, Operation, RequestContext};
use crate::provider::infisical::ids::{normal, subject_id};
use crate::provider::infisical::wire::{self, RoleItem};
use crate::provider::infisical::{Infisical, MEMBER, NO_ACCESS, names, routes};
use crate::provider::session::PermitUse;

/// How often the list is looked at again while several memberships of a user become one or none. Each time at least
/// one goes.
const ROUNDS: usize = 32;

/// The answer of an invitation: anyone who is a member already is left out (user-memberships.json, "create again").
#[derive(Deserialize)]
struct Invitation {
    memberships: Vec<CreatedMembership>,
}

/// A membership that was just made.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreatedMembership {
    id: String,
    user_id: String,
}

/// The users of one project, to be written under one permit.
pub(crate) struct UserWrites<'a> {
    pub(crate) infisical: &'a Infisical,
    pub(crate) permit_use: &'a PermitUse<'a>,
    pub(crate) project: &'a str,
}

impl UserWrites<'_> {
    /// Carries out a change.
    pub(crate) async fn apply(&self, target: &Target, name: Option<&str>, change: &Change) -> Result<Removal, Error> {
        let user = &subject_id(SubjectKind::User, &target.subject_id)?;
        match change {
            Change::Create(entries) => self.create(user, name, &wire::items(entries)?).await?,
            Change::Replace(entries) => self.replace(user, &wire::items(entries)?).await?,
            Change::Recreate(entries) => self.make_one(user, &wire::items(entries)?).await?,
            Change::Remove => return self.remove(user).await,
        }
        Ok(Removal::Absent)
    }

    /// Brings a user in by name, without any rights, and returns its id.
    pub(crate) async fn invite(&self, name: &str) -> Result<String, Error> {
        self.may_invite(Some(name), name)?;
        let Some(made) = self.add(name).await? else {
            return match <[String; 1]>::try_from(self.named(name).await?) {
                Ok([user]) => Ok(user),
                Err(_) => Err(Error::Changed {
                    message: format!(
                        "Infisical says that {name:?} is a member of project {} already, and lists no such user",
                        self.project
                    ),
                }),
            };
        };
        self.settle(&made, &wire::items(&[Entry::permanent(NO_ACCESS)])?).await?;
        Ok(made.user_id)
    }

    /// The ids of the project's users with exactly this name.
    pub(crate) async fn named(&self, name: &str) -> Result<Vec<String>, Error> {
        Ok(self.named_or_similar(name).await?.0)
    }

    /// The same, and a name of a user of the project that differs in upper and lower case only. Anyone who is invited by that
    /// would be another account (user-memberships.json, "…in other letter case").
    pub(crate) async fn named_or_similar(&self, name: &str) -> Result<(Vec<String>, Option<String>), Error> {
        let list = self.infisical.memberships(self.permit_use, self.project, SubjectKind::User).await?;
        let similar = list.names(SubjectKind::User).find(|(_, known)| names::is_similar(known, name));
        let similar = similar.map(|(_, known)| known.to_owned());
        let listed = list.named(SubjectKind::User, name);
        if !listed.is_empty() || self.generation() != Some(Generation::G1) {
            return Ok((listed, similar));
        }
        // October 2024 lists users without their usernames, which may be another than the e-mail; its look-up by
        // username takes letters as they are (user-memberships.json, "details: other letter case").
        let asked = self.asked(Operation::FindSubject, name, &[]);
        let body = json!({ "username": name });
        let request = |generation: Generation| routes::details(generation, self.project).json(&body);
        match self.infisical.send(self.permit_use, self.family(), &asked, request).await {
            Ok(answer) => {
                #[derive(Deserialize)]
                struct Details {
                    membership: CreatedMembership,
                }
                Ok((vec![normal(&answer.json::<Details>()?.membership.user_id)], similar))
            }
            Err(Meaning::NotMember(_)) => Ok((Vec::new(), similar)),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// POST by name, and PATCH by the id that it answers. Anyone who is found under the name counts only if it is `user`.
    async fn create(&self, user: &str, name: Option<&str>, items: &[RoleItem]) -> Result<(), Error> {
        let name = self.may_invite(name, user)?;
        let key = || (self.project.to_owned(), user.to_owned(), name.to_owned());
        let known = locked(&self.infisical.namesakes).get(&key()).cloned();
        if let Some(namesake) = known {
            return Err(self.recycled(name, user, &namesake));
        }
        match self.add(name).await? {
            Some(made) if made.user_id == user => self.settle(&made, items).await,
            Some(namesake) => {
                locked(&self.infisical.namesakes).insert(key(), namesake.user_id.clone());
                self.take_back(&namesake).await?;
                Err(self.recycled(name, user, &namesake.user_id))
            }
            None => match self.named(name).await?.as_slice() {
                [other] if other != user => Err(self.recycled(name, user, other)),
                _ => Err(Error::Changed {
                    message: format!("user {user} is a member of project {} already (Infisical)", self.project),
                }),
            },
        }
    }

    /// PATCH: the whole list.
    async fn replace(&self, user: &str, items: &[RoleItem]) -> Result<(), Error> {
        if let Some([id]) = self.infisical.take_ids(self.project, user).as_deref() {
            match self.one(user, id).patch(items).await {
                // The membership was made again since it was listed.
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

    /// Makes one membership with these roles of several, without an invitation: each is PATCHed, so that whichever
    /// counts gives this and no more, the surplus is removed, and what stays is PATCHed. Today's servers write and
    /// remove any of a user's memberships, whichever was named (Infisical's
    /// `backend/src/server/routes/v1/project-membership-router.ts` and `updateMembership` in
    /// `backend/src/services/membership-user/membership-user-service.ts`); there all of them count, so that removing
    /// never gives more. So it goes on until the list shows one.
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
        Err(self.infisical.unfinished(&format!("user {user} still has several memberships")))
    }

    /// Takes all memberships away. That there is none is as good.
    async fn remove(&self, user: &str) -> Result<Removal, Error> {
        let mut known = self.infisical.take_ids(self.project, user).filter(|ids| !ids.is_empty());
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
                // Where the first alone counts, the next one moves up when it goes: none may give anything then.
                ([..], None) => self.empty_each(user, &ids).await?,
            }
            doubt = match self.remove_each(user, &ids).await {
                Ok(Removal::Gone) if ids.len() == 1 => return Ok(Removal::Gone),
                Ok(Removal::Kept(why)) => return Ok(Removal::Kept(why)),
                Ok(_) => None,
                // October 2024 answers the removal of a missing membership with 500 (user-memberships.json, "delete
                // again"), and an answer may be lost: the list says whether it is gone.
                Err(error) if error.effect() == Effect::Unknown => Some(error),
                Err(error) => return Err(error),
            };
        }
        Err(self.infisical.unfinished(&format!("user {user} still has memberships")))
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

    /// Takes each of these memberships away. [`Removal::Absent`]: some weren't there any more.
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

    /// The name to bring in user `who` by, where that is allowed.
    fn may_invite<'n>(&self, name: Option<&'n str>, who: &str) -> Result<&'n str, Error> {
        let project = self.project;
        let Some(name) = name.filter(|_| self.infisical.invite_users) else {
            return Err(Error::Rejected {
                message: format!(
                    "user {who} is not a member of project {project}, and Infisical lets a machine identity add users by \
                     e-mail only, which mails them: add the user by hand once, or declare subject.name and set \
                     inviteUsers: true on the provider"
                ),
            });
        };
        // Whatever isn't known makes an account: a typo, or the address in other letters (user-memberships.json,
        // "create: an unknown username…", "…in other letter case"). Today's servers refuse both.
        if !name.contains('@') || name.to_lowercase() != name {
            return Err(Error::Rejected {
                message: format!(
                    "{name:?} is not a member of project {project}, and nobody is invited to Infisical by such a name: \
                     write the user's e-mail address in small letters, or add the user by hand once"
                ),
            });
        }
        Ok(name)
    }

    /// POST. `None`: anyone who has this name is a member already. On October 2024 the new member is a `member` until the
    /// PATCH that follows, whatever is asked for (user-memberships.json, "create with roleSlugs").
    async fn add(&self, name: &str) -> Result<Option<CreatedMembership>, Error> {
        let roles = [NO_ACCESS.to_owned()];
        let asked = self.asked(Operation::Invite, name, &roles);
        let body = json!({ "usernames": [name], "roleSlugs": roles });
        let request = |generation: Generation| routes::invitation(generation, self.project).json(&body);
        let answer = self.infisical.send(self.permit_use, self.family(), &asked, request).await?;
        let made = answer.json::<Invitation>()?.memberships.pop();
        Ok(made.map(|made| CreatedMembership { user_id: normal(&made.user_id), ..made }))
    }

    /// Gives a member that was just made its roles. Where they are refused it is left without any, and stays: to be
    /// added again would mean to be mailed again. Where even that fails it is removed.
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

    /// Removes somebody who was just added and isn't meant.
    async fn take_back(&self, namesake: &CreatedMembership) -> Result<(), Error> {
        match self.one(&namesake.user_id, &namesake.id).take_away().await {
            Ok(_) => Ok(()),
            Err(refusal) => Err(self.left_behind(namesake, &Error::from(refusal).to_string())),
        }
    }

    fn left_behind(&self, made: &CreatedMembership, why: &str) -> Error {
        Error::Unreachable {
            message: format!(
                "user {} was added to project {} at Infisical and may be left there with the role {MEMBER}: {why}: look \
                 under Access Control → Users",
                made.user_id, self.project
            ),
            effect: Effect::Unknown,
        }
    }

    fn recycled(&self, name: &str, user: &str, other: &str) -> Error {
        Error::SubjectNotFound {
            message: format!(
                "{name:?} is the name of user {other} now, not of {user}, whom this object stands for (Infisical): nobody \
                 was given access; create the object again for the one that is meant"
            ),
        }
    }

    /// The ids of the user's memberships, as listed now.
    async fn look_up(&self, user: &str) -> Result<Vec<String>, Error> {
        self.infisical.memberships(self.permit_use, self.project, SubjectKind::User).await?;
        Ok(self.infisical.take_ids(self.project, user).unwrap_or_default())
    }

    fn one<'b>(&'b self, user: &'b str, id: &'b str) -> MembershipWrite<'b> {
        let UserWrites { infisical, permit_use, project } = self;
        MembershipWrite { infisical, permit_use, kind: SubjectKind::User, project, subject: user, id }
    }

    fn family(&self) -> Family {
        Family::Members(SubjectKind::User)
    }

    fn generation(&self) -> Option<Generation> {
        self.infisical.found(self.family())
    }

    fn asked<'b>(&'b self, operation: Operation, subject: &'b str, roles: &'b [String]) -> RequestContext<'b> {
        RequestContext { operation, kind: SubjectKind::User, project: self.project, subject, roles }
    }
}
