//! The SQL of lists of requests and of their counts, for each combination of filters.
//!
//! One filter, or the type with the status, selects the rows along an index that has their order, too. The others are
//! checked row by row, for [`MAX_WINDOW_ROWS`] rows at most; their expressions are such that no index is used for them.
//! What is asked by type alone, or by status alone, is merged from lists that have a type and a status: a request is in
//! few indexes, since it has to be written to each of them.

use std::cmp::Reverse;

use pipeline::contract::ErrorBody;
use uuid::Uuid;

use crate::{
    model::{
        count::MAX_COUNT,
        error_group::{GroupId, MAX_CODE_CHARS},
        filter::{IdRange, RequestFilter},
        page::RequestQuery,
        request::Status,
    },
    sql::summary,
};

/// How many rows are looked at for a page, or a count, if filters are combined.
pub(crate) const MAX_WINDOW_ROWS: u32 = 4_000;

/// How many types one statement merges at most. SQLite takes 500.
pub(crate) const MAX_MERGED_TYPES: usize = 100;

/// The index of types and statuses.
const BY_TYPE: &str = "requests_by_type";
const EVERY_ID: IdRange = IdRange { low: Uuid::nil(), high: Uuid::max() };

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Without statistics it may choose a worse index, so each statement names its own.
    Sqlite,
    Postgres,
}

/// A statement and its parameters, `$1` and so on.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
}

/// A parameter.
#[derive(Debug)]
pub(crate) enum Value {
    Id(Uuid),
    Text(String),
    Number(i64),
}

/// The lowest id of the rows that are looked at, if there are more: the last of [`MAX_WINDOW_ROWS`]. None if all filters
/// are served by an index.
pub(crate) fn window(filter: &RequestFilter, ids: IdRange, dialect: Dialect) -> Option<Statement> {
    let parts = Parts::of(filter);
    if parts.checked.is_empty() {
        return None;
    }
    let mut statement = Builder::default();
    let rows = statement.conditions(&parts.selected, ids);
    let offset = MAX_WINDOW_ROWS - 1;
    let (table, id) = (parts.table(dialect), parts.id());
    let sql =
        format!("SELECT {id} FROM {table} WHERE {rows} ORDER BY {id} DESC LIMIT 1 OFFSET {offset}");
    Some(statement.finish(sql))
}

/// Whether a list with this filter is merged from all types that there are.
pub(crate) fn needs_types(filter: &RequestFilter) -> bool {
    matches!(Parts::of(filter).selected[..], [Condition::Status(_)])
}

/// The types in parts that one statement can merge; one without types if the filter needs none.
pub(crate) fn parts_of_types<'t>(
    filter: &RequestFilter,
    types: &'t [String],
) -> impl Iterator<Item = &'t [String]> {
    let once = (!needs_types(filter)).then_some(&[][..]);
    once.into_iter().chain(types.chunks(MAX_MERGED_TYPES))
}

/// A page of requests, newest first, down to the end of the window. If the filter needs types, it is of these alone.
pub(crate) fn page(
    query: &RequestQuery,
    window: Option<Uuid>,
    types: &[String],
    dialect: Dialect,
) -> Statement {
    let (parts, mut statement) = (Parts::of(&query.filter), Builder::default());
    let (ids, mut tables) = (within(query.ids(), window), parts.tables(dialect));
    let rows = match parts.merged(types) {
        // The newest of all are among the newest of each.
        Some(lists) => {
            let table = parts.table(dialect);
            tables = "requests".to_owned();
            format!(
                "id IN ({})",
                statement.first_of_each(&table, &lists, ids, query.rows(), "DESC")
            )
        }
        None => statement.joined(&parts, ids),
    };
    let limit = statement.parameter(Value::Number(query.rows()));
    let id = parts.id();
    statement.finish(match dialect {
        Dialect::Sqlite => format!(
            "SELECT {} FROM {tables} LEFT JOIN callbacks ON request_id = id WHERE {rows} \
             ORDER BY {id} DESC LIMIT {limit}",
            summary!()
        ),
        // Where it does not know how many rows there are, it would join all of them and sort them then.
        Dialect::Postgres => format!(
            "SELECT {} FROM (SELECT requests.* FROM {tables} WHERE {rows} ORDER BY {id} DESC LIMIT {limit}) \
             AS requests LEFT JOIN callbacks ON request_id = id ORDER BY id DESC",
            summary!()
        ),
    })
}

/// Counts requests, one more than [`MAX_COUNT`] at most, down to the end of the window. If the filter needs types, these
/// alone are counted.
pub(crate) fn count(
    filter: &RequestFilter,
    window: Option<Uuid>,
    types: &[String],
    dialect: Dialect,
) -> Statement {
    let (parts, mut statement) = (Parts::of(filter), Builder::default());
    let (ids, most) = (within(filter.ids(), window), i64::from(MAX_COUNT) + 1);
    let rows = match parts.merged(types) {
        Some(lists) => statement.of_each(&parts.table(dialect), &lists, ids, most, "DESC"),
        None => {
            let rows = statement.joined(&parts, ids);
            let (tables, id) = (parts.tables(dialect), parts.id());
            format!("SELECT {id} FROM {tables} WHERE {rows} ORDER BY {id} DESC")
        }
    };
    statement.finish(format!(
        "SELECT count(*) FROM (SELECT 1 FROM ({rows}) AS found LIMIT {most}) AS few"
    ))
}

/// The open requests of these types with the lowest ids above `after`, `limit` at most.
pub(crate) fn open(types: &[String], after: Uuid, limit: u32, dialect: Dialect) -> Statement {
    let columns = "id, run, attempts, accepted_at, next_attempt_at, type";
    let lists = of_status(types, Status::Queued);
    first(columns, &lists, EVERY_ID.above(after), limit, "ASC", dialect)
}

/// The failed requests of these types with the highest ids below `below`, `limit` at most.
pub(crate) fn failed(types: &[String], below: Uuid, limit: u32, dialect: Dialect) -> Statement {
    let columns = "id, error_code, substr(COALESCE(error_message, ''), 1, 2000)";
    let lists = of_status(types, Status::Failed);
    first(columns, &lists, EVERY_ID.below(below), limit, "DESC", dialect)
}

/// The newest of failed requests.
pub(crate) fn newest(mut failed: Vec<(Uuid, ErrorBody)>, limit: u32) -> Vec<(Uuid, ErrorBody)> {
    failed.sort_by_key(|(id, _)| Reverse(*id));
    failed.truncate(limit as usize);
    failed
}

/// Columns of the first requests of these types and statuses.
fn first(
    columns: &str,
    lists: &[(&str, Status)],
    ids: IdRange,
    limit: u32,
    order: &str,
    dialect: Dialect,
) -> Statement {
    let (mut statement, table) = (Builder::default(), along("requests", BY_TYPE, dialect));
    let rows = statement.first_of_each(&table, lists, ids, limit.into(), order);
    statement
        .finish(format!("SELECT {columns} FROM requests WHERE id IN ({rows}) ORDER BY id {order}"))
}

/// The lists of these types with a status.
fn of_status(types: &[String], status: Status) -> Vec<(&str, Status)> {
    types.iter().map(|kind| (&**kind, status)).collect()
}

/// A table that is read along an index. A server chooses that itself.
fn along(table: &str, index: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Sqlite => format!("{table} INDEXED BY {index}"),
        Dialect::Postgres => table.to_owned(),
    }
}

fn within(ids: IdRange, window: Option<Uuid>) -> IdRange {
    IdRange { low: window.map_or(ids.low, |low| low.max(ids.low)), ..ids }
}

/// A condition on the rows.
#[derive(Debug, Clone)]
enum Condition {
    Group(GroupId),
    Status(Status),
    Type(String),
    Code(String),
    MinAttempts(i64),
    /// What the index of attempts is of.
    SeveralAttempts,
    /// A condition that is checked row by row.
    Checked(Box<Condition>),
}

/// The conditions that select the rows along an index, and those that are checked row by row.
struct Parts {
    selected: Vec<Condition>,
    checked: Vec<Condition>,
}

impl Parts {
    fn of(filter: &RequestFilter) -> Self {
        let code = filter.code.as_ref().map(|code| code.chars().take(MAX_CODE_CHARS).collect());
        let code = code.map(Condition::Code);
        let attempts = filter.min_attempts.map(|least| Condition::MinAttempts(least.into()));
        let kind = filter.kind.clone().map(Condition::Type);
        let status = filter.status.map(Condition::Status);
        if let Some(group) = filter.group {
            let checked = [code, attempts, kind, status].into_iter().flatten();
            let checked = checked.map(|it| Condition::Checked(Box::new(it))).collect();
            return Self { selected: vec![Condition::Group(group)], checked };
        }
        let (selected, checked) = match (code, attempts) {
            (Some(code), attempts) => (vec![code], [attempts, kind, status]),
            (None, Some(attempts)) => {
                let is_exact = filter.min_attempts <= Some(2);
                let attempts = Some(attempts).filter(|_| !is_exact);
                (vec![Condition::SeveralAttempts], [attempts, kind, status])
            }
            (None, None) => (kind.into_iter().chain(status).collect(), [None, None, None]),
        };
        let checked = checked.into_iter().flatten().map(|it| Condition::Checked(Box::new(it)));
        Self { selected, checked: checked.collect() }
    }

    fn all(&self) -> Vec<Condition> {
        [&self.selected[..], &self.checked].concat()
    }

    /// The types and statuses that the list is merged from, if it is.
    fn merged<'t>(&'t self, types: &'t [String]) -> Option<Vec<(&'t str, Status)>> {
        match &self.selected[..] {
            [Condition::Type(kind)] => Some(Status::ALL.map(|status| (&**kind, status)).to_vec()),
            [Condition::Status(status)] => Some(of_status(types, *status)),
            _ => None,
        }
    }

    fn is_of_group(&self) -> bool {
        matches!(self.selected[..], [Condition::Group(_)])
    }

    /// The column of the ids in the order of the list.
    fn id(&self) -> &'static str {
        if self.is_of_group() { "failed_id" } else { "id" }
    }

    /// The index along which the rows are selected; none if that is the primary key.
    fn index(&self) -> Option<&'static str> {
        Some(match self.selected.first()? {
            Condition::Group(_) => "failures_by_group",
            Condition::Code(_) => "requests_by_code",
            Condition::SeveralAttempts => "requests_by_attempts",
            Condition::Type(_) | Condition::Status(_) => BY_TYPE,
            Condition::MinAttempts(_) | Condition::Checked(_) => return None,
        })
    }

    /// The table in which the rows are selected.
    fn table(&self, dialect: Dialect) -> String {
        let table = if self.is_of_group() { "failures" } else { "requests" };
        self.index().map_or_else(|| table.to_owned(), |index| along(table, index, dialect))
    }

    /// The same with the table of requests. SQLite reads tables joined in this way in their order.
    fn tables(&self, dialect: Dialect) -> String {
        let joined = if self.is_of_group() { " CROSS JOIN requests" } else { "" };
        self.table(dialect) + joined
    }
}

/// Makes a statement.
#[derive(Default)]
struct Builder {
    values: Vec<Value>,
}

impl Builder {
    /// Adds a parameter.
    fn parameter(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn conditions(&mut self, conditions: &[Condition], IdRange { low, high }: IdRange) -> String {
        let (low, high) = (self.parameter(Value::Id(low)), self.parameter(Value::Id(high)));
        let is_of_group = matches!(conditions.first(), Some(Condition::Group(_)));
        let id = if is_of_group { "failed_id" } else { "id" };
        let ids = format!("{id} >= {low} AND {id} <= {high}");
        let others = conditions.iter().map(|condition| self.condition(condition));
        [ids].into_iter().chain(others).collect::<Vec<_>>().join(" AND ")
    }

    /// All conditions, with the one by which the tables are joined.
    fn joined(&mut self, parts: &Parts, ids: IdRange) -> String {
        let rows = self.conditions(&parts.all(), ids);
        if parts.is_of_group() { format!("id = failed_id AND {rows}") } else { rows }
    }

    fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::Group(group) => format!("group_id = {}", self.number(group.number())),
            Condition::Status(status) => format!("status = {}", self.status(*status)),
            Condition::Type(kind) => format!("type = {}", self.text(kind)),
            Condition::Code(code) => {
                let code = self.text(code);
                format!("error_code IS NOT NULL AND substr(error_code, 1, 200) = {code}")
            }
            Condition::MinAttempts(least) => format!("attempts >= {}", self.number(*least)),
            Condition::SeveralAttempts => "attempts > 1".to_owned(),
            Condition::Checked(condition) => match &**condition {
                Condition::Status(status) => format!("status + 0 = {}", self.status(*status)),
                Condition::Type(kind) => format!("type || '' = {}", self.text(kind)),
                Condition::Code(code) => {
                    format!("substr(error_code, 1, 200) || '' = {}", self.text(code))
                }
                Condition::MinAttempts(least) => format!("attempts + 0 >= {}", self.number(*least)),
                other => self.condition(other),
            },
        }
    }

    fn number(&mut self, number: i64) -> String {
        self.parameter(Value::Number(number))
    }

    fn status(&mut self, status: Status) -> String {
        self.number(status.number().into())
    }

    fn text(&mut self, text: &str) -> String {
        self.parameter(Value::Text(text.to_owned()))
    }

    /// The ids of the first requests, in this order, that have one of these types and statuses.
    fn of_each(
        &mut self,
        table: &str,
        lists: &[(&str, Status)],
        ids: IdRange,
        rows: i64,
        order: &str,
    ) -> String {
        let list = |(at, (kind, status)): (usize, &(&str, Status))| {
            let conditions = [Condition::Type((*kind).to_owned()), Condition::Status(*status)];
            let conditions = self.conditions(&conditions, ids);
            format!(
                "SELECT id FROM (SELECT id FROM {table} WHERE {conditions} ORDER BY id {order} \
                 LIMIT {rows}) AS list_{at}"
            )
        };
        lists.iter().enumerate().map(list).collect::<Vec<_>>().join(" UNION ALL ")
    }

    /// The first so many of these, so that no more rows than those are looked up, and the server knows it.
    fn first_of_each(
        &mut self,
        table: &str,
        lists: &[(&str, Status)],
        ids: IdRange,
        rows: i64,
        order: &str,
    ) -> String {
        let each = self.of_each(table, lists, ids, rows, order);
        format!("SELECT id FROM ({each}) AS found ORDER BY id {order} LIMIT {rows}")
    }

    fn finish(self, sql: String) -> Statement {
        Statement { sql, values: self.values }
    }
}
