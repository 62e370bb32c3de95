//! Bulk runs: each is done by one service at a time, and goes on from its last report.

use std::time::Duration;

use pipeline::contract::Timestamp;
use tokio::time::sleep;
use uuid::Uuid;

use super::{rows::expiry, world::World};
use crate::{BulkRun, BulkRunReport, LeaseBulkRuns, NewBulkRun, Reported, Store};

const LONG: Duration = Duration::from_secs(60);

async fn begin(store: &Store, due_in: Duration) -> Uuid {
    let (id, progress) = (Uuid::now_v7(), "{}".to_owned());
    store.begin_bulk_run(NewBulkRun { id, plan: "[1]".into(), progress, due_in }).await.unwrap();
    id
}

async fn lease(store: &Store, duration: Duration) -> (Uuid, Vec<BulkRun>) {
    let lease = Uuid::now_v7();
    let wanted = LeaseBulkRuns { lease, duration, limit: 10 };
    (lease, store.lease_bulk_runs(wanted).await.unwrap())
}

fn ids(runs: &[BulkRun]) -> Vec<Uuid> {
    runs.iter().map(|run| run.id).collect()
}

fn report(id: Uuid, lease: Uuid, progress: &str) -> BulkRunReport {
    BulkRunReport { id, lease, progress: progress.to_owned(), is_over: false, due_in: LONG }
}

pub(super) async fn a_bulk_run_is_made_once_and_kept(mut world: World) {
    let id = begin(&world.store, LONG).await;
    let again = NewBulkRun { id, plan: "2".into(), progress: "2".into(), due_in: Duration::ZERO };
    world.store.begin_bulk_run(again).await.unwrap();
    world.restart();
    let store = &world.store;
    let run = store.bulk_run(id).await.unwrap().unwrap();
    assert_eq!((run.plan.as_str(), run.progress.as_str()), ("[1]", "{}"));
    assert!(!run.is_over && !run.is_stop_asked);
    assert!(run.created_at.saturating_duration_since(Timestamp::now() - LONG) > Duration::ZERO);
    let other = begin(store, LONG).await;
    assert_eq!(ids(&store.bulk_runs(10).await.unwrap()), [other, id]);
    assert_eq!(ids(&store.bulk_runs(1).await.unwrap()), [other]);
    assert_eq!(store.bulk_run(Uuid::now_v7()).await.unwrap(), None);
    let due = store.next_bulk_run_in().await.unwrap().unwrap();
    assert!(due > Duration::ZERO && due <= LONG, "{due:?}");
    assert!(lease(store, LONG).await.1.is_empty());
}

pub(super) async fn of_two_services_one_leases_a_bulk_run(world: World) {
    let (store, other) = (&world.store, &world.second());
    let mut made = Vec::new();
    for _ in 0..8 {
        made.push(begin(store, Duration::ZERO).await);
    }
    assert_eq!(store.next_bulk_run_in().await.unwrap(), Some(Duration::ZERO));
    let ((_, one), (_, two)) = tokio::join!(lease(store, LONG), lease(other, LONG));
    let (_, rest) = lease(store, LONG).await;
    let mut all = [ids(&one), ids(&two), ids(&rest)].concat();
    all.sort_unstable();
    assert_eq!(all, made, "each is leased once");
}

pub(super) async fn a_bulk_run_without_a_report_is_due_again_after_its_lease(world: World) {
    let (store, other) = (&world.store, &world.second());
    let id = begin(store, Duration::ZERO).await;
    let (first, _) = lease(store, Duration::from_millis(300)).await;
    let (late, runs) = loop {
        let (late, runs) = lease(other, LONG).await;
        if !runs.is_empty() {
            break (late, runs);
        }
        sleep(store.next_bulk_run_in().await.unwrap().unwrap_or_default()).await;
    };
    assert_eq!(ids(&runs), [id]);
    assert_eq!(store.report_bulk_run(report(id, first, "old")).await.unwrap(), Reported::NotLeased);
    assert_eq!(other.report_bulk_run(report(id, late, "new")).await.unwrap(), Reported::GoOn);
    assert_eq!(store.bulk_run(id).await.unwrap().unwrap().progress, "new");
    // Given back, it is due at once.
    let back = BulkRunReport { due_in: Duration::ZERO, ..report(id, late, "back") };
    assert_eq!(other.report_bulk_run(back).await.unwrap(), Reported::GoOn);
    let (_, runs) = lease(store, LONG).await;
    assert_eq!((ids(&runs), runs[0].progress.as_str()), (vec![id], "back"));
}

pub(super) async fn a_bulk_run_that_is_to_stop_is_told_with_its_next_report(world: World) {
    let store = &world.store;
    let (id, waiting) = (begin(store, Duration::ZERO).await, begin(store, LONG).await);
    let (token, runs) = lease(store, LONG).await;
    assert_eq!(ids(&runs), [id]);
    assert!(store.stop_bulk_run(id).await.unwrap());
    let told = store.report_bulk_run(report(id, token, "1")).await.unwrap();
    assert_eq!(told, Reported::StopAsked);
    assert!(lease(store, LONG).await.1.is_empty(), "a stop ends no lease");
    let over = BulkRunReport { is_over: true, ..report(id, token, "2") };
    assert_eq!(store.report_bulk_run(over.clone()).await.unwrap(), Reported::StopAsked);
    assert_eq!(store.report_bulk_run(over).await.unwrap(), Reported::NotLeased);
    assert!(!store.stop_bulk_run(id).await.unwrap(), "it is over");
    assert!(!store.stop_bulk_run(Uuid::now_v7()).await.unwrap());
    // One that waits for its beginning is due at once.
    assert!(store.stop_bulk_run(waiting).await.unwrap());
    let (_, runs) = lease(store, LONG).await;
    assert!(ids(&runs) == [waiting] && runs[0].is_stop_asked, "{runs:?}");
}

pub(super) async fn bulk_runs_that_are_over_go_after_the_retention(world: World) {
    let store = &world.store;
    let (over, open) = (begin(store, Duration::ZERO).await, begin(store, LONG).await);
    let just_over = begin(store, Duration::ZERO).await;
    let (token, _) = lease(store, LONG).await;
    for (id, due_in) in [(over, Duration::ZERO), (just_over, 4 * LONG)] {
        let report = BulkRunReport { is_over: true, due_in, ..report(id, token, "1") };
        store.report_bulk_run(report).await.unwrap();
    }
    let (early, late) = (Timestamp::from_millis(0), Timestamp::now() + LONG);
    store.expire(expiry(early)).await.unwrap();
    assert_eq!(ids(&store.bulk_runs(10).await.unwrap()), [just_over, open, over]);
    store.expire(expiry(late)).await.unwrap();
    let left = ids(&store.bulk_runs(10).await.unwrap());
    assert_eq!(left, [just_over, open], "a long one is kept from its end on");
}
