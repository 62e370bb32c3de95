//! A row that the database refuses fails alone.

use futures_util::future::join_all;
use uuid::Uuid;

use super::{
    rows::{completed, new},
    world::World,
};
use crate::{Applied, Found, NewRequest, Status, StoreError, WorkerResult};

fn poison(finished: WorkerResult) -> WorkerResult {
    WorkerResult { worker: Some("poison".to_owned()), ..finished }
}

pub(super) async fn a_bad_row_fails_alone(world: World) {
    world.refuse_poison().await;
    let ids: Vec<Uuid> = (0..20).map(|_| Uuid::now_v7()).collect();
    let mut batch: Vec<WorkerResult> = ids.iter().map(|id| completed(*id, "1")).collect();
    batch[7] = poison(batch[7].clone());
    let applied = world.store.apply_results(batch).await.unwrap();
    for (at, applied) in applied.iter().enumerate() {
        match applied {
            Applied::BadRow(reason) => {
                assert!(at == 7 && reason.contains("poison"), "{at}: {reason}");
                assert_eq!(world.store.get(ids[at]).await.unwrap(), Found::Unknown);
            }
            other => {
                assert!(at != 7 && *other == Applied::Stored, "{at}: {other:?}");
                assert_eq!(world.request(ids[at]).await.summary.status, Status::Completed);
            }
        }
    }
}

pub(super) async fn a_bad_request_fails_alone_among_many_callers(world: World) {
    world.refuse_poison().await;
    let requests: Vec<NewRequest> = (0..50).map(|_| new(Uuid::now_v7())).collect();
    let accept = |(at, request): (usize, &NewRequest)| {
        let kind = if at == 20 { "poison".to_owned() } else { request.kind.clone() };
        world.store.accept(NewRequest { kind, ..request.clone() })
    };
    let answers = join_all(requests.iter().enumerate().map(accept)).await;
    for (at, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(()) => assert_ne!(at, 20),
            Err(StoreError::Refused(reason)) => {
                assert!(at == 20 && reason.contains("poison"), "{at}: {reason}");
            }
            Err(other) => panic!("{at}: {other}"),
        }
    }
}
