//! The SQL of lists of requests and of their counts, for each combination of filters.
//!
//! One filter, or the type with the status, selects the rows along an index that has their order, too. The others are
//! checked row by row, for [`MAX_WINDOW_ROWS`] rows at most; their expressions are such that no index is used for them.
//! What is asked by type alone, or by status alone, is [`merged`](super::merged).

use uuid::Uuid;

use crate::{
    model::{
        count::MAX_COUNT,
        error_group::MAX_CODE_CHARS,
        filter::{IdRange, RequestFilter},
        page::RequestQuery,
        request::Status,
    },
    sql::{
        merged::{BY_TYPE, MAX_MERGED_TYPES, Merged, Order, of_status},
        statement::{Builder, Condition, Dialect, Statement, Value, along},
        summary,
    },
};

/// How many rows are looked at for a page, or a count, if filters are combined.
pub(crate) const MAX_WINDOW_ROWS: u32 = 4_000;

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
    let rows = match parts.merged(types, ids, dialect) {
        Some(merged) => {
            tables = "requests".to_owned();
            format!("id IN ({})", merged.first(&mut statement, query.rows()))
        }
        None => parts.joined(&mut statement, ids),
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
    let rows = match parts.merged(types, ids, dialect) {
        Some(merged) => merged.of_each(&mut statement, most),
        None => {
            let rows = parts.joined(&mut statement, ids);
            let (tables, id) = (parts.tables(dialect), parts.id());
            format!("SELECT {id} FROM {tables} WHERE {rows} ORDER BY {id} DESC")
        }
    };
    statement.finish(format!(
        "SELECT count(*) FROM (SELECT 1 FROM ({rows}) AS found LIMIT {most}) AS few"
    ))
}

fn within(ids: IdRange, window: Option<Uuid>) -> IdRange {
    IdRange { low: window.map_or(ids.low, |low| low.max(ids.low)), ..ids }
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

    /// All conditions, with the one by which the tables are joined.
    fn joined(&self, statement: &mut Builder, ids: IdRange) -> String {
        let rows = statement.conditions(&self.all(), ids);
        if self.is_of_group() { format!("id = failed_id AND {rows}") } else { rows }
    }

    /// What the list is merged from, if it is.
    fn merged<'t>(
        &'t self,
        types: &'t [String],
        ids: IdRange,
        dialect: Dialect,
    ) -> Option<Merged<'t>> {
        let lists = match &self.selected[..] {
            [Condition::Type(kind)] => Status::ALL.map(|status| (&**kind, status)).to_vec(),
            [Condition::Status(status)] => of_status(types, *status),
            _ => return None,
        };
        Some(Merged { lists, ids, order: Order::NewestFirst, dialect })
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
