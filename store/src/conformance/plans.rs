//! The plans by which the database executes what reads: however many requests there are, none of it scans them.

use std::time::Duration;

use pipeline::contract::ErrorBody;
use uuid::Uuid;

use super::{
    lists::{all, fill, pages_of},
    world::World,
};
use crate::{
    GroupId, LeaseCallbacks, ParkedFilter, ParkedQuery, RequestFilter, SendCapacity, Status,
    postgres,
    sql::{
        self, attempts, bulk_runs, groups, list, merged,
        statement::{Dialect, Statement, Value},
        stats,
    },
    sqlite,
};

/// The tables that grow with the requests.
const BIG_TABLES: [&str; 7] =
    ["requests", "attempts", "failures", "callbacks", "parked", "tombstones", "claims"];

/// What reads pages, counts and statistics, and what looks for something to do.
fn reads() -> Vec<&'static str> {
    let parked = |filter| sql::list_parked(&ParkedQuery { filter, below: None, limit: 1 });
    vec![
        sql::OVERVIEW,
        sql::OLDEST,
        sql::TYPES,
        sql::OPEN_BEFORE,
        sql::STATE,
        sql::END,
        sql::ORIGIN,
        sql::GET_PARKED,
        parked(ParkedFilter::WithoutRequest),
        parked(ParkedFilter::OfRequest(Uuid::nil())),
        attempts::ATTEMPTS,
        groups::GROUPS,
        groups::FAILED_GROUPS,
        groups::GROUP,
        groups::EXPIRED_GROUPS,
        stats::MINUTES,
        stats::HOURS,
        stats::TALLIES,
        bulk_runs::LIST,
        bulk_runs::GET,
        bulk_runs::NEXT,
        sql::DUE_CLAIMS,
    ]
}

/// What looks for callbacks among those that are due first.
fn first_looks(world: &World) -> [&'static str; 2] {
    match world.is_sqlite() {
        true => [sqlite::callbacks::NEXT_FIRST, sqlite::callbacks::DUE_FIRST],
        false => [postgres::callbacks::NEXT_FIRST, postgres::callbacks::DUE_FIRST],
    }
}

/// What looks for due callbacks when those that are due first go to hosts without capacity.
fn looks_past_full_hosts(world: &World) -> [&'static str; 2] {
    match world.is_sqlite() {
        true => [sqlite::callbacks::NEXT_BY_HOST, sqlite::callbacks::DUE_BY_HOST],
        false => [postgres::callbacks::NEXT_BY_HOST, postgres::callbacks::DUE_BY_HOST],
    }
}

/// The tables that a plan reads whole, also along an index, or from a place on row by row.
fn scanned(plan: &str) -> Vec<&'static str> {
    let lines: Vec<_> = plan.lines().collect();
    let is_scanned = |table: &&str| {
        lines.iter().enumerate().any(|(at, line)| {
            let [next, after] =
                [1, 2].map(|more| lines.get(at + more).copied().unwrap_or_default());
            let is_along_all = line.contains(" using ") && !next.contains("Index Cond: ");
            let is_checked = line.contains("_pkey on ")
                && !next.contains(" = ANY ")
                && after.contains("Filter: ");
            let is_whole = line.contains("Seq Scan on ")
                || line.contains("SCAN ")
                || is_along_all
                || is_checked;
            let mut words = line.split(' ').skip_while(|word| !["on", "SCAN"].contains(word));
            is_whole && words.nth(1) == Some(table)
        })
    };
    BIG_TABLES.into_iter().filter(is_scanned).collect()
}

/// Fills the store such that few requests are in any index but those of all.
async fn fill_mostly_with_others(world: &World) {
    world.store.ping().await.unwrap();
    fill(world, 2000, "default").await;
    let (id, rows) = match world.is_sqlite() {
        true => (
            "randomblob(16)",
            "WITH RECURSIVE rows (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rows WHERE n < 30000)",
        ),
        false => ("gen_random_uuid()", "WITH rows AS (SELECT generate_series(1, 30000))"),
    };
    let others = format!(
        "INSERT INTO requests (id, type, status, attempts) {rows} SELECT {id}, 'video', 1, 1 FROM rows"
    );
    world.sql(&others).await;
    let failures =
        "INSERT INTO failures (failed_id, group_id) SELECT id, 7 FROM requests WHERE status = 2";
    world.sql(failures).await;
    let name = if world.is_sqlite() { "id" } else { "uuid_send(id)" };
    let claims = format!(
        "INSERT INTO claims (name, digest, id, claimed_at, keep_until) \
         SELECT {name}, {name}, id, 0, 1 FROM requests"
    );
    world.sql(&claims).await;
    let parked = format!(
        "INSERT INTO parked (key, request_id, reason, error, received_at, headers, body) \
         SELECT {name}, id, '', '', 0, '', {name} FROM requests WHERE status = 2"
    );
    world.sql(&parked).await;
    let callbacks = "INSERT INTO callbacks (request_id, host, of_run, ended_at, due_at) \
        SELECT id, 'a.example', 0, 0, 0 FROM requests";
    world.sql(callbacks).await;
}

/// However many requests there are, what pages show of them costs the same.
pub(super) async fn nothing_that_reads_scans_a_big_table(world: World) {
    fill_mostly_with_others(&world).await;
    for statement in reads() {
        let plan = world.plan(statement).await;
        assert_eq!(scanned(&plan), Vec::<&str>::new(), "{statement}\n{plan}");
    }
    for statement in first_looks(&world) {
        let plan = world.plan(statement).await;
        assert!(plan.contains("callbacks_by_due_at"), "{statement}\n{plan}");
    }
    for statement in looks_past_full_hosts(&world) {
        let plan = world.plan(statement).await;
        assert_eq!(scanned(&plan), Vec::<&str>::new(), "{statement}\n{plan}");
        assert!(!plan.contains("callbacks_by_due_at"), "{statement}\n{plan}");
    }
    let types = ["default", "video"].map(str::to_owned);
    let dialect = if world.is_sqlite() { Dialect::Sqlite } else { Dialect::Postgres };
    let merged = [
        merged::open(&types, Uuid::nil(), 50, dialect),
        merged::failed(&types, Uuid::max(), 50, dialect),
    ];
    for statement in merged {
        let plan = explain(&world, &statement).await;
        assert_eq!(scanned(&plan), Vec::<&str>::new(), "{plan}");
        assert_eq!(plan.matches("requests_by_type").count(), types.len(), "{plan}");
    }
    // The plans are those of this store: without its indexes they are others.
    let without = match world.is_sqlite() {
        true => "DROP INDEX requests_by_type; DROP INDEX failures_by_group",
        false => "DROP INDEX requests_by_type, failures_by_group",
    };
    world.sql(without).await;
    assert_eq!(scanned(&world.plan(sql::OLDEST).await), ["requests"]);
    assert_eq!(scanned(&world.plan(groups::GROUP).await), ["failures"]);
}

/// However many requests there are, a page and a count cost only what their rows cost.
pub(super) async fn no_filter_scans_or_sorts(world: World) {
    fill_mostly_with_others(&world).await;
    let dialect = if world.is_sqlite() { Dialect::Sqlite } else { Dialect::Postgres };
    let text = |text: &str| [None, Some(text.to_owned())];
    let mut filters = Vec::new();
    for code in text("busy") {
        for kind in text("default") {
            for status in [None, Some(Status::Failed)] {
                for min_attempts in [None, Some(2), Some(3)] {
                    for group in [None, Some(GroupId::of(&ErrorBody::new("busy", "")))] {
                        let (code, kind) = (code.clone(), kind.clone());
                        let filter =
                            RequestFilter { code, kind, status, min_attempts, group, ..all() };
                        filters.push(filter);
                    }
                }
            }
        }
    }
    let types = ["default", "video"].map(str::to_owned);
    for filter in filters {
        let index = match (&filter.code, filter.min_attempts, &filter.kind, filter.status) {
            _ if filter.group.is_some() => "failures_by_group",
            (Some(_), ..) => "requests_by_code",
            (None, Some(_), ..) => "requests_by_attempts",
            (None, None, None, None) => "requests",
            (None, None, ..) => "requests_by_type",
        };
        let window = list::window(&filter, filter.ids(), dialect);
        assert_eq!(window.is_some(), filter_is_combined(&filter), "{filter:?}");
        let statements = [
            list::page(&pages_of(50, filter.clone()), None, &types, dialect),
            list::count(&filter, None, &types, dialect),
        ];
        for statement in statements.into_iter().chain(window) {
            let plan = explain(&world, &statement).await;
            let scans =
                ["SCAN requests", "Seq Scan on requests"].iter().any(|it| plan.contains(it));
            // The newest of a type, or of a status, are sorted out of those of each type and status.
            let sorts = ["TEMP B-TREE FOR ORDER BY", "Sort Key"].iter().any(|it| plan.contains(it))
                && index != "requests_by_type";
            assert!(!scans && !sorts && plan.contains(index), "{filter:?}\n{statement:?}\n{plan}");
        }
    }
}

fn filter_is_combined(filter: &RequestFilter) -> bool {
    let others = [filter.kind.is_some(), filter.status.is_some()];
    let is_in_part = filter.code.is_some() || filter.min_attempts.is_some();
    if filter.group.is_some() {
        return is_in_part || others.contains(&true);
    }
    match (&filter.code, filter.min_attempts) {
        (Some(_), attempts) => attempts.is_some() || others.contains(&true),
        (None, Some(least)) => least > 2 || others.contains(&true),
        (None, None) => false,
    }
}

/// However often a list was read with a filter that many requests meet, one that few meet is read along its index: a server
/// would keep a plan for any parameters.
pub(super) async fn a_rare_filter_is_not_read_by_a_plan_for_common_ones(world: World) {
    fill_alike(&world).await;
    for group in [7, 8] {
        let of_group = RequestFilter { group: Some(GroupId::from_number(group)), ..all() };
        for _ in 0..30 {
            let page = world.store.list(pages_of(50, of_group.clone())).await.unwrap();
            assert_eq!(page.items.len(), if group == 7 { 50 } else { 0 });
        }
    }
    let read = world.rows_read_of("failures").await;
    assert!(read < u64::from(ALIKE), "{read} rows were read for 60 pages");
}

/// Of the requests that meet a filter a page and a count read so many and no more, also where the database does not know how
/// many there are.
pub(super) async fn a_common_filter_is_not_read_whole(world: World) {
    fill_alike(&world).await;
    let code = RequestFilter { code: Some("busy".to_owned()), ..all() };
    let combined = RequestFilter { min_attempts: Some(9), ..code.clone() };
    let failed = RequestFilter { status: Some(Status::Failed), ..all() };
    for filter in [code, failed] {
        for limit in [50, 500] {
            let page = world.store.list(pages_of(limit, filter.clone())).await.unwrap();
            assert_eq!(page.items.len(), limit as usize);
        }
        assert!(world.store.count(filter).await.unwrap().is_capped);
    }
    assert_eq!(world.store.open_requests(Uuid::nil(), 5000).await.unwrap(), []);
    assert_eq!(world.store.list(pages_of(50, combined)).await.unwrap().items, []);
    let read = world.rows_read_of("requests").await;
    assert!(read < u64::from(ALIKE), "{read} rows were read for the pages and counts");
}

/// Callbacks to a host, due at these times.
async fn callbacks(world: &World, host: &str, due_at: std::ops::RangeInclusive<u32>) {
    let (id, (first, last)) = (
        if world.is_sqlite() { "randomblob(16)" } else { "gen_random_uuid()" },
        due_at.into_inner(),
    );
    let insert = format!(
        "INSERT INTO callbacks (request_id, host, of_run, ended_at, due_at) \
         WITH RECURSIVE times (at) AS (SELECT {first} UNION ALL SELECT at + 1 FROM times WHERE at < {last}) \
         SELECT {id}, '{host}', 0, at, at FROM times"
    );
    world.sql(&insert).await;
}

/// However many callbacks wait for hosts without capacity, those to others are found, the earliest first, and few rows are read.
pub(super) async fn callbacks_to_a_full_host_are_passed_over(world: World) {
    world.store.ping().await.unwrap();
    callbacks(&world, "full.example", 1..=ALIKE).await;
    world.sql("ANALYZE").await;
    let (total, slow) = (3, Default::default());
    let busy = [("full.example".to_owned(), 4)].into();
    let capacity = SendCapacity { total, per_host: 4, busy, slow, slow_total: 0 };
    assert_eq!(world.store.next_callback_in(&capacity).await.unwrap(), None);
    callbacks(&world, "a.example", ALIKE + 2..=ALIKE + 4).await;
    callbacks(&world, "z.example", ALIKE + 1..=ALIKE + 3).await;
    world.sql("ANALYZE").await;
    world.forget_reads().await;
    let (lease, hour) = (Uuid::now_v7(), Duration::from_secs(3600));
    for expected in [vec![1, 2, 2], vec![3, 3, 4], vec![], vec![]] {
        let next = world.store.next_callback_in(&capacity).await.unwrap().unwrap();
        assert_eq!(next.is_zero(), !expected.is_empty(), "{next:?}");
        let capacity = capacity.clone();
        let wanted = LeaseCallbacks { capacity, lease, duration: hour, max_age: hour };
        let leased = world.store.lease_callbacks(wanted).await.unwrap().leased;
        let ended_at = leased.iter().map(|one| one.ended_at.as_millis() - i64::from(ALIKE));
        let mut ended_at: Vec<i64> = ended_at.collect();
        ended_at.sort_unstable();
        assert_eq!(ended_at, expected);
    }
    let read = world.rows_read_of("callbacks").await;
    assert!(read < u64::from(ALIKE), "{read} rows were read for 8 looks");
}

/// How many requests have failed in the same way.
const ALIKE: u32 = 40_000;

async fn fill_alike(world: &World) {
    world.store.ping().await.unwrap();
    fill(world, ALIKE, "default").await;
    world.sql("INSERT INTO failures (failed_id, group_id) SELECT id, 7 FROM requests").await;
    let callbacks = "INSERT INTO callbacks (request_id, state, host, of_run, ended_at, due_at) \
        SELECT id, 1, 'a.example', 0, 0, 0 FROM requests";
    world.sql(callbacks).await;
    world.sql("ANALYZE").await;
    world.forget_reads().await;
}

/// The plan of a statement for its parameters. Tables as small as these would be scanned if indexes were not preferred.
async fn explain(world: &World, statement: &Statement) -> String {
    let mut sql = statement.sql.clone();
    for (at, value) in statement.values.iter().enumerate().rev() {
        let literal = match (value, world.is_sqlite()) {
            (Value::Id(id), true) => format!("x'{}'", id.simple()),
            (Value::Id(id), false) => format!("'{id}'::uuid"),
            (Value::Text(text), _) => format!("'{text}'"),
            (Value::Number(number), true) => format!("{number}"),
            (Value::Number(number), false) => format!("{number}::bigint"),
        };
        sql = sql.replace(&format!("${}", at + 1), &literal);
    }
    let explain = match world.is_sqlite() {
        true => format!("EXPLAIN QUERY PLAN {sql}"),
        false => format!(
            "ANALYZE requests, failures; SET enable_seqscan = off; SET enable_bitmapscan = off; EXPLAIN {sql}"
        ),
    };
    world.lines(&explain).await
}
