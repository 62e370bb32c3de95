//! Statements that are made of conditions on the rows, and their parameters.

use uuid::Uuid;

use crate::model::{error_group::GroupId, filter::IdRange, request::Status};

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

/// A condition on the rows.
#[derive(Debug, Clone)]
pub(super) enum Condition {
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

/// A table that is read along an index. A server chooses that itself.
pub(super) fn along(table: &str, index: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Sqlite => format!("{table} INDEXED BY {index}"),
        Dialect::Postgres => table.to_owned(),
    }
}

/// Makes a statement.
#[derive(Default)]
pub(super) struct Builder {
    values: Vec<Value>,
}

impl Builder {
    /// Adds a parameter.
    pub(super) fn parameter(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// All of these conditions, on rows with these ids.
    pub(super) fn conditions(
        &mut self,
        conditions: &[Condition],
        IdRange { low, high }: IdRange,
    ) -> String {
        let (low, high) = (self.parameter(Value::Id(low)), self.parameter(Value::Id(high)));
        let is_of_group = matches!(conditions.first(), Some(Condition::Group(_)));
        let id = if is_of_group { "failed_id" } else { "id" };
        let ids = format!("{id} >= {low} AND {id} <= {high}");
        let others = conditions.iter().map(|condition| self.condition(condition));
        [ids].into_iter().chain(others).collect::<Vec<_>>().join(" AND ")
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

    pub(super) fn finish(self, sql: String) -> Statement {
        Statement { sql, values: self.values }
    }
}
