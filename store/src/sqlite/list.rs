//! Lists and counts requests in SQLite.

use pipeline::contract::ErrorBody;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params_from_iter, types::ToSqlOutput};
use uuid::Uuid;

use crate::{
    model::{
        count::Count,
        filter::RequestFilter,
        open_request::OpenRequest,
        page::{Page, RequestQuery},
    },
    sql::{
        self, list,
        merged::{self, MAX_MERGED_TYPES},
        statement::{Dialect, Statement, Value},
    },
    sqlite::row,
};

const DIALECT: Dialect = Dialect::Sqlite;

pub(super) fn page(connection: &Connection, query: &RequestQuery) -> rusqlite::Result<Page> {
    let _snapshot = connection.unchecked_transaction()?;
    let window = window(connection, list::window(&query.filter, query.ids(), DIALECT))?;
    let (types, mut items) = (types(connection, &query.filter)?, Vec::new());
    for part in list::parts_of_types(&query.filter, &types) {
        let statement = list::page(query, window, part, DIALECT);
        items.extend(rows(connection, statement, row::summary)?);
    }
    Ok(query.page(items, window))
}

pub(super) fn count(connection: &Connection, filter: &RequestFilter) -> rusqlite::Result<Count> {
    let _snapshot = connection.unchecked_transaction()?;
    let window = window(connection, list::window(filter, filter.ids(), DIALECT))?;
    let (types, mut count) = (types(connection, filter)?, 0);
    for part in list::parts_of_types(filter, &types) {
        let statement = list::count(filter, window, part, DIALECT);
        count += rows(connection, statement, |row| row.get::<_, u32>(0))?.iter().sum::<u32>();
    }
    Ok(Count::of(count, window.is_some()))
}

/// The open requests above an id.
pub(super) fn open(
    connection: &Connection,
    after: Uuid,
    limit: u32,
) -> rusqlite::Result<Vec<OpenRequest>> {
    let (_snapshot, mut open) = (connection.unchecked_transaction()?, Vec::new());
    for part in all_types(connection)?.chunks(MAX_MERGED_TYPES) {
        open.extend(rows(
            connection,
            merged::open(part, after, limit, DIALECT),
            row::open_request,
        )?);
    }
    Ok(OpenRequest::first_of(open, limit))
}

/// The newest failed requests below an id, with the beginnings of their errors.
pub(super) fn failed(
    connection: &Connection,
    below: Uuid,
    limit: u32,
) -> rusqlite::Result<Vec<(Uuid, ErrorBody)>> {
    let mut failed = Vec::new();
    for part in all_types(connection)?.chunks(MAX_MERGED_TYPES) {
        failed.extend(rows(connection, merged::failed(part, below, limit, DIALECT), |row| {
            let code: Option<String> = row.get(1)?;
            Ok((
                row::id(row, 0)?,
                ErrorBody::new(code.unwrap_or_default(), row.get::<_, String>(2)?),
            ))
        })?);
    }
    Ok(merged::newest(failed, limit))
}

/// The types that a list with this filter is merged from.
fn types(connection: &Connection, filter: &RequestFilter) -> rusqlite::Result<Vec<String>> {
    if list::needs_types(filter) { all_types(connection) } else { Ok(Vec::new()) }
}

fn all_types(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection.prepare_cached(sql::TYPES)?.query_map([], |row| row.get(0))?.collect()
}

fn rows<T>(
    connection: &Connection,
    Statement { sql, values }: Statement,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(&sql)?.query_map(params_from_iter(values), row)?.collect()
}

/// The lowest id of the rows that are looked at, if there are more.
fn window(connection: &Connection, statement: Option<Statement>) -> rusqlite::Result<Option<Uuid>> {
    let Some(Statement { sql, values }) = statement else { return Ok(None) };
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row(params_from_iter(values), |row| row::id(row, 0)).optional()
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Id(id) => Ok(ToSqlOutput::from(id.as_bytes().as_slice())),
            Self::Text(text) => text.to_sql(),
            Self::Number(number) => number.to_sql(),
        }
    }
}
