//! The search for members.

use serde_json::json;

use super::{owner, request};
use crate::core::member::{Member, Project};
use crate::provider::http::Method;
use crate::provider::zitadel::client::Calls;
use crate::provider::zitadel::errors::ServerRefusal;
use crate::provider::zitadel::errors::messages::{self, RequestContext};
use crate::provider::zitadel::list::{self, PAGE, Rows};
use crate::provider::zitadel::wire;
use crate::provider::{Error, Listing};

/// Lists the members of a project, or of the grant of it that is meant. Nobody there is believed only of one that is
/// known to be there.
pub(crate) async fn list(calls: &Calls<'_>, project: &Project) -> Result<Listing, Error> {
    let mut rows = Rows::default();
    while let Some(offset) = rows.next_page() {
        let query = json!({"query": {"offset": offset.to_string(), "limit": PAGE}});
        let page = search(calls, project, &query).await?;
        let step = page.result.len();
        let members = page.result.into_iter().map(|row| Some(member(row))).collect();
        rows.take(list::Page { total: page.details.total_result, rows: members, step });
    }
    let listing = rows.finish();
    if listing.members.is_empty() && !listing.partial {
        owner::locate(calls, project).await?.known()?;
    }
    Ok(listing)
}

/// One user's row, where search shows it.
pub(crate) async fn find(calls: &Calls<'_>, project: &Project, user: &str) -> Result<Option<Member>, Error> {
    let query = json!({"query": {"limit": PAGE}, "queries": [{"userIdQuery": {"userId": user}}]});
    let page = search(calls, project, &query).await?;
    // What came back is compared with what was asked: a query that a version doesn't know answers with everybody.
    Ok(page.result.into_iter().find(|row| row.user_id == user).map(member))
}

async fn search(calls: &Calls<'_>, project: &Project, query: &serde_json::Value) -> Result<wire::Page, Error> {
    let request = request(Method::Post, |routes| routes.search, project).json(query).reads().list();
    let answer = calls.send(request).await?;
    let asked = RequestContext::of_project(calls.endpoint(), project);
    if !answer.is_success() {
        let refusal = ServerRefusal::read(&answer);
        let refused = messages::error(&asked, &answer, &refusal);
        return Err(owner::explain_refusal(calls, project, refusal.meaning(), refused).await);
    }
    let page: wire::Page = answer.json()?;
    match page.result.iter().any(|row| owner::is_elsewhere(project, &row.details)) {
        true => Err(asked.elsewhere()),
        false => Ok(page),
    }
}

fn member(row: wire::Row) -> Member {
    let version = (row.details.sequence > 0).then_some(row.details.sequence);
    list::member(row.user_id, row.roles, version)
}
