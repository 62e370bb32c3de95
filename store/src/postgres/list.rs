//! Lists and counts requests in PostgreSQL.

use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row, postgres::PgArguments, query::Query};
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

impl Work for RequestQuery {
    type Answer = Page;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Page> {
        let window = window(connection, list::window(&self.filter, self.ids(), DIALECT)).await?;
        let rows = query(list::page(self, window, DIALECT)).fetch_all(connection).await?;
        Ok(self.page(rows.iter().map(row::summary).collect::<Result<_, _>>()?, window))
    }
}

impl Work for RequestFilter {
    type Answer = Count;

    async fn run(&self, connection: &mut PgConnection) -> sqlx::Result<Count> {
        let window = window(connection, list::window(self, self.ids(), DIALECT)).await?;
        let row = query(list::count(self, window, DIALECT)).fetch_one(connection).await?;
        Ok(Count::of(number(&row, 0)?, window.is_some()))
    }
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

/// The text has no data in it: those are its parameters.
fn query(Statement { sql, values }: Statement) -> Query<'static, Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(sql));
    values.into_iter().fold(query, |query, value| match value {
        Value::Id(id) => query.bind(id),
        Value::Text(text) => query.bind(text),
        Value::Number(number) => query.bind(number),
    })
}
