//! Lists and counts requests in PostgreSQL.

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, Postgres, Row, Transaction, postgres::PgArguments,
    query::Query,
};
use uuid::Uuid;

use crate::{
    model::{
        count::Count,
        filter::RequestFilter,
        page::{Page, RequestQuery},
    },
    postgres::{
        row::{self, number},
        session::Work,
    },
    sql::list::{self, Dialect, Statement, Value},
};

const DIALECT: Dialect = Dialect::Postgres;
/// A server does not know how many rows have an error code, since it uses no statistics of a partial index. It would read all
/// of them and sort them, although the index has their order.
const ALONG_INDEXES: &str = "SET LOCAL enable_bitmapscan = off";

impl Work for RequestQuery {
    type Answer = Page;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Page> {
        let mut reading = along_indexes(connection).await?;
        let window = window(&mut reading, list::window(&self.filter, self.ids(), DIALECT)).await?;
        let rows = query(list::page(self, window, DIALECT)).fetch_all(&mut *reading).await?;
        reading.commit().await?;
        Ok(self.page(rows.iter().map(row::summary).collect::<Result<_, _>>()?, window))
    }
}

impl Work for RequestFilter {
    type Answer = Count;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Count> {
        let mut reading = along_indexes(connection).await?;
        let window = window(&mut reading, list::window(self, self.ids(), DIALECT)).await?;
        let row = query(list::count(self, window, DIALECT)).fetch_one(&mut *reading).await?;
        reading.commit().await?;
        Ok(Count::of(number(&row, 0)?, window.is_some()))
    }
}

async fn along_indexes(connection: &mut PgConnection) -> sqlx::Result<Transaction<'_, Postgres>> {
    let mut reading = connection.begin().await?;
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
