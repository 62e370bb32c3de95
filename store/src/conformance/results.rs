//! Results, cancels and scheduled retries.

use std::time::Duration;

use futures_util::future::join_all;
use pipeline::contract::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    rows::{all_first, completed, expiry, failed, new, retried},
    world::{TIMEOUT, World},
};
use crate::{
    Applied, Cancel, End, Ended, Found, Record, ResultOutcome, ScheduledRetry, Status, StoreError,
    WorkerResult,
    model::worker_result::{StoredResult, decide},
};

pub(super) async fn a_request_is_queued_until_its_result_comes(world: World) {
    let id = Uuid::now_v7();
    assert_eq!(world.store.get(id).await.unwrap(), Found::Unknown);
    world.store.accept(new(id)).await.unwrap();
    let request = world.request(id).await;
    assert_eq!((request.summary.status, request.result), (Status::Queued, None));
    assert_eq!(request.summary.accepted_at, Some(Timestamp::from_millis(1_700_000_000_000)));

    assert_eq!(
        world.store.apply_results(vec![completed(id, "42")]).await.unwrap(),
        [Applied::Stored]
    );
    let request = world.request(id).await;
    assert_eq!(request.summary.status, Status::Completed);
    assert_eq!(request.result.as_deref(), Some(b"42".as_slice()));
    assert_eq!(request.summary.worker.as_deref(), Some("host:1/1"));
    assert_eq!(request.summary.finished_at, Some(Timestamp::from_millis(1_700_000_002_000)));
    assert_eq!(world.store.origin(id).await.unwrap().data, Some(new(id).request_data));
    assert_eq!(world.store.get_many(vec![Uuid::now_v7(), id]).await.unwrap(), [request.summary]);
}

pub(super) async fn a_request_that_was_prepared_is_recorded_once_that_is_begun(world: World) {
    let (id, store, deadline) = (Uuid::now_v7(), &world.store, Instant::now() + TIMEOUT);
    let (record, recorded) = store.prepare_accept(new(id));
    store.ping().await.unwrap();
    assert_eq!(store.get(id).await.unwrap(), Found::Unknown);
    let began = Instant::now();
    record();
    let answer = recorded.await;
    assert_eq!(answer, Some(Ok(())));
    store.end_accept(began, answer, deadline, || unreachable!("it is done")).await.unwrap();
    assert_eq!(world.request(id).await.summary.status, Status::Queued);
}

pub(super) async fn a_request_whose_recording_was_not_begun_is_recorded_if_there_is_time(
    world: World,
) {
    let (id, late, store, now) = (Uuid::now_v7(), Uuid::now_v7(), &world.store, Instant::now());
    let (record, recorded) = store.prepare_accept(new(id));
    drop(record);
    let answer = recorded.await;
    assert_eq!(answer, None);
    store.end_accept(now, answer.clone(), now + TIMEOUT, || new(id)).await.unwrap();
    assert_eq!(world.request(id).await.summary.status, Status::Queued);
    let unavailable = store.end_accept(now, answer, now, || new(late)).await;
    assert!(matches!(unavailable, Err(StoreError::Unavailable(_))), "{unavailable:?}");
    assert_eq!(store.get(late).await.unwrap(), Found::Unknown);
}

pub(super) async fn a_result_that_comes_first_makes_its_own_row_and_stays(world: World) {
    let (good, bad) = (Uuid::now_v7(), Uuid::now_v7());
    let results = vec![completed(good, "1"), failed(bad, "permanent")];
    assert!(all_first(&world.store.apply_results(results).await.unwrap()));
    assert_eq!(world.request(good).await.summary.accepted_at, None);

    for id in [good, bad] {
        world.store.accept(new(id)).await.unwrap();
        assert_eq!(world.store.origin(id).await.unwrap().data, Some(new(id).request_data));
    }
    let (good, bad) = (world.request(good).await, world.request(bad).await);
    assert_eq!(good.summary.status, Status::Completed);
    assert_eq!(good.summary.accepted_at, Some(Timestamp::from_millis(1_700_000_000_000)));
    assert_eq!(good.result.as_deref(), Some(b"1".as_slice()));
    assert_eq!(bad.summary.status, Status::Failed);
    assert_eq!(bad.summary.error.unwrap().code, "permanent");
}

pub(super) async fn of_two_results_in_one_batch_the_first_wins(world: World) {
    let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    let other_result =
        WorkerResult { worker: Some("other:2/1".to_owned()), ..completed(ids[1], "2") };
    let batch = vec![
        completed(ids[2], "0"),
        completed(ids[0], "1"),
        completed(ids[1], "1"),
        other_result,
        completed(ids[0], "1"),
    ];
    let applied = world.store.apply_results(batch).await.unwrap();
    let first = Applied::Stored;
    let expected = [first.clone(), first.clone(), first, Applied::Superseded, Applied::Duplicate];
    assert_eq!(applied, expected);
    assert_eq!(world.request(ids[1]).await.result.as_deref(), Some(b"1".as_slice()));
}

pub(super) async fn of_two_results_in_two_batches_the_first_wins_also_after_a_restart(
    mut world: World,
) {
    let id = Uuid::now_v7();
    world.store.apply_results(vec![completed(id, "1")]).await.unwrap();
    let other_result = || WorkerResult { worker: None, ..failed(id, "permanent") };
    for _ in 0..2 {
        assert_eq!(
            world.store.apply_results(vec![other_result()]).await.unwrap(),
            [Applied::Superseded]
        );
        let same = world.store.apply_results(vec![completed(id, "1")]).await.unwrap();
        assert_eq!(same, [Applied::Duplicate]);
        let request = world.request(id).await;
        assert_eq!(request.result.as_deref(), Some(b"1".as_slice()));
        assert_eq!(request.summary.error, None);
        world.restart();
    }
}

/// Every state a request can be in, met by every result there can be.
pub(super) async fn the_database_decides_as_the_function_does(world: World) {
    for status in Status::ALL {
        for run in [None, Some(0), Some(1), Some(2)] {
            for end in [Status::Completed, Status::Failed] {
                let id = Uuid::now_v7();
                let stored = in_state(&world, id, status).await;
                let result = match end {
                    Status::Completed => completed(id, "9"),
                    _ => failed(id, "timeout"),
                };
                let result = WorkerResult { run, worker: Some("late:1/1".to_owned()), ..result };
                let expected = decide(&stored, &result);
                let applied = world.store.apply_results(vec![result]).await.unwrap();
                let summary = world.request(id).await.summary;
                let is_first = expected.is_stored();
                let expected = match is_first {
                    true => Applied::stored(summary.run > 0 || summary.last_error.is_some()),
                    false => expected,
                };
                assert_eq!(applied, [expected], "{status:?}, then {end:?} of run {run:?}");
                assert_eq!(summary.status, if is_first { end } else { status });
                assert_eq!(
                    summary.run,
                    if is_first { run.unwrap_or(0).max(stored.run) } else { stored.run }
                );
            }
        }
    }
}

/// Brings a new request to a state, in its run 1 where that is possible.
async fn in_state(world: &World, id: Uuid, status: Status) -> StoredResult {
    world.store.accept(new(id)).await.unwrap();
    let end = match status {
        Status::Completed => Some(WorkerResult { run: Some(1), ..completed(id, "1") }),
        Status::Failed => Some(WorkerResult { run: Some(1), ..failed(id, "permanent") }),
        Status::Queued | Status::Cancelled => None,
    };
    if status == Status::Cancelled {
        assert_eq!(world.store.cancel(id).await.unwrap(), Cancel::Done(0));
    }
    let error_code = (status == Status::Failed).then(|| "permanent".to_owned());
    let (worker, finished_at) =
        end.as_ref().map_or((None, None), |end| (end.worker.clone(), end.finished_at));
    // Only a result or a replay raises the run.
    let run = u32::from(end.is_some());
    assert!(all_first(&world.store.apply_results(end.into_iter().collect()).await.unwrap()));
    StoredResult { status, run, noted_run: 0, worker, finished_at, error_code }
}

pub(super) async fn of_two_services_only_one_is_first(world: World) {
    let other = world.second();
    let ids: Vec<Uuid> = (0..200).map(|_| Uuid::now_v7()).collect();
    let here = ids.chunks(50).map(|ids| {
        let results = ids.iter().map(|id| completed(*id, "\"here\"")).collect();
        world.store.apply_results(results)
    });
    // The other way round, which would be a deadlock if rows were locked as they come.
    let there = ids.chunks(50).map(|ids| {
        let other_result = |id: &Uuid| WorkerResult { worker: None, ..completed(*id, "\"there\"") };
        other.apply_results(ids.iter().rev().map(other_result).collect())
    });
    let (here, there) = tokio::join!(join_all(here), join_all(there));
    let first = |batches: Vec<Result<Vec<Applied>, _>>, reversed: bool| {
        let batch = |batch: Result<Vec<Applied>, _>| {
            let mut batch = batch.unwrap();
            if reversed {
                batch.reverse();
            }
            batch
        };
        batches.into_iter().flat_map(batch).map(|one| one.is_stored()).collect::<Vec<_>>()
    };
    for ((id, here), there) in ids.iter().zip(first(here, false)).zip(first(there, true)) {
        assert!(here != there, "exactly one is the first");
        let expected = if here { "\"here\"" } else { "\"there\"" };
        assert_eq!(world.request(*id).await.result.as_deref(), Some(expected.as_bytes()));
    }
}

pub(super) async fn a_success_beats_that_its_message_was_given_up(world: World) {
    for (code, expected) in [
        ("poison", Status::Completed),
        ("delivery_limit", Status::Completed),
        ("expired", Status::Completed),
        ("permanent", Status::Failed),
    ] {
        let id = Uuid::now_v7();
        world.store.accept(new(id)).await.unwrap();
        let ends = [failed(id, code), completed(id, "1"), failed(id, code)];
        for end in ends {
            world.store.apply_results(vec![end]).await.unwrap();
        }
        let Record { summary, result } = world.request(id).await;
        assert_eq!(summary.status, expected, "{code}");
        assert_eq!(
            (result.is_some(), summary.error.is_none()),
            (expected == Status::Completed, expected == Status::Completed,)
        );
    }
}

pub(super) async fn a_cancelled_request_stays_cancelled(world: World) {
    let id = Uuid::now_v7();
    assert_eq!(world.store.cancel(id).await.unwrap(), Cancel::Unknown);
    world.store.accept(new(id)).await.unwrap();
    assert_eq!(world.store.cancel(id).await.unwrap(), Cancel::Done(0));
    assert_eq!(world.store.cancel(id).await.unwrap(), Cancel::TooLate(Status::Cancelled));
    assert_eq!(
        world.store.apply_results(vec![completed(id, "1")]).await.unwrap(),
        [Applied::Cancelled]
    );
    world.store.accept(new(id)).await.unwrap();
    let request = world.request(id).await;
    assert_eq!((request.summary.status, request.result), (Status::Cancelled, None));
    assert!(request.summary.finished_at.is_some());

    let done = Uuid::now_v7();
    world.store.apply_results(vec![completed(done, "1")]).await.unwrap();
    assert_eq!(world.store.cancel(done).await.unwrap(), Cancel::TooLate(Status::Completed));
}

pub(super) async fn of_many_requests_those_that_have_ended_are_found(world: World) {
    let store = &world.store;
    let ids: [Uuid; 6] = std::array::from_fn(|_| Uuid::now_v7());
    let [open, done, bad, given_up, gone, expired] = ids;
    store.apply_results(vec![completed(expired, "1")]).await.unwrap();
    let all = expiry(Timestamp::now() + Duration::from_secs(60));
    assert_eq!(store.expire(all).await.unwrap().requests, 1);
    for id in [open, gone] {
        store.accept(new(id)).await.unwrap();
    }
    let failed = WorkerResult { run: Some(2), ..failed(bad, "permanent") };
    let results = vec![completed(done, "1"), failed, self::failed(given_up, "poison")];
    store.apply_results(results).await.unwrap();
    store.cancel(gone).await.unwrap();
    let mut ended = store.ended([&ids[..], &[Uuid::now_v7()]].concat()).await.unwrap();
    ended.sort_by_key(|ended| ended.id);
    let end = |status, run, code| Some(End::new(status, run, code));
    let expected = [
        (done, end(Status::Completed, 0, None)),
        (bad, end(Status::Failed, 2, Some("permanent"))),
        (given_up, end(Status::Failed, 0, Some("poison"))),
        (gone, end(Status::Cancelled, 0, None)),
        (expired, None),
    ];
    assert_eq!(ended, expected.map(|(id, end)| Ended { id, end }));
}

pub(super) async fn scheduled_retries_are_recorded_unless_they_are_old(world: World) {
    let id = Uuid::now_v7();
    let retry = |run, attempts| ScheduledRetry {
        next_attempt_at: Some(Timestamp::from_millis(5)),
        ..retried(id, run, attempts, &format!("attempt {attempts} of run {run}"))
    };
    let last_error = async || world.request(id).await.summary.last_error.unwrap();
    world.store.accept(new(id)).await.unwrap();
    world.store.record_retries(vec![retry(0, 1), retry(0, 2)]).await.unwrap();
    assert_eq!(last_error().await, "attempt 2 of run 0");
    world.store.record_retries(vec![retry(0, 1)]).await.unwrap();
    assert_eq!(last_error().await, "attempt 2 of run 0");
    world.store.record_retries(vec![retry(1, 3)]).await.unwrap();
    let summary = world.request(id).await.summary;
    assert_eq!(
        (summary.run, summary.attempts, summary.next_attempt_at),
        (0, 2, Some(Timestamp::from_millis(5)))
    );

    let result = WorkerResult { attempt: 3, ..completed(id, "1") };
    assert!(matches!(result.outcome, ResultOutcome::Completed(_)));
    let applied = world.store.apply_results(vec![result]).await.unwrap();
    assert_eq!(applied, [Applied::StoredWithHistory], "it has a last error");
    world.store.record_retries(vec![retry(0, 9)]).await.unwrap();
    let summary = world.request(id).await.summary;
    assert_eq!((summary.status, summary.attempts), (Status::Completed, 3));
    assert_eq!(
        (summary.next_attempt_at, last_error().await.as_str()),
        (None, "attempt 2 of run 0")
    );
}

pub(super) async fn a_retry_with_a_wrong_run_does_not_keep_a_request_from_its_end(world: World) {
    let id = Uuid::now_v7();
    world.store.accept(new(id)).await.unwrap();
    let wrong = retry_of(id, 7);
    world.store.record_retries(vec![wrong.clone(), wrong]).await.unwrap();
    let summary = world.request(id).await.summary;
    assert_eq!((summary.run, summary.last_error), (0, None));
    assert!(all_first(&world.store.apply_results(vec![failed(id, "permanent")]).await.unwrap()));
}

pub(super) async fn a_retry_of_an_unknown_request_makes_no_row(world: World) {
    let (known, unknown) = (Uuid::now_v7(), Uuid::now_v7());
    world.store.accept(new(known)).await.unwrap();
    let retries = [unknown, known].map(|id| retry_of(id, 0));
    world.store.record_retries(retries.to_vec()).await.unwrap();
    assert_eq!(world.store.get(unknown).await.unwrap(), Found::Unknown);
    assert_eq!(world.request(known).await.summary.last_error.as_deref(), Some("busy"));
}

fn retry_of(id: Uuid, run: u32) -> ScheduledRetry {
    ScheduledRetry { next_attempt_at: None, ..retried(id, run, 2, "busy") }
}
