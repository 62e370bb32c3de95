//! The store goes away and comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::timeout};
use uuid::Uuid;

use super::{
    rows::{completed, new},
    world::{TIMEOUT, World, in_the_end, request},
};
use crate::{Health, ParkedFilter, ParkedQuery, Status, Store, StoreError};

/// How long a call may take at most; generous, since tests run beside each other.
const MAX_CALL_TIME: Duration = Duration::from_secs(5 * TIMEOUT.as_secs());

async fn away(store: &Store) {
    let mut health = store.health();
    health.wait_for(|health| matches!(health, Health::Away(_))).await.unwrap();
}

/// Pings until the store is found to be unavailable.
async fn notice(store: &Store) {
    while store.ping().await.is_ok() {}
    away(store).await;
}

/// A crowd of callers who accept and finish requests until told to stop, and remember which were
/// acknowledged.
fn load(store: &Store) -> (Vec<JoinHandle<Vec<Uuid>>>, Arc<AtomicBool>) {
    let stop = Arc::new(AtomicBool::new(false));
    let caller = |_| {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let id = Uuid::now_v7();
                in_the_end(&store, || store.accept(new(id))).await;
                in_the_end(&store, || store.apply_results(vec![completed(id, "1")])).await;
                acknowledged.push(id);
            }
            acknowledged
        })
    };
    ((0..16).map(caller).collect(), stop)
}

pub(super) async fn a_store_that_goes_away_comes_back_by_itself_and_has_lost_nothing(world: World) {
    let mut world = world.alone().await;
    world.store.ping().await.unwrap();
    let (callers, stop) = load(&world.store);
    for _ in 0..2 {
        for _ in 0..20 {
            in_the_end(&world.store, || world.store.accept(new(Uuid::now_v7()))).await;
        }
        world.take_away().await;
        timeout(MAX_CALL_TIME, away(&world.store)).await.expect("the outage is noticed");
        let asked = Instant::now();
        let refused = world.store.accept(new(Uuid::now_v7())).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        let refused = world.store.get(Uuid::now_v7()).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        assert!(asked.elapsed() < TIMEOUT / 2, "known away is said at once");
        world.bring_back().await;
        timeout(Duration::from_secs(30), world.store.until_up()).await.expect("it is back");
    }
    stop.store(true, Ordering::Relaxed);
    world.restart();
    for caller in callers {
        let acknowledged = caller.await.unwrap();
        let found = world.store.get_many(acknowledged.clone()).await.unwrap();
        assert_eq!(found.len(), acknowledged.len(), "nothing acknowledged is lost");
        assert!(found.iter().all(|summary| summary.status == Status::Completed));
    }
}

pub(super) async fn a_store_that_is_away_at_the_start_is_opened_when_it_appears(world: World) {
    let mut world = world.alone().await;
    world.store.ping().await.unwrap();
    world.take_away().await;
    let early = world.second();
    let id = Uuid::now_v7();
    let refused = timeout(MAX_CALL_TIME, early.accept(new(id))).await.expect("it is said in time");
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    world.bring_back().await;
    timeout(Duration::from_secs(30), early.until_up()).await.expect("it is opened");
    // The other store on the same data is back at the same time and may be in its way.
    in_the_end(&early, || early.accept(new(id))).await;
    assert_eq!(request(&early, id).await.summary.status, Status::Queued);
}

pub(super) async fn a_store_that_hangs_is_reported_in_bounded_time(world: World) {
    let mut world = world.alone().await;
    let id = Uuid::now_v7();
    world.store.accept(new(id)).await.unwrap();
    world.hang();
    let refused = timeout(MAX_CALL_TIME, world.store.accept(new(Uuid::now_v7()))).await;
    let refused = refused.expect("nobody waits for ever");
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    timeout(MAX_CALL_TIME, notice(&world.store)).await.expect("its health says so");
    world.let_go();
    timeout(Duration::from_secs(30), world.store.until_up()).await.expect("it is back");
    world.store.apply_results(vec![completed(id, "1")]).await.unwrap();
    assert_eq!(world.request(id).await.summary.status, Status::Completed);
}

pub(super) async fn a_store_that_hangs_is_found_by_callers_with_a_deadline(world: World) {
    let mut world = world.alone().await;
    world.store.ping().await.unwrap();
    world.hang();
    // A deadline that is over at once says nothing about the store.
    let now = tokio::time::Instant::now();
    let refused = world.store.accept_by(now, new(Uuid::now_v7())).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(*world.store.health().borrow(), Health::Up);
    let deadline = now + TIMEOUT * 3 / 4;
    let refused = world.store.accept_by(deadline, new(Uuid::now_v7())).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    timeout(MAX_CALL_TIME, away(&world.store)).await.expect("a ping finds out");
    world.let_go();
}

pub(super) async fn a_store_that_hung_again_and_again_is_used_as_soon_as_it_answers(world: World) {
    let mut world = world.alone().await;
    world.store.ping().await.unwrap();
    for _ in 0..4 {
        world.hang();
        timeout(MAX_CALL_TIME, notice(&world.store)).await.expect("its health says so");
        world.let_go();
        timeout(TIMEOUT * 3 / 4, world.store.until_up()).await.expect("it is back at once");
    }
}

pub(super) async fn a_read_that_fails_does_not_make_the_store_unavailable(world: World) {
    world.store.accept(new(Uuid::now_v7())).await.unwrap();
    let health = world.store.health();
    world.sql("ALTER TABLE parked RENAME TO others").await;
    let query = ParkedQuery { filter: ParkedFilter::WithoutRequest, below: None, limit: 1 };
    let failed = world.store.list_parked(query).await;
    assert!(matches!(&failed, Err(StoreError::Unavailable(why)) if why.contains("parked")));
    let id = Uuid::now_v7();
    world.store.accept(new(id)).await.unwrap();
    assert_eq!(world.request(id).await.summary.status, Status::Queued);
    assert!(!health.has_changed().unwrap(), "it was away for a while");
}

pub(super) async fn a_store_that_opens_and_takes_no_writes_is_tried_less_and_less_often(
    world: World,
) {
    world.store.accept(new(Uuid::now_v7())).await.unwrap();
    world.sql("ALTER TABLE requests RENAME TO others").await;
    let broken = Instant::now();
    for _ in 0..5 {
        timeout(MAX_CALL_TIME, world.store.until_up()).await.expect("it can be opened");
        let refused = world.store.accept(new(Uuid::now_v7())).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    // A quarter of a second, twice as long, and so on.
    assert!(broken.elapsed() > Duration::from_millis(3700), "{:?}", broken.elapsed());
    world.sql("ALTER TABLE others RENAME TO requests").await;
    let id = Uuid::now_v7();
    in_the_end(&world.store, || world.store.accept(new(id))).await;
    assert_eq!(world.request(id).await.summary.status, Status::Queued);
}

pub(super) async fn services_that_start_at_once_agree_on_the_tables(world: World) {
    let services: Vec<Store> = (0..8).map(|_| world.second()).collect();
    for store in &services {
        let id = Uuid::now_v7();
        in_the_end(store, || store.accept(new(id))).await;
        assert_eq!(world.request(id).await.summary.status, Status::Queued);
    }
}
