//! The SQL of lists of requests and of their counts, for each combination of filters.
//!
//! One filter, or the type with the status, selects the rows along an index that has their order, too. The others are
//! checked row by row, for [`MAX_WINDOW_ROWS`] rows at most; their expressions are such that no index is used for them.

use uuid::Uuid;

use crate::{
    model::{
        filter::{IdRange, MAX_CODE_CHARS, MAX_COUNT, RequestFilter},
        page::RequestQuery,
    },
    sql::{summary, with_callbacks},
};

/// How many rows are looked at for a page, or a count, if filters are combined.
pub(crate) const MAX_WINDOW_ROWS: u32 = 10_000;

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
pub(crate) fn window(filter: &RequestFilter, ids: IdRange) -> Option<Statement> {
    let parts = Parts::of(filter);
    if parts.checked.is_empty() {
        return None;
    }
    let mut statement = Builder::default();
    let rows = statement.conditions(&parts.selected, ids);
    let offset = MAX_WINDOW_ROWS - 1;
    let sql =
        format!("SELECT id FROM requests WHERE {rows} ORDER BY id DESC LIMIT 1 OFFSET {offset}");
    Some(statement.finish(sql))
}

/// A page of requests, newest first, down to the end of the window.
pub(crate) fn page(query: &RequestQuery, window: Option<Uuid>) -> Statement {
    let (parts, mut statement) = (Parts::of(&query.filter), Builder::default());
    let ids = within(query.ids(), window);
    let rows = match &parts.selected[..] {
        // The newest of a type are among the newest of its four statuses.
        [Condition::Type(kind)] => {
            format!("id IN ({})", statement.of_each_status(kind, ids, query.rows()))
        }
        _ => statement.conditions(&parts.all(), ids),
    };
    let limit = statement.parameter(Value::Number(query.rows()));
    let summary = concat!("SELECT ", summary!(), with_callbacks!());
    statement.finish(format!("{summary}WHERE {rows} ORDER BY id DESC LIMIT {limit}"))
}

/// Counts requests, one more than [`MAX_COUNT`] at most, down to the end of the window.
pub(crate) fn count(filter: &RequestFilter, window: Option<Uuid>) -> Statement {
    let (parts, mut statement) = (Parts::of(filter), Builder::default());
    let (ids, most) = (within(filter.ids(), window), i64::from(MAX_COUNT) + 1);
    let rows = match &parts.selected[..] {
        [Condition::Type(kind)] => statement.of_each_status(kind, ids, most),
        _ => {
            let rows = statement.conditions(&parts.all(), ids);
            format!("SELECT id FROM requests WHERE {rows} ORDER BY id DESC")
        }
    };
    statement.finish(format!(
        "SELECT count(*) FROM (SELECT 1 FROM ({rows}) AS found LIMIT {most}) AS few"
    ))
}

fn within(ids: IdRange, window: Option<Uuid>) -> IdRange {
    IdRange { low: window.map_or(ids.low, |low| low.max(ids.low)), ..ids }
}

/// A condition on the rows.
#[derive(Debug, Clone)]
enum Condition {
    Status(i64),
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
        let status = filter.status.map(|status| Condition::Status(status.number().into()));
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
        let ids = format!("id >= {low} AND id <= {high}");
        let others = conditions.iter().map(|condition| self.condition(condition));
        [ids].into_iter().chain(others).collect::<Vec<_>>().join(" AND ")
    }

    fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::Status(status) => format!("status = {}", self.number(*status)),
            Condition::Type(kind) => format!("type = {}", self.text(kind)),
            Condition::Code(code) => {
                let code = self.text(code);
                format!("error_code IS NOT NULL AND substr(error_code, 1, 200) = {code}")
            }
            Condition::MinAttempts(least) => format!("attempts >= {}", self.number(*least)),
            Condition::SeveralAttempts => "attempts > 1".to_owned(),
            Condition::Checked(condition) => match &**condition {
                Condition::Status(status) => format!("status + 0 = {}", self.number(*status)),
                Condition::Type(kind) => format!("type || '' = {}", self.text(kind)),
                Condition::MinAttempts(least) => format!("attempts + 0 >= {}", self.number(*least)),
                other => self.condition(other),
            },
        }
    }

    fn number(&mut self, number: i64) -> String {
        self.parameter(Value::Number(number))
    }

    fn text(&mut self, text: &str) -> String {
        self.parameter(Value::Text(text.to_owned()))
    }

    /// The ids of the newest requests of a type that have one of its statuses.
    fn of_each_status(&mut self, kind: &str, ids: IdRange, rows: i64) -> String {
        let rows_of = |status: i64, builder: &mut Self| {
            let conditions = [Condition::Type(kind.to_owned()), Condition::Status(status)];
            let conditions = builder.conditions(&conditions, ids);
            format!(
                "SELECT id FROM (SELECT id FROM requests WHERE {conditions} ORDER BY id DESC \
                 LIMIT {rows}) AS of_status_{status}"
            )
        };
        (0..4).map(|status| rows_of(status, self)).collect::<Vec<_>>().join(" UNION ALL ")
    }

    fn finish(self, sql: String) -> Statement {
        Statement { sql, values: self.values }
    }
}
