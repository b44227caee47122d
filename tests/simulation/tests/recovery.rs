//! How soon memberships are as declared when their provider is available again.

use std::time::Duration;

use simulation::recovery::recovery;

/// Seen failing without the wake of a provider's memberships when its check succeeds again: minutes.
#[test]
fn the_memberships_of_a_provider_that_is_back_are_reconciled_at_once_however_long_it_was_away() {
    let took = recovery(20, Duration::from_secs(1800)).unwrap();
    // An unavailable provider is checked every thirty seconds.
    assert!(took < Duration::from_secs(45), "{took:?}");
}
