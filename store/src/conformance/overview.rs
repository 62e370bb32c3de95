//! The overview of all requests.

use std::time::Duration;

use pipeline::contract::Timestamp;
use uuid::Uuid;

use super::{
    rows::{completed, failed, new, retried},
    world::World,
};
use crate::{Inspection, OldestRequest, ScheduledRetry};

pub(super) async fn the_overview_counts_what_is_open_waits_for_a_retry_and_has_failed(
    world: World,
) {
    let store = &world.store;
    let empty = store.overview().await.unwrap();
    assert_eq!((empty.open, empty.retrying, empty.failed, empty.oldest), (0, 0, 0, None));
    let ids: [Uuid; 6] = std::array::from_fn(|_| Uuid::now_v7());
    for id in ids {
        store.accept(new(id)).await.unwrap();
    }
    // As another program may make it: no time is in it.
    store.accept(new(Uuid::max())).await.unwrap();
    let retry = |id, at| ScheduledRetry { next_attempt_at: Some(at), ..retried(id, 0, 1, "") };
    let hour = Duration::from_secs(3600);
    let (later, due) = (Timestamp::now() + hour, Timestamp::now() - hour);
    let retries = vec![retry(ids[0], later), retry(ids[1], later), retry(ids[2], due)];
    store.record_retries(retries).await.unwrap();
    store.apply_results(vec![failed(ids[1], "x"), completed(ids[3], "1")]).await.unwrap();
    store.cancel(ids[4]).await.unwrap();
    let overview = store.overview().await.unwrap();
    assert_eq!((overview.open, overview.retrying, overview.failed), (4, 1, 1));
    let accepted_at = Some(new(ids[0]).accepted_at);
    assert_eq!(overview.oldest, Some(OldestRequest { id: ids[0], accepted_at }));
    let in_a_minute = [overview.accepted_per_second, overview.ended_per_second].map(|r| r * 60.0);
    assert_eq!(in_a_minute.map(f64::round), [6.0, 3.0]);
}

pub(super) async fn a_rate_of_more_than_a_thousand_a_minute_is_that_of_the_last_thousand(
    world: World,
) {
    let store = &world.store;
    let ids: Vec<Uuid> = (0..1200).map(|_| Uuid::now_v7()).collect();
    store.accept_batch(ids.iter().map(|id| new(*id)).collect()).await.unwrap();
    store.apply_results(ids.iter().map(|id| completed(*id, "1")).collect()).await.unwrap();
    let overview = store.overview().await.unwrap();
    // They took far less than a minute.
    assert!(overview.accepted_per_second > 21.0, "{overview:?}");
    assert!(overview.ended_per_second > 21.0, "{overview:?}");
    assert_eq!((overview.open, overview.oldest), (0, None));
}

pub(super) async fn the_database_can_be_inspected(world: World) {
    match world.store.inspect().await.unwrap() {
        Inspection::Sqlite { path, .. } => assert!(path.ends_with("store.db"), "{path}"),
        Inspection::Postgres { is_standby, .. } => assert!(!is_standby),
    }
}
