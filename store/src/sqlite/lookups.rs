//! Looks up requests in SQLite, one by one and in lists.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::{
    model::request::{End, Ended, Found, Origin, Record, RequestState, Status, Summary},
    sql::{self, summary, with_callbacks},
    sqlite::row,
};

const GET: &str = concat!("SELECT ", summary!(), ", result", with_callbacks!(), "WHERE id = $1");
/// The result follows the columns of the summary.
const RESULT: usize = sql::SUMMARY_COLUMNS;
const GET_SUMMARY: &str = concat!("SELECT ", summary!(), with_callbacks!(), "WHERE id = $1");
const HAS_EXPIRED: &str = "SELECT EXISTS (SELECT 1 FROM tombstones WHERE id = $1)";

pub(super) fn get(connection: &Connection, id: Uuid) -> rusqlite::Result<Found> {
    let mut statement = connection.prepare_cached(GET)?;
    let found = statement.query_row([id.as_bytes()], |row| {
        Ok(Record { summary: row::summary(row)?, result: row.get(RESULT)? })
    });
    Ok(match found.optional()? {
        Some(request) => Found::Record(Box::new(request)),
        None if has_expired(connection, id)? => Found::Expired,
        None => Found::Unknown,
    })
}

pub(super) fn get_many(connection: &Connection, ids: &[Uuid]) -> rusqlite::Result<Vec<Summary>> {
    let mut statement = connection.prepare_cached(GET_SUMMARY)?;
    let found = ids.iter().map(|id| statement.query_row([id.as_bytes()], row::summary).optional());
    found.filter_map(Result::transpose).collect()
}

pub(super) fn ended(connection: &Connection, ids: &[Uuid]) -> rusqlite::Result<Vec<Ended>> {
    let mut statement = connection.prepare_cached(sql::END)?;
    let mut ended = |id: &Uuid| -> rusqlite::Result<Option<Ended>> {
        let stored = statement.query_row([id.as_bytes()], |row| {
            let code: Option<String> = row.get(2)?;
            Ok(End::new(Status::from_number(row.get(0)?), row.get(1)?, code.as_deref()))
        });
        Ok(match stored.optional()? {
            Some(End { status: Status::Queued, run: 0, .. }) => None,
            Some(end) => Some(Ended { id: *id, end: Some(end) }),
            None => has_expired(connection, *id)?.then_some(Ended { id: *id, end: None }),
        })
    };
    ids.iter().filter_map(|id| ended(id).transpose()).collect()
}

pub(super) fn state(connection: &Connection, id: Uuid) -> rusqlite::Result<RequestState> {
    let mut statement = connection.prepare_cached(sql::STATE)?;
    let stored = statement.query_row([id.as_bytes()], |row| {
        let status = Status::from_number(row.get(0)?);
        Ok(RequestState::Stored { status, run: row.get(1)? })
    });
    Ok(match stored.optional()? {
        Some(stored) => stored,
        None if has_expired(connection, id)? => RequestState::Expired,
        None => RequestState::Unknown,
    })
}

/// Whether a request was here and was deleted: after its retention, or because it was discarded.
pub(super) fn has_expired(connection: &Connection, id: Uuid) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(HAS_EXPIRED)?;
    statement.query_row([id.as_bytes()], |row| row.get(0))
}

pub(super) fn origin(connection: &Connection, id: Uuid) -> rusqlite::Result<Origin> {
    let mut statement = connection.prepare_cached(sql::ORIGIN)?;
    let origin = statement.query_row([id.as_bytes()], |row| {
        Ok(Origin { trace: row.get(0)?, data: row.get(1)?, kind: row.get(2)? })
    });
    Ok(origin.optional()?.unwrap_or_default())
}

pub(super) fn open_before(connection: &Connection, kind: &str, id: Uuid) -> rusqlite::Result<u32> {
    let mut count = connection.prepare_cached(sql::OPEN_BEFORE)?;
    count.query_row(params![kind, id.as_bytes()], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        migrations,
        model::parked::{ParkedFilter, ParkedQuery},
    };

    #[test]
    fn no_list_of_parked_messages_sorts_or_scans() {
        let connection = Connection::open_in_memory().unwrap();
        for (_, migration) in migrations::SQLITE {
            connection.execute_batch(migration).unwrap();
        }
        for filter in [ParkedFilter::WithoutRequest, ParkedFilter::OfRequest(Uuid::nil())] {
            let query = ParkedQuery { filter, below: None, limit: 1 };
            let plan = plan(&connection, sql::list_parked(&query));
            assert!(plan.starts_with("SEARCH parked USING INDEX parked_"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }

    #[test]
    fn open_requests_are_read_along_an_index() {
        let connection = Connection::open_in_memory().unwrap();
        for (_, migration) in migrations::SQLITE {
            connection.execute_batch(migration).unwrap();
        }
        let plan = plan(&connection, sql::OPEN_BEFORE);
        assert!(plan.contains("SEARCH requests USING"), "{plan}");
        assert!(!plan.contains("SCAN requests") && !plan.contains("TEMP B-TREE"), "{plan}");
    }

    fn plan(connection: &Connection, sql: &str) -> String {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        // The plan does not depend on the parameters, so none are given.
        let lines = statement.raw_query().mapped(|row| row.get::<_, String>(3));
        lines.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
    }
}
