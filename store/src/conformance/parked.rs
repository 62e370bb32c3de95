//! Parked messages.

use uuid::Uuid;

use super::{
    rows::{failed, new},
    world::World,
};
use crate::{
    Applied, DeleteParked, NewParked, ParkedFilter, ParkedQuery, Status, Store, WorkerResult,
};

/// The headers of all messages.
const HEADERS: &str = r#"{"slowlane-reason":"permanent"}"#;

pub(super) fn message(body: &[u8], result: Option<WorkerResult>) -> NewParked {
    NewParked {
        body: body.to_vec(),
        headers: HEADERS.to_owned(),
        reason: "permanent".to_owned(),
        error: "it can't be done".to_owned(),
        result,
    }
}

fn query(filter: ParkedFilter, below: Option<i64>) -> ParkedQuery {
    ParkedQuery { filter, below, limit: 10 }
}

/// The numbers of parked messages, the latest first.
pub(super) async fn numbers(store: &Store, filter: ParkedFilter) -> Vec<i64> {
    let listed = store.list_parked(query(filter, None)).await.unwrap();
    listed.iter().map(|message| message.number).collect()
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

    let kept = world.store.list_parked(query(ParkedFilter::OfRequest(id), None)).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].request, kept[0].body.as_slice()), (Some(id), &b"{\"requestId\":1}"[..]));
    assert_eq!(kept[0].headers, HEADERS);
    let summary = world.request(id).await.summary;
    assert_eq!(summary.status, Status::Failed);
    assert_eq!(summary.error.unwrap().code, "permanent");
    // The result that says the same comes by another queue.
    let result = world.store.apply_results(vec![failed(id, "permanent")]).await.unwrap();
    assert_eq!(result, [Applied::Duplicate]);
}

pub(super) async fn a_parked_message_was_received_by_the_stores_clock(world: World) {
    world.store.ping().await.unwrap();
    world.shift_clock().await;
    let store = world.second();
    let before = store.clock().await.unwrap();
    store.park(vec![message(b"{", None)]).await.unwrap();
    let after = store.clock().await.unwrap();
    let kept = store.list_parked(query(ParkedFilter::WithoutRequest, None)).await.unwrap();
    assert!((before..=after).contains(&kept[0].received_at), "{kept:?}");
}

pub(super) async fn a_parked_message_without_an_id_is_kept_once(world: World) {
    let garbage = message(b"\xff\x00not even text", None);
    let other = message(b"\xff\x00something else", None);
    for new in [garbage.clone(), other] {
        assert_eq!(world.store.park(vec![new]).await.unwrap(), [Applied::Stored]);
    }
    assert_eq!(world.store.park(vec![garbage]).await.unwrap(), [Applied::Duplicate]);
    let kept = world.store.list_parked(query(ParkedFilter::WithoutRequest, None)).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[1].body, b"\xff\x00not even text");
    let before = world
        .store
        .list_parked(query(ParkedFilter::WithoutRequest, Some(kept[0].number)))
        .await
        .unwrap();
    assert_eq!(before, kept[1..]);
}

pub(super) async fn equal_messages_of_two_requests_are_both_kept(world: World) {
    for id in [Uuid::now_v7(), Uuid::now_v7()] {
        world.store.accept(new(id)).await.unwrap();
        let traceback = message(b"Traceback", Some(failed(id, "malformed")));
        assert_eq!(world.store.park(vec![traceback]).await.unwrap(), [Applied::Stored]);
        assert_eq!(numbers(&world.store, ParkedFilter::OfRequest(id)).await.len(), 1, "{id}");
    }
}

pub(super) async fn an_empty_message_is_listed_with_the_others(world: World) {
    let store = &world.store;
    let id = Uuid::now_v7();
    let of_request = message(b"", Some(failed(id, "permanent")));
    for new in [message(b"", None), of_request, message(b"{", None)] {
        store.park(vec![new]).await.unwrap();
    }
    for (filter, bodies) in [
        (ParkedFilter::WithoutRequest, vec![&b"{"[..], b""]),
        (ParkedFilter::OfRequest(id), vec![&b""[..]]),
    ] {
        let listed = store.list_parked(query(filter, None)).await.unwrap();
        assert_eq!(listed.iter().map(|message| &message.body).collect::<Vec<_>>(), bodies);
        let empty = listed.last().unwrap();
        assert_eq!(store.parked_message(empty.number).await.unwrap().as_ref(), Some(empty));
    }
}

pub(super) async fn a_message_without_a_request_can_be_read_and_deleted(world: World) {
    let store = &world.store;
    let id = Uuid::now_v7();
    let long: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let messages = vec![
        message(b"\xffno text", None),
        message(&long, None),
        message(b"{}", Some(failed(id, "permanent"))),
    ];
    store.park(messages).await.unwrap();
    let without_request = numbers(store, ParkedFilter::WithoutRequest).await;
    assert_eq!(without_request.len(), 2);
    let below = ParkedQuery {
        filter: ParkedFilter::WithoutRequest,
        below: Some(without_request[0]),
        limit: 1,
    };
    let listed = store.list_parked(below).await.unwrap();
    assert_eq!((listed.len(), listed[0].number), (1, without_request[1]));
    let all = ParkedQuery { filter: ParkedFilter::WithoutRequest, below: None, limit: 2 };
    for listed in store.list_parked(all).await.unwrap() {
        let whole = store.parked_message(listed.number).await.unwrap().unwrap();
        assert_eq!((listed.size, whole.size), (whole.body.len() as u64, whole.size));
        assert_eq!(listed.body, whole.body[..whole.body.len().min(1000)]);
    }
    for number in &without_request {
        assert_eq!(store.delete_parked(*number).await.unwrap(), DeleteParked::Done);
        assert_eq!(store.delete_parked(*number).await.unwrap(), DeleteParked::Unknown);
        assert_eq!(store.parked_message(*number).await.unwrap(), None);
    }
    let number = numbers(store, ParkedFilter::OfRequest(id)).await[0];
    assert_eq!(store.delete_parked(number).await.unwrap(), DeleteParked::BelongsTo(id));
    assert_eq!(numbers(store, ParkedFilter::OfRequest(id)).await, [number]);
}
