use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::yield_now;
use tokio::time::{advance, timeout};

use super::*;

fn limited(writes_per_minute: u32) -> Limits {
    Limits { writes_per_minute: Some(writes_per_minute), ..Limits::default() }
}

async fn write(quota: &Quota, urgency: Urgency) -> Permit {
    let permit = quota.permit(RequestKind::Write, urgency, "a").await;
    permit.sends();
    permit
}

#[tokio::test(start_paused = true)]
async fn a_permit_frees_its_slot_when_it_is_dropped() {
    let quota = EndpointQuota::new(true).quota("p".to_owned(), Limits::default());
    let first = write(&quota, Urgency::Grant).await;
    assert_eq!((first.urgency(), first.kind()), (Urgency::Grant, RequestKind::Write));
    let second = tokio::spawn({
        let quota = quota.clone();
        async move { write(&quota, Urgency::Revoke).await.urgency() }
    });
    yield_now().await;
    assert_eq!(quota.waiting(), [0, 1, 0, 0, 0, 0]);
    drop(first);
    assert_eq!(second.await.unwrap(), Urgency::Revoke);
    assert_eq!(quota.waiting(), [0; Urgency::LEVELS]);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_leaves_the_queue_and_blocks_no_other() {
    let quota = EndpointQuota::new(true).quota("p".to_owned(), Limits::default());
    let held = write(&quota, Urgency::Grant).await;
    assert!(timeout(Duration::from_secs(1), write(&quota, Urgency::Revoke)).await.is_err());
    assert_eq!(quota.waiting(), [0; Urgency::LEVELS]);
    drop(held);
    drop(write(&quota, Urgency::Resync).await);
}

#[tokio::test(start_paused = true)]
async fn a_permit_granted_to_one_who_has_just_given_up_goes_to_the_next() {
    let quota = EndpointQuota::new(true).quota("p".to_owned(), Limits::default());
    let held = write(&quota, Urgency::Grant).await;
    let mut first = Box::pin(write(&quota, Urgency::Grant));
    let mut second = Box::pin(write(&quota, Urgency::Grant));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    drop(held); // grants to the first, which never looks
    drop(first);
    assert!(futures::poll!(&mut second).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_timer_wakes_at_the_very_instant_and_not_before() {
    let quota = EndpointQuota::new(true).quota("p".to_owned(), limited(1));
    let start = Instant::now();
    drop(write(&quota, Urgency::Revoke).await);
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(write(&quota, Urgency::Revoke).await);
    assert_eq!(start.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_pause_stops_the_quota_and_the_longest_counts() {
    let endpoint = EndpointQuota::new(false);
    let quota = endpoint.quota("p".to_owned(), Limits::default());
    let start = Instant::now();
    let permit = write(&quota, Urgency::Grant).await;
    permit.pause(Duration::from_secs(20));
    permit.pause(Duration::from_secs(5));
    drop(permit);
    let other = endpoint.quota("q".to_owned(), Limits::default());
    drop(write(&other, Urgency::Resync).await);
    assert_eq!(start.elapsed(), Duration::ZERO, "another quota goes on");
    drop(write(&quota, Urgency::Revoke).await);
    assert_eq!(start.elapsed(), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_instant_moves_the_timer_up() {
    let endpoint = EndpointQuota::new(false);
    let (late, soon) =
        (endpoint.quota("late".to_owned(), Limits::default()), endpoint.quota("soon".to_owned(), limited(1)));
    let start = Instant::now();
    write(&late, Urgency::Grant).await.pause(Duration::from_secs(300));
    drop(write(&soon, Urgency::Grant).await);
    let waits = tokio::spawn(async move { drop(write(&late, Urgency::Grant).await) });
    yield_now().await;
    drop(write(&soon, Urgency::Grant).await);
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    waits.await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(300));
}

#[tokio::test(start_paused = true)]
async fn the_same_key_is_the_same_quota_and_deleting_it_gives_no_second_quota() {
    let endpoint = EndpointQuota::new(false);
    let start = Instant::now();
    drop(write(&endpoint.quota("p".to_owned(), limited(1)), Urgency::Revoke).await);
    drop(write(&endpoint.quota("p".to_owned(), limited(1)), Urgency::Revoke).await);
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    advance(Duration::from_secs(60)).await;
    let _other = endpoint.quota("q".to_owned(), limited(1));
    assert_eq!(endpoint.lock().quotas.len(), 1, "a quota that was idle for a minute and has no users is dropped");
}

#[tokio::test(start_paused = true)]
async fn other_limits_count_at_once() {
    let endpoint = EndpointQuota::new(false);
    let quota = endpoint.quota("p".to_owned(), limited(1));
    drop(write(&quota, Urgency::Revoke).await);
    let waits = tokio::spawn(async move { drop(write(&quota, Urgency::Revoke).await) });
    yield_now().await;
    let start = Instant::now();
    let same = endpoint.quota("p".to_owned(), limited(2));
    waits.await.unwrap();
    assert_eq!((start.elapsed(), same.waiting()), (Duration::ZERO, [0; Urgency::LEVELS]));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_called_when_it_is_its_turn_and_a_dropped_ticket_never_is() {
    let quota = EndpointQuota::new(true).quota("p".to_owned(), Limits::default());
    let held = write(&quota, Urgency::Grant).await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let request = |urgency: Urgency| {
        let sender = sender.clone();
        quota.request(RequestKind::Write, urgency, "a", move |permit| drop(sender.send(permit)))
    };
    let (grant, revocation, given_up) = (request(Urgency::Grant), request(Urgency::Revoke), request(Urgency::Revoke));
    drop(given_up);
    drop(held);
    assert_eq!(receiver.try_recv().unwrap().urgency(), Urgency::Revoke);
    assert_eq!(receiver.try_recv().unwrap().urgency(), Urgency::Grant, "the first was dropped");
    assert!(receiver.try_recv().is_err());
    drop((grant, revocation));
}

#[tokio::test(start_paused = true)]
async fn an_unused_endpoint_is_forgotten_a_minute_after_its_last_request() {
    let endpoint = EndpointQuota::new(false);
    let quota = endpoint.quota("p".to_owned(), limited(1));
    drop(write(&quota, Urgency::Grant).await);
    assert!(!endpoint.is_unused());
    drop(quota);
    assert!(!endpoint.is_unused(), "what was sent still counts");
    advance(Duration::from_secs(60)).await;
    assert!(endpoint.is_unused());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_never_exceed_the_limit_and_all_are_served() {
    let quota = EndpointQuota::new(false).quota("p".to_owned(), Limits { max_in_flight: Some(5), ..Limits::default() });
    let in_flight = Arc::new(AtomicUsize::new(0));
    let tasks = (0..400).map(|n| {
        let (quota, in_flight) = (quota.clone(), in_flight.clone());
        tokio::spawn(async move {
            let urgency = [Urgency::Revoke, Urgency::Grant, Urgency::Drift, Urgency::Resync][n % 4];
            let namespace = ["a", "b", "c"][n % 3];
            if n % 7 == 0 {
                _ = timeout(Duration::from_micros(50), quota.permit(RequestKind::Write, urgency, namespace)).await;
            }
            let _permit =
                quota.permit(if n % 2 == 0 { RequestKind::Read } else { RequestKind::Write }, urgency, namespace).await;
            assert!(in_flight.fetch_add(1, Ordering::SeqCst) < 5);
            yield_now().await;
            in_flight.fetch_sub(1, Ordering::SeqCst);
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let all = async {
        for task in tasks {
            task.await.unwrap();
        }
    };
    timeout(Duration::from_secs(30), all).await.expect("all are served");
    assert_eq!(quota.waiting(), [0; Urgency::LEVELS]);
}

/// Seen failing when only a permit that was given back explicitly was not charged.
#[tokio::test(start_paused = true)]
async fn a_permit_with_which_nothing_was_sent_does_not_count() {
    let quota = EndpointQuota::new(false).quota("p".to_owned(), limited(1));
    drop(quota.permit(RequestKind::Write, Urgency::Revoke, "a").await);
    let again = timeout(Duration::from_secs(1), write(&quota, Urgency::Revoke)).await;
    assert!(again.is_ok(), "the only write of the minute is still available");
    drop(again);
    assert!(timeout(Duration::from_secs(1), write(&quota, Urgency::Revoke)).await.is_err(), "now it is taken");
}
