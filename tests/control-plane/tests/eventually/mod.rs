//! Waiting for something with a deadline.

use std::time::{Duration, Instant};

/// Asks again and again until `done` returns `Ok`, and fails with its error
/// last when `limit` passes.
pub async fn eventually(limit: Duration, done: impl AsyncFn() -> Result<(), String>) {
    let began = Instant::now();
    while let Err(seen) = done().await {
        assert!(began.elapsed() < limit, "not so after {limit:?}: {seen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
