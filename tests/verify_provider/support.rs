//! A simulated world, and the command run in it.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::worlds::{
    self, INFISICAL_CLIENT_ID, INFISICAL_CLIENT_SECRET, INFISICAL_PROJECT, INFISICAL_TOKEN, ZITADEL_PROJECT,
    ZITADEL_PROJECT_ORG, ZITADEL_TOKEN,
};
use simulator::{ErrorStyle, Generations, Simulator};
use tempfile::TempDir;

/// How long a run may take before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(120);

/// Which server is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Infisical as of October 2024.
    OldInfisical,
    /// Infisical now.
    Infisical,
    /// ZITADEL.
    Zitadel,
}

/// The demo's world, and files with its credentials.
pub struct Stage {
    pub simulator: Simulator,
    pub at: At,
    files: TempDir,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub out: String,
    pub errors: String,
}

impl Outcome {
    /// The lines of steps that failed.
    pub fn failed(&self) -> Vec<&str> {
        self.out.lines().filter(|line| line.starts_with("FAIL")).collect()
    }

    /// Whether some line of steps holds all of these.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) {
        let found = self.out.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line has {parts:?}:\n{}\n{}", self.out, self.errors);
    }
}

impl Stage {
    pub async fn new(at: At) -> Self {
        let simulator = Simulator::start().await.unwrap();
        simulator.load(&worlds::demo());
        let (generations, style) = match at {
            At::OldInfisical => (Generations::G1, ErrorStyle::October2024),
            At::Infisical | At::Zitadel => (Generations::G1AndG2, ErrorStyle::Current),
        };
        simulator.infisical().set_generations(generations);
        simulator.infisical().set_error_style(style);
        let files = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("client-id", INFISICAL_CLIENT_ID),
            ("client-secret", INFISICAL_CLIENT_SECRET),
            ("infisical-token", INFISICAL_TOKEN),
            ("zitadel-token", ZITADEL_TOKEN),
            ("wrong-secret", "wrong-hunter2"),
        ] {
            // As `echo` writes it.
            std::fs::write(files.path().join(name), format!("{content}\n")).unwrap();
        }
        Self { simulator, at, files }
    }

    /// A credential's file.
    pub fn file(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }

    pub fn project(&self) -> &'static str {
        if self.at == At::Zitadel { ZITADEL_PROJECT } else { INFISICAL_PROJECT }
    }

    /// Everything that the server holds, but for the ids of rows, which every write makes anew.
    pub fn world(&self) -> Value {
        let mut world = match self.at {
            At::Zitadel => serde_json::to_value(self.simulator.zitadel().world()).unwrap(),
            At::OldInfisical | At::Infisical => serde_json::to_value(self.simulator.infisical().world()).unwrap(),
        };
        for list in ["memberships", "members"] {
            let Some(rows) = world.get_mut(list).and_then(Value::as_array_mut) else { continue };
            for role in rows.iter_mut().filter_map(|row| row["roles"].as_array_mut()).flatten() {
                if let Some(role) = role.as_object_mut() {
                    role.remove("id");
                }
            }
            rows.sort_by_key(Value::to_string);
        }
        world
    }

    /// The writes that were asked for.
    pub fn writes(&self) -> Vec<String> {
        let requests = match self.at {
            At::Zitadel => self.simulator.zitadel().requests(),
            At::OldInfisical | At::Infisical => self.simulator.infisical().requests(),
        };
        let changes = |path: &str| {
            (path.contains("members") && !path.contains("_search")) || path.contains("identity-memberships")
        };
        requests
            .into_iter()
            .filter(|request| request.method != "GET" && changes(&request.path))
            .map(|request| format!("{} {} {}", request.method, request.path, request.body))
            .collect()
    }

    /// The command with the right credential, for this subject.
    pub fn arguments(&self, subject: &str) -> Vec<String> {
        let (provider, url, credential) = match self.at {
            At::Zitadel => (
                "zitadel",
                self.simulator.zitadel().url(),
                vec![
                    format!("--token-file={}", self.file("zitadel-token")),
                    format!("--organization-id={ZITADEL_PROJECT_ORG}"),
                ],
            ),
            At::OldInfisical | At::Infisical => (
                "infisical",
                self.simulator.infisical().url(),
                vec![
                    format!("--client-id-file={}", self.file("client-id")),
                    format!("--client-secret-file={}", self.file("client-secret")),
                ],
            ),
        };
        let mut all = vec![
            format!("--provider={provider}"),
            format!("--url={url}"),
            "--allow-http=127.0.0.1".to_owned(),
            "--allow-address=127.0.0.0/8".to_owned(),
            format!("--project-id={}", self.project()),
            format!("--subject-id={subject}"),
            "--temporary=2s".to_owned(),
        ];
        all.extend(credential);
        all
    }

    /// Runs it, confirmed, to its end.
    pub async fn run(&self, subject: &str) -> Outcome {
        self.run_with(&self.confirmed(subject)).await
    }

    /// The arguments of a confirmed run.
    pub fn confirmed(&self, subject: &str) -> Vec<String> {
        let mut arguments = self.arguments(subject);
        arguments.push("--yes-change-this-project".to_owned());
        arguments
    }

    /// Runs it with these arguments to its end.
    pub async fn run_with(&self, arguments: &[String]) -> Outcome {
        Running::start(arguments).end().await
    }
}

/// A run under way.
pub struct Running(Child);

impl Running {
    pub fn start(arguments: &[String]) -> Self {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_membership-operator"));
        let mut command = Command::new(binary);
        command.arg("verify-provider").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Sends it a signal.
    pub async fn signal(&self, name: &str) {
        let (name, id) = (name.to_owned(), self.0.id().to_string());
        let kill = move || Command::new("kill").args([format!("-{name}"), id]).status().unwrap();
        assert!(tokio::task::spawn_blocking(kill).await.unwrap().success());
    }

    /// Nobody reads what it says any more.
    pub fn stop_reading(&mut self) {
        drop(self.0.stdout.take());
        drop(self.0.stderr.take());
    }

    /// Waits for its end.
    pub async fn end(mut self) -> Outcome {
        let wait = move || {
            let read = |pipe: Option<Box<dyn Read + Send>>| {
                std::thread::spawn(move || {
                    let mut text = String::new();
                    if let Some(mut pipe) = pipe {
                        pipe.read_to_string(&mut text).unwrap();
                    }
                    text
                })
            };
            let out = read(self.0.stdout.take().map(|pipe| Box::new(pipe) as _));
            let errors = read(self.0.stderr.take().map(|pipe| Box::new(pipe) as _));
            let began = Instant::now();
            while self.0.try_wait().unwrap().is_none() {
                if began.elapsed() > DEADLINE {
                    self.0.kill().unwrap();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let code = self.0.wait().unwrap().code();
            Outcome { code, out: out.join().unwrap(), errors: errors.join().unwrap() }
        };
        let outcome = tokio::task::spawn_blocking(wait).await.unwrap();
        assert_no_secret(&outcome);
        outcome
    }
}

/// Nothing that it says holds a credential.
#[track_caller]
fn assert_no_secret(Outcome { out, errors, .. }: &Outcome) {
    for secret in [INFISICAL_CLIENT_SECRET, INFISICAL_TOKEN, ZITADEL_TOKEN, "wrong-hunter2", "eyJhbGci"] {
        assert!(!out.contains(secret) && !errors.contains(secret), "{secret:?} is in\n{out}\n{errors}");
    }
}

/// Waits until something is so.
pub async fn until(what: &str, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < DEADLINE, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
