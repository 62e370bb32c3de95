//! Idempotency keys: one request for each.

use std::time::Duration;

use pipeline::contract::Timestamp;
use uuid::Uuid;

use super::{
    callbacks::lease_all,
    rows::{completed, expiry, new},
    world::World,
};
use crate::{
    CallbackTarget, Claim, Claimed, Found, IdempotencyKeyHash, NewRequest, ReleaseClaim, Status,
    StoreError,
};

const TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn claim(key: &str, id: Uuid) -> Claim {
    Claim { key: IdempotencyKeyHash::new(None, key), body_digest: [1; 32], id, timeout: TIMEOUT }
}

pub(super) async fn one_call_sends_and_the_others_get_its_answer(world: World) {
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(world.store.claim(claim("a", first)).await.unwrap(), Claimed::Proceed(first));
    let other = world.second();
    assert_eq!(other.claim(claim("a", second)).await.unwrap(), Claimed::Busy);
    let other_body = Claim { body_digest: [2; 32], ..claim("a", second) };
    assert_eq!(other.claim(other_body).await.unwrap(), Claimed::OtherBody);
    let after_timeout = Claim { timeout: Duration::ZERO, ..claim("a", second) };
    assert_eq!(other.claim(after_timeout).await.unwrap(), Claimed::Proceed(first));
    world.store.accept(new(first)).await.unwrap();
    assert_eq!(other.claim(claim("a", second)).await.unwrap(), Claimed::Answered(first));
    assert_eq!(other.claim(claim("b", second)).await.unwrap(), Claimed::Proceed(second));
}

pub(super) async fn a_request_of_which_only_the_result_came_is_recorded_by_the_next_call(
    world: World,
) {
    let store = &world.store;
    let (id, again) = (Uuid::now_v7(), Uuid::now_v7());
    store.claim(claim("key", id)).await.unwrap();
    store.apply_results(vec![completed(id, "1")]).await.unwrap();
    assert_eq!(store.claim(claim("key", again)).await.unwrap(), Claimed::Record(id));
    let other_body = Claim { body_digest: [2; 32], ..claim("key", again) };
    assert_eq!(store.claim(other_body).await.unwrap(), Claimed::OtherBody);

    let (url, host) = ("https://a.example/".to_owned(), "a.example".to_owned());
    let callback = Some(CallbackTarget { url, host });
    let row = NewRequest { callback, owner: Some("ann".to_owned()), ..new(id) };
    store.accept(row.clone()).await.unwrap();
    let summary = world.request(id).await.summary;
    assert_eq!((summary.status, summary.owner), (Status::Completed, row.owner));
    assert_eq!(summary.accepted_at, Some(row.accepted_at));
    assert_eq!(store.origin(id).await.unwrap().data, Some(row.request_data));
    assert_eq!(lease_all(store).await.len(), 1, "its callback is due");
    assert_eq!(store.claim(claim("key", again)).await.unwrap(), Claimed::Answered(id));
}

pub(super) async fn of_many_calls_at_once_one_sends(world: World) {
    let other = world.second();
    other.until_up().await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..200 {
        let store = if n % 2 == 0 { world.store.clone() } else { other.clone() };
        let key = format!("key {}", n % 10);
        calls.spawn(async move { store.claim(claim(&key, Uuid::now_v7())).await.unwrap() });
    }
    let outcomes = calls.join_all().await;
    let mine = outcomes.iter().filter(|claimed| matches!(claimed, Claimed::Proceed(_)));
    assert_eq!(mine.count(), 10, "{outcomes:?}");
    assert!(outcomes.iter().all(|claimed| matches!(claimed, Claimed::Proceed(_) | Claimed::Busy)));
}

pub(super) async fn a_released_key_is_free_or_taken_over(world: World) {
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    for (how, next) in [(ReleaseClaim::AllowTakeover, first), (ReleaseClaim::Delete, second)] {
        let key = format!("{how:?}");
        let mine = world.store.claim(claim(&key, first)).await.unwrap();
        assert_eq!(mine, Claimed::Proceed(first));
        // Only its holder gives it up.
        world.store.release_claim(IdempotencyKeyHash::new(None, &key), second, how).await.unwrap();
        assert_eq!(world.store.claim(claim(&key, second)).await.unwrap(), Claimed::Busy);
        world.store.release_claim(IdempotencyKeyHash::new(None, &key), first, how).await.unwrap();
        let taken = world.store.claim(claim(&key, second)).await.unwrap();
        assert_eq!(taken, Claimed::Proceed(next), "{how:?}");
    }
}

pub(super) async fn a_key_that_was_taken_over_is_not_deleted_by_its_first_call(world: World) {
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let store = &world.store;
    store.claim(claim("a", first)).await.unwrap();
    let claimed = store.clock().await.unwrap();
    while store.clock().await.unwrap() <= claimed {}
    let after_timeout = Claim { timeout: Duration::ZERO, ..claim("a", second) };
    assert_eq!(world.second().claim(after_timeout).await.unwrap(), Claimed::Proceed(first));
    store
        .release_claim(IdempotencyKeyHash::new(None, "a"), first, ReleaseClaim::Delete)
        .await
        .unwrap();
    assert_eq!(store.claim(claim("a", second)).await.unwrap(), Claimed::Busy);
}

pub(super) async fn a_key_that_was_taken_over_is_kept_for_another_day(world: World) {
    let store = &world.store;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    store.claim(claim("a", first)).await.unwrap();
    world.age_claims().await;
    assert_eq!(store.claim(claim("a", second)).await.unwrap(), Claimed::Proceed(first));
    assert_eq!(store.expire(expiry(Timestamp::from_millis(0))).await.unwrap().claims, 0);
    let third = Claim { timeout: Duration::ZERO, ..claim("a", Uuid::now_v7()) };
    assert_eq!(store.claim(third).await.unwrap(), Claimed::Proceed(first));
}

pub(super) async fn a_call_that_claims_twice_can_still_release_its_key(world: World) {
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    for _ in 0..2 {
        assert_eq!(world.store.claim(claim("a", first)).await.unwrap(), Claimed::Proceed(first));
    }
    world
        .store
        .release_claim(IdempotencyKeyHash::new(None, "a"), first, ReleaseClaim::Delete)
        .await
        .unwrap();
    assert_eq!(world.store.claim(claim("a", second)).await.unwrap(), Claimed::Proceed(second));
}

pub(super) async fn the_age_of_a_claim_is_by_the_stores_clock(world: World) {
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    world.store.claim(claim("a", first)).await.unwrap();
    let claimed = world.store.clock().await.unwrap();
    world.shift_clock().await;
    let later = world.second();
    let passed = later.clock().await.unwrap().saturating_duration_since(claimed);
    let expected = if passed > TIMEOUT { Claimed::Proceed(first) } else { Claimed::Busy };
    assert_eq!(later.claim(claim("a", second)).await.unwrap(), expected);
}

pub(super) async fn a_key_is_kept_as_long_as_its_request_and_a_day_at_least(world: World) {
    let (kept, gone) = (Uuid::now_v7(), Uuid::now_v7());
    for (key, id) in [("kept", kept), ("gone", gone)] {
        world.store.claim(claim(key, id)).await.unwrap();
        world.store.accept(new(id)).await.unwrap();
    }
    world.store.apply_results(vec![completed(gone, "1")]).await.unwrap();
    let ended = expiry(Timestamp::now() + Duration::from_secs(1));
    world.store.expire(ended).await.unwrap();
    assert_eq!(world.store.get(gone).await.unwrap(), Found::Expired);
    let answer = world.store.claim(claim("gone", Uuid::now_v7())).await.unwrap();
    assert_eq!(answer, Claimed::Answered(gone), "its day is not over");

    world.age_claims().await;
    assert_eq!(world.store.expire(ended).await.unwrap().claims, 2);
    let fresh = Uuid::now_v7();
    assert_eq!(world.store.claim(claim("gone", fresh)).await.unwrap(), Claimed::Proceed(fresh));
    assert_eq!(world.store.claim(claim("kept", fresh)).await.unwrap(), Claimed::Answered(kept));
}

pub(super) async fn many_requests_share_a_commit_and_a_bad_one_fails_alone(world: World) {
    world.refuse_poison().await;
    let ids: Vec<Uuid> = (0..100).map(|_| Uuid::now_v7()).collect();
    let before = world.store.commits();
    let requests = ids.iter().map(|id| new(*id)).collect();
    let accepted = world.store.accept_batch(requests).await.unwrap();
    assert!(accepted.iter().all(Result::is_ok));
    assert_eq!(world.store.commits(), before + 1);
    let poison = NewRequest { kind: "poison".to_owned(), ..new(Uuid::now_v7()) };
    let good = new(Uuid::now_v7());
    let accepted = world.store.accept_batch(vec![poison, good.clone()]).await.unwrap();
    assert!(matches!(accepted[..], [Err(StoreError::Refused(_)), Ok(())]), "{accepted:?}");
    for id in ids.iter().chain([&good.id]) {
        assert!(matches!(world.store.get(*id).await.unwrap(), Found::Record(_)));
    }
}
