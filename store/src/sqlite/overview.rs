//! The overview of all requests in SQLite.

use pipeline::contract::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    model::{
        id_time::made_at,
        overview::{Lately, OldestRequest, Overview, OverviewTimes, limited},
    },
    sql,
    sqlite::row,
};

pub(super) fn overview(connection: &Connection) -> rusqlite::Result<Overview> {
    let times = OverviewTimes { now: Timestamp::now() };
    let [after, until] = times.accepted_between();
    let oldest = connection.prepare_cached(sql::OLDEST)?.query_row([], |row| {
        Ok(OldestRequest { id: row::id(row, 0)?, accepted_at: row::optional_time(row, 1)? })
    });
    let oldest = oldest.optional()?;
    let (now, ended_after) = (times.now.as_millis(), times.ended_after().as_millis());
    let values = params![now, ended_after, after.as_bytes(), until.as_bytes()];
    connection.prepare_cached(sql::OVERVIEW)?.query_row(values, |row| {
        let ended = Lately { count: row.get(3)?, earliest: row::optional_time(row, 4)? };
        let earliest = row.get::<_, Option<_>>(6)?.map(uuid::Uuid::from_bytes).map(made_at);
        let accepted = Lately { count: row.get(5)?, earliest };
        Ok(Overview {
            open: limited(row.get(0)?),
            failed: limited(row.get(1)?),
            retrying: row.get(2)?,
            oldest,
            accepted_per_second: accepted.per_second(times.now),
            ended_per_second: ended.per_second(times.now),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations;

    /// However many requests there are, the overview costs the same.
    #[test]
    fn the_overview_scans_and_sorts_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        for (_, migration) in migrations::SQLITE {
            connection.execute_batch(migration).unwrap();
        }
        for statement in [sql::OVERVIEW, sql::OLDEST] {
            let explain = format!("EXPLAIN QUERY PLAN {statement}");
            let mut statement = connection.prepare(&explain).unwrap();
            // The parameters stay unbound.
            let (mut rows, mut plan) = (statement.raw_query(), String::new());
            while let Some(row) = rows.next().unwrap() {
                plan += &row.get::<_, String>(3).unwrap();
                plan.push('\n');
            }
            // The first of all is sorted out of those of each type.
            let sorts = plan.contains("TEMP B-TREE") && !plan.contains("SCAN known");
            assert!(!plan.contains("SCAN requests") && !sorts, "{plan}");
        }
    }
}
