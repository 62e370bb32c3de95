//! Error groups.

use std::time::Duration;

use pipeline::contract::{ErrorBody, Timestamp};
use uuid::Uuid;

use super::{
    rows::{completed, expiry, failed, new, retried},
    world::World,
};
use crate::{
    Count, Discard, ErrorGroup, GroupId, Replay, RequestFilter, RequestQuery, ResultOutcome, Store,
    WorkerResult,
};

fn failed_with(id: Uuid, code: &str, message: &str) -> WorkerResult {
    let error = ErrorBody::new(code, message);
    WorkerResult { outcome: ResultOutcome::Failed(error), ..failed(id, code) }
}

/// An accepted request that has failed.
async fn failure(store: &Store, code: &str, message: &str) -> Uuid {
    let id = Uuid::now_v7();
    store.accept(new(id)).await.unwrap();
    store.apply_results(vec![failed_with(id, code, message)]).await.unwrap();
    id
}

/// The pattern of each group, how often it was seen, and how many requests are failed so now.
async fn groups(store: &Store, only_failed: bool) -> Vec<(String, u64, u32)> {
    let groups = store.error_groups(only_failed, 100).await.unwrap();
    let mut told: Vec<_> =
        groups.into_iter().map(|it| (it.pattern, it.count, it.failed.value)).collect();
    told.sort_unstable();
    told
}

/// The requests that are failed in a group, the newest first.
async fn requests(store: &Store, code: &str, message: &str) -> Vec<Uuid> {
    let group = Some(GroupId::of(&ErrorBody::new(code, message)));
    let filter = RequestFilter { group, ..RequestFilter::default() };
    let list = RequestQuery { filter, limit: 100, cursor: None };
    store.list(list).await.unwrap().items.into_iter().map(|item| item.id).collect()
}

fn group(pattern: &str, count: u64, failed: u32) -> (String, u64, u32) {
    (pattern.to_owned(), count, failed)
}

pub(super) async fn failures_with_the_same_pattern_are_a_group(world: World) {
    let (store, other) = (&world.store, world.second());
    assert_eq!(groups(store, false).await, []);
    let before = store.clock().await.unwrap();
    let first = failure(store, "permanent", "no file '/tmp/1' after 5 s").await;
    let second = failure(&other, "permanent", "no file '/tmp/2' after 17 s").await;
    let third = failure(&other, "timeout", "no file '/tmp/2' after 17 s").await;
    assert_eq!(requests(store, "permanent", "no file '/x/y' after 1 s").await, [second, first]);
    assert_eq!(requests(&other, "timeout", "no file '/tmp/3' after 3 s").await, [third]);
    let found = store.error_groups(true, 100).await.unwrap();
    assert_eq!(found.len(), 2);
    let wanted = GroupId::of(&ErrorBody::new("permanent", "no file '/a/b' after 0 s"));
    let found = store.error_group(wanted).await.unwrap().unwrap();
    assert!(before <= found.first_seen_at && found.first_seen_at <= found.last_seen_at);
    let expected = ErrorGroup {
        id: wanted,
        code: "permanent".to_owned(),
        pattern: "no file <path> after <n> s".to_owned(),
        example: "no file '/tmp/1' after 5 s".to_owned(),
        example_request: first,
        count: 2,
        failed: Count { value: 2, is_capped: false },
        ..found.clone()
    };
    assert_eq!(found, expected);
    assert_eq!(store.error_group(GroupId::of(&ErrorBody::new("x", ""))).await.unwrap(), None);
    assert_eq!(store.error_groups(false, 1).await.unwrap().len(), 1);
}

pub(super) async fn attempts_that_are_repeated_are_counted_in_groups_once(world: World) {
    let (store, other, id) = (&world.store, world.second(), Uuid::now_v7());
    store.accept(new(id)).await.unwrap();
    for store in [store, &other, store] {
        store.record_retries(vec![retried(id, 0, 1, "busy 1")]).await.unwrap();
    }
    store.record_retries(vec![retried(id, 0, 2, "busy 2")]).await.unwrap();
    for _ in 0..2 {
        let last = WorkerResult { attempt: 3, ..failed_with(id, "attempts_exhausted", "busy 3") };
        store.apply_results(vec![last.clone(), last]).await.unwrap();
    }
    let busy = |count, failed| group("busy <n>", count, failed);
    assert_eq!(groups(store, false).await, [busy(1, 1), busy(2, 0)]);
    assert_eq!(groups(store, true).await, [busy(1, 1)]);
}

pub(super) async fn a_request_is_in_a_group_as_long_as_it_is_failed(world: World) {
    let store = &world.store;
    let [replayed, given_up, gone, stays, again] = [1, 2, 3, 4, 5].map(|_| Uuid::now_v7());
    let code = |id| if id == given_up { "poison" } else { "permanent" };
    for id in [replayed, given_up, gone, stays, again] {
        store.accept(new(id)).await.unwrap();
        store.apply_results(vec![failed_with(id, code(id), "no")]).await.unwrap();
    }
    assert_eq!(groups(store, true).await, [group("no", 1, 1), group("no", 4, 4)]);
    store.note_replay(replayed, 0).await.unwrap();
    assert_eq!(store.replay(replayed, 0).await.unwrap(), Replay::Done);
    assert_eq!(store.discard(gone).await.unwrap(), Discard::Done);
    let next_run = WorkerResult { run: Some(1), ..failed_with(again, "permanent", "yes") };
    store.apply_results(vec![completed(given_up, "1"), next_run]).await.unwrap();
    assert_eq!(groups(store, true).await, [group("no", 4, 1), group("yes", 1, 1)]);
    assert_eq!(requests(store, "permanent", "no").await, [stays]);
    assert_eq!(requests(store, "permanent", "yes").await, [again]);
    assert_eq!(requests(store, "poison", "no").await, Vec::<Uuid>::new());
}

pub(super) async fn a_code_with_many_groups_has_one_for_all_further_errors(world: World) {
    let store = &world.store;
    failure(store, "permanent", "no").await;
    let (id, numbers) = match world.is_sqlite() {
        true => (
            "randomblob(16)",
            "WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000)",
        ),
        false => ("gen_random_uuid()", "WITH numbers AS (SELECT generate_series(2, 1000) AS n)"),
    };
    let fill = format!(
        "INSERT INTO error_groups (id, code, pattern, example, example_id, first_at) \
         {numbers} SELECT n, 'permanent', n || '', '', {id}, 0 FROM numbers"
    );
    world.sql(&fill).await;
    let [alice, bob] = ["alice", "bob"].map(|name| format!("user {name} is unknown"));
    let first = failure(store, "permanent", &alice).await;
    failure(&world.second(), "permanent", &bob).await;
    failure(store, "permanent", "no").await;
    failure(store, "timeout", &bob).await;
    let mut retry = retried(Uuid::now_v7(), 0, 1, "");
    store.accept(new(retry.id)).await.unwrap();
    retry.error = ErrorBody::new("permanent", "user carol is unknown");
    store.record_retries(vec![retry]).await.unwrap();
    assert_eq!(world.rows("error_groups").await, 1002);
    let seen = [group("(other errors)", 3, 2), group("no", 2, 2), group(&bob, 1, 1)];
    assert_eq!(groups(store, false).await, seen);
    let others = store.error_groups(true, 100).await.unwrap();
    let others = others.iter().find(|group| group.pattern == "(other errors)").unwrap();
    assert_eq!((&others.example, others.example_request), (&alice, first));
}

pub(super) async fn a_group_goes_when_nobody_has_seen_it_for_the_retention(world: World) {
    let store = &world.store;
    failure(store, "permanent", "no").await;
    let expire = async |ended_before| store.expire(expiry(ended_before)).await.unwrap();
    let later = Timestamp::now() + Duration::from_secs(60);
    assert_eq!(expire(Timestamp::from_millis(0)).await.requests, 0);
    assert_eq!(groups(store, false).await, [group("no", 1, 1)]);
    assert_eq!(expire(later).await.requests, 1);
    expire(later).await;
    assert_eq!(groups(store, false).await, []);
    for table in ["failures", "attempts", "error_groups", "group_counts"] {
        assert_eq!(world.rows(table).await, 0, "{table}");
    }
}

pub(super) async fn groups_are_looked_at_when_nothing_else_is_left_to_delete(world: World) {
    let store = &world.store;
    let seen_long_ago = failure(store, "permanent", "no").await;
    assert_eq!(store.discard(seen_long_ago).await.unwrap(), Discard::Done);
    let expire = expiry(Timestamp::now() + Duration::from_secs(60));
    let ended = (0..expire.limit).map(|_| completed(Uuid::now_v7(), "1")).collect();
    store.apply_results(ended).await.unwrap();
    assert!(store.expire(expire).await.unwrap().has_reached(expire.limit));
    assert_eq!(groups(store, false).await, [group("no", 1, 0)]);
    assert!(!store.expire(expire).await.unwrap().has_reached(expire.limit));
    assert_eq!(groups(store, false).await, []);
}

/// An earlier release has recorded failures and no groups.
pub(super) async fn failures_of_an_earlier_release_are_grouped(world: World) {
    let store = &world.store;
    let mut ids = Vec::new();
    for at in 0..25 {
        ids.push(failure(store, "permanent", &format!("no {at}")).await);
    }
    world
        .sql(
            "DELETE FROM failures; DELETE FROM attempts; DELETE FROM error_groups; \
             DELETE FROM group_counts",
        )
        .await;
    let max = if world.is_sqlite() {
        "x'ffffffffffffffffffffffffffffffff'"
    } else {
        "'ffffffff-ffff-ffff-ffff-ffffffffffff'"
    };
    world.sql(&format!("INSERT INTO ungrouped VALUES ({max})")).await;
    let late = failure(store, "permanent", "no 99").await;
    let nothing = expiry(Timestamp::from_millis(0));
    while store.expire(nothing).await.unwrap().has_reached(nothing.limit) {}
    store.expire(nothing).await.unwrap();
    assert_eq!(groups(store, true).await, [group("no <n>", 26, 26)]);
    ids.push(late);
    ids.reverse();
    assert_eq!(requests(store, "permanent", "no 1").await, ids);
    assert_eq!((world.rows("attempts").await, world.rows("ungrouped").await), (26, 0));
}
