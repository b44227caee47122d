//! What can go wrong, in words that say what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::kubectl::Output;

/// Why a control plane couldn't be got, started, asked or stopped.
#[derive(Debug)]
pub enum Error {
    /// A file or a process couldn't be read, written or started.
    Io {
        /// What was being done, to be read after "can't".
        doing: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A folder of binaries lacks some.
    MissingBinaries {
        /// The folder.
        dir: PathBuf,
        /// Names of the files that aren't there.
        missing: Vec<&'static str>,
    },
    /// The Go build failed.
    Build {
        /// The binary that was being built.
        binary: &'static str,
        /// The last lines that `go` wrote.
        output: String,
    },
    /// A server ended while it was needed.
    Exited {
        /// Name of the server.
        server: String,
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A server runs, but didn't become ready (or didn't end) in time.
    TooSlow {
        /// Name of the server.
        server: String,
        /// How long was waited.
        after: Duration,
        /// What was waited for, and what was seen last.
        waiting_for: String,
        /// The end of its log.
        log: String,
    },
    /// kubectl ended with a status other than 0.
    Kubectl {
        /// The arguments it was called with.
        arguments: String,
        /// Its status and both its streams.
        output: Output,
    },
    /// A line of the audit log isn't what the API server writes.
    AuditLine(String),
    /// Something was asked of a server in a state that doesn't allow it.
    State(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, source } => write!(f, "can't {doing}: {source}"),
            Self::MissingBinaries { dir, missing } => write!(
                f,
                "{} lacks {}: point KUBEBUILDER_ASSETS at a folder that has them, or unset it to \
                 have them built (setup-envtest ships no kube-controller-manager)",
                dir.display(),
                missing.join(", ")
            ),
            Self::Build { binary, output } => {
                write!(f, "`go build` of {binary} failed:\n{output}")
            }
            Self::Exited { server, status, log } => {
                write!(f, "{server} ended ({status}); the end of its log:\n{log}")
            }
            Self::TooSlow { server, after, waiting_for, log } => {
                write!(f, "{server}: waited {:.1} s for {waiting_for}; the end of its log:\n{log}", after.as_secs_f64())
            }
            Self::Kubectl { arguments, output } => write!(
                f,
                "`kubectl {arguments}` failed ({})\nstdout: {}\nstderr: {}",
                output.status, output.stdout, output.stderr
            ),
            Self::AuditLine(line) => write!(f, "not an audit event: {line}"),
            Self::State(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Turns an [`io::Error`] into [`Error::Io`] that says what was being done.
pub(crate) trait Doing<T> {
    /// `what` is read after "can't": "read /etc/hosts".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io { doing: what(), source })
    }
}
