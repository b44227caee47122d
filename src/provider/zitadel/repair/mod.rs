//! Repairs a write whose response was 200 and that never reached the tables of search and permissions
//! (docs/reference/zitadel.md, trap 4), with either API. An event is written only for a list that differs from the
//! server's, and search catches up with the next event that it can apply. A lost removal needs more than one: the POST
//! that must precede the second DELETE inserts a row that is still there. The server tries that five times, once for
//! each event of a member of the instance, before it skips it and continues (concurrency.json, "lost delete"). On an
//! idle instance there are no other such events, so the writes are repeated until search shows the change. If a repair
//! is interrupted, only roles that are wanted or that search still showed have been written.

use std::time::Duration;

use tokio::time::Instant;

use super::errors::{Meaning, Refusal};
use super::write::{self, MemberApi, MemberWrite};
use crate::core::member::{Change, Member};
use crate::provider::{Error, Receipt};

/// How often the writes are repeated under one permit: three POST and DELETE are six events, and five are enough.
const ROUNDS: u32 = 3;

/// No round begins later than this after the first one: other writes to the instance, including ends, wait meanwhile.
const LONGEST: Duration = Duration::from_secs(2);

/// How long search may need to catch up with a write: at most 43 ms were observed (concurrency.json,
/// `lag_after_put_while_4_other_clients_write_other_projects`).
const CATCH_UP: Duration = Duration::from_millis(50);

/// Writes the lost change again; if a row prevents it, until search shows the change, at most [`ROUNDS`] times. Its
/// return isn't proof yet. `observed` is the row that an observation after the write showed.
pub(crate) async fn repair(
    member: &impl MemberApi,
    wanted: &Change,
    observed: Option<&Member>,
) -> Result<Receipt, Error> {
    let began = Instant::now();
    // The observation is from before the wait for the permit: what it shows may have been removed since.
    let mut shown = member.find().await?;
    // A member was added whose row was still there.
    let mut inserted = false;
    let mut round = 1;
    loop {
        let receipt = match wanted {
            Change::Remove => {
                inserted = shown.is_some();
                remove_again(member, shown.as_ref(), round).await?
            }
            Change::Create(entries) | Change::Replace(entries) | Change::Recreate(entries) => {
                let roles = write::roles(entries)?;
                match observed.or(shown.as_ref()) {
                    Some(_) => change_again(member, &roles, &mut inserted).await?,
                    None => add_again(member, &roles).await?,
                }
            }
        };
        if !inserted || round == ROUNDS || began.elapsed() >= LONGEST {
            return Ok(receipt);
        }
        tokio::time::sleep(CATCH_UP).await;
        shown = member.find().await?;
        if is_done(wanted, receipt, shown.as_ref()) {
            return Ok(receipt);
        }
        round += 1;
    }
}

/// Whether search shows the change.
fn is_done(wanted: &Change, receipt: Receipt, shown: Option<&Member>) -> bool {
    match (wanted, shown) {
        (Change::Remove, shown) => shown.is_none(),
        (_, shown) => shown.is_some_and(|shown| shown.version >= receipt.version),
    }
}

/// The row remains although the server has no such member. The server must have one to remove it: one with roles that
/// are in force anyway. The first round has removed it: a member that exists in a later one is another writer's, and
/// remains.
async fn remove_again(member: &impl MemberApi, shown: Option<&Member>, round: u32) -> Result<Receipt, Error> {
    // Without a row, or with one without roles, there is nothing to add: the removal alone shows whether the project is
    // the right one.
    let roles = shown.and_then(|shown| write::roles(&shown.entries).ok());
    for roles in roles.into_iter().flat_map(lists_to_add) {
        match member.write(MemberWrite::Add(&roles)).await {
            Ok(_) => break,
            Err(Refusal { meaning: Meaning::AMember, .. }) if round == 1 => break,
            // One of them is no longer configured in the instance. Such a role grants nothing.
            Err(Refusal { error: Error::RoleNotFound { .. }, .. }) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    Ok(member.write(MemberWrite::Remove).await?)
}

/// The whole list, then each of its roles alone.
fn lists_to_add(roles: Vec<String>) -> Vec<Vec<String>> {
    let each: Vec<Vec<String>> = roles.iter().filter(|_| roles.len() > 1).map(|role| vec![role.clone()]).collect();
    std::iter::once(roles).chain(each).collect()
}

/// The row shows an old list. The server has the wanted one, so another is written first; if there is no other, the
/// member is removed and added.
async fn change_again(member: &impl MemberApi, roles: &[String], inserted: &mut bool) -> Result<Receipt, Error> {
    let other = member.another_list(roles);
    let first = other.as_deref().unwrap_or(roles);
    match member.write(MemberWrite::Change(first)).await {
        Ok(_) => {}
        Err(Refusal { meaning: Meaning::NotAMember, error: changed, .. }) => {
            if !write::stays(member, true).await? {
                return Err(changed);
            }
            // Another writer's removal was lost: the server has no member while its row is in force, and can neither
            // change that row nor remove it before it has one again.
            *inserted = true;
            member.write(MemberWrite::Add(roles)).await?;
            member.write(MemberWrite::Change(first)).await?;
        }
        Err(refused) => return Err(refused.into()),
    }
    if other.is_none() {
        return add_again(member, roles).await;
    }
    Ok(member.write(MemberWrite::Change(roles)).await?)
}

/// There is no row, and a change wouldn't create one: only adding a user who is no longer a member does.
async fn add_again(member: &impl MemberApi, roles: &[String]) -> Result<Receipt, Error> {
    member.write(MemberWrite::Remove).await?;
    Ok(member.write(MemberWrite::Add(roles)).await?)
}

#[cfg(test)]
mod tests;
