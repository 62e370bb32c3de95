//! Attempts.

use std::time::Duration;

use pipeline::contract::{ErrorBody, Timestamp};
use uuid::Uuid;

use super::{
    rows::{completed, expiry, failed, new, retried},
    world::World,
};
use crate::{
    Attempt, AttemptEnd, Discard, FoundAttempts, MAX_ATTEMPTS_TOLD, Replay, ResultOutcome, Store,
    WorkerResult,
};

async fn attempts(store: &Store, id: Uuid) -> Vec<Attempt> {
    match store.attempts(id).await.unwrap() {
        FoundAttempts::Of { summary, attempts, is_cut } => {
            assert_eq!((summary.id, is_cut), (id, false));
            attempts
        }
        other => panic!("{id}: {other:?}"),
    }
}

/// Run, attempt, worker and error code of each attempt.
async fn told(store: &Store, id: Uuid) -> Vec<(u32, u32, String, Option<String>)> {
    let attempts = attempts(store, id).await;
    let told = attempts.into_iter().map(|one| {
        (one.run, one.attempt, one.worker.unwrap_or_default(), one.error.map(|error| error.code))
    });
    told.collect()
}

fn attempt(of: WorkerResult, attempt: u32) -> WorkerResult {
    WorkerResult { attempt, ..of }
}

pub(super) async fn each_attempt_is_kept_with_its_worker_times_and_error(world: World) {
    let (store, id) = (&world.store, Uuid::now_v7());
    store.accept(new(id)).await.unwrap();
    assert_eq!(attempts(store, id).await, []);
    store.record_retries(vec![retried(id, 0, 1, "busy")]).await.unwrap();
    let first = Attempt {
        run: 0,
        attempt: 1,
        delivery: 1,
        worker: Some("host:1/1".to_owned()),
        started_at: Some(Timestamp::from_millis(1_700_000_001_000)),
        ended_at: Some(Timestamp::from_millis(1_700_000_002_000)),
        error: Some(ErrorBody::new("transient", "busy")),
        next_attempt_at: Some(Timestamp::from_millis(1_700_000_003_000)),
    };
    assert_eq!(attempts(store, id).await, std::slice::from_ref(&first));
    let result = WorkerResult { deliveries: 2, ..attempt(completed(id, "1"), 2) };
    store.apply_results(vec![result]).await.unwrap();
    let second =
        Attempt { attempt: 2, delivery: 2, error: None, next_attempt_at: None, ..first.clone() };
    assert_eq!(second.end(), AttemptEnd::Completed);
    assert_eq!(attempts(store, id).await, [first, second]);
    assert_eq!(world.request(id).await.summary.attempts, 2);
}

pub(super) async fn an_attempt_that_is_told_again_is_kept_once(world: World) {
    let (store, other, id) = (&world.store, world.second(), Uuid::now_v7());
    store.accept(new(id)).await.unwrap();
    let first = || vec![retried(id, 0, 1, "busy")];
    // All web services hear of it, and each may hear of it twice.
    let (here, there) = tokio::join!(store.record_retries(first()), other.record_retries(first()));
    assert_eq!((here, there), (Ok(()), Ok(())));
    store.record_retries([first(), first()].concat()).await.unwrap();
    let last = || vec![attempt(failed(id, "attempts_exhausted"), 2)];
    store.apply_results(last()).await.unwrap();
    other.apply_results(last()).await.unwrap();
    // A late twin of the first attempt, and a late report of it.
    store.apply_results(vec![attempt(completed(id, "1"), 1)]).await.unwrap();
    store.record_retries(first()).await.unwrap();
    let worker = "host:1/1".to_owned();
    let expected = [
        (0, 1, worker.clone(), Some("transient".to_owned())),
        (0, 2, worker, Some("attempts_exhausted".to_owned())),
    ];
    assert_eq!(told(&other, id).await, expected);
}

pub(super) async fn a_report_that_comes_after_the_end_is_kept_too(world: World) {
    let (store, id) = (&world.store, Uuid::now_v7());
    store.accept(new(id)).await.unwrap();
    store.apply_results(vec![attempt(completed(id, "1"), 2)]).await.unwrap();
    let never_published = retried(id, 9, 1, "of a run that was never published");
    store.record_retries(vec![retried(id, 0, 1, "busy"), never_published]).await.unwrap();
    let ends: Vec<_> = attempts(store, id).await.iter().map(Attempt::end).collect();
    assert_eq!(ends, [AttemptEnd::Failed, AttemptEnd::Completed]);
    store.record_retries(vec![retried(Uuid::now_v7(), 0, 1, "of nobody's request")]).await.unwrap();
}

pub(super) async fn the_attempts_of_earlier_runs_stay(world: World) {
    let (store, id) = (&world.store, Uuid::now_v7());
    store.accept(new(id)).await.unwrap();
    store.apply_results(vec![failed(id, "timeout")]).await.unwrap();
    for run in [0, 1] {
        assert_eq!(store.note_replay(id, run).await.unwrap(), Replay::Done);
        assert_eq!(store.replay(id, run).await.unwrap(), Replay::Done);
        let run = Some(run + 1);
        let given_up = WorkerResult { run, ..failed(id, "poison") };
        store.apply_results(vec![given_up]).await.unwrap();
    }
    let success = WorkerResult { run: Some(2), ..completed(id, "1") };
    store.apply_results(vec![success]).await.unwrap();
    let ends: Vec<_> = attempts(store, id).await.iter().map(|it| (it.run, it.end())).collect();
    let [timeout, given_up] = [AttemptEnd::TimedOut, AttemptEnd::GivenUp];
    assert_eq!(ends, [(0, timeout), (1, given_up), (2, given_up), (2, AttemptEnd::Completed)]);
}

pub(super) async fn attempts_go_with_their_request(world: World) {
    let (store, ids) = (&world.store, [Uuid::now_v7(), Uuid::now_v7()]);
    for id in ids {
        store.accept(new(id)).await.unwrap();
        store.record_retries(vec![retried(id, 0, 1, "busy")]).await.unwrap();
        store.apply_results(vec![attempt(failed(id, "permanent"), 2)]).await.unwrap();
    }
    assert_eq!(store.discard(ids[0]).await.unwrap(), Discard::Done);
    let ended = expiry(Timestamp::now() + Duration::from_secs(60));
    assert_eq!(store.expire(ended).await.unwrap().requests, 1);
    for id in ids {
        assert_eq!(store.attempts(id).await.unwrap(), FoundAttempts::Expired);
        store.record_retries(vec![retried(id, 0, 1, "late")]).await.unwrap();
    }
    assert_eq!(store.attempts(Uuid::now_v7()).await.unwrap(), FoundAttempts::Unknown);
    assert_eq!(world.rows("attempts").await, 0);
}

pub(super) async fn the_attempts_that_are_told_are_bounded(world: World) {
    let (store, id) = (&world.store, Uuid::now_v7());
    store.accept(new(id)).await.unwrap();
    let many = u32::try_from(MAX_ATTEMPTS_TOLD).unwrap();
    let message = "x".repeat(5000);
    store
        .record_retries((1..=many).map(|at| retried(id, 0, at, &message)).collect())
        .await
        .unwrap();
    assert_eq!(attempts(store, id).await.len(), MAX_ATTEMPTS_TOLD);
    store.apply_results(vec![attempt(failed(id, "permanent"), many + 1)]).await.unwrap();
    match store.attempts(id).await.unwrap() {
        FoundAttempts::Of { attempts, is_cut: true, .. } => {
            let bounds = (attempts.len(), attempts[0].attempt, attempts[many as usize - 1].attempt);
            assert_eq!(bounds, (MAX_ATTEMPTS_TOLD, 2, many + 1));
            assert_eq!(attempts[0].error.as_ref().unwrap().message.len(), 2000);
        }
        other => panic!("{other:?}"),
    }
}

/// An earlier release has kept no attempts.
pub(super) async fn the_failure_of_a_request_of_an_earlier_release_is_told(world: World) {
    let (store, id) = (&world.store, Uuid::now_v7());
    store.accept(new(id)).await.unwrap();
    store.apply_results(vec![failed(id, "permanent")]).await.unwrap();
    let before = attempts(store, id).await;
    world.sql("DELETE FROM attempts").await;
    assert_eq!(attempts(store, id).await, before);
    let error = match failed(id, "permanent").outcome {
        ResultOutcome::Failed(error) => error,
        ResultOutcome::Completed(_) => unreachable!(),
    };
    assert_eq!(before[0].error, Some(error));
}
