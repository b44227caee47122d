//! Direction C: a recorded answer against the real client.
//!
//! The client is asked for the operation that brings the recorded request about. A server answers that request as it was
//! recorded, and whatever else the client asks neutrally: as a healthy server would on which the recorded answer is true.
//! What the client makes of it is a text of the form that [`crate::reading`] and `expected.yaml` have.

mod infisical;
mod operation;
mod zitadel;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use membership_operator::api::SubjectKind;
use membership_operator::api::provider::Limits;
use membership_operator::provider::error::Effect;
use membership_operator::provider::http::{Client, Policy};
use membership_operator::provider::quota::{EndpointQuota, RequestKind};
use membership_operator::provider::{Error, Permit, Retry, Urgency};

use crate::expected::{Call, Drive};
use crate::path::Pattern;
use crate::recording::Exchange;
use crate::server::{Answer, Asked, Server};

/// How long the client may take for one operation.
const DEADLINE: Duration = Duration::from_secs(60);

/// An exchange as it is played to a client.
pub struct ReplayCase<'a> {
    pub exchange: &'a Exchange,
    /// The operation.
    pub drive: Drive,
    /// Of which kind of subject.
    pub kind: SubjectKind,
    /// The endpoint.
    pub pattern: &'a Pattern,
    /// The values in its path; what the client would refuse to send has a stand-in.
    pub values: BTreeMap<String, String>,
    /// The name that is looked up.
    pub name: String,
    /// Answers to further requests.
    pub with: Vec<&'a Exchange>,
}

impl<'a> ReplayCase<'a> {
    /// The scene of an exchange.
    pub fn new(
        provider: &str,
        call: &Call,
        pattern: &'a Pattern,
        values: &BTreeMap<String, String>,
        exchange: &'a Exchange,
        with: Vec<&'a Exchange>,
    ) -> Self {
        let values = match provider {
            "infisical" => infisical::values(values, exchange),
            _ => zitadel::values(values, exchange),
        };
        let name = match provider {
            "infisical" => infisical::name(&values, exchange),
            _ => zitadel::name(exchange),
        };
        let kind = call.kind.unwrap_or(if provider == "infisical" { SubjectKind::Identity } else { SubjectKind::User });
        Self { exchange, drive: call.drive, kind, pattern, values, name, with }
    }

    /// A value of the path.
    pub fn value(&self, name: &str) -> &str {
        self.values.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether the member is there before the operation.
    fn is_member(&self) -> bool {
        !matches!(self.drive, Drive::Create | Drive::Invite)
    }
}

/// Clients and the servers that they call.
pub struct Bench {
    server: Server,
    client: Client,
}

/// What came of a scene.
#[derive(Debug)]
pub struct Outcome {
    /// What the client made of it.
    pub made: String,
    /// What went wrong with the scene itself: the recorded answer wasn't asked for, or something else was that nothing
    /// answers.
    pub trouble: Vec<String>,
    /// What the client asked, as `GET /path`.
    pub asked: Vec<(String, String)>,
}

impl Bench {
    /// Starts a server.
    pub async fn start() -> Self {
        let policy = Policy { allow_http: vec!["127.0.0.1".to_owned()], ..Policy::default() };
        let client = Client::new(policy, Arc::new(())).expect("a client");
        Self { server: Server::start().await, client }
    }

    /// Plays a scene.
    pub async fn play(&self, provider: &str, case: &ReplayCase<'_>) -> Outcome {
        let served = Arc::new(AtomicUsize::new(0));
        self.server.play(Box::new(script(provider, case, Arc::clone(&served))));
        let operation = async {
            match provider {
                "infisical" => infisical::operate(self, case).await,
                _ => zitadel::operate(self, case).await,
            }
        };
        // A sign-in lets time pass by itself.
        let patience = if case.drive.signs_in() { Duration::MAX } else { DEADLINE };
        let made = match tokio::time::timeout(patience, operation).await {
            Ok(made) => made,
            Err(_) => format!("nothing in {} s", patience.as_secs()),
        };
        let (asked, unanswered) = self.server.asked();
        let mut trouble: Vec<String> =
            unanswered.iter().map(|request| format!("nothing answers {request}: say what does")).collect();
        let asked: Vec<(String, String)> = asked.into_iter().map(|asked| (asked.method, asked.path)).collect();
        if served.load(Ordering::Relaxed) == 0 {
            let instead: Vec<String> = asked.iter().map(|(method, path)| format!("{method} {path}")).collect();
            trouble.push(format!("the client didn't ask for it, but: {}", instead.join(", ")));
        }
        Outcome { made, trouble, asked }
    }
}

/// What answers everything but the recorded request: it is told how often the recorded answer was given before.
type Neutral = Box<dyn FnMut(&Asked, usize) -> Option<Answer> + Send>;

/// The recorded answer where it was given, those of `with` where they were, else what is neutral.
fn script(
    provider: &str,
    case: &ReplayCase<'_>,
    served: Arc<AtomicUsize>,
) -> impl FnMut(&Asked) -> Option<Answer> + Send + 'static {
    let path = case.pattern.fill(&case.values);
    let method = case.pattern.method().to_owned();
    let recorded = Answer::recorded(&case.exchange.response);
    // The next page of a list isn't the same one again.
    let pages = case.drive == Drive::List || infisical::is_paged(case);
    let once = pages && case.exchange.response.status < 300;
    let with: Vec<(String, String, Answer)> = case
        .with
        .iter()
        .map(|other| {
            let path = other.request.path.split('?').next().unwrap_or_default().to_owned();
            (other.request.method.clone(), path, Answer::recorded(&other.response))
        })
        .collect();
    let mut neutral: Neutral = match provider {
        "infisical" => Box::new(infisical::neutral(case)),
        _ => Box::new(zitadel::neutral(case)),
    };
    // What refuses a removal is true until the member is changed.
    let removes = case.drive == Drive::Remove;
    let mut changed = false;
    move |asked| {
        let before = served.load(Ordering::Relaxed);
        let asked_path = asked.path.split('?').next().unwrap_or_default();
        if zitadel::is_knock(asked) {
            return neutral(asked, before);
        }
        let over = once && before > 0 || removes && changed;
        changed |= matches!(asked.method.as_str(), "PATCH" | "PUT");
        if asked.method == method && asked_path.eq_ignore_ascii_case(&path) && !over {
            served.fetch_add(1, Ordering::Relaxed);
            return Some(recorded.clone());
        }
        let other = with.iter().find(|(method, path, _)| *method == asked.method && path == asked_path);
        match other {
            Some((_, _, answer)) => Some(answer.clone()),
            None => neutral(asked, before),
        }
    }
}

/// A permit of its own, so that a pause that one answer asks for doesn't hold up the next scene.
async fn permit(writes: bool) -> Permit {
    let quota = EndpointQuota::new(false).quota("recordings".to_owned(), Limits::default());
    quota.permit(if writes { RequestKind::Write } else { RequestKind::Read }, Urgency::Grant, "recordings").await
}

/// The text of an error.
fn error(error: &Error) -> String {
    let gone = match error {
        Error::ProjectNotFound { gone: true, .. } => " (gone)",
        _ => "",
    };
    let retry = match error.retry() {
        Retry::Terminal => "Terminal".to_owned(),
        Retry::Backoff => "Backoff".to_owned(),
        Retry::After(wait) => format!("After {} s", wait.as_secs()),
    };
    let effect = match error.effect() {
        Effect::None => "no effect",
        Effect::Unknown => "effect unknown",
    };
    format!("{:?}{gone}, {retry}, {effect}", error.reason())
}

/// Time passes, to the client's clock.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
