//! Counts and lists error groups in PostgreSQL.

use std::collections::{BTreeMap, HashSet};

use pipeline::contract::{ErrorBody, Timestamp};
use sqlx::{
    Connection, PgConnection, Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use uuid::Uuid;

use crate::{
    model::{
        count::Count,
        error_group::{ErrorGroup, GroupId, GroupedError, MAX_GROUPS_OF_CODE},
    },
    postgres::{
        list,
        row::{number, time},
        session::Work,
    },
    sql::{
        attempts::{attempt_columns, last_failure},
        groups::{EXPIRED_GROUPS, FAILED_GROUPS, GROUP, GROUPS},
    },
};

/// Adds the groups of a statement, in order of their ids, so that two statements can't deadlock. Its parameters are those
/// of [`Groups::bind`], from this one on.
macro_rules! groups_added {
    ($ids:literal, $codes:literal, $patterns:literal, $examples:literal, $requests:literal) => {
        concat!(
            "added AS (INSERT INTO error_groups (id, code, pattern, example, example_id, first_at) \
             SELECT new_group.*, ",
            $crate::postgres::clock::now!(),
            " FROM UNNEST(",
            $ids,
            "::bigint[], ",
            $codes,
            "::text[], ",
            $patterns,
            "::text[], ",
            $examples,
            "::text[], ",
            $requests,
            "::uuid[]) AS new_group (id, code, pattern, example, example_id) ORDER BY new_group.id \
             ON CONFLICT DO NOTHING)"
        )
    };
}

/// Counts attempts that failed in their groups, in a row of this connection. `$of` are rows with a `group_id`, one for each
/// attempt.
macro_rules! groups_counted {
    ($of:literal) => {
        concat!(
            "seen AS (INSERT INTO group_counts (group_id, writer, count, last_at) \
             SELECT group_id, pg_backend_pid(), count(*), ",
            $crate::postgres::clock::now!(),
            " FROM ",
            $of,
            " GROUP BY group_id ORDER BY group_id ON CONFLICT (group_id, writer) DO UPDATE SET \
             count = group_counts.count + excluded.count, last_at = excluded.last_at)"
        )
    };
}
pub(super) use {groups_added, groups_counted};

/// Which of some groups would be new ones of a code that has too many. Each code is looked at once.
const SURPLUS: &str = "WITH new_group AS (SELECT * FROM UNNEST($1::bigint[], $2::text[]) AS new_group (id, code) \
    WHERE (SELECT 1 FROM error_groups WHERE error_groups.id = new_group.id) IS NULL), \
    filled AS (SELECT code FROM (SELECT DISTINCT code FROM new_group) AS codes WHERE (SELECT 1 \
    FROM error_groups WHERE error_groups.code = codes.code LIMIT 1 OFFSET $3 - 1) = 1) \
    SELECT id FROM new_group JOIN filled USING (code)";
/// Merges the rows of all connections, of which many are closed.
const MERGE: &str = "WITH old AS (DELETE FROM group_counts WHERE (group_id, writer) IN \
    (SELECT group_id, writer FROM group_counts WHERE writer <> 0 LIMIT 10000 FOR UPDATE SKIP LOCKED) \
    RETURNING group_id, count, last_at) \
    INSERT INTO group_counts (group_id, writer, count, last_at) \
    SELECT group_id, 0, sum(count), max(last_at) FROM old GROUP BY group_id ORDER BY group_id \
    ON CONFLICT (group_id, writer) DO UPDATE SET count = group_counts.count + excluded.count, \
    last_at = GREATEST(group_counts.last_at, excluded.last_at)";
const DELETE: &str = "WITH gone AS (DELETE FROM error_groups WHERE id = ANY($1)) \
    DELETE FROM group_counts WHERE group_id = ANY($1)";
/// Groups failed requests that an earlier release has recorded.
const GROUP_EARLIER: &str = concat!(
    "WITH kept AS (INSERT INTO attempts (",
    attempt_columns!(),
    ") ",
    last_failure!("requests"),
    " AND id = ANY($1) ON CONFLICT DO NOTHING), \
     entered AS (INSERT INTO failures (failed_id, group_id) SELECT requests.id, grouped.group_id \
     FROM UNNEST($1::uuid[], $2::bigint[]) AS grouped (id, group_id) JOIN requests USING (id) \
     WHERE status = 2 ON CONFLICT DO NOTHING RETURNING failed_id, group_id), \
     timed AS (SELECT group_id, count(*) AS count, COALESCE(min(settled_at), 0) AS first_at, \
     COALESCE(max(settled_at), 0) AS last_at FROM entered JOIN requests ON id = failed_id GROUP BY group_id), \
     added AS (INSERT INTO error_groups (id, code, pattern, example, example_id, first_at) \
     SELECT new_group.id, code, pattern, example, example_id, first_at \
     FROM UNNEST($3::bigint[], $4::text[], $5::text[], $6::text[], $7::uuid[]) \
     AS new_group (id, code, pattern, example, example_id) JOIN timed ON group_id = new_group.id \
     ORDER BY new_group.id ON CONFLICT (id) DO UPDATE SET \
     first_at = LEAST(error_groups.first_at, excluded.first_at)) \
     INSERT INTO group_counts (group_id, writer, count, last_at) \
     SELECT group_id, pg_backend_pid(), count, last_at FROM timed ORDER BY group_id \
     ON CONFLICT (group_id, writer) DO UPDATE SET count = group_counts.count + excluded.count, \
     last_at = GREATEST(group_counts.last_at, excluded.last_at)"
);

/// The groups of errors, each once, and of which group each error is.
pub(super) struct Groups {
    /// The group of each error, in their order.
    pub(super) of_errors: Vec<i64>,
    groups: BTreeMap<i64, (GroupedError, Uuid)>,
}

impl Groups {
    /// The groups of these errors of requests, of which those are new whose codes have not too many.
    pub(super) async fn of<'a>(
        connection: &mut PgConnection,
        errors: impl Iterator<Item = (Uuid, &'a ErrorBody)>,
    ) -> sqlx::Result<Self> {
        let errors: Vec<_> =
            errors.map(|(id, error)| (id, error, GroupedError::of(error))).collect();
        let surplus = surplus(connection, errors.iter().map(|(.., group)| group)).await?;
        let (mut of_errors, mut groups) = (Vec::new(), BTreeMap::new());
        for (id, error, group) in errors {
            let is_surplus = surplus.contains(&group.id.number());
            let group = if is_surplus { GroupedError::other(error) } else { group };
            of_errors.push(group.id.number());
            groups.entry(group.id.number()).or_insert((group, id));
        }
        Ok(Self { of_errors, groups })
    }

    /// Binds the groups: their ids, codes, patterns, examples, and the requests of those.
    pub(super) fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        let groups = || self.groups.values();
        let ids: Vec<i64> = self.groups.keys().copied().collect();
        let codes: Vec<&str> = groups().map(|(group, _)| group.code.as_str()).collect();
        let patterns: Vec<&str> = groups().map(|(group, _)| group.pattern.as_str()).collect();
        let examples: Vec<&str> = groups().map(|(group, _)| group.example.as_str()).collect();
        let requests: Vec<Uuid> = groups().map(|(_, id)| *id).collect();
        query.bind(ids).bind(codes).bind(patterns).bind(examples).bind(requests)
    }
}

/// Which of these groups are not to be added.
async fn surplus<'a>(
    connection: &mut PgConnection,
    groups: impl Iterator<Item = &'a GroupedError>,
) -> sqlx::Result<HashSet<i64>> {
    let (ids, codes): (Vec<i64>, Vec<&str>) =
        groups.map(|group| (group.id.number(), group.code.as_str())).unzip();
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let surplus = sqlx::query_scalar(SURPLUS).bind(ids).bind(codes);
    let surplus = surplus.bind(i64::from(MAX_GROUPS_OF_CODE)).fetch_all(connection).await?;
    Ok(surplus.into_iter().collect())
}

/// Deletes groups that nobody has seen since then, and in which no request is failed; merges the counts of the others.
/// All groups are looked at for that.
pub(super) async fn expire(
    connection: &mut PgConnection,
    seen_before: Timestamp,
    limit: i64,
) -> sqlx::Result<()> {
    sqlx::query(MERGE).execute(&mut *connection).await?;
    let expired = sqlx::query_scalar(EXPIRED_GROUPS).bind(seen_before.as_millis()).bind(limit);
    let expired: Vec<i64> = expired.fetch_all(&mut *connection).await?;
    if expired.is_empty() {
        return Ok(());
    }
    sqlx::query(DELETE).bind(expired).execute(connection).await.map(drop)
}

/// Groups a part of the failed requests that an earlier release has recorded, and returns how many.
pub(super) async fn group_earlier(connection: &mut PgConnection, limit: u32) -> sqlx::Result<u64> {
    let mut transaction = connection.begin().await?;
    let below = sqlx::query_scalar("SELECT below FROM ungrouped FOR UPDATE SKIP LOCKED");
    let Some(below) = below.fetch_optional(&mut *transaction).await? else { return Ok(0) };
    let below: Uuid = below;
    let failed = list::failed(&mut transaction, below, limit).await?;
    let errors = failed.iter().map(|(id, error)| (*id, error));
    let groups = Groups::of(&mut transaction, errors).await?;
    let ids: Vec<Uuid> = failed.iter().map(|(id, _)| *id).collect();
    let last = ids.last().copied();
    let group = sqlx::query(GROUP_EARLIER).bind(ids).bind(&groups.of_errors);
    groups.bind(group).execute(&mut *transaction).await?;
    let moved = match last {
        Some(last) => sqlx::query("UPDATE ungrouped SET below = $1").bind(last),
        None => sqlx::query("DELETE FROM ungrouped"),
    };
    moved.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(failed.len() as u64)
}

/// Error groups, the one that was seen last first.
pub(super) struct ListGroups {
    pub(super) only_failed: bool,
    pub(super) limit: u32,
}

impl Work for ListGroups {
    type Answer = Vec<ErrorGroup>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<ErrorGroup>> {
        let sql = if self.only_failed { FAILED_GROUPS } else { GROUPS };
        let rows = sqlx::query(sql).bind(i64::from(self.limit)).fetch_all(connection).await?;
        rows.iter().map(group).collect()
    }
}

/// An error group.
pub(super) struct GetGroup(pub(super) GroupId);

impl Work for GetGroup {
    type Answer = Option<ErrorGroup>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Option<ErrorGroup>> {
        let row = sqlx::query(GROUP).bind(self.0.number()).fetch_optional(connection).await?;
        row.as_ref().map(group).transpose()
    }
}

fn group(row: &PgRow) -> sqlx::Result<ErrorGroup> {
    Ok(ErrorGroup {
        id: GroupId::from_number(row.try_get(0)?),
        code: row.try_get(1)?,
        pattern: row.try_get(2)?,
        example: row.try_get(3)?,
        example_request: row.try_get(4)?,
        first_seen_at: time(row, 5)?,
        count: row.try_get::<i64, _>(6)?.unsigned_abs(),
        last_seen_at: time(row, 7)?,
        failed: Count::of(number(row, 8)?, false),
    })
}
