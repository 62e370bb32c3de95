//! `World`: a store to be tested, and the means to change its database or to take it away.

use std::{path::PathBuf, time::Duration};

use pipeline::contract::Timestamp;
use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;
use testbed::postgres::{self, Access, Install, Server};
use uuid::Uuid;

use crate::{
    Applied, Found, NewRequest, Record, ResultOutcome, ScheduledRetry, Store, StoreError,
    StoreOptions, WorkerResult,
};

/// A store with its own file or database.
pub(super) struct World {
    pub(super) store: Store,
    url: String,
    backend: Backend,
}

enum Backend {
    File {
        dir: TempDir,
        locked: Option<Connection>,
    },
    Database {
        access: Access,
        name: String,
    },
    /// A server of its own, to be taken away.
    Server {
        server: Box<Server>,
    },
}

/// The timeout of a store that will be taken away: short, so that tests are.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
/// The timeout of all others: a slow machine must not fail a test.
const LONG_TIMEOUT: Duration = Duration::from_secs(30);

impl World {
    pub(super) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("disk")).unwrap();
        let url = format!("sqlite:{}", dir.path().join("disk/store.db").display());
        Self { store: open(&url), url, backend: Backend::File { dir, locked: None } }
    }

    pub(super) async fn postgres() -> Self {
        let (access, name) = postgres::database().await;
        let url = access.url(&name);
        Self { store: open(&url), url, backend: Backend::Database { access, name } }
    }

    /// The same kind of store with a server of its own and a short timeout, to be taken away.
    pub(super) async fn alone(self) -> Self {
        let Self { store, url, backend } = self;
        store.close().await;
        if let Backend::File { .. } = backend {
            return Self { store: open_with_short_timeout(&url), url, backend };
        }
        let install = Install::find_or_unpack(&|_| ()).await.unwrap();
        let server = Box::new(Server::start(&install).await.unwrap());
        let name = server.create_database().await.unwrap();
        let url = server.url(&name);
        Self { store: open_with_short_timeout(&url), url, backend: Backend::Server { server } }
    }

    /// The URL of a new PostgreSQL database of this encoding.
    pub(super) async fn database(encoding: &str) -> String {
        let (access, name) = postgres::database().await;
        let other = format!("{name}_{}", encoding.to_lowercase());
        let create = format!(
            "CREATE DATABASE {other} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' \
             LC_CTYPE 'C'"
        );
        access.sql(&name, &create).await.unwrap();
        access.url(&other)
    }

    /// Another store on the same data, as a second web service has it.
    pub(super) fn second(&self) -> Store {
        open(&self.url)
    }

    /// Another store on the same data, whose callers do not wait for long.
    pub(super) fn impatient(&self) -> Store {
        open_with_short_timeout(&self.url)
    }

    /// Closes the store and opens it again.
    pub(super) fn restart(&mut self) {
        self.store = open(&self.url);
    }

    /// Takes the disk or the server away.
    pub(super) async fn take_away(&mut self) {
        match &mut self.backend {
            Backend::File { dir, .. } => std::fs::rename(disk(dir), elsewhere(dir)).unwrap(),
            Backend::Server { server, .. } => server.kill().await.unwrap(),
            Backend::Database { .. } => panic!("others are on this server"),
        }
    }

    /// Brings it back.
    pub(super) async fn bring_back(&mut self) {
        match &mut self.backend {
            Backend::File { dir, .. } => std::fs::rename(elsewhere(dir), disk(dir)).unwrap(),
            Backend::Server { server, .. } => server.start_again().await.unwrap(),
            Backend::Database { .. } => {}
        }
    }

    /// Makes the store hang: another program holds the file's lock, or the server is frozen.
    pub(super) fn hang(&mut self) {
        match &mut self.backend {
            Backend::File { dir, locked } => {
                let other = Connection::open(disk(dir).join("store.db")).unwrap();
                other.busy_timeout(Duration::from_secs(10)).unwrap();
                other.execute_batch("BEGIN IMMEDIATE").unwrap();
                *locked = Some(other);
            }
            Backend::Server { server, .. } => server.freeze(),
            Backend::Database { .. } => panic!("others are on this server"),
        }
    }

    /// Lets it go on.
    pub(super) fn let_go(&mut self) {
        match &mut self.backend {
            Backend::File { locked, .. } => *locked = None,
            Backend::Server { server, .. } => server.thaw(),
            Backend::Database { .. } => {}
        }
    }

    /// Makes the database refuse rows whose worker or type is `poison`.
    pub(super) async fn refuse_poison(&self) {
        self.store.ping().await.unwrap();
        match &self.backend {
            Backend::File { dir, .. } => {
                let other = Connection::open(disk(dir).join("store.db")).unwrap();
                for event in ["INSERT", "UPDATE"] {
                    let trigger = format!(
                        "CREATE TRIGGER poison_{event} BEFORE {event} ON requests \
                         WHEN NEW.worker = 'poison' OR NEW.type = 'poison' \
                         BEGIN SELECT RAISE(ABORT, 'it is poison'); END"
                    );
                    other.execute_batch(&trigger).unwrap();
                }
            }
            Backend::Database { access, name } => {
                let check = "ALTER TABLE requests ADD CONSTRAINT poison \
                     CHECK (worker <> 'poison' AND type <> 'poison')";
                access.sql(name, check).await.unwrap();
            }
            Backend::Server { .. } => {}
        }
    }

    /// Makes all idempotency keys older than a day.
    pub(super) async fn age_claims(&self) {
        self.sql("UPDATE claims SET keep_until = 1, claimed_at = 1").await;
    }

    /// Puts the clock of a server forward by a year, for whoever connects from now on.
    pub(super) async fn shift_clock(&self) {
        let Backend::Database { .. } = &self.backend else { return };
        self.sql(
            "CREATE SCHEMA shifted; \
             CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE \
             AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 year' $$; \
             DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, shifted, \
             pg_catalog', current_database()); END $$",
        )
        .await;
    }

    /// Lets each row take `seconds` that is written to `requests` and meets a condition, such as
    /// `NEW.worker = 'slow'`.
    pub(super) async fn slow_down(&self, condition: &str, seconds: f64) {
        self.store.ping().await.unwrap();
        match &self.backend {
            Backend::File { dir, .. } => {
                let other = Connection::open(disk(dir).join("store.db")).unwrap();
                let work = cpu_time(&other, seconds);
                for event in ["INSERT", "UPDATE"] {
                    let trigger = format!(
                        "CREATE TRIGGER slow_{event} BEFORE {event} ON requests WHEN {condition} \
                         BEGIN {work}; END"
                    );
                    other.execute_batch(&trigger).unwrap();
                }
            }
            Backend::Database { access, name } => {
                let trigger = format!(
                    "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                     $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$; \
                     CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON requests FOR EACH ROW \
                     WHEN ({condition}) EXECUTE FUNCTION slow()"
                );
                access.sql(name, &trigger).await.unwrap();
            }
            Backend::Server { .. } => {}
        }
    }

    /// Runs SQL behind the store's back.
    pub(super) async fn sql(&self, sql: &str) {
        match &self.backend {
            Backend::File { dir, .. } => {
                let other = Connection::open(disk(dir).join("store.db")).unwrap();
                other.busy_timeout(Duration::from_secs(10)).unwrap();
                other.execute_batch(sql).unwrap();
            }
            Backend::Database { access, name } => drop(access.sql(name, sql).await.unwrap()),
            Backend::Server { .. } => {}
        }
    }

    pub(super) fn is_sqlite(&self) -> bool {
        matches!(self.backend, Backend::File { .. })
    }

    /// The last column of each row of the answer to a statement, a line each.
    pub(super) async fn lines(&self, sql: &str) -> String {
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
    pub(super) async fn plan(&self, statement: &str) -> String {
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
    pub(super) async fn rows(&self, table: &str) -> i64 {
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
    pub(super) async fn deadlocks(self) -> u64 {
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        self.counted(deadlocks).await
    }

    /// Closes the store, which must be the last one on its data, and returns how many rows of a table the database has read.
    pub(super) async fn rows_read_of(self, table: &str) -> u64 {
        let of_table = format!(
            "SELECT seq_tup_read + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes AS i \
             WHERE i.relid = t.relid) FROM pg_stat_user_tables AS t WHERE relname = '{table}'"
        );
        self.counted(&of_table).await
    }

    /// Sets what a server has counted back to 0.
    pub(super) async fn forget_reads(&self) {
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

    pub(super) async fn request(&self, id: Uuid) -> Record {
        request(&self.store, id).await
    }
}

pub(super) fn open(url: &str) -> Store {
    let timeouts = StoreOptions { timeout: LONG_TIMEOUT, ..StoreOptions::default() };
    Store::open(url, &timeouts).unwrap()
}

fn open_with_short_timeout(url: &str) -> Store {
    let ping_timeout = 2 * TIMEOUT;
    let timeouts = StoreOptions { timeout: TIMEOUT, ping_timeout, ..StoreOptions::default() };
    Store::open(url, &timeouts).unwrap()
}

pub(super) async fn request(store: &Store, id: Uuid) -> Record {
    match store.get(id).await.unwrap() {
        Found::Record(request) => *request,
        other => panic!("{id} is {other:?}"),
    }
}

/// The first result that is no failure, for as long as the store is away.
pub(super) async fn in_the_end<T, F: Future<Output = Result<T, StoreError>>>(
    store: &Store,
    mut ask: impl FnMut() -> F,
) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(StoreError::Refused(reason)) => panic!("refused: {reason}"),
            Err(StoreError::Unavailable(_)) => store.until_up().await,
        }
    }
}

pub(super) fn new(id: Uuid) -> NewRequest {
    NewRequest {
        id,
        kind: "default".to_owned(),
        owner: None,
        request_data: format!("{{\"for\":\"{id}\"}}").into_bytes(),
        accepted_at: Timestamp::from_millis(1_700_000_000_000),
        trace: None,
        callback: None,
    }
}

pub(super) fn completed(id: Uuid, result: &str) -> WorkerResult {
    let outcome = ResultOutcome::Completed(result.as_bytes().into());
    WorkerResult {
        id,
        request_type: pipeline::topology::RequestType::DEFAULT,
        outcome,
        run: Some(0),
        attempt: 1,
        deliveries: 1,
        worker: Some("host:1/1".to_owned()),
        started_at: Some(Timestamp::from_millis(1_700_000_001_000)),
        finished_at: Some(Timestamp::from_millis(1_700_000_002_000)),
    }
}

pub(super) fn failed(id: Uuid, code: &str) -> WorkerResult {
    let error = pipeline::contract::ErrorBody::new(code, "it can't be done");
    WorkerResult { outcome: ResultOutcome::Failed(error), ..completed(id, "") }
}

/// An attempt that failed with this message, and was followed by another one.
pub(super) fn retried(id: Uuid, run: u32, attempts: u32, message: &str) -> ScheduledRetry {
    ScheduledRetry {
        id,
        run,
        attempts,
        delivery: 1,
        worker: Some(format!("host:{attempts}/1")),
        started_at: Some(Timestamp::from_millis(1_700_000_001_000)),
        ended_at: Some(Timestamp::from_millis(1_700_000_002_000)),
        error: pipeline::contract::ErrorBody::new("transient", message),
        next_attempt_at: Some(Timestamp::from_millis(1_700_000_003_000)),
    }
}

pub(super) fn all_first(applied: &[Applied]) -> bool {
    applied.iter().all(|applied| *applied == Applied::Stored)
}

/// A statement that takes SQLite about so many seconds, or more if others use the processors. It has nothing to sleep with.
fn cpu_time(connection: &Connection, seconds: f64) -> String {
    const ROWS: f64 = 1000.0;
    let rows = "CREATE TABLE numbers (n INTEGER PRIMARY KEY); \
        INSERT INTO numbers WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c \
        WHERE n < 100000) SELECT n FROM c";
    connection.execute_batch(rows).unwrap();
    let work = |rows: f64| {
        format!(
            "SELECT sum(a.n * b.n) FROM numbers AS a, numbers AS b \
             WHERE a.n <= {rows:.0} AND b.n <= {ROWS:.0}"
        )
    };
    let began = thread_time();
    connection.query_row(&work(ROWS), [], |row| row.get::<_, i64>(0)).unwrap();
    work(ROWS * seconds / (thread_time() - began).as_secs_f64())
}

/// The processor time of this thread: what others do beside it does not count.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

fn disk(dir: &TempDir) -> PathBuf {
    dir.path().join("disk")
}

fn elsewhere(dir: &TempDir) -> PathBuf {
    dir.path().join("elsewhere")
}
