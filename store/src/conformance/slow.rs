//! A store that is busy is no store that is away.

use tokio::time::timeout;
use uuid::Uuid;

use super::{
    rows::{all_first, completed, new},
    world::{TIMEOUT, World, in_the_end, request},
};
use crate::{Cancel, Health, Status, Store, StoreError, WorkerResult};

/// How many slow results are stored at once, and how long each takes, in seconds: together twice as long as
/// a caller waits.
const SLOW_RESULTS: u32 = 10;
const SLOW: f64 = TIMEOUT.as_secs() as f64 * 2.0 / SLOW_RESULTS as f64;

/// Its health, of which no change was seen so far.
async fn health(store: &Store) -> tokio::sync::watch::Receiver<Health> {
    store.until_up().await;
    let mut health = store.health();
    health.mark_unchanged();
    health
}

fn slow_results() -> Vec<WorkerResult> {
    let worker = || Some("slow".to_owned());
    let result = |_| WorkerResult { worker: worker(), ..completed(Uuid::now_v7(), "1") };
    (0..SLOW_RESULTS).map(result).collect()
}

pub(super) async fn slow_results_land_and_hold_up_no_caller(world: World) {
    world.slow_down("NEW.worker = 'slow'", SLOW).await;
    let store = world.impatient();
    let health = health(&store).await;
    let (results, writer) = (slow_results(), store.clone());
    let storing = tokio::spawn(async move { writer.apply_results(results).await });
    let mut beside = 0;
    while !storing.is_finished() {
        let id = Uuid::now_v7();
        store.accept(new(id)).await.unwrap();
        assert_eq!(request(&store, id).await.summary.status, Status::Queued);
        assert!(matches!(store.cancel(id).await, Ok(Cancel::Done(_))));
        beside += 1;
    }
    assert!(all_first(&storing.await.unwrap().unwrap()));
    assert!(beside > 1, "they have waited for the results");
    assert!(!health.has_changed().unwrap(), "it was away for a while");
}

pub(super) async fn a_caller_who_waits_in_vain_makes_no_outage(world: World) {
    let id = Uuid::now_v7();
    world.store.accept(new(id)).await.unwrap();
    world.slow_down("NEW.status = 3", 2.0 * TIMEOUT.as_secs_f64()).await;
    let store = world.impatient();
    let health = health(&store).await;
    let refused = store.cancel(id).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(request(&store, id).await.summary.status, Status::Queued, "reads go on");
    in_the_end(&store, || store.accept(new(Uuid::now_v7()))).await;
    let is_cancelled = async {
        while request(&store, id).await.summary.status != Status::Cancelled {
            tokio::task::yield_now().await;
        }
    };
    timeout(10 * TIMEOUT, is_cancelled).await.expect("it is cancelled all the same");
    assert!(!health.has_changed().unwrap(), "it was away for a while");
}
