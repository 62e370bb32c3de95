//! `World`: a store to be tested, and the means to change its database or to take it away.

mod inspect;

use std::{path::PathBuf, time::Duration};

use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;
use testbed::postgres::{self, Access, Install, Server};
use uuid::Uuid;

use crate::{Found, Record, Store, StoreError, StoreOptions};

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

    /// Where the store is.
    pub(super) fn url(&self) -> &str {
        &self.url
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
