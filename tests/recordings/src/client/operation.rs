//! The operations of a client, each as the text of what it made of it.

use std::time::Duration;

use jiff::Timestamp;
use membership_operator::core::member::{Change, Entry, Project, Target, Term, Verbatim, Window};
use membership_operator::provider::{Error, Listing, Provider};
use serde_json::Value;

use super::{Bench, ReplayCase, error, pass, permit};
use crate::expected::Drive;
use crate::reading;

/// Carries the scene's operation out.
pub async fn run(
    provider: &impl Provider,
    case: &ReplayCase<'_>,
    project: Project,
    subject: String,
    role: &str,
) -> String {
    let target = Target { project: project.clone(), subject_kind: case.kind, subject_id: subject };
    let entries = entries(case.exchange.request.body.as_ref(), role);
    let name = Some(case.name.as_str()).filter(|name| !name.is_empty());
    let apply = async |change: Change| {
        let receipt = provider.apply(&permit(true).await, &target, name, &change).await;
        match receipt {
            Err(refused) => error(&refused),
            Ok(receipt) if receipt.kept.is_some() => "left without access".to_owned(),
            Ok(receipt) => reading::done(receipt.version),
        }
    };
    match case.drive {
        Drive::Create | Drive::Look => apply(Change::Create(entries)).await,
        Drive::Replace => apply(Change::Replace(entries)).await,
        Drive::Remove => apply(Change::Remove).await,
        Drive::List | Drive::LookAtProject => {
            let listing = provider.list(&permit(false).await, &project, case.kind).await;
            listing.map_or_else(|e| error(&e), |listing| listed(&listing))
        }
        Drive::FindProject => {
            let organization = project.organization_id.as_deref();
            found(provider.find_project(&permit(false).await, &case.name, organization).await)
        }
        Drive::FindSubject => found(provider.find_subject(&permit(false).await, &project, case.kind, &case.name).await),
        Drive::Invite => {
            let invited = provider.invite(&permit(true).await, &project, &case.name).await;
            found(invited.map(|id| vec![id]))
        }
        Drive::ExplainAbsence => {
            let absence = provider.explain_absence(&permit(false).await, &target).await;
            absence.map_or_else(|e| error(&e), |()| "nothing speaks against it".to_owned())
        }
        Drive::Verify | Drive::Discover | Drive::SignIn | Drive::SignInKubernetes | Drive::SignInOidc => {
            let verified = provider.verify(&permit(false).await).await;
            verified.map_or_else(|e| error(&e), |verified| format!("verified {}", verified.api))
        }
    }
}

/// Signs in, and goes on using the token: for how long shows in when the client signs in again.
pub async fn sign_in(bench: &Bench, provider: &impl Provider, case: &ReplayCase<'_>) -> String {
    if let Err(refused) = provider.verify(&permit(false).await).await {
        return error(&refused);
    }
    let path = case.pattern.fill(&case.values);
    let sign_ins = || bench.server.asked().0.iter().filter(|asked| asked.path == path).count();
    let asked = bench.server.asked().0;
    let used = asked.iter().rev().map(|asked| asked.authorization.trim_start_matches("Bearer ")).next();
    let body = &case.exchange.response.body;
    let life = body["expiresIn"].as_u64().or(body["expires_in"].as_u64()).unwrap_or_default();
    let mut seen = vec![sign_ins()];
    for wait in [life / 2, life - life / 2] {
        pass(Duration::from_secs(wait)).await;
        if let Err(refused) = provider.verify(&permit(false).await).await {
            return error(&refused);
        }
        seen.push(sign_ins());
    }
    // One for the first, none at half of its life, another one at its end.
    let life = if seen == [1, 1, 2] { format!("{life} s") } else { format!("another time than {life} s: {seen:?}") };
    format!("signed in with {:?} for {life}", used.unwrap_or_default())
}

fn found(ids: Result<Vec<String>, Error>) -> String {
    ids.map_or_else(|e| error(&e), |ids| reading::found(&ids))
}

fn listed(listing: &Listing) -> String {
    let role = |entry: &Entry| match &entry.term {
        Term::Permanent => entry.role.clone(),
        Term::Temporary(Window { start, end }) => reading::window(&entry.role, *start, *end),
    };
    let rows: Vec<reading::Row> = listing
        .members
        .iter()
        .map(|member| reading::Row {
            subject: member.subject_id.clone(),
            roles: member.entries.iter().map(role).collect(),
            memberships: member.memberships,
            version: member.version,
        })
        .collect();
    reading::listing(&rows, listing.partial)
}

/// The roles that were sent, as entries that the client sends in the same words. What it would refuse to send (no role,
/// the literal `custom`) has `role` as a stand-in: it is the answer that is looked at.
fn entries(body: Option<&Value>, role: &str) -> Vec<Entry> {
    let sent = body.map(|body| &body["roles"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let one = body.and_then(|body| body["role"].as_str()).map(Value::from);
    let mut entries: Vec<Entry> =
        sent.iter().chain(one.iter()).filter_map(entry).filter(|entry| entry.role != "custom").collect();
    if entries.is_empty() {
        entries.push(Entry::permanent(role));
    }
    entries
}

fn entry(sent: &Value) -> Option<Entry> {
    let role = sent.as_str().or(sent["role"].as_str()).filter(|role| !role.is_empty())?;
    if sent["isTemporary"] != true {
        return Some(Entry::permanent(role));
    }
    let text = |field: &str| sent[field].as_str().unwrap_or_default().to_owned();
    let window = Window { start: Timestamp::UNIX_EPOCH, end: Timestamp::MAX };
    let verbatim = Verbatim { range: text("temporaryRange"), start: text("temporaryAccessStartTime") };
    Some(Entry { verbatim: Some(verbatim), ..Entry::new(role, Term::Temporary(window)) })
}
