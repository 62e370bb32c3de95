//! Lists and counts requests in PostgreSQL.

use pipeline::contract::ErrorBody;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, Postgres, Row, Transaction, postgres::PgArguments,
    query::Query,
};
use uuid::Uuid;

use crate::{
    model::{
        count::Count,
        filter::RequestFilter,
        open_request::OpenRequest,
        page::{Page, RequestQuery},
    },
    postgres::{
        row::{self, number},
        session::Work,
    },
    sql::{
        self, list,
        merged::{self, MAX_MERGED_TYPES},
        statement::{Dialect, Statement, Value},
    },
};

const DIALECT: Dialect = Dialect::Postgres;
/// A list is read by several statements.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// A server does not know how many rows have an error code, since it uses no statistics of a partial index. It would read all
/// of them and sort them, although the index has their order. And to look up some hundred rows by their ids, it would rather
/// read a whole table than be wrong about their number.
const ALONG_INDEXES: &str = "SELECT set_config('enable_bitmapscan', 'off', true), \
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)";

impl Work for RequestQuery {
    type Answer = Page;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Page> {
        let mut reading = along_indexes(connection).await?;
        let window = window(&mut reading, list::window(&self.filter, self.ids(), DIALECT)).await?;
        let (types, mut items) = (types(&mut reading, &self.filter).await?, Vec::new());
        for part in list::parts_of_types(&self.filter, &types) {
            let page = query(list::page(self, window, part, DIALECT));
            let rows = page.fetch_all(&mut *reading).await?;
            items.extend(rows.iter().map(row::summary).collect::<Result<Vec<_>, _>>()?);
        }
        reading.commit().await?;
        Ok(self.page(items, window))
    }
}

impl Work for RequestFilter {
    type Answer = Count;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Count> {
        let mut reading = along_indexes(connection).await?;
        let window = window(&mut reading, list::window(self, self.ids(), DIALECT)).await?;
        let (types, mut count) = (types(&mut reading, self).await?, 0);
        for part in list::parts_of_types(self, &types) {
            let statement = query(list::count(self, window, part, DIALECT));
            count += number(&statement.fetch_one(&mut *reading).await?, 0)?;
        }
        reading.commit().await?;
        Ok(Count::of(count, window.is_some()))
    }
}

/// The open requests above an id.
pub(super) struct GetOpen {
    pub(super) after: Uuid,
    pub(super) limit: u32,
}

impl Work for GetOpen {
    type Answer = Vec<OpenRequest>;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Vec<OpenRequest>> {
        let (mut reading, mut open) = (along_indexes(connection).await?, Vec::new());
        for part in all_types(&mut reading).await?.chunks(MAX_MERGED_TYPES) {
            let statement = query(merged::open(part, self.after, self.limit, DIALECT));
            let rows = statement.fetch_all(&mut *reading).await?;
            open.extend(rows.iter().map(row::open_request).collect::<Result<Vec<_>, _>>()?);
        }
        reading.commit().await?;
        Ok(OpenRequest::first_of(open, self.limit))
    }
}

/// The newest failed requests below an id, with the beginnings of their errors. In a transaction.
pub(super) async fn failed(
    connection: &mut PgConnection,
    below: Uuid,
    limit: u32,
) -> sqlx::Result<Vec<(Uuid, ErrorBody)>> {
    sqlx::query(ALONG_INDEXES).execute(&mut *connection).await?;
    let mut failed = Vec::new();
    for part in all_types(connection).await?.chunks(MAX_MERGED_TYPES) {
        let statement = query(merged::failed(part, below, limit, DIALECT));
        let rows = statement.fetch_all(&mut *connection).await?;
        let rows = rows.iter().map(|row| {
            let code: Option<String> = row.try_get(1)?;
            let message: String = row.try_get(2)?;
            Ok((row.try_get(0)?, ErrorBody::new(code.unwrap_or_default(), message)))
        });
        failed.extend(rows.collect::<sqlx::Result<Vec<_>>>()?);
    }
    Ok(merged::newest(failed, limit))
}

/// The types that a list with this filter is merged from.
async fn types(connection: &mut PgConnection, filter: &RequestFilter) -> sqlx::Result<Vec<String>> {
    if list::needs_types(filter) { all_types(connection).await } else { Ok(Vec::new()) }
}

async fn all_types(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(sql::TYPES).fetch_all(connection).await
}

async fn along_indexes(connection: &mut PgConnection) -> sqlx::Result<Transaction<'_, Postgres>> {
    let mut reading = connection.begin_with(SNAPSHOT).await?;
    sqlx::query(ALONG_INDEXES).execute(&mut *reading).await?;
    Ok(reading)
}

/// The lowest id of the rows that are looked at, if there are more.
async fn window(
    connection: &mut PgConnection,
    statement: Option<Statement>,
) -> sqlx::Result<Option<Uuid>> {
    let Some(statement) = statement else { return Ok(None) };
    let row = query(statement).fetch_optional(connection).await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// The text has no data in it: those are its parameters. A statement that is kept gets a plan for any parameters after a while,
/// which reads all rows for a value that few of them have.
fn query(Statement { sql, values }: Statement) -> Query<'static, Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    values.into_iter().fold(query, |query, value| match value {
        Value::Id(id) => query.bind(id),
        Value::Text(text) => query.bind(text),
        Value::Number(number) => query.bind(number),
    })
}
