//! The cure of a write that was answered with yes and never reached what search and rights read (reference/zitadel.md,
//! trap 4), whichever API carries it.
//!
//! What makes an event is a list that differs from the one that the server believes in; what search missed, it learns
//! with the next event. Whatever moment a cure is cut short at, only roles that are wanted or still shown were written.

use super::flow::{self, Members, Refused};
use crate::member::{Change, Entry, Member};
use crate::provider::{Error, Receipt};

/// Makes the write that was lost anew. `shown` is the row that an observation after it shows.
pub async fn heal(member: &impl Members, wanted: &Change, shown: Option<&Member>) -> Result<Receipt, Error> {
    match (wanted, shown) {
        (Change::Remove, Some(shown)) => remove_again(member, &shown.entries).await,
        // Nothing is shown and nothing is wanted: the removal itself says whether the project is looked at rightly.
        (Change::Remove, None) => member.remove().await,
        (Change::Create(entries) | Change::Replace(entries) | Change::Recreate(entries), shown) => {
            let roles = flow::roles(entries)?;
            match shown {
                Some(_) => change_again(member, &roles).await,
                None => add_again(member, &roles).await,
            }
        }
    }
}

/// The row stays though the server believes that there is no member. It must believe in one to remove it: one with the
/// roles that are in force anyway. (The server can't insert the row a second time; after some tries, during which all
/// member searches of the instance stand still, it goes on to the removal.)
async fn remove_again(member: &impl Members, shown: &[Entry]) -> Result<Receipt, Error> {
    // A row without roles gives nothing and can't be added: then the removal alone has to do.
    if let Ok(roles) = flow::roles(shown) {
        match member.add(&roles).await {
            Ok(_) | Err(Refused::AMember(_)) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    member.remove().await
}

/// The row shows an old list. The wanted one is the one that the server believes in, so another comes first; where there
/// is no other, the member is removed and added.
async fn change_again(member: &impl Members, roles: &[String]) -> Result<Receipt, Error> {
    let other = member.another_list(roles);
    let first = other.as_deref().unwrap_or(roles);
    match member.change(first).await {
        Ok(_) => {}
        Err(Refused::NotAMember(changed)) => {
            if !flow::stays(member, true).await? {
                return Err(changed);
            }
            // Somebody's removal was lost: the server believes in no member while its row is in force, and can neither
            // change that row nor remove it before it believes in one again.
            member.add(roles).await?;
            member.change(first).await?;
        }
        Err(refused) => return Err(refused.into()),
    }
    if other.is_none() {
        return add_again(member, roles).await;
    }
    Ok(member.change(roles).await?)
}

/// There is no row, and a change wouldn't make one: only adding does, to one who isn't a member any more.
async fn add_again(member: &impl Members, roles: &[String]) -> Result<Receipt, Error> {
    member.remove().await?;
    Ok(member.add(roles).await?)
}

#[cfg(test)]
mod tests;
