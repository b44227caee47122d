//! How a change is carried out, whichever API carries it (docs/reference/zitadel.md, Consistency: "flow that holds").

use std::time::Duration;

use crate::core::member::{Change, Entry, Member};
use crate::provider::{Error, Receipt};

/// How long search may be behind a write that was just made, with room to spare: 43 ms at most was seen
/// (concurrency.json, `lag_after_put_while_4_other_clients_write_other_projects`).
const LAG: Duration = Duration::from_millis(250);

/// What one API can do with one member. Lists of roles are sorted and hold each role once.
pub(crate) trait Members: Sync {
    /// Adds the user as a member.
    fn add(&self, roles: &[String]) -> impl Future<Output = Result<Receipt, WriteRefusal>> + Send;

    /// Replaces a member's roles.
    fn change(&self, roles: &[String]) -> impl Future<Output = Result<Receipt, WriteRefusal>> + Send;

    /// Removes the member. That it wasn't there is no error, provided that the project is where it is looked for.
    fn remove(&self) -> impl Future<Output = Result<Receipt, Error>> + Send;

    /// The member, where search shows it.
    fn find(&self) -> impl Future<Output = Result<Option<Member>, Error>> + Send;

    /// A list that the server takes for another than `roles`, with no other role in it; `None` where there is none.
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

/// Carries out a change.
///
/// A change to one who is no member is [`Error::Changed`]: what was to be replaced may just have been taken away, roles
/// of others among it, and is not given back unseen.
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

/// Adds a member. The server may know one that search never shows: of a user without a login name, or whose organization
/// is gone (docs/reference/zitadel.md, traps 1 and 5). It is changed, since there is nothing in force that could be
/// lost; one that search shows was made by somebody else meanwhile, and is planned for again.
async fn create(member: &impl Members, roles: &[String]) -> Result<Receipt, Error> {
    match member.add(roles).await {
        Err(WriteRefusal::AMember(changed)) if stays(member, false).await? => match member.change(roles).await {
            Err(WriteRefusal::NotAMember(_)) => Err(changed),
            done => Ok(done?),
        },
        done => Ok(done?),
    }
}

/// Whether search goes on (not) showing the member: it may only be behind a write that was just made.
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
        let message = "a ZITADEL member without roles can't be: it must be removed instead".to_owned();
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
