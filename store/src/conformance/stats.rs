//! Statistics.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use pipeline::contract::Timestamp;
use uuid::Uuid;

use super::{
    rows::{completed, expiry, failed, new, retried},
    world::World,
};
use crate::{Counts, Discard, Expiry, NewRequest, Replay, StatsRange, Store, Totals, WorkerResult};

/// What has happened within a range.
async fn counts(store: &Store, range: StatsRange, kind: Option<&str>) -> Counts {
    let stats = store.stats(range, kind.map(str::to_owned)).await.unwrap();
    let mut all = Counts::default();
    stats.buckets.iter().for_each(|bucket| all.add(bucket.counts));
    all
}

/// How many requests there are now, by type; not of types of which there are none.
async fn totals(store: &Store) -> BTreeMap<String, Totals> {
    let mut totals = store.stats(StatsRange::Hour, None).await.unwrap().totals;
    totals.retain(|_, totals| *totals != Totals::default());
    totals
}

/// The same, counted row by row.
async fn true_totals(world: &World) -> BTreeMap<String, Totals> {
    let counted = "SELECT type || ' ' || sum(CASE status WHEN 0 THEN 1 ELSE 0 END) || ' ' || \
        sum(CASE status WHEN 1 THEN 1 ELSE 0 END) || ' ' || \
        sum(CASE status WHEN 2 THEN 1 ELSE 0 END) || ' ' || \
        sum(CASE status WHEN 3 THEN 1 ELSE 0 END) FROM requests GROUP BY type";
    let lines = world.lines(counted).await;
    let row = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse().unwrap();
        let [queued, completed, failed, cancelled] = [1, 2, 3, 4].map(number);
        (words[0].to_owned(), Totals { queued, completed, failed, cancelled })
    };
    lines.lines().map(row).collect()
}

async fn expire_all(store: &Store) {
    let ended_before = Timestamp::now() + Duration::from_secs(60);
    store.expire(Expiry { limit: 500, ..expiry(ended_before) }).await.unwrap();
}

fn of_type(id: Uuid, kind: &str) -> NewRequest {
    NewRequest { kind: kind.to_owned(), ..new(id) }
}

pub(super) async fn what_happens_is_counted_by_type_once(world: World) {
    let (store, other) = (&world.store, world.second());
    assert_eq!(counts(store, StatsRange::Week, None).await, Counts::default());
    assert_eq!(totals(store).await, BTreeMap::new());
    let ids: [Uuid; 6] = std::array::from_fn(|_| Uuid::now_v7());
    for store in [store, &other] {
        for id in &ids[..4] {
            store.accept(new(*id)).await.unwrap();
        }
        let batch = vec![of_type(ids[4], "video"), of_type(ids[5], "video"), new(ids[0])];
        store.accept_batch(batch).await.unwrap();
        store.record_retries(vec![retried(ids[0], 0, 1, "busy")]).await.unwrap();
        let results =
            vec![completed(ids[1], "1"), failed(ids[2], "permanent"), completed(ids[4], "1")];
        store.apply_results(results).await.unwrap();
        store.cancel(ids[5]).await.unwrap();
    }
    let default = Counts { accepted: 4, completed: 1, failed: 1, retried: 1, cancelled: 0 };
    let video = Counts { accepted: 2, completed: 1, failed: 0, retried: 0, cancelled: 1 };
    let mut all = default;
    all.add(video);
    for store in [store, &other] {
        for range in [StatsRange::Hour, StatsRange::Day, StatsRange::Week] {
            assert_eq!(counts(store, range, None).await, all);
            assert_eq!(counts(store, range, Some("default")).await, default);
            assert_eq!(counts(store, range, Some("video")).await, video);
            assert_eq!(counts(store, range, Some("nobody\0s")).await, Counts::default());
        }
    }
    let default = Totals { queued: 2, completed: 1, failed: 1, cancelled: 0 };
    let video = Totals { queued: 0, completed: 1, failed: 0, cancelled: 1 };
    let expected = [("default".to_owned(), default), ("video".to_owned(), video)];
    assert_eq!(totals(store).await, BTreeMap::from(expected));
    let only_video = store.stats(StatsRange::Day, Some("video".to_owned())).await.unwrap();
    assert_eq!(only_video.totals, BTreeMap::from([("video".to_owned(), video)]));
}

pub(super) async fn totals_follow_each_change_of_a_status(world: World) {
    let store = &world.store;
    let [early, given_up, replayed, gone, again] = [1, 2, 3, 4, 5].map(|_| Uuid::now_v7());
    // Its type is not known before it is recorded.
    store.apply_results(vec![completed(early, "1")]).await.unwrap();
    assert_eq!(totals(store).await, true_totals(&world).await);
    for id in [early, given_up, replayed, gone, again] {
        store.accept(of_type(id, "video")).await.unwrap();
    }
    assert_eq!(totals(store).await, true_totals(&world).await);
    let failures = [given_up, replayed, gone, again].map(|id| failed(id, "poison"));
    store.apply_results(failures.to_vec()).await.unwrap();
    assert_eq!(totals(store).await["video"].failed, 4);
    let next_run = WorkerResult { run: Some(1), ..failed(again, "permanent") };
    store.apply_results(vec![completed(given_up, "1"), next_run]).await.unwrap();
    assert_eq!(totals(store).await, true_totals(&world).await);
    store.note_replay(replayed, 0).await.unwrap();
    for expected in [Replay::Done, Replay::Overtaken] {
        assert_eq!(store.replay(replayed, 0).await.unwrap(), expected);
    }
    assert_eq!(store.discard(gone).await.unwrap(), Discard::Done);
    assert_eq!(totals(store).await, true_totals(&world).await);
    let expected = Totals { queued: 1, completed: 2, failed: 1, cancelled: 0 };
    assert_eq!(totals(store).await["video"], expected);
    expire_all(store).await;
    assert_eq!(totals(store).await, true_totals(&world).await);
    assert_eq!(totals(store).await["video"], Totals { queued: 1, ..Totals::default() });
}

/// Two web services work at the same time on the same requests, and one clears.
pub(super) async fn of_two_services_the_counts_add_up(world: World) {
    let (store, other) = (&world.store, world.second());
    let ids: Vec<Uuid> = (0..200).map(|_| Uuid::now_v7()).collect();
    let of = |store: Store| {
        let ids = ids.clone();
        async move {
            join_all(ids.iter().map(|id| store.accept(new(*id)))).await;
            join_all(ids.chunks(20).map(async |ids| {
                let retries = ids.iter().map(|id| retried(*id, 0, 1, "busy"));
                store.record_retries(retries.collect()).await.unwrap();
                let results = ids.iter().enumerate().map(|(at, id)| match at % 4 {
                    0 => failed(*id, "permanent"),
                    _ => completed(*id, "1"),
                });
                store.apply_results(results.collect()).await.unwrap();
            }))
            .await;
        }
    };
    let clearing = async {
        for _ in 0..5 {
            store.expire(expiry(Timestamp::from_millis(0))).await.unwrap();
        }
    };
    tokio::join!(of(store.clone()), of(other.clone()), clearing);
    let expected = Counts { accepted: 200, completed: 150, failed: 50, retried: 200, cancelled: 0 };
    for store in [store, &other] {
        assert_eq!(counts(store, StatsRange::Hour, None).await, expected);
        assert_eq!(totals(store).await, true_totals(&world).await);
    }
    expire_all(store).await;
    assert_eq!(totals(&other).await, BTreeMap::new());
    assert_eq!(counts(&other, StatsRange::Hour, None).await, expected);
}

pub(super) async fn old_minutes_become_hours_and_old_hours_go(world: World) {
    let store = &world.store;
    for _ in 0..3 {
        store.accept(new(Uuid::now_v7())).await.unwrap();
    }
    let three = Counts { accepted: 3, ..Counts::default() };
    // As if it had been 30 hours ago, and 8 days, and 40 days.
    let age = async |hours: i64, table: &str, column: &str, unit: i64| {
        let by = hours * unit;
        world.sql(&format!("UPDATE {table} SET {column} = {column} - {by}")).await;
    };
    age(30, "minutes", "minute", 60).await;
    for _ in 0..2 {
        assert_eq!(counts(store, StatsRange::Week, None).await, three);
        assert_eq!(counts(store, StatsRange::Day, None).await, Counts::default());
        expire_all(store).await;
        assert_eq!((world.rows("minutes").await, world.rows("hours").await), (0, 1));
    }
    age(8 * 24, "hours", "hour", 1).await;
    assert_eq!(counts(store, StatsRange::Week, None).await, Counts::default());
    expire_all(store).await;
    assert_eq!(world.rows("hours").await, 1);
    age(32 * 24, "hours", "hour", 1).await;
    expire_all(store).await;
    assert_eq!(world.rows("hours").await, 0);
}

pub(super) async fn statistics_survive_a_restart(mut world: World) {
    let id = Uuid::now_v7();
    world.store.accept(new(id)).await.unwrap();
    world.store.apply_results(vec![completed(id, "1")]).await.unwrap();
    let before = (counts(&world.store, StatsRange::Hour, None).await, totals(&world.store).await);
    world.restart();
    world.store.until_up().await;
    let after = (counts(&world.store, StatsRange::Hour, None).await, totals(&world.store).await);
    assert_eq!((after, before.0.completed), (before.clone(), 1));
}
