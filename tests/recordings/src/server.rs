//! A server that answers one endpoint as it was recorded, and everything else neutrally.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use serde_json::Value;

use crate::recording::Received;

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The header `authorization`.
    pub authorization: String,
    /// The body; null where it is no JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

/// What a server answers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A recorded one, as it came. A null body without a content type was an empty one.
    pub fn recorded(received: &Received) -> Self {
        let is_json = received.headers.get("content-type").is_none_or(|kind| kind.contains("json"));
        let body = match &received.body {
            Value::Null if received.headers.is_empty() => Vec::new(),
            Value::String(text) if !is_json => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        Self { status: received.status, headers: received.headers.clone(), body }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        let headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
        Self { status, headers, body: body.to_string().into_bytes() }
    }
}

/// What answers: it is told of the request and of how many came before it.
pub type Script = Box<dyn FnMut(&Asked) -> Option<Answer> + Send>;

/// What it is asked now, and what it was asked.
#[derive(Default)]
struct Stage {
    script: Option<Script>,
    asked: Vec<Asked>,
    /// Requests that nothing answers.
    unanswered: Vec<String>,
}

/// A server on a port of its own.
#[derive(Clone)]
pub struct Server {
    /// Where it is.
    pub url: String,
    stage: Arc<Mutex<Stage>>,
}

impl Server {
    /// Starts one.
    ///
    /// # Panics
    /// Where no port is free.
    pub async fn start() -> Self {
        let stage: Arc<Mutex<Stage>> = Arc::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&stage));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, stage }
    }

    /// From now on `script` answers.
    pub fn play(&self, script: Script) {
        *self.stage() = Stage { script: Some(script), ..Stage::default() };
    }

    /// What was asked since, and what nothing answered.
    pub fn asked(&self) -> (Vec<Asked>, Vec<String>) {
        let stage = self.stage();
        (stage.asked.clone(), stage.unanswered.clone())
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(stage): State<Arc<Mutex<Stage>>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        authorization: authorization.unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        text: String::from_utf8_lossy(&body).into_owned(),
    };
    let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
    let found = stage.script.as_mut().and_then(|script| script(&asked));
    if found.is_none() {
        stage.unanswered.push(format!("{} {}", asked.method, asked.path));
    }
    stage.asked.push(asked);
    drop(stage);
    let answer = found.unwrap_or_else(|| Answer::json(501, &Value::Null));
    let mut response = Response::builder().status(StatusCode::from_u16(answer.status).unwrap_or_default());
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body)).unwrap_or_default()
}
