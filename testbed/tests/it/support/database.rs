//! The databases of web services under test, with direct access by SQL.

use anyhow::{Context, Result};
use tempfile::TempDir;
use testbed::{Program, postgres};

use crate::support::stack::{Stack, Web};

/// A database of its own, empty at first.
pub(crate) enum Database {
    /// A SQLite file in a folder of its own.
    File(TempDir),
    /// A database on the shared PostgreSQL server.
    Server { access: postgres::Access, name: String },
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
