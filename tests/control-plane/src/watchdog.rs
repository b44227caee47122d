//! Ends what was started when the process that started it is gone, however it
//! went.
//!
//! Each server runs under a small shell whose stdin is a pipe that this process holds. The kernel closes the pipe when
//! this process ends, SIGKILL included; the shell notices and ends the server. A parent-death signal wouldn't do: it is
//! Linux only, needs unsafe code, and is sent when the *thread* that started the child ends. A process group wouldn't
//! either: no process is left to signal it.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Doing, Error};

/// Runs `"$@"` with an empty stdin. A line on our stdin says how many
/// tenths of a second lie between SIGTERM and SIGKILL (0: SIGKILL at once); the
/// end of the stream means that no process is left to write it.
///
/// The one who reads is a process of its own, so that the shell can wait for
/// the server and pass its status on; it outlives a shell that was killed.
const WATCH: &str = r#"
mark=$1; shift
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
echo $server >"$mark"
{
    read -r grace <&3 || grace=20
    [ "$grace" -eq 0 ] || kill -TERM $server
    while [ "$grace" -gt 0 ] && kill -0 $server; do sleep 0.1; grace=$((grace - 1)); done
    kill -KILL $server
} >/dev/null 2>&1 &
reader=$!
exec 3<&-
wait $server
status=$?
kill -KILL $reader 2>/dev/null
rm -f "$mark"
exit $status
"#;

/// Removes a folder once our stdin ends and the servers in it are gone (ten
/// seconds at most, in case a watchdog was killed and left its mark).
const SWEEP: &str = r#"
read -r _
tenths=100
while [ $tenths -gt 0 ] && [ -n "$(ls -A "$1/running" 2>/dev/null)" ]; do
    sleep 0.1; tenths=$((tenths - 1))
done
rm -rf "$1"
"#;

/// A command that runs `program` (add its arguments) under a watchdog. As long as it runs, there is a file `mark` with
/// the program's process id. The stdin that the spawned child has is the leash: dropping it ends the program.
pub(crate) fn command(mark: &Path, program: &Path) -> Result<Command, Error> {
    fs::write(mark, "").doing(|| format!("write {}", mark.display()))?;
    let mut command = shell(WATCH);
    command.arg(mark).arg(program);
    Ok(command)
}

/// The folder's name in a control plane's folder where watchdogs leave their
/// marks.
pub(crate) const RUNNING: &str = "running";

/// Removes a control plane's directory after any end.
#[derive(Debug)]
pub(crate) struct Janitor {
    dir: PathBuf,
    shell: Child,
    leash: ChildStdin,
}

impl Janitor {
    /// Starts to watch over `dir`.
    pub(crate) fn of(dir: &Path) -> Result<Self, Error> {
        let marks = dir.join(RUNNING);
        fs::create_dir_all(&marks).doing(|| format!("create {}", marks.display()))?;
        let mut shell =
            shell(SWEEP).arg(dir).stdout(Stdio::null()).stderr(Stdio::null()).spawn().doing(|| "start sh".into())?;
        let leash = shell.stdin.take().ok_or(Error::State("sh has no stdin"))?;
        Ok(Self { dir: dir.into(), shell, leash })
    }

    /// Waits until the folder is gone. The servers must have been stopped.
    pub(crate) async fn sweep(mut self) -> Result<(), Error> {
        drop(self.leash);
        let limit = Duration::from_secs(15);
        let began = Instant::now();
        while self.shell.try_wait().doing(|| "wait for sh".into())?.is_none() {
            if began.elapsed() > limit {
                return Err(Error::TooSlow {
                    server: "janitor".into(),
                    after: limit,
                    waiting_for: format!("{} to be removed", self.dir.display()),
                    log: String::new(),
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// Makes the watchdog at the other end stop its program: SIGTERM, and SIGKILL
/// after `grace`.
pub(crate) fn end(leash: &mut ChildStdin, grace: Duration) {
    let tenths = grace.as_millis().div_ceil(100);
    // A watchdog that is gone has nothing left to end.
    let _ = writeln!(leash, "{tenths}");
}

/// A shell in a process group of its own, so that Ctrl-C in a terminal reaches
/// only us and we stop the servers in their order.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "watchdog"]).stdin(Stdio::piped()).process_group(0);
    command
}
