//! Attempts that begin at once, as a run of their own.

use std::time::Duration;

use pipeline::contract::Timestamp;
use uuid::Uuid;

use super::{
    rows::{all_first, completed, failed, new, retried},
    world::World,
};
use crate::{
    Applied, AwaitedAttempt, BeginRetry, Cancel, End, Ended, NoteRetry,
    Reissue::{AtOnce, Missing},
    Replay, ScheduledRetry, Status, Store, Summary, WorkerResult,
};

fn retry(id: Uuid, run: u32, attempts: u32) -> ScheduledRetry {
    let next_attempt_at = Some(Timestamp::now() + Duration::from_secs(3600));
    let message = format!("attempt {attempts} of run {run}");
    ScheduledRetry { next_attempt_at, ..retried(id, run, attempts, &message) }
}

/// A request that waits for its third attempt.
async fn waiting(store: &Store) -> Uuid {
    let id = Uuid::now_v7();
    store.accept(new(id)).await.unwrap();
    store.record_retries(vec![retry(id, 0, 2)]).await.unwrap();
    id
}

const AWAITED: AwaitedAttempt = AwaitedAttempt { run: 0, attempts: 2 };

fn numbers(summary: &Summary) -> (Status, u32, u32) {
    (summary.status, summary.run, summary.attempts)
}

pub(super) async fn a_retry_that_begins_at_once_is_a_run_that_counts_on(mut world: World) {
    let id = waiting(&world.store).await;
    assert_eq!(world.store.note_retry(id, AWAITED, AtOnce).await.unwrap(), NoteRetry::Noted(1));
    let noted = world.request(id).await.summary;
    assert!(numbers(&noted) == (Status::Queued, 0, 2) && noted.next_attempt_at.is_some());
    assert_eq!(world.store.begin_retry(id, 1, AtOnce).await.unwrap(), BeginRetry::Done);
    world.restart();
    let store = &world.store;
    let begun = world.request(id).await.summary;
    assert_eq!((numbers(&begun), begun.next_attempt_at), ((Status::Queued, 1, 2), None));
    assert_eq!(begun.last_error.as_deref(), Some("attempt 2 of run 0"));
    // The copy of before is obsolete, and news of it come too late.
    let end = Some(End::new(Status::Queued, 1, None));
    assert_eq!(store.ended(vec![id]).await.unwrap(), [Ended { id, end }]);
    store.record_retries(vec![retry(id, 0, 2), retry(id, 0, 3)]).await.unwrap();
    assert_eq!(world.request(id).await.summary, begun);
    let late = store.apply_results(vec![failed(id, "permanent")]).await.unwrap();
    assert_eq!(late, [Applied::OlderRun]);

    store.record_retries(vec![retry(id, 1, 3)]).await.unwrap();
    assert_eq!(numbers(&world.request(id).await.summary), (Status::Queued, 1, 3));
    let awaited = AwaitedAttempt { run: 1, attempts: 3 };
    assert_eq!(store.note_retry(id, awaited, AtOnce).await.unwrap(), NoteRetry::Noted(2));
    let end = WorkerResult { run: Some(1), attempt: 4, ..completed(id, "1") };
    assert!(all_first(&store.apply_results(vec![end]).await.unwrap()));
    let ended = BeginRetry::Ended(Status::Completed);
    assert_eq!(store.begin_retry(id, 2, AtOnce).await.unwrap(), ended);
    // Its own end may come before it is recorded.
    let quick = waiting(store).await;
    assert_eq!(store.note_retry(quick, AWAITED, AtOnce).await.unwrap(), NoteRetry::Noted(1));
    let end = WorkerResult { run: Some(1), attempt: 3, ..completed(quick, "1") };
    assert!(all_first(&store.apply_results(vec![end]).await.unwrap()));
    assert_eq!(store.begin_retry(quick, 1, AtOnce).await.unwrap(), BeginRetry::Overtaken);
    assert_eq!(numbers(&world.request(id).await.summary), (Status::Completed, 1, 4));
}

pub(super) async fn only_what_waits_for_this_attempt_is_retried_now(world: World) {
    let store = &world.store;
    let [never_tried, done, gone] = std::array::from_fn(|_| Uuid::now_v7());
    for id in [never_tried, gone] {
        store.accept(new(id)).await.unwrap();
    }
    store.apply_results(vec![completed(done, "1")]).await.unwrap();
    assert_eq!(store.cancel(gone).await.unwrap(), Cancel::Done(0));
    for (id, status) in
        [(never_tried, Status::Queued), (done, Status::Completed), (gone, Status::Cancelled)]
    {
        let awaited = AwaitedAttempt { run: 0, attempts: 0 };
        let refused = NoteRetry::NotWaiting(status);
        assert_eq!(store.note_retry(id, awaited, AtOnce).await.unwrap(), refused);
    }
    let id = waiting(store).await;
    for other in [AwaitedAttempt { attempts: 1, ..AWAITED }, AwaitedAttempt { run: 1, ..AWAITED }] {
        let refused = NoteRetry::NotWaiting(Status::Queued);
        assert_eq!(store.note_retry(id, other, AtOnce).await.unwrap(), refused);
    }
    let unknown = Uuid::now_v7();
    assert_eq!(store.note_retry(unknown, AWAITED, AtOnce).await.unwrap(), NoteRetry::Unknown);
    assert_eq!(store.begin_retry(unknown, 1, AtOnce).await.unwrap(), BeginRetry::Unknown);
}

pub(super) async fn after_the_last_run_there_is_none(world: World) {
    let (store, id) = (&world.store, Uuid::now_v7());
    // Only a message of another program can name it.
    let before = u32::MAX - 1;
    let end = WorkerResult { run: Some(before), ..failed(id, "permanent") };
    store.apply_results(vec![end]).await.unwrap();
    assert_eq!(store.note_replay(id, before).await.unwrap(), Replay::Done);
    assert_eq!(store.replay(id, before).await.unwrap(), Replay::Done);
    let awaited = AwaitedAttempt { run: u32::MAX, attempts: 0 };
    let refused = NoteRetry::NotWaiting(Status::Queued);
    for reissue in [AtOnce, Missing] {
        assert_eq!(store.note_retry(id, awaited, reissue).await.unwrap(), refused);
    }
}

pub(super) async fn of_several_retries_at_once_the_last_run_counts(world: World) {
    let other = world.second();
    for of_first in [true, false] {
        let id = waiting(&world.store).await;
        let noted = tokio::join!(
            world.store.note_retry(id, AWAITED, AtOnce),
            other.note_retry(id, AWAITED, AtOnce)
        );
        let mut runs = [noted.0, noted.1].map(|noted| match noted.unwrap() {
            NoteRetry::Noted(run) => run,
            refused => panic!("{refused:?}"),
        });
        runs.sort_unstable();
        assert_eq!(runs, [1, 2], "each has a run of its own");
        if !of_first {
            runs.reverse();
        }
        let [one, two] = runs.map(|run| world.store.begin_retry(id, run, AtOnce));
        let begun = [one.await.unwrap(), two.await.unwrap()];
        let second = if of_first { BeginRetry::Done } else { BeginRetry::Overtaken };
        assert_eq!(begun, [BeginRetry::Done, second]);
        assert_eq!(world.request(id).await.summary.run, 2);
        let refused = NoteRetry::NotWaiting(Status::Queued);
        assert_eq!(world.store.note_retry(id, AWAITED, AtOnce).await.unwrap(), refused);
    }
}

/// Whoever published it may have died before it was committed.
pub(super) async fn news_of_a_run_that_is_noted_show_that_it_was_published(world: World) {
    let store = &world.store;
    let id = waiting(store).await;
    store.record_retries(vec![retry(id, 1, 3)]).await.unwrap();
    assert_eq!(world.request(id).await.summary.run, 0, "nobody has noted it");
    assert_eq!(store.note_retry(id, AWAITED, AtOnce).await.unwrap(), NoteRetry::Noted(1));
    store.record_retries(vec![retry(id, 1, 3)]).await.unwrap();
    assert_eq!(numbers(&world.request(id).await.summary), (Status::Queued, 1, 3));
    assert_eq!(store.begin_retry(id, 1, AtOnce).await.unwrap(), BeginRetry::Overtaken);
    assert!(world.request(id).await.summary.next_attempt_at.is_some(), "it waits again");
    let failure = WorkerResult { run: Some(1), ..failed(id, "permanent") };
    assert!(all_first(&store.apply_results(vec![failure]).await.unwrap()));
}

pub(super) async fn what_is_missing_is_published_again_and_keeps_its_time(world: World) {
    let store = &world.store;
    let [never_tried, done] = std::array::from_fn(|_| Uuid::now_v7());
    store.accept(new(never_tried)).await.unwrap();
    let first = AwaitedAttempt { run: 0, attempts: 0 };
    let noted = store.note_retry(never_tried, first, Missing).await.unwrap();
    assert_eq!(noted, NoteRetry::Noted(1));
    assert_eq!(store.begin_retry(never_tried, 1, Missing).await.unwrap(), BeginRetry::Done);
    let begun = world.request(never_tried).await.summary;
    assert_eq!((numbers(&begun), begun.next_attempt_at), ((Status::Queued, 1, 0), None));
    let moved = store.note_retry(never_tried, first, Missing).await.unwrap();
    assert_eq!(moved, NoteRetry::NotWaiting(Status::Queued), "it is in a later run");

    let id = waiting(store).await;
    let at = world.request(id).await.summary.next_attempt_at;
    assert_eq!(store.note_retry(id, AWAITED, Missing).await.unwrap(), NoteRetry::Noted(1));
    assert_eq!(store.begin_retry(id, 1, Missing).await.unwrap(), BeginRetry::Done);
    let begun = world.request(id).await.summary;
    assert_eq!((numbers(&begun), begun.next_attempt_at), ((Status::Queued, 1, 2), at));

    store.apply_results(vec![completed(done, "1")]).await.unwrap();
    let ended = store.note_retry(done, first, Missing).await.unwrap();
    assert_eq!(ended, NoteRetry::NotWaiting(Status::Completed));
}
