//! What is over goes away.

use std::time::Duration;

use pipeline::contract::Timestamp;
use uuid::Uuid;

use super::{
    idempotency::claim,
    parked::{message, numbers},
    rows::{completed, expiry, failed, new},
    world::World,
};
use crate::{
    Applied, Cancel, Claimed, Cleared, Expiry, Found, NewParked, ParkedFilter, Replay, Store,
};

/// Later than anything that a test has done.
fn later() -> Timestamp {
    Timestamp::now() + Duration::from_secs(60)
}

async fn expire_all(store: &Store, expiry: Expiry) -> Cleared {
    let mut all = Cleared::default();
    loop {
        let some = store.expire(expiry).await.unwrap();
        assert!(some.requests <= u64::from(expiry.limit));
        all.requests += some.requests;
        all.parked += some.parked;
        all.tombstones += some.tombstones;
        if !some.has_reached(expiry.limit) {
            return all;
        }
    }
}

pub(super) async fn what_has_ended_expires_and_leaves_a_tombstone(world: World) {
    let ids: Vec<Uuid> = (0..25).map(|_| Uuid::now_v7()).collect();
    for id in &ids {
        world.store.accept(new(*id)).await.unwrap();
    }
    let results = ids.iter().map(|id| completed(*id, "1")).collect();
    world.store.apply_results(results).await.unwrap();
    let (body, headers, reason) = (b"{".to_vec(), "{}".to_owned(), "malformed".to_owned());
    let parked = NewParked { body, headers, reason, error: String::new(), result: None };
    world.store.park(vec![parked]).await.unwrap();

    let gone = expire_all(&world.store, expiry(later())).await;
    assert_eq!(gone, Cleared { requests: 25, parked: 1, ..Cleared::default() });
    assert_eq!(world.store.get(ids[3]).await.unwrap(), Found::Expired);
    assert_eq!(world.store.cancel(ids[3]).await.unwrap(), Cancel::Expired);
    let late = world.store.apply_results(vec![failed(ids[3], "late")]).await.unwrap();
    assert_eq!(late, [Applied::Expired]);
    world.store.accept(new(ids[3])).await.unwrap();
    let late = world.store.accept_batch(vec![new(ids[3]), new(ids[4])]).await.unwrap();
    assert_eq!(late, [Ok(()), Ok(())]);
    assert_eq!(world.store.get(ids[3]).await.unwrap(), Found::Expired);

    let tombstones = Expiry { tombstones_before: later(), ..expiry(Timestamp::from_millis(0)) };
    let gone = expire_all(&world.store, tombstones).await;
    assert_eq!(gone, Cleared { tombstones: 25, ..Cleared::default() });
    assert_eq!(world.store.get(ids[3]).await.unwrap(), Found::Unknown);
}

pub(super) async fn a_tombstone_stays_as_long_as_a_key_stands_for_it(world: World) {
    let store = &world.store;
    let (id, again) = (Uuid::now_v7(), Uuid::now_v7());
    store.claim(claim("key", id)).await.unwrap();
    store.accept(new(id)).await.unwrap();
    store.cancel(id).await.unwrap();
    let all = Expiry { tombstones_before: later(), ..expiry(later()) };
    assert_eq!(expire_all(store, all).await.requests, 1);
    assert_eq!(expire_all(store, all).await, Cleared::default());
    assert_eq!(store.claim(claim("key", again)).await.unwrap(), Claimed::Answered(id));
    let late = store.apply_results(vec![completed(id, "1")]).await.unwrap();
    assert_eq!(late, [Applied::Expired], "its message was in a backlog");

    world.age_claims().await;
    assert_eq!(store.expire(all).await.unwrap(), Cleared { claims: 1, ..Cleared::default() });
    assert_eq!(store.expire(all).await.unwrap(), Cleared { tombstones: 1, ..Cleared::default() });
    assert_eq!(store.get(id).await.unwrap(), Found::Unknown);
    assert_eq!(store.claim(claim("key", again)).await.unwrap(), Claimed::Proceed(again));
}

pub(super) async fn a_batch_looks_at_so_many_due_keys_and_no_more(world: World) {
    let store = &world.store;
    for (keys, due_at) in [(0..10, 1), (10..15, 2)] {
        for key in keys {
            let id = Uuid::now_v7();
            store.claim(claim(&format!("key {key}"), id)).await.unwrap();
            if due_at == 1 {
                store.accept(new(id)).await.unwrap();
            }
        }
        world.sql(&format!("UPDATE claims SET keep_until = {due_at} WHERE keep_until > 1")).await;
    }
    let nothing = expiry(Timestamp::from_millis(0));
    let first = store.expire(nothing).await.unwrap();
    assert!(first.has_reached(nothing.limit), "{first:?}");
    assert_eq!(world.rows("claims").await, 15, "those that are due first have a request");
    assert_eq!(store.expire(nothing).await.unwrap(), Cleared { claims: 5, ..Cleared::default() });
    assert_eq!(world.rows("claims").await, 10);
    assert_eq!(store.expire(nothing).await.unwrap(), Cleared::default());
}

pub(super) async fn it_is_the_stores_clock_that_counts(world: World) {
    world.store.ping().await.unwrap();
    world.shift_clock().await;
    let store = world.second();
    let ids: Vec<Uuid> = (0..2).map(|_| Uuid::now_v7()).collect();
    for id in &ids {
        store.accept(new(*id)).await.unwrap();
    }
    store.apply_results(vec![completed(ids[0], "1")]).await.unwrap();
    assert_eq!(store.cancel(ids[1]).await.unwrap(), Cancel::Done(0));
    let minute = Duration::from_secs(60);
    let clock = store.clock().await.unwrap();
    let early = Expiry { tombstones_before: clock - minute, ..expiry(clock - minute) };
    assert_eq!(store.expire(early).await.unwrap(), Cleared::default());
    let late = Expiry { ended_before: clock + minute, ..early };
    assert_eq!(store.expire(late).await.unwrap().requests, 2);
    assert_eq!(store.expire(late).await.unwrap(), Cleared::default());
    assert_eq!(store.get(ids[0]).await.unwrap(), Found::Expired);
}

/// In SQLite all other writes wait for a batch. One request that is long may take longer, but then no other is deleted.
pub(super) async fn a_batch_whose_time_is_over_is_not_the_last(world: World) {
    let store = &world.store;
    let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    let parked = ids.iter().map(|id| message(b"{}", Some(failed(*id, "permanent")))).collect();
    store.park(parked).await.unwrap();
    let no_time = Expiry { max_time: Duration::ZERO, ..expiry(later()) };
    let first = store.expire(no_time).await.unwrap();
    let requests = if world.is_sqlite() { 1 } else { 3 };
    assert_eq!((first.requests, first.is_cut_short), (requests, world.is_sqlite()));
    assert_eq!(first.has_reached(no_time.limit), world.is_sqlite());
    expire_all(store, no_time).await;
    for table in ["requests", "parked"] {
        assert_eq!(world.rows(table).await, 0, "{table}");
    }
}

/// To delete a row a server deletes all parts of its payloads, within the timeout of a statement.
pub(super) async fn a_batch_of_large_results_is_not_the_last(world: World) {
    let store = &world.store;
    let ids: Vec<Uuid> = (0..4).map(|_| Uuid::now_v7()).collect();
    store.apply_results(ids.iter().map(|id| completed(*id, "1")).collect()).await.unwrap();
    let large = match world.is_sqlite() {
        true => "zeroblob(1)",
        false => "convert_to(repeat('x', 33 << 20), 'UTF8')",
    };
    world.sql(&format!("UPDATE requests SET result = {large}")).await;
    let batches =
        if world.is_sqlite() { [(4, false), (0, false)] } else { [(2, true), (2, false)] };
    for (requests, is_cut_short) in batches {
        let gone = store.expire(expiry(later())).await.unwrap();
        assert_eq!(gone, Cleared { requests, is_cut_short, ..Cleared::default() });
    }
    assert_eq!(world.rows("tombstones").await, 4);
}

/// The message of a request may be as large as its result.
pub(super) async fn a_batch_of_large_parked_messages_is_not_the_last(world: World) {
    let store = &world.store;
    let parked = (0..4_u8).map(|body| message(&[body], None)).collect();
    store.park(parked).await.unwrap();
    let large = match world.is_sqlite() {
        true => "zeroblob(1)",
        false => "convert_to(repeat('x', 33 << 20), 'UTF8')",
    };
    world.sql(&format!("UPDATE parked SET body = {large}")).await;
    let batches =
        if world.is_sqlite() { [(4, false), (0, false)] } else { [(2, true), (2, false)] };
    for (parked, is_cut_short) in batches {
        let gone = store.expire(expiry(later())).await.unwrap();
        assert_eq!(gone, Cleared { parked, is_cut_short, ..Cleared::default() });
    }
}

pub(super) async fn a_parked_message_goes_after_its_request(world: World) {
    let (store, id) = (&world.store, Uuid::now_v7());
    // Of a request of another program it is the only copy of the data.
    let parked = message(b"{}", Some(failed(id, "permanent")));
    store.park(vec![parked]).await.unwrap();
    assert_eq!(store.note_replay(id, 0).await.unwrap(), Replay::Done);
    assert_eq!(store.replay(id, 0).await.unwrap(), Replay::Done);
    assert_eq!(store.expire(expiry(later())).await.unwrap(), Cleared::default(), "it is queued");
    assert_eq!(numbers(store, ParkedFilter::OfRequest(id)).await.len(), 1);

    let end = crate::WorkerResult { run: Some(1), ..completed(id, "1") };
    store.apply_results(vec![end]).await.unwrap();
    let gone = store.expire(expiry(later())).await.unwrap();
    assert_eq!(gone, Cleared { requests: 1, parked: 1, ..Cleared::default() });
}

pub(super) async fn parked_messages_go_when_no_more_requests_expire(world: World) {
    let store = &world.store;
    let parked = |_| message(b"{}", Some(failed(Uuid::now_v7(), "permanent")));
    store.park((0..11).map(parked).collect()).await.unwrap();
    for (requests, parked) in [(10, 0), (1, 10), (0, 1), (0, 0)] {
        let gone = store.expire(expiry(later())).await.unwrap();
        assert_eq!(gone, Cleared { requests, parked, ..Cleared::default() });
    }
}

pub(super) async fn what_has_not_ended_never_expires(world: World) {
    let (queued, done) = (Uuid::now_v7(), Uuid::now_v7());
    world.store.accept(new(queued)).await.unwrap();
    let began = Timestamp::now();
    // However wrong the worker's clock is, the store's own counts.
    let result = crate::WorkerResult {
        finished_at: Some(Timestamp::from_millis(1)),
        ..completed(done, "1")
    };
    world.store.apply_results(vec![result]).await.unwrap();
    let early = Expiry { tombstones_before: later(), ..expiry(began) };
    assert_eq!(world.store.expire(early).await.unwrap(), Cleared::default());
    let late = Expiry { ended_before: later(), ..early };
    assert_eq!(world.store.expire(late).await.unwrap().requests, 1);
    assert!(matches!(world.store.get(queued).await.unwrap(), Found::Record(_)));
}
