//! Replay and discard of failed requests.

use std::time::Duration;

use pipeline::contract::Timestamp;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::{
    callbacks::{lease_all, report},
    parked,
    rows::{all_first, completed, expiry, failed, new, retried},
    world::World,
};
use crate::{
    Applied, AttemptOutcome, CallbackTarget, Cancel, Discard, Found, NewRequest, Origin,
    ParkedFilter, Replay, ScheduledRetry, Status, Store, WorkerResult,
};

async fn failed_one(store: &Store) -> Uuid {
    let id = Uuid::now_v7();
    store.accept(new(id)).await.unwrap();
    assert!(all_first(&store.apply_results(vec![failed(id, "permanent")]).await.unwrap()));
    id
}

async fn failed_with_callback(store: &Store) -> Uuid {
    let id = Uuid::now_v7();
    let (url, host) = ("https://a.example/".to_owned(), "a.example".to_owned());
    let callback = Some(CallbackTarget { url, host });
    store.accept(NewRequest { callback, ..new(id) }).await.unwrap();
    store.apply_results(vec![failed(id, "permanent")]).await.unwrap();
    id
}

pub(super) async fn a_replay_begins_the_next_run(mut world: World) {
    let id = failed_one(&world.store).await;
    assert_eq!(world.store.replay(id, 0).await.unwrap(), Replay::Done);
    world.restart();
    let store = &world.store;
    let summary = world.request(id).await.summary;
    assert_eq!((summary.status, summary.run, summary.attempts), (Status::Queued, 1, 0));
    assert_eq!((summary.error, summary.worker, summary.started_at), (None, None, None));
    assert_eq!((summary.finished_at, summary.accepted_at), (None, new(id).accepted_at.into()));
    assert_eq!(summary.last_error.as_deref(), Some("it can't be done"));
    let origin = Origin { data: Some(new(id).request_data), trace: None, kind: Some(new(id).kind) };
    assert_eq!(store.origin(id).await.unwrap(), origin);

    // The failure of the run before comes again, late.
    assert_eq!(
        store.apply_results(vec![failed(id, "permanent")]).await.unwrap(),
        [Applied::OlderRun]
    );
    let ended = expiry(Timestamp::now() + Duration::from_secs(60));
    assert_eq!(store.expire(ended).await.unwrap().requests, 0);
    let retry = |run| ScheduledRetry {
        next_attempt_at: None,
        ..retried(id, run, 2, &format!("in run {run}"))
    };
    store.record_retries(vec![retry(0), retry(1)]).await.unwrap();
    assert_eq!(world.request(id).await.summary.last_error.as_deref(), Some("in run 1"));
    let end = WorkerResult { run: Some(1), attempt: 3, ..completed(id, "1") };
    assert_eq!(store.apply_results(vec![end]).await.unwrap(), [Applied::StoredWithHistory]);
    let summary = world.request(id).await.summary;
    assert_eq!((summary.status, summary.run, summary.attempts), (Status::Completed, 1, 3));
}

pub(super) async fn only_what_has_failed_in_this_run_is_replayed(world: World) {
    let store = &world.store;
    let [queued, done, gone] = std::array::from_fn(|_| Uuid::now_v7());
    for id in [queued, gone] {
        store.accept(new(id)).await.unwrap();
    }
    store.apply_results(vec![completed(done, "1")]).await.unwrap();
    assert_eq!(store.cancel(gone).await.unwrap(), Cancel::Done(0));
    for (id, status) in
        [(queued, Status::Queued), (done, Status::Completed), (gone, Status::Cancelled)]
    {
        assert_eq!(store.replay(id, 0).await.unwrap(), Replay::NotFailed(status));
        assert_eq!(store.discard(id).await.unwrap(), Discard::NotFailed(status));
        assert_eq!(world.request(id).await.summary.status, status);
    }
    assert_eq!(store.replay(Uuid::now_v7(), 0).await.unwrap(), Replay::Unknown);
    assert_eq!(store.discard(Uuid::now_v7()).await.unwrap(), Discard::Unknown);
}

pub(super) async fn a_result_of_the_next_run_that_comes_before_its_replay_stays(world: World) {
    let store = &world.store;
    let (good, bad) = (failed_one(store).await, failed_one(store).await);
    let result = [completed(good, "1"), failed(bad, "timeout")]
        .map(|end| WorkerResult { run: Some(1), ..end });
    assert!(all_first(&store.apply_results(result.to_vec()).await.unwrap()));
    for (id, status) in [(good, Status::Completed), (bad, Status::Failed)] {
        assert_eq!(store.replay(id, 0).await.unwrap(), Replay::Overtaken);
        let summary = world.request(id).await.summary;
        assert_eq!((summary.status, summary.run), (status, 1));
    }
    assert_eq!(store.replay(bad, 1).await.unwrap(), Replay::Done);
    assert_eq!(world.request(bad).await.summary.run, 2);
}

pub(super) async fn a_result_without_a_run_ends_a_replay_that_is_noted(world: World) {
    let store = &world.store;
    let without_run = |end| WorkerResult { run: None, ..end };
    for (end, status) in
        [(completed as fn(_, _) -> _, Status::Completed), (failed as fn(_, _) -> _, Status::Failed)]
    {
        let id = failed_one(store).await;
        let late = without_run(end(id, "2"));
        let applied = store.apply_results(vec![late.clone()]).await.unwrap();
        assert_eq!(applied, [Applied::Superseded], "it is of the run that has failed");
        assert_eq!(store.note_replay(id, 0).await.unwrap(), Replay::Done);
        assert_eq!(world.request(id).await.summary.status, Status::Failed, "as it was");
        assert_eq!(store.apply_results(vec![late]).await.unwrap(), [Applied::StoredWithHistory]);
        assert_eq!(store.replay(id, 0).await.unwrap(), Replay::Overtaken);
        assert_eq!(store.note_replay(id, 0).await.unwrap(), Replay::Overtaken);
        let summary = world.request(id).await.summary;
        assert_eq!((summary.status, summary.run), (status, 1));
    }
    // A replay that is noted and was never published changes nothing for results that name their run.
    let id = failed_one(store).await;
    assert_eq!(store.note_replay(id, 0).await.unwrap(), Replay::Done);
    let again = store.apply_results(vec![failed(id, "permanent")]).await.unwrap();
    assert_eq!(again, [Applied::Duplicate]);
    assert_eq!(store.note_replay(id, 0).await.unwrap(), Replay::Done, "it can be tried again");
    assert_eq!(store.replay(id, 0).await.unwrap(), Replay::Done);
    assert_eq!(world.request(id).await.summary.run, 1);
    let end = without_run(failed(id, "permanent"));
    assert_eq!(store.apply_results(vec![end]).await.unwrap(), [Applied::StoredWithHistory]);
    assert_eq!(world.request(id).await.summary.run, 1);
    assert_eq!(store.note_replay(Uuid::now_v7(), 0).await.unwrap(), Replay::Unknown);
}

pub(super) async fn of_two_services_one_replays(world: World) {
    let other = world.second();
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(failed_one(&world.store).await);
    }
    let mut calls = tokio::task::JoinSet::new();
    for id in ids.iter().flat_map(|id| [*id, *id]) {
        let store = if calls.len() % 2 == 0 { world.store.clone() } else { other.clone() };
        calls.spawn(async move { store.replay(id, 0).await.unwrap() });
    }
    let answers = calls.join_all().await;
    let count = |wanted| answers.iter().filter(|answer| **answer == wanted).count();
    assert_eq!((count(Replay::Done), count(Replay::Overtaken)), (50, 50));
    for id in ids {
        assert_eq!(world.request(id).await.summary.run, 1);
    }
}

pub(super) async fn a_replay_has_a_callback_of_its_own(world: World) {
    let store = &world.store;
    let id = failed_with_callback(store).await;
    let first = lease_all(store).await;
    assert_eq!((first.len(), first[0].run), (1, 0));
    assert_eq!(store.replay(id, 0).await.unwrap(), Replay::Done);
    assert_eq!(lease_all(store).await, [], "the end of the first run is not reported any more");
    assert!(!store.retry_callback(id).await.unwrap(), "it has not ended");
    let end = WorkerResult { run: Some(1), ..failed(id, "permanent") };
    assert_eq!(store.apply_results(vec![end]).await.unwrap(), [Applied::StoredWithHistory]);
    // A report about the first run changes nothing about the second.
    report(store, &first[0], AttemptOutcome::Delivered, None).await;
    let second = lease_all(store).await;
    assert_eq!((second.len(), second[0].run, second[0].attempt), (1, 1, 1));
}

pub(super) async fn what_is_discarded_expires_at_once_with_its_messages(world: World) {
    let store = &world.store;
    let (id, other) = (Uuid::now_v7(), failed_one(store).await);
    let message = |id, body| parked::message(body, Some(failed(id, "permanent")));
    let messages = vec![message(id, b"1"), message(id, b"2"), message(other, b"3")];
    store.park(messages).await.unwrap();
    assert_eq!(parked::numbers(store, ParkedFilter::OfRequest(id)).await.len(), 2);
    assert_eq!(store.discard(id).await.unwrap(), Discard::Done);
    assert_eq!(store.discard(id).await.unwrap(), Discard::Expired);
    assert_eq!(store.replay(id, 0).await.unwrap(), Replay::Expired);
    assert_eq!(store.get(id).await.unwrap(), Found::Expired);
    assert_eq!(parked::numbers(store, ParkedFilter::OfRequest(id)).await, [0; 0]);
    assert_eq!(parked::numbers(store, ParkedFilter::OfRequest(other)).await.len(), 1);
    let late = WorkerResult { run: Some(1), ..completed(id, "1") };
    assert_eq!(store.apply_results(vec![late]).await.unwrap(), [Applied::Expired]);
    store.accept(new(id)).await.unwrap();
    assert_eq!(store.get(id).await.unwrap(), Found::Expired);
}

pub(super) async fn a_request_with_a_pending_callback_is_not_discarded(world: World) {
    let store = &world.store;
    let id = failed_with_callback(store).await;
    assert_eq!(store.discard(id).await.unwrap(), Discard::CallbackPending);
    report(store, &lease_all(store).await[0], AttemptOutcome::GivenUp, None).await;
    assert_eq!(store.discard(id).await.unwrap(), Discard::Done);
    assert!(!store.retry_callback(id).await.unwrap());
}

/// The result of a failure follows its message on the failed queue, by which a client may know of it already.
#[tokio::test]
async fn a_request_that_is_being_discarded_does_not_come_back_with_its_result() {
    let world = World::postgres().await;
    let id = Uuid::now_v7();
    world.store.accept(new(id)).await.unwrap();
    world.store.apply_results(vec![failed(id, "permanent")]).await.unwrap();
    let mut other = PgConnection::connect(world.url()).await.unwrap();
    let mut discard = other.begin().await.unwrap();
    let delete = format!(
        "DELETE FROM requests WHERE id = '{id}'; INSERT INTO tombstones VALUES ('{id}', 1)"
    );
    sqlx::raw_sql(AssertSqlSafe(delete)).execute(&mut *discard).await.unwrap();
    let store = world.store.clone();
    let late = tokio::spawn(async move { store.apply_results(vec![completed(id, "1")]).await });
    let mut watch = PgConnection::connect(world.url()).await.unwrap();
    let waits = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
        AND wait_event_type = 'Lock')";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut watch).await.unwrap() {}
    discard.commit().await.unwrap();
    assert_eq!(late.await.unwrap().unwrap(), [Applied::Expired]);
    assert_eq!(world.store.get(id).await.unwrap(), Found::Expired);
}
