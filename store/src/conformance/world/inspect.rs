//! Looks into the database of a `World` behind the store's back: answers, plans, and what a server has counted.

use rusqlite::Connection;

use super::{Backend, World, disk};

impl World {
    /// The last column of each row of the answer to a statement, a line each.
    pub(in crate::conformance) async fn lines(&self, sql: &str) -> String {
        match &self.backend {
            Backend::File { dir, .. } => {
                let other = Connection::open(disk(dir).join("store.db")).unwrap();
                let mut statement = other.prepare(sql).unwrap();
                let last = statement.column_count() - 1;
                // Parameters stay unbound: plans do not depend on them.
                let rows = statement.raw_query().mapped(|row| row.get::<_, String>(last));
                rows.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
            }
            Backend::Database { access, name } => access.sql(name, sql).await.unwrap().join("\n"),
            Backend::Server { .. } => panic!("it may be away"),
        }
    }

    /// The plan of a statement, whatever its parameters are. Tables as small as these would be scanned if indexes were not
    /// preferred.
    pub(in crate::conformance) async fn plan(&self, statement: &str) -> String {
        if self.is_sqlite() {
            return self.lines(&format!("EXPLAIN QUERY PLAN {statement}")).await;
        }
        let count = (1..20).take_while(|number| statement.contains(&format!("${number}"))).count();
        let values = match count {
            0 => String::new(),
            _ => format!("({})", vec!["NULL"; count].join(", ")),
        };
        let explain = format!(
            "ANALYZE; SET enable_seqscan = off; SET enable_bitmapscan = off; \
             SET plan_cache_mode = force_generic_plan; \
             PREPARE explained AS {statement}; EXPLAIN EXECUTE explained{values}"
        );
        self.lines(&explain).await
    }

    /// How many rows a table has.
    pub(in crate::conformance) async fn rows(&self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        match &self.backend {
            Backend::File { dir, .. } => {
                let other = Connection::open(disk(dir).join("store.db")).unwrap();
                other.query_row(&count, [], |row| row.get(0)).unwrap()
            }
            Backend::Database { access, name } => {
                access.sql(name, &count).await.unwrap()[0].parse().unwrap()
            }
            Backend::Server { .. } => panic!("it may be away"),
        }
    }

    /// Closes the store, which must be the last one on its data, and returns how many deadlocks the
    /// database has counted.
    pub(in crate::conformance) async fn deadlocks(self) -> u64 {
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        self.counted(deadlocks).await
    }

    /// Closes the store, which must be the last one on its data, and returns how many rows of a table the database has read.
    pub(in crate::conformance) async fn rows_read_of(self, table: &str) -> u64 {
        let of_table = format!(
            "SELECT seq_tup_read + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes AS i \
             WHERE i.relid = t.relid) FROM pg_stat_user_tables AS t WHERE relname = '{table}'"
        );
        self.counted(&of_table).await
    }

    /// Sets what a server has counted back to 0.
    pub(in crate::conformance) async fn forget_reads(&self) {
        if !self.is_sqlite() {
            self.sql("SELECT pg_stat_reset()").await;
        }
    }

    /// Closes the store and returns what the database has counted; 0 if it is a file.
    async fn counted(self, sql: &str) -> u64 {
        self.store.close().await;
        let Backend::Database { access, name } = self.backend else { return 0 };
        // A connection reports its counts when it is closed, if not before.
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
        while access.sql(&name, open).await.unwrap() != ["1"] {}
        access.sql(&name, sql).await.unwrap()[0].parse().unwrap()
    }
}
