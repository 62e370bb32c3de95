//! What people decide of failed requests and of parked messages.

use std::time::Duration;

use pipeline::contract::Timestamp;
use uuid::Uuid;

use super::{
    callbacks::room,
    world::{World, all_first, completed, failed, new},
};
use crate::{
    Applied, AttemptOutcome, AttemptReport, Cancel, DeleteParked, Discard, Expiry, Found,
    LeaseCallbacks, LeasedCallback, NewRequest, Origin, Parked, ParkedFilter, ParkedQuery, Replay,
    Retrying, Status, Store, Target, WorkerResult,
};

async fn failed_one(store: &Store) -> Uuid {
    let id = Uuid::now_v7();
    store.accept(new(id)).await.unwrap();
    assert!(all_first(&store.apply_results(vec![failed(id, "permanent")]).await.unwrap()));
    id
}

async fn failed_calling(store: &Store) -> Uuid {
    let id = Uuid::now_v7();
    let (url, host) = ("https://a.example/".to_owned(), "a.example".to_owned());
    let callback = Some(Target { url, host });
    store.accept(NewRequest { callback, ..new(id) }).await.unwrap();
    store.apply_results(vec![failed(id, "permanent")]).await.unwrap();
    id
}

async fn take_all(store: &Store) -> Vec<LeasedCallback> {
    let room = room(100, 100);
    let take = LeaseCallbacks { room, lease: Uuid::now_v7(), patience: Duration::from_secs(60) };
    store.take_callbacks(take).await.unwrap()
}

async fn tell(store: &Store, taken: &LeasedCallback, fate: AttemptOutcome) {
    let attempted = AttemptReport { id: taken.id, lease: taken.lease, fate, error: None };
    store.record_attempt(attempted).await.unwrap();
}

fn letter(body: &[u8], ends: Option<WorkerResult>) -> Parked {
    let (headers, reason, error) = ("{}".to_owned(), "malformed".to_owned(), "no".to_owned());
    Parked { body: body.to_vec(), headers, reason, error, received_at: Timestamp::now(), ends }
}

async fn letters(store: &Store, whose: ParkedFilter) -> Vec<i64> {
    let letters = ParkedQuery { whose, below: None, limit: 100 };
    store.parked(letters).await.unwrap().iter().map(|one| one.number).collect()
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
    let origin = Origin { data: Some(new(id).request_data), trace: None };
    assert_eq!(store.origin(id).await.unwrap(), origin);

    // The failure of the run before comes again, late.
    assert_eq!(
        store.apply_results(vec![failed(id, "permanent")]).await.unwrap(),
        [Applied::OlderRun]
    );
    let expiry = Expiry {
        ended_before: Timestamp::now() + Duration::from_secs(60),
        tombstones_before: Timestamp::from_millis(0),
        at_most: 10,
    };
    assert_eq!(store.expire(expiry).await.unwrap().requests, 0);
    let news = |run| Retrying {
        id,
        run,
        attempts: 2,
        last_error: format!("in run {run}"),
        next_attempt_at: None,
    };
    store.record_retries(vec![news(0), news(1)]).await.unwrap();
    assert_eq!(world.request(id).await.summary.last_error.as_deref(), Some("in run 1"));
    let end = WorkerResult { run: Some(1), attempt: 3, ..completed(id, "1") };
    assert_eq!(store.apply_results(vec![end]).await.unwrap(), [Applied::Stored]);
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

pub(super) async fn an_end_of_the_next_run_that_comes_before_its_replay_stays(world: World) {
    let store = &world.store;
    let (good, bad) = (failed_one(store).await, failed_one(store).await);
    let ends = [completed(good, "1"), failed(bad, "timeout")]
        .map(|end| WorkerResult { run: Some(1), ..end });
    assert!(all_first(&store.apply_results(ends.to_vec()).await.unwrap()));
    for (id, status) in [(good, Status::Completed), (bad, Status::Failed)] {
        assert_eq!(store.replay(id, 0).await.unwrap(), Replay::Overtaken);
        let summary = world.request(id).await.summary;
        assert_eq!((summary.status, summary.run), (status, 1));
    }
    assert_eq!(store.replay(bad, 1).await.unwrap(), Replay::Done);
    assert_eq!(world.request(bad).await.summary.run, 2);
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
    let id = failed_calling(store).await;
    let first = take_all(store).await;
    assert_eq!((first.len(), first[0].run), (1, 0));
    assert_eq!(store.replay(id, 0).await.unwrap(), Replay::Done);
    assert_eq!(take_all(store).await, [], "the first end is not told any more");
    assert!(!store.retry_callback(id).await.unwrap(), "it has no end to tell of");
    let end = WorkerResult { run: Some(1), ..failed(id, "permanent") };
    assert_eq!(store.apply_results(vec![end]).await.unwrap(), [Applied::Stored]);
    // Who was about to tell of the first end has no say about the second.
    tell(store, &first[0], AttemptOutcome::Delivered).await;
    let second = take_all(store).await;
    assert_eq!((second.len(), second[0].run, second[0].attempt), (1, 1, 1));
}

pub(super) async fn what_is_discarded_expires_at_once_with_its_messages(world: World) {
    let store = &world.store;
    let (id, other) = (Uuid::now_v7(), failed_one(store).await);
    let message = |id, body| letter(body, Some(failed(id, "malformed")));
    let messages = vec![message(id, b"1"), message(id, b"2"), message(other, b"3")];
    store.park(messages).await.unwrap();
    assert_eq!(letters(store, ParkedFilter::Request(id)).await.len(), 2);
    assert_eq!(store.discard(id).await.unwrap(), Discard::Done);
    assert_eq!(store.discard(id).await.unwrap(), Discard::Expired);
    assert_eq!(store.replay(id, 0).await.unwrap(), Replay::Expired);
    assert_eq!(store.get(id).await.unwrap(), Found::Expired);
    assert_eq!(letters(store, ParkedFilter::Request(id)).await, [0; 0]);
    assert_eq!(letters(store, ParkedFilter::Request(other)).await.len(), 1);
    let late = WorkerResult { run: Some(1), ..completed(id, "1") };
    assert_eq!(store.apply_results(vec![late]).await.unwrap(), [Applied::Expired]);
    store.accept(new(id)).await.unwrap();
    assert_eq!(store.get(id).await.unwrap(), Found::Expired);
}

pub(super) async fn what_is_still_to_be_told_is_not_discarded(world: World) {
    let store = &world.store;
    let id = failed_calling(store).await;
    assert_eq!(store.discard(id).await.unwrap(), Discard::CallbackPending);
    tell(store, &take_all(store).await[0], AttemptOutcome::GivenUp).await;
    assert_eq!(store.discard(id).await.unwrap(), Discard::Done);
    assert!(!store.retry_callback(id).await.unwrap());
}

pub(super) async fn a_message_of_nobody_can_be_looked_at_and_cleared_away(world: World) {
    let store = &world.store;
    let id = Uuid::now_v7();
    let long: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let messages = vec![
        letter(b"\xffno text", None),
        letter(&long, None),
        letter(b"{}", Some(failed(id, "malformed"))),
    ];
    store.park(messages).await.unwrap();
    let nobodys = letters(store, ParkedFilter::Nobody).await;
    assert_eq!(nobodys.len(), 2);
    let below = ParkedQuery { whose: ParkedFilter::Nobody, below: Some(nobodys[0]), limit: 1 };
    let listed = store.parked(below).await.unwrap();
    assert_eq!((listed.len(), listed[0].number), (1, nobodys[1]));
    let all = ParkedQuery { whose: ParkedFilter::Nobody, below: None, limit: 2 };
    for listed in store.parked(all).await.unwrap() {
        let whole = store.parked_message(listed.number).await.unwrap().unwrap();
        assert_eq!((listed.size, whole.size), (whole.body.len() as u64, whole.size));
        assert_eq!(listed.body, whole.body[..whole.body.len().min(1000)]);
    }
    for number in &nobodys {
        assert_eq!(store.unpark(*number).await.unwrap(), DeleteParked::Done);
        assert_eq!(store.unpark(*number).await.unwrap(), DeleteParked::Unknown);
        assert_eq!(store.parked_message(*number).await.unwrap(), None);
    }
    let number = letters(store, ParkedFilter::Request(id)).await[0];
    assert_eq!(store.unpark(number).await.unwrap(), DeleteParked::Belongs(id));
    assert_eq!(letters(store, ParkedFilter::Request(id)).await, [number]);
}
