//! Counts and lists error groups in SQLite.

use pipeline::contract::{ErrorBody, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::{
    model::{
        count::Count,
        error_group::{ErrorGroup, GroupId, GroupedError, MAX_GROUPS_OF_CODE},
    },
    sql::groups::{EXPIRED_GROUPS, FAILED_GROUPS, GROUP, GROUPS},
    sqlite::{attempts, list as lists, row, transaction::WriteTransaction},
};

const IS_SURPLUS: &str = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM error_groups WHERE id = $1) \
    AND EXISTS (SELECT 1 FROM error_groups WHERE code = $2 LIMIT 1 OFFSET $3 - 1)";
const ADD: &str = "INSERT INTO error_groups (id, code, pattern, example, example_id, first_at) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
const COUNT: &str = "INSERT INTO group_counts (group_id, writer, count, last_at) VALUES ($1, 0, 1, $2) \
    ON CONFLICT (group_id, writer) DO UPDATE SET count = count + 1, last_at = max(last_at, $2)";
const ENTER: &str = "INSERT INTO failures (failed_id, group_id) VALUES ($1, $2) \
    ON CONFLICT (failed_id) DO UPDATE SET group_id = $2";
const LEAVE: &str = "DELETE FROM failures WHERE failed_id = $1";
const SETTLED_AT: &str = "SELECT settled_at FROM requests WHERE id = $1";

/// Counts an attempt that failed in the group of its error.
pub(super) fn count(
    tx: &WriteTransaction<'_>,
    id: Uuid,
    error: &ErrorBody,
    at: Timestamp,
) -> rusqlite::Result<GroupId> {
    let group = group_of(tx, error)?;
    let (number, at) = (group.id.number(), at.as_millis());
    let (code, pattern, example) = (group.code, group.pattern, group.example);
    tx.execute(ADD, params![number, code, pattern, example, id.as_bytes(), at])?;
    tx.execute(COUNT, params![number, at])?;
    Ok(group.id)
}

/// The group of an error, which is a new one only if its code has not too many.
fn group_of(tx: &WriteTransaction<'_>, error: &ErrorBody) -> rusqlite::Result<GroupedError> {
    let group = GroupedError::of(error);
    let is_surplus = tx.prepare_cached(IS_SURPLUS)?.exists(params![
        group.id.number(),
        group.code,
        MAX_GROUPS_OF_CODE
    ])?;
    Ok(if is_surplus { GroupedError::other(error) } else { group })
}

/// Notes that a request is failed now, and counts the attempt with which it has failed.
pub(super) fn enter(
    tx: &WriteTransaction<'_>,
    id: Uuid,
    error: &ErrorBody,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let group = count(tx, id, error, at)?;
    tx.execute(ENTER, params![id.as_bytes(), group.number()]).map(drop)
}

/// Notes that a request is not failed any more.
pub(super) fn leave(tx: &WriteTransaction<'_>, id: Uuid) -> rusqlite::Result<()> {
    tx.execute(LEAVE, [id.as_bytes()]).map(drop)
}

/// Deletes groups that nobody has seen since then, and in which no request is failed. All groups are looked at for
/// that.
pub(super) fn expire(
    tx: &WriteTransaction<'_>,
    seen_before: Timestamp,
    limit: u32,
) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached(EXPIRED_GROUPS)?;
    let ids = statement.query_map(params![seen_before.as_millis(), limit], |row| row.get(0))?;
    let ids: Vec<i64> = ids.collect::<Result<_, _>>()?;
    ids.into_iter().try_for_each(|id| {
        tx.execute("DELETE FROM error_groups WHERE id = $1", [id])?;
        tx.execute("DELETE FROM group_counts WHERE group_id = $1", [id]).map(drop)
    })
}

/// Groups a part of the failed requests that an earlier release has recorded, and returns how many.
pub(super) fn group_earlier(tx: &WriteTransaction<'_>, limit: u32) -> rusqlite::Result<u64> {
    let below =
        tx.prepare_cached("SELECT below FROM ungrouped")?.query_row([], |row| row::id(row, 0));
    let Some(below) = below.optional()? else { return Ok(0) };
    let failed = lists::failed(tx, below, limit)?;
    for (id, error) in &failed {
        if tx
            .prepare_cached("SELECT 1 FROM failures WHERE failed_id = $1")?
            .exists([id.as_bytes()])?
        {
            continue;
        }
        let at = tx
            .prepare_cached(SETTLED_AT)?
            .query_row([id.as_bytes()], |row| row::optional_time(row, 0))?;
        attempts::keep_failed(tx, *id)?;
        enter(tx, *id, error, at.unwrap_or(tx.now))?;
    }
    match failed.last() {
        Some((last, _)) => tx.execute("UPDATE ungrouped SET below = $1", [last.as_bytes()])?,
        None => tx.execute("DELETE FROM ungrouped", [])?,
    };
    Ok(failed.len() as u64)
}

/// Error groups, the one that was seen last first.
pub(super) fn list(
    connection: &Connection,
    only_failed: bool,
    limit: u32,
) -> rusqlite::Result<Vec<ErrorGroup>> {
    let sql = if only_failed { FAILED_GROUPS } else { GROUPS };
    connection.prepare_cached(sql)?.query_map([limit], group)?.collect()
}

/// An error group.
pub(super) fn get(connection: &Connection, id: GroupId) -> rusqlite::Result<Option<ErrorGroup>> {
    connection.prepare_cached(GROUP)?.query_row([id.number()], group).optional()
}

fn group(row: &Row<'_>) -> rusqlite::Result<ErrorGroup> {
    Ok(ErrorGroup {
        id: GroupId::from_number(row.get(0)?),
        code: row.get(1)?,
        pattern: row.get(2)?,
        example: row.get(3)?,
        example_request: row::id(row, 4)?,
        first_seen_at: row::time(row, 5)?,
        count: row.get::<_, i64>(6)?.unsigned_abs(),
        last_seen_at: row::time(row, 7)?,
        failed: Count::of(row.get(8)?, false),
    })
}
