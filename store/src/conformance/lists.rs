//! Lists.

use std::collections::HashSet;

use futures_util::future::join_all;
use pipeline::contract::Timestamp;
use uuid::Uuid;

use super::{
    rows::{completed, failed, new, retried},
    world::World,
};
use crate::{
    Count, Cursor, MAX_COUNT, NewRequest, OpenRequest, Page, RequestFilter, RequestQuery,
    ScheduledRetry, Status, Store, WorkerResult,
    sql::{list::MAX_WINDOW_ROWS, merged::MAX_MERGED_TYPES},
};

/// A list of so many requests a page.
pub(super) fn pages_of(limit: u32, filter: RequestFilter) -> RequestQuery {
    RequestQuery { filter, limit, cursor: None }
}

pub(super) fn all() -> RequestFilter {
    RequestFilter::default()
}

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
    assert_eq!(ids(&world.store, &pages_of(10, all())).await, Vec::<Uuid>::new());
    let wanted: Vec<Uuid> = (0..25).map(|_| Uuid::now_v7()).collect();
    join_all(wanted.iter().map(|id| world.store.accept(new(*id)))).await;
    assert_eq!(ids(&world.store, &pages_of(10, all())).await, newest_first(wanted.clone()));
    let exactly = pages_of(25, all());
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
            let filter = RequestFilter { kind: kind.map(str::to_owned), status, ..all() };
            let count = Count { value: u32::try_from(wanted.len()).unwrap(), is_capped: false };
            assert_eq!(world.store.count(filter.clone()).await.unwrap(), count, "{filter:?}");
            assert_eq!(
                ids(&world.store, &pages_of(5, filter)).await,
                wanted,
                "{kind:?} {status:?}"
            );
        }
    }
}

/// However many types there are: more than one statement merges.
pub(super) async fn a_list_by_status_is_merged_from_all_types(world: World) {
    let ids_made: Vec<Uuid> = (0..3 * MAX_MERGED_TYPES).map(|_| Uuid::now_v7()).collect();
    let made = ids_made.iter().enumerate().map(|(at, id)| NewRequest {
        kind: format!("type-{}", at % (2 * MAX_MERGED_TYPES + 1)),
        ..new(*id)
    });
    for accepted in world.store.accept_batch(made.collect()).await.unwrap() {
        accepted.unwrap();
    }
    let queued = RequestFilter { status: Some(Status::Queued), ..all() };
    assert_eq!(
        ids(&world.store, &pages_of(7, queued.clone())).await,
        newest_first(ids_made.clone())
    );
    let count = world.store.count(queued).await.unwrap();
    assert_eq!((count.value as usize, count.is_capped), (ids_made.len(), false));
    let open = world.store.open_requests(ids_made[99], 150).await.unwrap();
    assert!(open.iter().map(|request| request.id).eq(ids_made[100..250].iter().copied()));
    assert_eq!(world.store.open_requests(Uuid::max(), 1).await.unwrap(), []);
    assert_eq!(world.store.overview().await.unwrap().oldest.map(|it| it.id), Some(ids_made[0]));
}

pub(super) async fn a_cursor_stays_where_it_is_while_others_come(world: World) {
    let before: Vec<Uuid> = (0..100).map(|_| Uuid::now_v7()).collect();
    join_all(before.iter().map(|id| world.store.accept(new(*id)))).await;
    let later: Vec<Uuid> = (0..100).map(|_| Uuid::now_v7()).collect();
    let writing = join_all(later.iter().map(|id| world.store.accept(new(*id))));
    let list = pages_of(7, all());
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
        next_attempt_at: Some(Timestamp::from_millis(7)),
        ..retried(ids[2], 0, 3, "")
    };
    store.record_retries(vec![retry]).await.unwrap();
    let first = store.open_requests(Uuid::nil(), 2).await.unwrap();
    let open = |id, attempts, next_attempt_at| OpenRequest {
        id,
        request_type: new(id).kind.parse().unwrap(),
        run: 0,
        attempts,
        accepted_at: Some(new(id).accepted_at),
        next_attempt_at,
    };
    let next_attempt_at = Some(Timestamp::from_millis(7));
    assert_eq!(first, [open(ids[0], 0, None), open(ids[2], 3, next_attempt_at)]);
    let rest = store.open_requests(ids[2], 5).await.unwrap();
    assert_eq!(rest, [open(ids[3], 0, None), open(ids[4], 0, None)]);
    let other = NewRequest { kind: "video".to_owned(), ..new(Uuid::now_v7()) };
    store.accept(other.clone()).await.unwrap();
    let [last] = &store.open_requests(ids[4], 5).await.unwrap()[..] else { panic!() };
    assert_eq!((last.id, last.request_type.as_str()), (other.id, "video"));
    let kind = new(ids[0]).kind;
    assert_eq!(store.open_before(&kind, ids[3]).await.unwrap(), 2);
    assert_eq!(store.open_before(&kind, ids[0]).await.unwrap(), 0);
    assert_eq!(store.open_before("video", Uuid::max()).await.unwrap(), 1, "of this type alone");
}

/// An id of version 7 that was made in this millisecond.
fn id_of(millis: u64, last: u64) -> Uuid {
    Uuid::from_u64_pair(millis << 16 | 0x7000, 0x8000_0000_0000_0000 | last)
}

/// Requests of two types, one in each of 48 milliseconds, with one to three attempts: of each four one is open, one
/// completed, and two have failed with different codes.
async fn different_requests(store: &Store) -> Vec<(Uuid, &'static str, &'static str, u32)> {
    let codes = ["", "", "timeout", "permanent"];
    let kinds = ["default", "video"];
    let mut made = Vec::new();
    for at in 0..48_usize {
        let id = id_of(1000 + at as u64, 7);
        let (kind, code, attempt) = (kinds[at % 2], codes[at / 2 % 4], at as u32 / 8 % 3 + 1);
        store.accept(NewRequest { kind: kind.to_owned(), ..new(id) }).await.unwrap();
        if at / 2 % 4 == 0 {
            store.record_retries(vec![retried(id, 0, attempt, "busy")]).await.unwrap();
        } else {
            let end = if code.is_empty() { completed(id, "1") } else { failed(id, code) };
            store.apply_results(vec![WorkerResult { attempt, ..end }]).await.unwrap();
        }
        made.push((id, kind, code, attempt));
    }
    made
}

pub(super) async fn a_list_meets_all_conditions_of_its_filter(world: World) {
    let made = different_requests(&world.store).await;
    let at = |millis| Some(Timestamp::from_millis(millis));
    let times = [(None, None), (at(1010), None), (None, at(1030)), (at(1010), at(1030))];
    let id_prefixes = [None, Some("0000"), Some("00000000-03f"), Some("1")];
    for code in [None, Some("timeout"), Some("a\0b"), Some("timeou")] {
        for kind in [None, Some("video")] {
            for status in [None, Some(Status::Failed), Some(Status::Queued)] {
                for (min_attempts, (after, before), prefix) in [None, Some(2), Some(3), Some(4)]
                    .into_iter()
                    .zip(times)
                    .zip(id_prefixes)
                    .map(|((attempts, times), prefix)| (attempts, times, prefix))
                    .chain([None, Some(2), Some(3)].map(|least| (least, (None, None), None)))
                {
                    let filter = RequestFilter {
                        status,
                        kind: kind.map(str::to_owned),
                        code: code.map(str::to_owned),
                        group: None,
                        id_prefix: prefix.map(|prefix| prefix.parse().unwrap()),
                        accepted_after: after,
                        accepted_before: before,
                        min_attempts,
                    };
                    let wanted = made.iter().filter(|(id, its_kind, its_code, attempts)| {
                        let millis = Timestamp::from_millis((id.as_u128() >> 80) as i64);
                        let number = made.iter().position(|one| one.0 == *id).unwrap() / 2 % 4;
                        let its_status =
                            [Status::Queued, Status::Completed, Status::Failed, Status::Failed];
                        kind.is_none_or(|kind| kind == *its_kind)
                            && code.is_none_or(|code| code == *its_code)
                            && status.is_none_or(|status| status == its_status[number])
                            && min_attempts.is_none_or(|least| *attempts >= least)
                            && after.is_none_or(|after| millis >= after)
                            && before.is_none_or(|before| millis < before)
                            && prefix.is_none_or(|prefix| {
                                id.simple().to_string().starts_with(&prefix.replace('-', ""))
                            })
                    });
                    let wanted = newest_first(wanted.map(|(id, ..)| *id).collect());
                    let count = world.store.count(filter.clone()).await.unwrap();
                    let expected = u32::try_from(wanted.len()).unwrap();
                    assert_eq!((count.value, count.is_capped), (expected, false), "{filter:?}");
                    let list = pages_of(5, filter);
                    assert_eq!(ids(&world.store, &list).await, wanted, "{list:?}");
                }
            }
        }
    }
}

/// Fills the store with failed requests of this type, behind its back.
pub(super) async fn fill(world: &World, count: u32, kind: &str) {
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers";
    world
        .sql(&match world.is_sqlite() {
            true => format!(
                "INSERT INTO requests (id, type, status, attempts, error_code, settled_at) \
                 {numbers} WHERE n < {count}) \
                 SELECT unhex(printf('%032x', n)), '{kind}', 2, 3, 'busy', 1 FROM numbers"
            ),
            false => format!(
                "INSERT INTO requests (id, type, status, attempts, error_code, settled_at) \
                 SELECT lpad(to_hex(n), 32, '0')::uuid, '{kind}', 2, 3, 'busy', 1 \
                 FROM generate_series(1, {count}) AS n"
            ),
        })
        .await;
    let tally = format!(
        "INSERT INTO tallies (writer, type, failed) VALUES (1, '{kind}', {count}) \
         ON CONFLICT (writer, type) DO UPDATE SET failed = tallies.failed + {count}"
    );
    world.sql(&tally).await;
}

pub(super) async fn a_count_is_capped(world: World) {
    world.store.ping().await.unwrap();
    fill(&world, MAX_COUNT, "default").await;
    let filters = [
        all(),
        RequestFilter { kind: Some("default".to_owned()), ..all() },
        RequestFilter { status: Some(Status::Failed), ..all() },
        RequestFilter { code: Some("busy".to_owned()), min_attempts: Some(3), ..all() },
    ];
    for is_capped in [false, true] {
        for filter in &filters {
            let count = world.store.count(filter.clone()).await.unwrap();
            assert_eq!(count, Count { value: MAX_COUNT, is_capped }, "{filter:?}");
        }
        world.store.accept(new(Uuid::now_v7())).await.unwrap();
        let one_more = WorkerResult { attempt: 3, ..failed(Uuid::now_v7(), "busy") };
        world.store.apply_results(vec![one_more]).await.unwrap();
    }
}

/// However many rows are to be checked for a page, it looks at some, and the next one goes on from there.
pub(super) async fn a_page_looks_at_so_many_rows_and_no_more(world: World) {
    world.store.ping().await.unwrap();
    let first = Uuid::nil();
    let needle = NewRequest { kind: "needle".to_owned(), ..new(first) };
    world.store.accept(needle).await.unwrap();
    world.store.apply_results(vec![failed(first, "busy")]).await.unwrap();
    fill(&world, MAX_WINDOW_ROWS + 5, "hay").await;
    let filter =
        RequestFilter { code: Some("busy".to_owned()), kind: Some("needle".to_owned()), ..all() };
    let count = world.store.count(filter.clone()).await.unwrap();
    assert_eq!(count, Count { value: 0, is_capped: true });
    let mut list = pages_of(5, filter);
    let page = world.store.list(list.clone()).await.unwrap();
    assert!(page.items.is_empty());
    let next = page.next.unwrap();
    assert_eq!(next, Cursor::after(Uuid::from_u128(6)));
    list.cursor = Some(next);
    let page = world.store.list(list).await.unwrap();
    assert_eq!((page.items[0].id, page.next), (first, None));
}
