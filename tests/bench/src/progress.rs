//! What is shown on standard error while the bench runs.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::TryStreamExt;

use crate::error::Result;

/// How many requests the bench has in flight, at the API server and at a provider, and the operator at a provider.
pub const IN_FLIGHT: usize = 32;

/// A line about what begins.
pub fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let clear = if stderr.is_terminal() { "\r\x1b[K" } else { "" };
    // The output may have no reader.
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

/// Does something to each item, [`IN_FLIGHT`] at once, and shows how many are done. Returns how long it took.
pub async fn each<T>(doing: &str, items: Vec<T>, work: impl AsyncFn(T) -> Result<()>) -> Result<Duration> {
    let (began, total) = (Instant::now(), items.len());
    let done = AtomicUsize::new(0);
    let (work, done) = (&work, &done);
    futures::stream::iter(items.into_iter().map(Ok))
        .try_for_each_concurrent(IN_FLIGHT, |item| async move {
            work(item).await?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(100) {
                show(doing, done, total, began.elapsed());
            }
            Ok(())
        })
        .await
        .map(|()| began.elapsed())
}
