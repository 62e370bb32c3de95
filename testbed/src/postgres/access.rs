//! Address, password and `psql` of a PostgreSQL server; can be handed to another process.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::process::{self, Start, minimal_env};

/// The user that owns everything on a private server.
pub(super) const USER: &str = "slowlane";
const SQL_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a server is, its password, and the programs that belong to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Access {
    /// The folder of `psql`.
    pub(super) psql: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The password of the only user.
    pub(super) password: String,
}

impl Access {
    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://{USER}:{password}@127.0.0.1:{port}/{database}")
    }

    /// Makes a new, empty database and gives its name, never used before on this server.
    pub async fn create_database(&self) -> Result<String> {
        let name = format!("test_{}", Uuid::now_v7().simple());
        self.sql("postgres", &format!("CREATE DATABASE {name}")).await?;
        Ok(name)
    }

    /// A terminal in which an administrator runs SQL in a database.
    pub fn psql(&self, database: &str, sql: &str) -> Start {
        let port = self.port.to_string();
        let args = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"];
        Start::new(self.psql.join("psql"), "/")
            .args(args)
            .args(["-p", &port, "-U", USER, "-d", database, "-c", sql])
            .envs(minimal_env())
            .envs([("PGPASSWORD", self.password.as_str()), ("LC_ALL", "C")])
    }

    /// Runs SQL in a database, as an administrator at a terminal would, and gives the lines of the
    /// answer, columns separated by `|`.
    pub async fn sql(&self, database: &str, sql: &str) -> Result<Vec<String>> {
        let psql = self.psql(database, sql);
        process::run(psql, SQL_TIMEOUT).await.with_context(|| format!("the server refused {sql:?}"))
    }
}
