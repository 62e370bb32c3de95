//! What is measured: a private broker with the topology on it, private databases, and the release programs.

use std::{
    fmt,
    fs::{self, File},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;
use testbed::{
    Program,
    foreign::Foreign,
    postgres::{self, Server},
    process::WAIT_TIMEOUT,
    program::Running,
    rabbitmq::{Install, Node, NodeOptions, Version},
    workspace,
};

use super::{
    messages::{REQUESTS, RESULTS},
    web::Web,
};
use crate::say;

/// A million requests take their time.
const FILLING: Duration = Duration::from_secs(1800);

/// A broker and a database server for nobody else.
pub(super) struct Stage {
    node: Node,
    postgres: Option<Server>,
    _lock: File,
}

/// The kinds of store there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// An own, new store.
pub(super) struct Database {
    url: String,
    _dir: Option<TempDir>,
}

impl Stage {
    pub(super) async fn build() -> Result<Self> {
        let lock = alone()?;
        let found = Install::find_or_unpack(Version::Any, &|line| say::step("rabbitmq", line));
        let install = found.await?;
        let options = NodeOptions { parent: Some(folder()?), ..NodeOptions::default() };
        let node = Node::start(&install, options);
        let node = say::waiting("rabbitmq", "starting a private node", node).await?;
        let stage = Self { node, postgres: start_postgres().await?, _lock: lock };
        stage.program("setup").start()?.succeed_within(WAIT_TIMEOUT).await?;
        Ok(stage)
    }

    /// Stops what can be stopped cleanly. What is left ends as it is dropped.
    pub(super) async fn strike(mut self) {
        if let Err(error) = self.node.stop().await {
            say::failure(&error);
        }
    }

    pub(super) fn url(&self) -> String {
        self.node.url()
    }

    /// Where the broker is.
    pub(super) fn address(&self) -> String {
        self.node.address()
    }

    pub(super) fn rabbitmq(&self) -> &str {
        self.node.version()
    }

    pub(super) async fn postgres_version(&self) -> Result<Option<String>> {
        let Some(server) = &self.postgres else { return Ok(None) };
        let lines = server.sql("postgres", "SHOW server_version").await?;
        Ok(lines.first().and_then(|line| line.split(' ').next()).map(str::to_owned))
    }

    /// The process of the broker.
    pub(super) fn broker(&self) -> u32 {
        self.node.pid()
    }

    /// The kinds of store that there are here.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let postgres = self.postgres.is_some().then_some(Kind::Postgres);
        [Kind::Sqlite].into_iter().chain(postgres).collect()
    }

    pub(super) async fn database(&self, kind: Kind) -> Result<Database> {
        if let (Kind::Postgres, Some(server)) = (kind, &self.postgres) {
            let name = server.create_database().await?;
            return Ok(Database { url: server.url(&name), _dir: None });
        }
        let dir = workspace::temp_dir_in(&folder()?, "sqlite-")?;
        let url = format!("sqlite:{}", dir.path().join("slowlane.db").display());
        Ok(Database { url, _dir: Some(dir) })
    }

    /// A store with that many finished requests, and what the program that filled it says of them.
    pub(super) async fn filled(&self, kind: Kind, count: usize) -> Result<(Database, String)> {
        let database = self.database(kind).await?;
        let fill =
            Program::new("examples/fill").arg(&database.url).arg(count.to_string()).start()?;
        let text = format!("filling {kind} with {count} requests");
        let lines = say::waiting("store", &text, fill.succeed_within(FILLING)).await?;
        let last = lines.last().context("the filling program said nothing")?.clone();
        Ok((database, last))
    }

    /// Starts a web service and waits until it is ready.
    pub(super) async fn web(&self, database: &Database) -> Result<Web> {
        let web = self.web_starting(database).await?;
        web.ready().await?;
        Ok(web)
    }

    /// Starts a web service and waits until it listens; then it has only begun to connect.
    pub(super) async fn web_starting(&self, database: &Database) -> Result<Web> {
        Web::start(self.program("web-service").env("DATABASE_URL", &database.url)).await
    }

    /// Starts a processor that gives back every request's data at once.
    pub(super) async fn echo(&self) -> Result<Running> {
        let program = self.program("examples/echo").start()?;
        program.wait_for_message("consuming").await?;
        Ok(program)
    }

    /// Takes away what waits in the queues.
    pub(super) async fn purge(&self) -> Result<()> {
        let foreign = Foreign::connect(&self.url()).await?;
        foreign.purge(REQUESTS).await?;
        foreign.purge(RESULTS).await
    }

    fn program(&self, name: &str) -> Program {
        Program::new(name).env("AMQP_URL", self.node.url()).env("LOG_FORMAT", "json")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// Two at once would measure each other. What an earlier one left that was killed is removed.
fn alone() -> Result<File> {
    let path = workspace::state_dir()?.join("bench.lock");
    let lock = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    lock.try_lock().context("another `cargo xtask bench` is running")?;
    let _nothing_left = fs::remove_dir_all(folder()?);
    Ok(lock)
}

fn folder() -> Result<PathBuf> {
    Ok(workspace::state_dir()?.join("bench"))
}

/// A machine without PostgreSQL can still be measured.
async fn start_postgres() -> Result<Option<Server>> {
    match postgres::Install::find_or_unpack(&|line| say::step("postgres", line)).await {
        Ok(install) => {
            let server = Server::start(&install);
            say::waiting("postgres", "starting a private server", server).await.map(Some)
        }
        Err(error) => {
            say::step("postgres", format!("not measured: {error:#}"));
            Ok(None)
        }
    }
}
