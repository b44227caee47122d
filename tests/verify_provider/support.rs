//! A simulated world, and the command run in it.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::Value;
use simulator::worlds::{
    self, INFISICAL_CLIENT_ID, INFISICAL_CLIENT_SECRET, INFISICAL_PROJECT, INFISICAL_TOKEN, ZITADEL_PROJECT,
    ZITADEL_PROJECT_ORG, ZITADEL_TOKEN,
};
use simulator::{ErrorStyle, Generations, ServerGeneration, Simulator};
use tempfile::TempDir;

/// How long a run may take before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(120);

/// Which server is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Infisical as of October 2024.
    OldInfisical,
    /// Infisical of September 2025.
    Infisical,
    /// Infisical now.
    NewInfisical,
    /// ZITADEL v4.
    Zitadel,
    /// A ZITADEL without the members of management v1.
    ZitadelV2,
}

impl At {
    fn is_zitadel(self) -> bool {
        matches!(self, Self::Zitadel | Self::ZitadelV2)
    }
}

/// The demo's world, and files with its credentials.
pub struct Stage {
    pub simulator: Simulator,
    pub at: At,
    files: TempDir,
}

/// What a run resulted in.
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
    pub fn prints(&self, parts: &[&str]) {
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
            At::Infisical | At::Zitadel | At::ZitadelV2 => (Generations::G1AndG2, ErrorStyle::Current),
            At::NewInfisical => (Generations::All, ErrorStyle::Current),
        };
        if at == At::ZitadelV2 {
            simulator.zitadel().set_generation(ServerGeneration::V2Only);
        }
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

    /// Writes a file, and says where.
    pub fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.files.path().join(name), format!("{content}\n")).unwrap();
        self.file(name)
    }

    /// A credential's file.
    pub fn file(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }

    pub fn project(&self) -> &'static str {
        if self.at.is_zitadel() { ZITADEL_PROJECT } else { INFISICAL_PROJECT }
    }

    /// Everything that the server holds, except for the ids of rows, which every write creates again.
    pub fn world(&self) -> Value {
        let mut world = match self.at.is_zitadel() {
            true => serde_json::to_value(self.simulator.zitadel().world()).unwrap(),
            false => serde_json::to_value(self.simulator.infisical().world()).unwrap(),
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
        let requests = match self.at.is_zitadel() {
            true => self.simulator.zitadel().requests(),
            false => self.simulator.infisical().requests(),
        };
        let changes = |path: &str| {
            let reads = ["_search", "/details", "/ListAdministrators"].iter().any(|read| path.ends_with(read));
            let members = ["members", "/groups/", "Administrator"].iter().any(|part| path.contains(part));
            members && !reads
        };
        requests
            .into_iter()
            .filter(|request| request.method != "GET" && changes(&request.path))
            .map(|request| format!("{} {} {}", request.method, request.path, request.body))
            .collect()
    }

    /// The command with the right credential, for this subject.
    pub fn arguments(&self, subject: &str) -> Vec<String> {
        let mut all = self.place();
        all.extend([format!("--project-id={}", self.project()), format!("--subject-id={subject}")]);
        all.extend(self.credential());
        all
    }

    /// Where and how, without a project, a subject and a credential.
    pub fn place(&self) -> Vec<String> {
        let (provider, url) = match self.at.is_zitadel() {
            true => ("zitadel", self.simulator.zitadel().url()),
            false => ("infisical", self.simulator.infisical().url()),
        };
        let mut all = vec![
            format!("--provider={provider}"),
            format!("--url={url}"),
            "--allow-http=127.0.0.1".to_owned(),
            "--allow-address=127.0.0.0/8".to_owned(),
            "--temporary=2s".to_owned(),
        ];
        if self.at.is_zitadel() {
            all.push(format!("--organization-id={ZITADEL_PROJECT_ORG}"));
        }
        all
    }

    /// The right credential.
    pub fn credential(&self) -> Vec<String> {
        match self.at.is_zitadel() {
            true => vec![format!("--token-file={}", self.file("zitadel-token"))],
            false => vec![
                format!("--client-id-file={}", self.file("client-id")),
                format!("--client-secret-file={}", self.file("client-secret")),
            ],
        }
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

    /// Runs it, confirmed, with these arguments about project and subject.
    pub async fn run_at(&self, about: &[&str]) -> Outcome {
        self.run_by(self.credential(), about).await
    }

    /// As [`Stage::run_at`], with another credential.
    pub async fn run_by(&self, credential: Vec<String>, about: &[&str]) -> Outcome {
        let mut arguments = self.place();
        arguments.extend(credential);
        arguments.extend(about.iter().map(|argument| (*argument).to_owned()));
        arguments.push("--yes-change-this-project".to_owned());
        self.run_with(&arguments).await
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

    /// Its output is no longer read.
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
    for secret in [INFISICAL_CLIENT_SECRET, INFISICAL_TOKEN, ZITADEL_TOKEN, "wrong-hunter2", "eyJhbGci", "BEGIN RSA"] {
        assert!(!out.contains(secret) && !errors.contains(secret), "{secret:?} is in\n{out}\n{errors}");
    }
}

/// Waits until something is so.
pub async fn until(what: &str, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < DEADLINE, "this did not happen in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs cases next to each other, a few at once: most of a run's time is waiting.
pub async fn side_by_side<T>(cases: impl IntoIterator<Item = T>, case: impl AsyncFn(T)) {
    let case = &case;
    futures::stream::iter(cases).for_each_concurrent(5, |one| case(one)).await;
}
