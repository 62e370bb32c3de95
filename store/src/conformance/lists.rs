//! Lists.

use std::collections::HashSet;

use futures_util::future::join_all;
use pipeline::contract::Timestamp;
use uuid::Uuid;

use super::world::{World, completed, failed, new};
use crate::{Cursor, NewRequest, OpenRequest, Page, RequestQuery, ScheduledRetry, Status, Store};

const ALL: RequestQuery = RequestQuery { status: None, kind: None, limit: 10, cursor: None };

/// The ids of a whole list, page by page.
async fn ids(store: &Store, list: &RequestQuery) -> Vec<Uuid> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let Page { items, next } =
            store.list(RequestQuery { cursor, ..list.clone() }).await.unwrap();
        assert!(items.len() == list.limit as usize || next.is_none(), "a page is full or the last");
        ids.extend(items.iter().map(|item| item.id));
        // It survives the way through a client.
        cursor = next.map(|next| next.to_string().parse::<Cursor>().unwrap());
        if cursor.is_none() {
            return ids;
        }
    }
}

fn newest_first(mut ids: Vec<Uuid>) -> Vec<Uuid> {
    ids.sort_unstable();
    ids.reverse();
    ids
}

pub(super) async fn the_list_is_newest_first_page_by_page(world: World) {
    assert_eq!(ids(&world.store, &ALL).await, Vec::<Uuid>::new());
    let wanted: Vec<Uuid> = (0..25).map(|_| Uuid::now_v7()).collect();
    join_all(wanted.iter().map(|id| world.store.accept(new(*id)))).await;
    assert_eq!(ids(&world.store, &ALL).await, newest_first(wanted.clone()));
    let exactly = RequestQuery { limit: 25, ..ALL };
    assert_eq!(ids(&world.store, &exactly).await, newest_first(wanted));
}

pub(super) async fn a_list_can_be_of_a_status_or_a_type_or_both(world: World) {
    let (kinds, mut made) = (["default", "video"], Vec::new());
    for at in 0..48 {
        let (id, kind, status) = (Uuid::now_v7(), kinds[at % 2], Status::ALL[at / 2 % 4]);
        world.store.accept(NewRequest { kind: kind.to_owned(), ..new(id) }).await.unwrap();
        match status {
            Status::Queued => {}
            Status::Completed => {
                drop(world.store.apply_results(vec![completed(id, "1")]).await.unwrap())
            }
            Status::Failed => drop(world.store.apply_results(vec![failed(id, "x")]).await.unwrap()),
            Status::Cancelled => drop(world.store.cancel(id).await.unwrap()),
        }
        made.push((id, kind, status));
    }
    for kind in [None, Some("default"), Some("video"), Some("nobody's"), Some("a\0b")] {
        for status in [None].into_iter().chain(Status::ALL.map(Some)) {
            let wanted = made.iter().filter(|(_, its_kind, its_status)| {
                kind.is_none_or(|kind| kind == *its_kind)
                    && status.is_none_or(|status| status == *its_status)
            });
            let wanted = newest_first(wanted.map(|(id, ..)| *id).collect());
            let list = RequestQuery { kind: kind.map(str::to_owned), status, limit: 5, ..ALL };
            assert_eq!(ids(&world.store, &list).await, wanted, "{list:?}");
        }
    }
}

pub(super) async fn a_cursor_stays_where_it_is_while_others_come(world: World) {
    let before: Vec<Uuid> = (0..100).map(|_| Uuid::now_v7()).collect();
    join_all(before.iter().map(|id| world.store.accept(new(*id)))).await;
    let later: Vec<Uuid> = (0..100).map(|_| Uuid::now_v7()).collect();
    let writing = join_all(later.iter().map(|id| world.store.accept(new(*id))));
    let list = RequestQuery { limit: 7, ..ALL };
    let (listed, _) = tokio::join!(ids(&world.store, &list), writing);
    let unique: HashSet<&Uuid> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "none is listed twice");
    assert_eq!(listed, newest_first(listed.clone()));
    let old: Vec<Uuid> = listed.into_iter().filter(|id| before.contains(id)).collect();
    assert_eq!(old, newest_first(before), "none is left out");
}

pub(super) async fn open_requests_are_read_in_the_order_of_their_ids(world: World) {
    let store = &world.store;
    let ids: [Uuid; 5] = std::array::from_fn(|_| Uuid::now_v7());
    for id in ids {
        store.accept(new(id)).await.unwrap();
    }
    store.apply_results(vec![completed(ids[1], "1")]).await.unwrap();
    let retry = ScheduledRetry {
        id: ids[2],
        run: 0,
        attempts: 3,
        last_error: String::new(),
        next_attempt_at: Some(Timestamp::from_millis(7)),
    };
    store.record_retries(vec![retry]).await.unwrap();
    let first = store.open_requests(Uuid::nil(), 2).await.unwrap();
    let open = |id, attempts, next_attempt_at| OpenRequest {
        id,
        run: 0,
        attempts,
        accepted_at: Some(new(id).accepted_at),
        next_attempt_at,
    };
    let next_attempt_at = Some(Timestamp::from_millis(7));
    assert_eq!(first, [open(ids[0], 0, None), open(ids[2], 3, next_attempt_at)]);
    let rest = store.open_requests(ids[2], 5).await.unwrap();
    assert_eq!(rest, [open(ids[3], 0, None), open(ids[4], 0, None)]);
    assert_eq!(store.open_before(ids[3]).await.unwrap(), 2);
    assert_eq!(store.open_before(ids[0]).await.unwrap(), 0);
}
