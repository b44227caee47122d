//! Carries out a change with either API (docs/reference/zitadel.md, Consistency: "flow that holds").

use std::time::Duration;

use crate::core::member::{Change, Entry, Member};
use crate::provider::{Error, Receipt};

/// How long search may lag behind a write, with a margin: at most 43 ms were observed (concurrency.json,
/// `lag_after_put_while_4_other_clients_write_other_projects`).
const LAG: Duration = Duration::from_millis(250);

/// The operations of one API on one member. Lists of roles are sorted and contain each role once.
pub(crate) trait Members: Sync {
    /// Adds the user as a member.
    fn add(&self, roles: &[String]) -> impl Future<Output = Result<Receipt, WriteRefusal>> + Send;

    /// Replaces a member's roles.
    fn change(&self, roles: &[String]) -> impl Future<Output = Result<Receipt, WriteRefusal>> + Send;

    /// Removes the member. A missing member is no error, provided that the project exists under the requested
    /// organization.
    fn remove(&self) -> impl Future<Output = Result<Receipt, Error>> + Send;

    /// The member, if search shows it.
    fn find(&self) -> impl Future<Output = Result<Option<Member>, Error>> + Send;

    /// A list that the server considers different from `roles`, without any other role; `None` if there is none.
    fn another_list(&self, roles: &[String]) -> Option<Vec<String>>;
}

/// Why a write wasn't carried out.
#[derive(Debug)]
pub(crate) enum WriteRefusal {
    /// The user isn't a member.
    NotAMember(Error),
    /// The user is a member already.
    AMember(Error),
    /// For another reason.
    Otherwise(Error),
}

impl From<WriteRefusal> for Error {
    fn from(refused: WriteRefusal) -> Self {
        match refused {
            WriteRefusal::NotAMember(error) | WriteRefusal::AMember(error) | WriteRefusal::Otherwise(error) => error,
        }
    }
}

impl From<Error> for WriteRefusal {
    fn from(error: Error) -> Self {
        Self::Otherwise(error)
    }
}

/// Carries out a change. A change to a user who is not a member is [`Error::Changed`]: what was to be replaced may just
/// have been removed, including unmanaged roles, and must not be restored without an observation.
pub(crate) async fn apply(member: &impl Members, change: &Change) -> Result<Receipt, Error> {
    match change {
        Change::Create(entries) => create(member, &roles(entries)?).await,
        Change::Replace(entries) => Ok(member.change(&roles(entries)?).await?),
        Change::Recreate(entries) => {
            let roles = roles(entries)?;
            member.remove().await?;
            create(member, &roles).await
        }
        Change::Remove => member.remove().await,
    }
}

/// Adds a member. The server may have one that search never shows: of a user without a login name, or whose
/// organization no longer exists (docs/reference/zitadel.md, traps 1 and 5). It is changed, since nothing in force
/// could be lost; one that search shows was created by another writer meanwhile, and the change is planned again.
async fn create(member: &impl Members, roles: &[String]) -> Result<Receipt, Error> {
    match member.add(roles).await {
        Err(WriteRefusal::AMember(changed)) if stays(member, false).await? => match member.change(roles).await {
            Err(WriteRefusal::NotAMember(_)) => Err(changed),
            done => Ok(done?),
        },
        done => Ok(done?),
    }
}

/// Whether search continues (not) to show the member: it may only lag behind a recent write.
pub(crate) async fn stays(member: &impl Members, shown: bool) -> Result<bool, Error> {
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
