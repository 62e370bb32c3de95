//! Lists that are merged from those of a type and a status, along their index.
//!
//! A request has to be written to each index that it is in. So there is one for types and statuses, and none for either alone.

use std::cmp::Reverse;

use pipeline::contract::ErrorBody;
use uuid::Uuid;

use crate::{
    model::{filter::IdRange, request::Status},
    sql::statement::{Builder, Condition, Dialect, Statement, along},
};

/// How many types one statement merges at most. SQLite takes 500.
pub(crate) const MAX_MERGED_TYPES: usize = 100;

/// The index of types and statuses.
pub(super) const BY_TYPE: &str = "requests_by_type";
const EVERY_ID: IdRange = IdRange { low: Uuid::nil(), high: Uuid::max() };

/// The requests that have one of some types and statuses, and an id in this range, in the order of their ids.
pub(super) struct Merged<'t> {
    pub(super) lists: Vec<(&'t str, Status)>,
    pub(super) ids: IdRange,
    pub(super) order: Order,
    pub(super) dialect: Dialect,
}

#[derive(Clone, Copy)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

impl Order {
    fn sql(self) -> &'static str {
        match self {
            Self::OldestFirst => "ORDER BY id",
            Self::NewestFirst => "ORDER BY id DESC",
        }
    }
}

/// The lists of these types with a status.
pub(super) fn of_status(types: &[String], status: Status) -> Vec<(&str, Status)> {
    types.iter().map(|kind| (&**kind, status)).collect()
}

impl Merged<'_> {
    /// The ids of the first of each list.
    pub(super) fn of_each(&self, statement: &mut Builder, rows: i64) -> String {
        let (table, order) = (along("requests", BY_TYPE, self.dialect), self.order.sql());
        let list = |(at, (kind, status)): (usize, &(&str, Status))| {
            let conditions = [Condition::Type((*kind).to_owned()), Condition::Status(*status)];
            let conditions = statement.conditions(&conditions, self.ids);
            format!(
                "SELECT id FROM (SELECT id FROM {table} WHERE {conditions} {order} LIMIT {rows}) AS list_{at}"
            )
        };
        self.lists.iter().enumerate().map(list).collect::<Vec<_>>().join(" UNION ALL ")
    }

    /// The ids of the first of all, which are among the first of each: no more rows are looked up, and the server knows it.
    pub(super) fn first(&self, statement: &mut Builder, rows: i64) -> String {
        let (each, order) = (self.of_each(statement, rows), self.order.sql());
        format!("SELECT id FROM ({each}) AS found {order} LIMIT {rows}")
    }

    /// Columns of the first of all.
    fn columns(&self, columns: &str, rows: u32) -> Statement {
        let (mut statement, order) = (Builder::default(), self.order.sql());
        let first = self.first(&mut statement, rows.into());
        statement.finish(format!("SELECT {columns} FROM requests WHERE id IN ({first}) {order}"))
    }
}

/// The open requests of these types with the lowest ids above `after`, `limit` at most.
pub(crate) fn open(types: &[String], after: Uuid, limit: u32, dialect: Dialect) -> Statement {
    let (lists, ids) = (of_status(types, Status::Queued), EVERY_ID.above(after));
    let open = Merged { lists, ids, order: Order::OldestFirst, dialect };
    open.columns("id, run, attempts, accepted_at, next_attempt_at, type", limit)
}

/// The failed requests of these types with the highest ids below `below`, `limit` at most.
pub(crate) fn failed(types: &[String], below: Uuid, limit: u32, dialect: Dialect) -> Statement {
    let (lists, ids) = (of_status(types, Status::Failed), EVERY_ID.below(below));
    let failed = Merged { lists, ids, order: Order::NewestFirst, dialect };
    failed.columns("id, error_code, substr(COALESCE(error_message, ''), 1, 2000)", limit)
}

/// The newest of failed requests.
pub(crate) fn newest(mut failed: Vec<(Uuid, ErrorBody)>, limit: u32) -> Vec<(Uuid, ErrorBody)> {
    failed.sort_by_key(|(id, _)| Reverse(*id));
    failed.truncate(limit as usize);
    failed
}
