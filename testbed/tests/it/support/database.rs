//! The databases of web services under test, with direct access by SQL.

use anyhow::{Context, Result};
use tempfile::TempDir;
use testbed::{Program, Proxy, postgres};
use tokio::task::JoinHandle;

use crate::support::{
    stack::{Stack, Web},
    wait::settles,
};

/// A database of its own, empty at first.
pub(crate) enum Database {
    /// A SQLite file in a folder of its own.
    File(TempDir),
    /// A database on the shared PostgreSQL server.
    Server { access: postgres::Access, name: String },
}

/// What holds up all writes.
pub(crate) enum Stalled {
    File { _lock: rusqlite::Connection },
    Server { access: postgres::Access, name: String, locked: JoinHandle<Result<Vec<String>>> },
}

impl Stalled {
    /// Lets the writes go on.
    pub(crate) async fn end(self) -> Result<()> {
        let Self::Server { access, name, locked } = self else { return Ok(()) };
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE query LIKE '%pg_sleep(60)%' AND datname = current_database() AND pid <> pg_backend_pid()";
        access.sql(&name, end).await?;
        let _the_server_has_ended_it = locked.await?;
        Ok(())
    }
}

impl Database {
    pub(crate) fn sqlite() -> Result<Self> {
        Ok(Self::File(tempfile::tempdir()?))
    }

    pub(crate) async fn postgres() -> Self {
        let (access, name) = postgres::database().await;
        Self::Server { access, name }
    }

    /// One of each kind.
    pub(crate) async fn both() -> Result<[Self; 2]> {
        Ok([Self::sqlite()?, Self::postgres().await])
    }

    /// The value of `DATABASE_URL`.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::File(dir) => format!("sqlite:{}", dir.path().join("slowlane.db").display()),
            Self::Server { access, name } => access.url(name),
        }
    }

    /// A proxy in front of the server, and a web service that reaches the server through it, ready.
    pub(crate) async fn web_behind_proxy(&self, stack: &Stack) -> Result<(Web, Proxy)> {
        let Self::Server { access, .. } = self else { anyhow::bail!("a file has no connections") };
        let proxy = Proxy::start(format!("127.0.0.1:{}", access.port)).await?;
        let web = stack.program("web-service").env("DATABASE_URL", proxy.url(&self.url()));
        Ok((Web::start(web.env("PUBLISH_TIMEOUT", "30s")).await?, proxy))
    }

    /// Does something that changes the only request there is. After the server has committed that, the connections through
    /// the proxy break, so that its answer is lost.
    pub(crate) async fn lose_answer<T>(
        &self,
        proxy: &Proxy,
        act: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let locked = self.lock_rows().await?;
        let is_one = async |query: &str| Ok(self.number(query).await? == 1);
        let lose = async {
            let waiting = "SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
            settles("the change waits for its row", async || is_one(waiting).await).await?;
            proxy.hold_answers();
            locked.end().await?;
            let committed = "SELECT count(*) FROM requests WHERE status <> 0";
            settles("the change is committed", async || is_one(committed).await).await?;
            proxy.cut();
            // When this is answered, the connections are gone, with what was held back.
            is_one(committed).await?;
            proxy.resume();
            Ok(())
        };
        tokio::try_join!(act, lose).map(|(done, ())| done)
    }

    /// Lets each change of a request that is there wait, until it is ended.
    async fn lock_rows(&self) -> Result<Stalled> {
        let Self::Server { access, name } = self else { anyhow::bail!("a file has no such lock") };
        let (access, name) = (access.clone(), name.clone());
        let (locker, database) = (access.clone(), name.clone());
        let locked = tokio::spawn(async move {
            let lock = "BEGIN; SELECT id FROM requests FOR UPDATE; SELECT pg_sleep(60)";
            locker.sql(&database, lock).await
        });
        let asleep = "SELECT count(*) FROM pg_stat_activity \
            WHERE datname = current_database() AND wait_event = 'PgSleep'";
        settles("the rows are locked", async || Ok(self.number(asleep).await? == 1)).await?;
        Ok(Stalled::Server { access, name, locked })
    }

    /// A web service on this database, yet to be started.
    pub(crate) fn program(&self, stack: &Stack) -> Program {
        stack.program("web-service").env("DATABASE_URL", self.url())
    }

    /// A web service on this database, ready.
    pub(crate) async fn web(&self, stack: &Stack) -> Result<Web> {
        Web::start(self.program(stack)).await
    }

    /// Changes something without the service.
    pub(crate) async fn change(&self, sql: &str) -> Result<()> {
        match self {
            Self::File(dir) => {
                let file = rusqlite::Connection::open(dir.path().join("slowlane.db"))?;
                file.busy_timeout(std::time::Duration::from_secs(10))?;
                Ok(file.execute_batch(sql)?)
            }
            Self::Server { access, name } => access.sql(name, sql).await.map(drop),
        }
    }

    /// Keeps the service from writing until this is dropped; for a file alone.
    pub(crate) fn lock(&self) -> Result<rusqlite::Connection> {
        let Self::File(dir) = self else { anyhow::bail!("a server has no such lock") };
        let file = rusqlite::Connection::open(dir.path().join("slowlane.db"))?;
        file.busy_timeout(std::time::Duration::from_secs(10))?;
        file.execute_batch("BEGIN IMMEDIATE")?;
        Ok(file)
    }

    /// Lets every write of a request wait, until it is ended.
    pub(crate) async fn stall(&self) -> Result<Stalled> {
        let Self::Server { access, name } = self else {
            return Ok(Stalled::File { _lock: self.lock()? });
        };
        let (access, name) = (access.clone(), name.clone());
        let (locker, database) = (access.clone(), name.clone());
        let locked = tokio::spawn(async move {
            let lock = "BEGIN; LOCK TABLE requests, claims; SELECT pg_sleep(60)";
            locker.sql(&database, lock).await
        });
        let locks = "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' \
            AND relation IN ('requests'::regclass, 'claims'::regclass)";
        settles("the tables are locked", async || Ok(self.number(locks).await? == 2)).await?;
        Ok(Stalled::Server { access, name, locked })
    }

    /// The number that a query answers, asked without the service.
    pub(crate) async fn number(&self, sql: &str) -> Result<i64> {
        match self {
            Self::File(dir) => {
                let file = rusqlite::Connection::open(dir.path().join("slowlane.db"))?;
                Ok(file.query_row(sql, [], |row| row.get(0))?)
            }
            Self::Server { access, name } => {
                let lines = access.sql(name, sql).await?;
                Ok(lines.first().context("an answer")?.trim().parse()?)
            }
        }
    }
}
