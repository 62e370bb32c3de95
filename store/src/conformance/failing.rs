//! What can't be stored, and what was handed to the failed queue.

use futures_util::future::join_all;
use pipeline::contract::Timestamp;
use uuid::Uuid;

use super::world::{World, completed, failed, new};
use crate::{
    Applied, Found, NewRequest, Parked, ParkedFilter, ParkedQuery, Status, StoreError, WorkerResult,
};

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

fn letters(whose: ParkedFilter, below: Option<i64>) -> ParkedQuery {
    ParkedQuery { whose, below, limit: 10 }
}

fn message(body: &[u8], ends: Option<WorkerResult>) -> Parked {
    Parked {
        body: body.to_vec(),
        headers: r#"{"slowlane-reason":"permanent"}"#.to_owned(),
        reason: "permanent".to_owned(),
        error: "it can't be done".to_owned(),
        received_at: Timestamp::from_millis(1_700_000_003_000),
        ends,
    }
}

pub(super) async fn a_parked_message_is_kept_once_and_ends_its_request(world: World) {
    let id = Uuid::now_v7();
    world.store.accept(new(id)).await.unwrap();
    let parked = || vec![message(b"{\"requestId\":1}", Some(failed(id, "permanent")))];
    assert_eq!(world.store.park(parked()).await.unwrap(), [Applied::Stored]);
    assert_eq!(world.store.park(parked()).await.unwrap(), [Applied::Duplicate]);
    let twice = [parked(), parked()].concat();
    let again = [Applied::Duplicate, Applied::Duplicate];
    assert_eq!(world.store.park(twice).await.unwrap(), again);

    let kept = world.store.parked(letters(ParkedFilter::Request(id), None)).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].request, kept[0].body.as_slice()), (Some(id), &b"{\"requestId\":1}"[..]));
    assert_eq!(kept[0].headers, r#"{"slowlane-reason":"permanent"}"#);
    let summary = world.request(id).await.summary;
    assert_eq!(summary.status, Status::Failed);
    assert_eq!(summary.error.unwrap().code, "permanent");
    // The result that says the same comes by another queue.
    let result = world.store.apply_results(vec![failed(id, "permanent")]).await.unwrap();
    assert_eq!(result, [Applied::Duplicate]);
}

pub(super) async fn a_parked_message_without_an_id_is_kept_once(world: World) {
    let garbage = message(b"\xff\x00not even text", None);
    let other = message(b"\xff\x00something else", None);
    for new in [garbage.clone(), other] {
        assert_eq!(world.store.park(vec![new]).await.unwrap(), [Applied::Stored]);
    }
    assert_eq!(world.store.park(vec![garbage]).await.unwrap(), [Applied::Duplicate]);
    let kept = world.store.parked(letters(ParkedFilter::Nobody, None)).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[1].body, b"\xff\x00not even text");
    let before =
        world.store.parked(letters(ParkedFilter::Nobody, Some(kept[0].number))).await.unwrap();
    assert_eq!(before, kept[1..]);
}
