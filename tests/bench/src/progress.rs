//! What is shown on standard error while the bench runs.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// A line about what begins.
pub fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let clear = if stderr.is_terminal() { "\r\x1b[K" } else { "" };
    // Nobody may be reading.
    let _ = writeln!(stderr, "{clear}bench: {text}");
}

/// How far something is, on one line of a terminal. A log shows only the lines of [`say`].
pub fn show(doing: &str, done: usize, of: usize, elapsed: Duration) {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[Kbench:   {doing}: {done} of {of} after {:.0} s", elapsed.as_secs_f64());
        let _ = stderr.flush();
    }
}
