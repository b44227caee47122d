//! Carries out a change with either API (docs/reference/zitadel.md, Consistency: "flow that holds").

use std::time::Duration;

use super::errors::{Meaning, Refusal};
use crate::core::member::{Change, Entry, Member};
use crate::provider::{Error, Receipt};

/// How long search may lag behind a write, with a margin: at most 43 ms were observed (concurrency.json,
/// `lag_after_put_while_4_other_clients_write_other_projects`).
const LAG: Duration = Duration::from_millis(250);

/// One request that writes a member. Lists of roles are sorted and contain each role once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MemberWrite<'a> {
    /// Adds the user as a member.
    Add(&'a [String]),
    /// Replaces a member's roles.
    Change(&'a [String]),
    Remove,
}

impl<'a> MemberWrite<'a> {
    /// The roles that the member is to have.
    pub(crate) fn roles(self) -> Option<&'a [String]> {
        match self {
            Self::Add(roles) | Self::Change(roles) => Some(roles),
            Self::Remove => None,
        }
    }
}

/// One member, as it is written and found with the API that is served.
pub(crate) trait MemberApi: Sync {
    /// Writes it. [`Meaning::NotAMember`] is a refusal of a change, [`Meaning::AMember`] one of an addition. The
    /// removal of a missing member is no error, provided that the project exists under the requested organization.
    fn write(&self, write: MemberWrite<'_>) -> impl Future<Output = Result<Receipt, Refusal>> + Send;

    /// The member's row, if search shows it.
    fn find(&self) -> impl Future<Output = Result<Option<Member>, Error>> + Send;

    /// A list that the server considers different from `roles`, without any other role; `None` if there is none.
    fn another_list(&self, roles: &[String]) -> Option<Vec<String>>;
}

/// Carries out a change. A change to a user who is not a member is [`Error::Changed`]: what was to be replaced may just
/// have been removed, including unmanaged roles, and must not be restored without an observation.
pub(crate) async fn apply(member: &impl MemberApi, change: &Change) -> Result<Receipt, Error> {
    match change {
        Change::Create(entries) => create(member, &roles(entries)?).await,
        Change::Replace(entries) => Ok(member.write(MemberWrite::Change(&roles(entries)?)).await?),
        Change::Recreate(entries) => {
            let roles = roles(entries)?;
            member.write(MemberWrite::Remove).await?;
            create(member, &roles).await
        }
        Change::Remove => Ok(member.write(MemberWrite::Remove).await?),
    }
}

/// Adds a member. The server may have one that search never shows: of a user without a login name, or whose
/// organization no longer exists (docs/reference/zitadel.md, traps 1 and 5). It is changed, since nothing in force
/// could be lost; one that search shows was created by another writer meanwhile, and the change is planned again.
async fn create(member: &impl MemberApi, roles: &[String]) -> Result<Receipt, Error> {
    match member.write(MemberWrite::Add(roles)).await {
        Err(Refusal { meaning: Meaning::AMember, error: changed, .. }) if stays(member, false).await? => {
            match member.write(MemberWrite::Change(roles)).await {
                Err(Refusal { meaning: Meaning::NotAMember, .. }) => Err(changed),
                done => Ok(done?),
            }
        }
        done => Ok(done?),
    }
}

/// Whether search continues (not) to show the member: it may only lag behind a recent write.
pub(crate) async fn stays(member: &impl MemberApi, shown: bool) -> Result<bool, Error> {
    if member.find().await?.is_some() != shown {
        return Ok(false);
    }
    tokio::time::sleep(LAG).await;
    Ok(member.find().await?.is_some() == shown)
}

/// The roles of a list as they are sent: the server compares lists in their order (docs/reference/zitadel.md, trap 2).
/// Terms aren't sent: nothing in a member has an expiry.
pub(crate) fn roles(entries: &[Entry]) -> Result<Vec<String>, Error> {
    let mut roles: Vec<String> = entries.iter().map(|entry| entry.role.clone()).collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        let message = "a ZITADEL member can't be without roles: it must be removed instead".to_owned();
        return Err(Error::Rejected { message });
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_sent_sorted_and_once() {
        let entries = |roles: &[&str]| roles.iter().map(|role| Entry::permanent(*role)).collect::<Vec<_>>();
        assert_eq!(roles(&entries(&["B", "A", "B"])).unwrap(), ["A", "B"]);
        assert_eq!(roles(&entries(&["A"])).unwrap(), ["A"]);
        assert!(matches!(roles(&[]), Err(Error::Rejected { .. })));
    }
}
