//! Many at once.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    rows::{all_first, completed, new},
    world::World,
};
use crate::{Applied, Found, Status, WorkerResult};

pub(super) async fn ten_thousand_callers_share_commits(world: World) {
    world.store.ping().await.unwrap();
    let before = world.store.commits();
    let ids: Vec<Uuid> = (0..10_000).map(|_| Uuid::now_v7()).collect();
    for answer in join_all(ids.iter().map(|id| world.store.accept(new(*id)))).await {
        answer.unwrap();
    }
    let commits = world.store.commits() - before;
    assert!(commits < 500, "{commits} commits for 10,000 requests");
    let found = world.store.get_many(ids).await.unwrap();
    assert_eq!(found.len(), 10_000);
}

/// Each batch takes several statements, in each of which PostgreSQL locks rows for itself.
pub(super) async fn services_that_write_the_same_rows_in_opposite_orders_do_not_deadlock(
    world: World,
) {
    let other = world.second();
    tokio::join!(world.store.until_up(), other.until_up());
    let up: Vec<WorkerResult> = (0..3000).map(|_| completed(Uuid::now_v7(), "1")).collect();
    let down: Vec<WorkerResult> = up.iter().rev().cloned().collect();
    for _ in 0..3 {
        let both = async {
            tokio::join!(world.store.apply_results(up.clone()), other.apply_results(down.clone()))
        };
        let (here, there) = timeout(Duration::from_secs(30), both).await.expect("both end");
        let (here, there) = (here.unwrap(), there.unwrap());
        let first = |applied: &[Applied]| all_first(applied);
        assert!(!(first(&here) && first(&there)));
    }
    other.close().await;
    assert_eq!(world.deadlocks().await, 0);
}

pub(super) async fn concurrent_operations_of_all_kinds_agree_in_the_end(world: World) {
    let other = world.second();
    tokio::join!(world.store.until_up(), other.until_up());
    let ids: Vec<Uuid> = (0..1000).map(|_| Uuid::now_v7()).collect();
    let accepting = join_all(ids.iter().map(|id| world.store.accept(new(*id))));
    let results = |worker: &str| {
        let result =
            |id: &Uuid| WorkerResult { worker: Some(worker.to_owned()), ..completed(*id, "1") };
        ids.iter().map(result).collect::<Vec<_>>()
    };
    let (here, there) = (results("here"), results("there"));
    let finishing = join_all(here.chunks(77).map(|some| world.store.apply_results(some.to_vec())));
    let twins = join_all(there.chunks(50).map(|some| other.apply_results(some.to_vec())));
    let looking = join_all(ids.iter().map(|id| other.get(*id)));
    let work = async { tokio::join!(accepting, finishing, twins, looking) };
    let (accepted, finished, twins, looks) =
        timeout(Duration::from_secs(30), work).await.expect("nobody waits for anybody for ever");
    assert!(accepted.iter().all(Result::is_ok) && looks.iter().all(Result::is_ok));
    let applied = finished.into_iter().chain(twins).flat_map(Result::unwrap);
    assert_eq!(applied.filter(|applied| *applied == Applied::Stored).count(), 1000);
    for id in ids {
        let Found::Record(request) = other.get(id).await.unwrap() else { panic!("{id} is lost") };
        assert_eq!(request.summary.status, Status::Completed);
        assert!(request.summary.accepted_at.is_some());
    }
}
