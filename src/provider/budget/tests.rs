use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::yield_now;
use tokio::time::{advance, timeout};

use super::*;

fn limited(writes_per_minute: u32) -> Limits {
    Limits { writes_per_minute: Some(writes_per_minute), ..Limits::default() }
}

async fn write(lane: &Lane, urgency: Urgency) -> Permit {
    lane.permit(Kind::Write, urgency, "a").await
}

#[tokio::test(start_paused = true)]
async fn a_permit_frees_its_slot_when_it_is_dropped() {
    let lane = Budget::new(true).lane("p".to_owned(), Limits::default());
    let first = write(&lane, Urgency::Grant).await;
    assert_eq!((first.urgency(), first.kind()), (Urgency::Grant, Kind::Write));
    let second = tokio::spawn({
        let lane = lane.clone();
        async move { write(&lane, Urgency::Revoke).await.urgency() }
    });
    yield_now().await;
    assert_eq!(lane.waiting(), [1, 0, 0, 0]);
    drop(first);
    assert_eq!(second.await.unwrap(), Urgency::Revoke);
    assert_eq!(lane.waiting(), [0; 4]);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_leaves_the_queue_and_blocks_nobody() {
    let lane = Budget::new(true).lane("p".to_owned(), Limits::default());
    let held = write(&lane, Urgency::Grant).await;
    assert!(timeout(Duration::from_secs(1), write(&lane, Urgency::Revoke)).await.is_err());
    assert_eq!(lane.waiting(), [0; 4]);
    drop(held);
    drop(write(&lane, Urgency::Resync).await);
}

#[tokio::test(start_paused = true)]
async fn a_permit_granted_to_one_who_has_just_given_up_goes_to_the_next() {
    let lane = Budget::new(true).lane("p".to_owned(), Limits::default());
    let held = write(&lane, Urgency::Grant).await;
    let mut first = Box::pin(write(&lane, Urgency::Grant));
    let mut second = Box::pin(write(&lane, Urgency::Grant));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    drop(held); // grants to the first, which never looks
    drop(first);
    assert!(futures::poll!(&mut second).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_timer_wakes_at_the_very_instant_and_not_before() {
    let lane = Budget::new(true).lane("p".to_owned(), limited(1));
    let start = Instant::now();
    drop(write(&lane, Urgency::Revoke).await);
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(write(&lane, Urgency::Revoke).await);
    assert_eq!(start.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_pause_stops_the_lane_and_the_longest_wins() {
    let budget = Budget::new(false);
    let lane = budget.lane("p".to_owned(), Limits::default());
    let start = Instant::now();
    let permit = write(&lane, Urgency::Grant).await;
    permit.pause(Duration::from_secs(20));
    permit.pause(Duration::from_secs(5));
    drop(permit);
    let other = budget.lane("q".to_owned(), Limits::default());
    drop(write(&other, Urgency::Resync).await);
    assert_eq!(start.elapsed(), Duration::ZERO, "another lane goes on");
    drop(write(&lane, Urgency::Revoke).await);
    assert_eq!(start.elapsed(), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_instant_moves_the_timer_up() {
    let budget = Budget::new(false);
    let (late, soon) = (budget.lane("late".to_owned(), Limits::default()), budget.lane("soon".to_owned(), limited(1)));
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
async fn the_same_key_is_the_same_lane_and_deleting_it_gives_no_second_budget() {
    let budget = Budget::new(false);
    let start = Instant::now();
    drop(write(&budget.lane("p".to_owned(), limited(1)), Urgency::Revoke).await);
    drop(write(&budget.lane("p".to_owned(), limited(1)), Urgency::Revoke).await);
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    advance(Duration::from_secs(60)).await;
    let _other = budget.lane("q".to_owned(), limited(1));
    assert_eq!(budget.shared.lock().lanes.len(), 1, "what did nothing for a minute and belongs to nobody is forgotten");
}

#[tokio::test(start_paused = true)]
async fn other_limits_count_at_once() {
    let lane = Budget::new(false).lane("p".to_owned(), limited(1));
    drop(write(&lane, Urgency::Revoke).await);
    let waits = tokio::spawn({
        let lane = lane.clone();
        async move { drop(write(&lane, Urgency::Revoke).await) }
    });
    yield_now().await;
    assert_eq!(lane.waiting(), [1, 0, 0, 0]);
    let start = Instant::now();
    lane.set_limits(limited(2));
    waits.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_never_exceed_the_limit_and_all_are_served() {
    let lane = Budget::new(false).lane("p".to_owned(), Limits { max_in_flight: Some(5), ..Limits::default() });
    let in_flight = Arc::new(AtomicUsize::new(0));
    let tasks = (0..400).map(|n| {
        let (lane, in_flight) = (lane.clone(), in_flight.clone());
        tokio::spawn(async move {
            let urgency = Urgency::ALL[n % 4];
            let namespace = ["a", "b", "c"][n % 3];
            if n % 7 == 0 {
                _ = timeout(Duration::from_micros(50), lane.permit(Kind::Write, urgency, namespace)).await;
            }
            let _permit = lane.permit(if n % 2 == 0 { Kind::Read } else { Kind::Write }, urgency, namespace).await;
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
    assert_eq!(lane.waiting(), [0; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_given_back_unused_does_not_count() {
    let lane = Budget::new(false).lane("p".to_owned(), limited(1));
    write(&lane, Urgency::Revoke).await.unused();
    let again = timeout(Duration::from_secs(1), write(&lane, Urgency::Revoke)).await;
    assert!(again.is_ok(), "the minute's only write is still to be had");
    drop(again);
    assert!(timeout(Duration::from_secs(1), write(&lane, Urgency::Revoke)).await.is_err(), "now it is taken");
}
