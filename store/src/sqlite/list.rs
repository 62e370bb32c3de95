//! Lists and counts requests in SQLite.

use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter, types::ToSqlOutput};
use uuid::Uuid;

use crate::{
    model::{
        count::Count,
        filter::RequestFilter,
        page::{Page, RequestQuery},
    },
    sql::list::{self, Dialect, Statement, Value},
    sqlite::row,
};

const DIALECT: Dialect = Dialect::Sqlite;

pub(super) fn page(connection: &Connection, query: &RequestQuery) -> rusqlite::Result<Page> {
    let window = window(connection, list::window(&query.filter, query.ids(), DIALECT))?;
    let Statement { sql, values } = list::page(query, window, DIALECT);
    let mut statement = connection.prepare_cached(&sql)?;
    let items = statement.query_map(params_from_iter(values), row::summary)?;
    Ok(query.page(items.collect::<Result<_, _>>()?, window))
}

pub(super) fn count(connection: &Connection, filter: &RequestFilter) -> rusqlite::Result<Count> {
    let window = window(connection, list::window(filter, filter.ids(), DIALECT))?;
    let Statement { sql, values } = list::count(filter, window, DIALECT);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_row(params_from_iter(values), |row| row.get(0))?;
    Ok(Count::of(rows, window.is_some()))
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
