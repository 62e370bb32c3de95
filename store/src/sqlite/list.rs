//! Lists.

use rusqlite::{Connection, ToSql, params};

use super::row;
use crate::{List, Page, ParkedFilter, ParkedMessage, ParkedQuery, sql};

pub(super) fn page(connection: &Connection, list: &List) -> rusqlite::Result<Page> {
    let below = list.below().into_bytes();
    let status = list.status.map(|status| status.number());
    let rows = list.rows();
    let mut values: Vec<&dyn ToSql> = vec![&below];
    values.extend(list.kind.as_ref().map(|kind| kind as &dyn ToSql));
    values.extend(status.as_ref().map(|status| status as &dyn ToSql));
    values.push(&rows);
    let mut statement = connection.prepare_cached(sql::list(list))?;
    let items = statement.query_map(&*values, row::summary)?.collect::<Result<_, _>>()?;
    Ok(list.page(items))
}

pub(super) fn letters(
    connection: &Connection,
    letters: &ParkedQuery,
) -> rusqlite::Result<Vec<ParkedMessage>> {
    let (before, limit) = (letters.before(), letters.limit);
    let mut statement = connection.prepare_cached(sql::letters(letters))?;
    let rows = match letters.whose {
        ParkedFilter::Nobody => statement.query_map(params![before, limit], row::parked)?,
        ParkedFilter::Request(id) => {
            statement.query_map(params![before, id.as_bytes(), limit], row::parked)?
        }
    };
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Status, schema};

    /// However many rows there are, a page costs what its rows cost.
    #[test]
    fn no_list_sorts_or_scans() {
        let connection = Connection::open_in_memory().unwrap();
        for (_, step) in schema::SQLITE {
            connection.execute_batch(step).unwrap();
        }
        for kind in [None, Some("a".to_owned())] {
            for status in [None, Some(Status::Failed)] {
                let list = List { status, kind: kind.clone(), limit: 50, cursor: None };
                let plan = plan(&connection, sql::list(&list));
                assert!(!plan.contains("SCAN requests"), "{plan}");
                let sorts = plan.contains("TEMP B-TREE FOR ORDER BY");
                assert!(!sorts, "{plan}");
            }
        }
    }

    #[test]
    fn no_list_of_messages_sorts_or_scans() {
        let connection = Connection::open_in_memory().unwrap();
        for (_, step) in schema::SQLITE {
            connection.execute_batch(step).unwrap();
        }
        for whose in [ParkedFilter::Nobody, ParkedFilter::Request(uuid::Uuid::nil())] {
            let plan =
                plan(&connection, sql::letters(&ParkedQuery { whose, below: None, limit: 1 }));
            assert!(plan.starts_with("SEARCH parked USING INDEX parked_"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }

    fn plan(connection: &Connection, sql: &str) -> String {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        // The plan does not depend on the parameters, so none are given.
        let lines = statement.raw_query().mapped(|row| row.get::<_, String>(3));
        lines.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
    }
}
