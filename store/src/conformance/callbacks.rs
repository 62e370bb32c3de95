//! Callbacks: due from the end of their request on, leased by one service at a time, kept until delivered.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures_util::FutureExt;
use pipeline::contract::Timestamp;
use uuid::Uuid;

use super::{
    rows::{completed, expiry, failed, new},
    world::World,
};
use crate::{
    Applied, AttemptOutcome, AttemptReport, Callback, CallbackStatus, CallbackTarget, Cancel,
    Found, LeaseCallbacks, LeasedCallback, Leases, NewParked, NewRequest, RequestFilter,
    RequestQuery, SendCapacity, Store, WorkerResult,
};

const LONG: Duration = Duration::from_secs(60);

fn with_callback(id: Uuid, host: &str) -> NewRequest {
    let (url, host) = (format!("https://{host}/{id}"), host.to_owned());
    NewRequest { callback: Some(CallbackTarget { url, host }), ..new(id) }
}

pub(super) fn capacity(total: usize, per_host: usize) -> SendCapacity {
    SendCapacity { total, per_host, busy: HashMap::new(), slow: HashSet::new(), slow_total: 0 }
}

async fn lease(store: &Store, capacity: SendCapacity, duration: Duration) -> Vec<LeasedCallback> {
    let lease = Uuid::now_v7();
    lease_and_give_up(store, LeaseCallbacks { capacity, lease, duration, max_age: LONG })
        .await
        .leased
}

async fn lease_and_give_up(store: &Store, wanted: LeaseCallbacks) -> Leases {
    store.lease_callbacks(wanted).await.unwrap()
}

pub(super) async fn lease_all(store: &Store) -> Vec<LeasedCallback> {
    lease(store, capacity(1000, 1000), LONG).await
}

pub(super) async fn report(
    store: &Store,
    leased: &LeasedCallback,
    outcome: AttemptOutcome,
    error: Option<&str>,
) {
    let (id, lease, error) = (leased.id, leased.lease, error.map(str::to_owned));
    store.record_attempt(AttemptReport { id, lease, outcome, error }).await.unwrap();
}

async fn callback(world: &World, id: Uuid) -> Callback {
    world.request(id).await.summary.callback.unwrap()
}

/// Requests with callbacks to a host, accepted and completed.
async fn ended(store: &Store, host: &str, count: usize) -> Vec<Uuid> {
    let ids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
    store.accept_batch(ids.iter().map(|id| with_callback(*id, host)).collect()).await.unwrap();
    store.apply_results(ids.iter().map(|id| completed(*id, "1")).collect()).await.unwrap();
    ids
}

pub(super) async fn a_callback_is_due_from_the_end_of_its_request_on(world: World) {
    let store = &world.store;
    let [done, bad, parked, gone, open, silent] = std::array::from_fn(|_| Uuid::now_v7());
    for id in [done, bad, parked, gone, open] {
        store.accept(with_callback(id, "a.example")).await.unwrap();
    }
    store.accept(new(silent)).await.unwrap();
    assert!(lease_all(store).await.is_empty() && callback(&world, open).await.attempts == 0);
    assert_eq!(store.next_callback_in(&capacity(1, 1)).await.unwrap(), None);

    let results = vec![completed(done, "1"), failed(bad, "permanent"), completed(silent, "1")];
    store.apply_results(results).await.unwrap();
    let (headers, reason, error) = ("{}".to_owned(), "permanent".to_owned(), String::new());
    let result = Some(failed(parked, "permanent"));
    let message = NewParked { body: vec![1], headers, reason, error, result };
    store.park(vec![message]).await.unwrap();
    assert_eq!(store.cancel(gone).await.unwrap(), Cancel::Done(0));
    assert_eq!(store.next_callback_in(&capacity(1, 1)).await.unwrap(), Some(Duration::ZERO));

    let leased = lease_all(store).await;
    let ids: HashSet<Uuid> = leased.iter().map(|one| one.id).collect();
    assert_eq!(ids, HashSet::from([done, bad, parked, gone]));
    assert!(leased.iter().all(|one| one.attempt == 1 && one.host == "a.example"));
    assert_eq!(world.request(silent).await.summary.callback, None);
}

pub(super) async fn a_result_that_comes_first_leaves_its_callback_to_the_request(world: World) {
    let store = &world.store;
    let id = Uuid::now_v7();
    store.apply_results(vec![completed(id, "1")]).await.unwrap();
    store.accept(with_callback(id, "a.example")).await.unwrap();
    let leased = lease_all(store).await;
    assert_eq!(leased.len(), 1);
    report(store, &leased[0], AttemptOutcome::Delivered, None).await;
    // The request is recorded again, as after a lost answer.
    store.accept(with_callback(id, "a.example")).await.unwrap();
    assert!(lease_all(store).await.is_empty(), "it was delivered");
}

pub(super) async fn a_superseded_result_makes_no_callback(world: World) {
    let store = &world.store;
    let id = ended(store, "a.example", 1).await[0];
    report(store, &lease_all(store).await[0], AttemptOutcome::Delivered, None).await;
    let late = WorkerResult { worker: Some("other:1/1".to_owned()), ..completed(id, "2") };
    assert_eq!(store.apply_results(vec![late]).await.unwrap(), [Applied::Superseded]);
    assert!(lease_all(store).await.is_empty());
}

pub(super) async fn a_later_run_gets_a_new_callback(world: World) {
    let store = &world.store;
    let id = Uuid::now_v7();
    store.accept(with_callback(id, "a.example")).await.unwrap();
    store.apply_results(vec![failed(id, "permanent")]).await.unwrap();
    let first = lease_all(store).await;
    assert_eq!((first.len(), first[0].run), (1, 0));
    store.apply_results(vec![WorkerResult { run: Some(1), ..completed(id, "1") }]).await.unwrap();
    let second = lease_all(store).await;
    assert_eq!((second.len(), second[0].run, second[0].attempt), (1, 1, 1));
    // A report about the first run changes nothing about the second.
    report(store, &first[0], AttemptOutcome::Delivered, None).await;
    assert_eq!(callback(&world, id).await.status, CallbackStatus::Pending);
    report(store, &second[0], AttemptOutcome::Delivered, None).await;
    assert_eq!(callback(&world, id).await.status, CallbackStatus::Delivered);
}

pub(super) async fn of_two_services_one_leases_a_callback(world: World) {
    let other = world.second();
    let ids = ended(&world.store, "a.example", 300).await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..40 {
        let store = if n % 2 == 0 { world.store.clone() } else { other.clone() };
        calls.spawn(async move { lease(&store, capacity(10, 10), LONG).await });
    }
    let mut leased: Vec<Uuid> =
        calls.join_all().await.into_iter().flatten().map(|t| t.id).collect();
    // Rows that one has read while the other had locked them are left over.
    leased.extend(lease_all(&world.store).await.iter().map(|one| one.id));
    leased.extend(lease_all(&other).await.iter().map(|one| one.id));
    assert_eq!(leased.len(), ids.len(), "each once");
    assert_eq!(leased.into_iter().collect::<HashSet<_>>(), ids.into_iter().collect());
}

pub(super) async fn a_callback_without_a_report_is_due_again_after_its_lease(world: World) {
    let other = world.second();
    let id = ended(&world.store, "a.example", 1).await[0];
    let lost = lease(&world.store, capacity(1, 1), Duration::ZERO).await;
    let again = lease(&other, capacity(1, 1), LONG).await;
    assert_eq!((lost[0].id, again[0].id, again[0].attempt), (id, id, 2));
    report(&world.store, &lost[0], AttemptOutcome::GivenUp, Some("too late")).await;
    let shown = callback(&world, id).await;
    assert_eq!((shown.status, shown.next_attempt_at), (CallbackStatus::Pending, None));
    report(&other, &again[0], AttemptOutcome::Delivered, None).await;
    let shown = callback(&world, id).await;
    assert_eq!((shown.status, shown.last_error), (CallbackStatus::Delivered, None));
}

pub(super) async fn an_attempt_that_failed_is_repeated_at_its_time(world: World) {
    let store = &world.store;
    let id = ended(store, "a.example", 1).await[0];
    let before = store.clock().await.unwrap();
    report(
        store,
        &lease_all(store).await[0],
        AttemptOutcome::RetryAfter(LONG),
        Some("it\0 is closed"),
    )
    .await;
    let after = store.clock().await.unwrap();
    assert!(lease_all(store).await.is_empty());
    let next = store.next_callback_in(&capacity(1, 1)).await.unwrap().unwrap();
    let shown = callback(&world, id).await;
    let at = shown.next_attempt_at.unwrap();
    assert!(
        (before + LONG..=after + LONG).contains(&at) && next <= at.saturating_duration_since(after),
        "{at} {next:?}"
    );
    let expected = Callback {
        url: format!("https://a.example/{id}"),
        status: CallbackStatus::Pending,
        attempts: 1,
        last_error: Some("it\u{fffd} is closed".to_owned()),
        next_attempt_at: Some(at),
        delivered_at: None,
    };
    assert_eq!(shown, expected);
    let list = RequestQuery { filter: RequestFilter::default(), limit: 10, cursor: None };
    let listed = store.list(list).await.unwrap();
    assert_eq!(listed.items[0].callback, Some(expected));
}

pub(super) async fn a_busy_host_does_not_hold_up_the_others(world: World) {
    let store = &world.store;
    ended(store, "slow.example", 300).await;
    let others = ended(store, "fine.example", 2).await;
    let first = lease(store, capacity(32, 4), LONG).await;
    assert_eq!(first.len(), 4, "the first of many that are due have one host");
    let busy = HashMap::from([("slow.example".to_owned(), 4)]);
    let left = SendCapacity { busy, ..capacity(28, 4) };
    assert_eq!(store.next_callback_in(&left).await.unwrap(), Some(Duration::ZERO));
    let second = lease(store, left.clone(), LONG).await;
    let ids: HashSet<Uuid> = second.iter().map(|one| one.id).collect();
    assert_eq!(ids, others.into_iter().collect());
    assert_eq!(lease(store, left.clone(), LONG).await, []);
    let next = store.next_callback_in(&left).await.unwrap().unwrap();
    assert!(next > Duration::ZERO, "the lease must end first");
}

pub(super) async fn slow_hosts_leave_capacity_to_the_others(world: World) {
    let store = &world.store;
    let hosts: Vec<String> = (0..10).map(|n| format!("slow-{n}.example")).collect();
    for host in &hosts {
        ended(store, host, 40).await;
    }
    let fine = ended(store, "fine.example", 2).await;
    let slow: HashSet<String> = hosts.into_iter().collect();
    let shared = SendCapacity { slow: slow.clone(), slow_total: 16, ..capacity(32, 4) };
    assert_eq!(lease(store, shared, LONG).await.len(), 16);
    let rest = SendCapacity { slow, ..capacity(16, 4) };
    assert_eq!(store.next_callback_in(&rest).await.unwrap(), Some(Duration::ZERO));
    let leased: HashSet<Uuid> =
        lease(store, rest.clone(), LONG).await.iter().map(|t| t.id).collect();
    assert_eq!(leased, fine.into_iter().collect());
    assert!(store.next_callback_in(&rest).await.unwrap().unwrap() > Duration::ZERO);
}

/// Waits until the store's clock has gone on.
async fn until_later(store: &Store) {
    let before = store.clock().await.unwrap();
    while store.clock().await.unwrap() <= before {}
}

/// A host that hangs may get more callbacks than there will ever be capacity for.
pub(super) async fn old_callbacks_to_a_slow_host_are_given_up(world: World) {
    let store = &world.store;
    let tried = ended(store, "slow.example", 1).await[0];
    let first = lease_all(store).await;
    let now = AttemptOutcome::RetryAfter(Duration::ZERO);
    report(store, &first[0], now, Some("no answer")).await;
    let never_tried = ended(store, "slow.example", 2).await;
    let fine = ended(store, "fine.example", 2).await;
    let slow = || SendCapacity {
        slow: HashSet::from(["slow.example".to_owned()]),
        slow_total: 1,
        ..capacity(32, 1)
    };
    let wanted = |max_age| LeaseCallbacks {
        capacity: slow(),
        lease: Uuid::now_v7(),
        duration: Duration::ZERO,
        max_age,
    };
    let young = lease_and_give_up(store, wanted(LONG)).await;
    assert_eq!((young.leased.len(), young.given_up.len()), (2, 0), "{young:?}");
    assert!(young.leased.iter().all(|one| one.age < LONG), "{young:?}");
    until_later(store).await;

    let old = lease_and_give_up(store, wanted(Duration::ZERO)).await;
    assert_eq!((old.leased.len(), old.given_up.len()), (2, 2), "{old:?}");
    assert!(old.leased.iter().all(|one| !one.age.is_zero()), "{old:?}");
    let given_up: HashSet<Uuid> = old.given_up.iter().map(|(id, _)| *id).collect();
    assert!(old.given_up.iter().all(|(_, host)| host == "slow.example"));
    for id in never_tried.iter().chain([&tried]).filter(|id| given_up.contains(id)) {
        let shown = callback(&world, *id).await;
        let error = if *id == tried { "no answer" } else { "the receiver was too slow" };
        assert!(shown.last_error.as_deref().unwrap().contains(error), "{shown:?}");
        assert_eq!((shown.status, shown.next_attempt_at), (CallbackStatus::Failed, None));
    }
    for id in fine {
        assert_eq!(callback(&world, id).await.status, CallbackStatus::Pending);
    }
}

pub(super) async fn the_time_for_attempts_begins_anew_when_one_is_asked_for(world: World) {
    let store = &world.store;
    let id = ended(store, "a.example", 1).await[0];
    let first = lease_all(store).await;
    report(store, &first[0], AttemptOutcome::GivenUp, Some("nobody answers")).await;
    until_later(store).await;
    let before = store.clock().await.unwrap();
    assert!(store.retry_callback(id).await.unwrap());
    let again = lease_all(store).await;
    let since = store.clock().await.unwrap().saturating_duration_since(before);
    assert!(again[0].age <= since, "{again:?} {since:?}");
}

pub(super) async fn a_request_with_a_pending_callback_does_not_expire(world: World) {
    let store = &world.store;
    let ids = ended(store, "a.example", 3).await;
    let silent = Uuid::now_v7();
    store.apply_results(vec![completed(silent, "1")]).await.unwrap();
    let later = store.clock().await.unwrap() + LONG;
    assert_eq!(
        store.expire(expiry(later)).await.unwrap().requests,
        1,
        "the one without a callback"
    );
    let leased = lease_all(store).await;
    report(store, &leased[0], AttemptOutcome::Delivered, None).await;
    report(store, &leased[1], AttemptOutcome::GivenUp, Some("nobody answers")).await;
    assert_eq!(store.expire(expiry(later)).await.unwrap().requests, 2);
    assert!(matches!(store.get(leased[2].id).await.unwrap(), Found::Record(_)));
    report(store, &leased[2], AttemptOutcome::Dropped, None).await;
    assert_eq!(store.expire(expiry(later)).await.unwrap().requests, 1);
    for id in ids {
        assert_eq!(store.get(id).await.unwrap(), Found::Expired);
        assert!(!store.retry_callback(id).await.unwrap());
    }
}

pub(super) async fn a_callback_that_ended_can_be_retried(mut world: World) {
    let ids = ended(&world.store, "a.example", 2).await;
    let leased = lease_all(&world.store).await;
    for id in &ids {
        assert!(!world.store.retry_callback(*id).await.unwrap(), "it is pending");
    }
    report(&world.store, &leased[0], AttemptOutcome::Delivered, None).await;
    report(&world.store, &leased[1], AttemptOutcome::GivenUp, Some("nobody answers")).await;
    world.restart();
    assert_eq!(callback(&world, leased[1].id).await.status, CallbackStatus::Failed);
    assert!(lease_all(&world.store).await.is_empty());
    for id in &ids {
        assert!(world.store.retry_callback(*id).await.unwrap());
    }
    let again = lease_all(&world.store).await;
    assert!(again.len() == 2 && again.iter().all(|one| one.attempt == 1));
    assert_eq!(callback(&world, leased[0].id).await.delivered_at, None);
    assert!(!world.store.retry_callback(Uuid::now_v7()).await.unwrap());
}

pub(super) async fn a_callback_that_waits_can_be_retried_now(world: World) {
    let store = &world.store;
    let id = ended(store, "a.example", 1).await[0];
    report(
        store,
        &lease_all(store).await[0],
        AttemptOutcome::RetryAfter(LONG),
        Some("it is closed"),
    )
    .await;
    assert!(store.retry_callback(id).await.unwrap());
    let leased = lease_all(store).await;
    assert_eq!((leased.len(), leased[0].attempt), (1, 2), "it is not the first attempt");
    assert!(!store.retry_callback(id).await.unwrap(), "it is under way");
    report(store, &leased[0], AttemptOutcome::Delivered, None).await;
    assert_eq!(callback(&world, id).await.status, CallbackStatus::Delivered);
}

/// However wrong the clock of a web service is: on a server, the server's own counts.
pub(super) async fn callbacks_are_due_by_the_stores_clock(world: World) {
    let store = &world.store;
    let [first, second] = ended(store, "a.example", 2).await[..] else { panic!("two") };
    let leased = lease(store, capacity(1, 1), LONG).await;
    world.shift_clock().await;
    let later = world.second();
    let passed = later.clock().await.unwrap() > Timestamp::now() + LONG;
    let mut seen: Vec<Uuid> = lease_all(&later).await.iter().map(|one| one.id).collect();
    seen.sort();
    let mut expected = vec![first, second];
    expected.retain(|id| passed || leased[0].id != *id);
    expected.sort();
    assert_eq!(seen, expected);
}

pub(super) async fn whatever_may_have_made_a_callback_due_notifies(world: World) {
    let store = &world.store;
    let due = store.callback_due();
    let was_notified = || due.notified().now_or_never().is_some();
    let id = Uuid::now_v7();
    store.accept(new(id)).await.unwrap();
    assert!(!was_notified(), "it has no callback");
    store.accept(with_callback(id, "a.example")).await.unwrap();
    assert!(was_notified());
    for expected in [Applied::Stored, Applied::Duplicate] {
        assert_eq!(store.apply_results(vec![completed(id, "1")]).await.unwrap(), [expected]);
        assert!(was_notified());
    }
    let mut world = world.alone().await;
    world.store.ping().await.unwrap();
    let due = world.store.callback_due();
    world.hang();
    let ended = vec![completed(Uuid::now_v7(), "1")];
    assert!(world.store.apply_results(ended).await.is_err());
    assert!(due.notified().now_or_never().is_some());
    world.let_go();
}
