//! The measured system: a private broker with the topology, private databases, and release builds of the programs.

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pipeline::log_messages::CONSUMING;
use tempfile::TempDir;
use testbed::{
    Program,
    foreign::Foreign,
    postgres::{self, Server},
    process::WAIT_TIMEOUT,
    program::Running,
    rabbitmq::{Node, NodeOptions, Version},
    workspace,
};
use tokio::time::sleep;

use super::{
    messages::{REQUESTS, RESULTS},
    web::WebService,
};
use crate::{console, system::broker::find_rabbitmq};

/// A store is filled with up to a million requests.
const FILL_TIMEOUT: Duration = Duration::from_secs(1800);

const SECOND_VHOST: &str = "second";

const CONSUMERS_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A private broker, and a private database server if there is one for this machine.
pub(super) struct System {
    node: Node,
    postgres: Option<Server>,
    _lock: File,
}

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreKind {
    Sqlite,
    Postgres,
}

/// A new database.
pub(super) struct Database {
    url: String,
    /// The folder of SQLite's files.
    dir: Option<TempDir>,
}

impl Database {
    /// The folder of its files, if it is SQLite's.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.dir.as_ref().map(TempDir::path)
    }

    /// The last part of its URL.
    fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }
}

impl System {
    pub(super) async fn start() -> Result<Self> {
        let lock = lock()?;
        let install = find_rabbitmq(Version::Any).await?;
        let options = NodeOptions { parent: Some(folder()?), ..NodeOptions::default() };
        let node = Node::start(&install, options);
        let node = console::while_waiting("rabbitmq", "starting a private node", node).await?;
        let system = Self { node, postgres: start_postgres().await?, _lock: lock };
        system.program("setup").start()?.succeed_within(WAIT_TIMEOUT).await?;
        Ok(system)
    }

    /// Stops the broker cleanly. The database server ends as it is dropped.
    pub(super) async fn stop(mut self) {
        if let Err(error) = self.node.stop().await {
            console::error(&error);
        }
    }

    /// The URL of the broker.
    pub(super) fn broker_url(&self) -> String {
        self.node.url()
    }

    /// The host and port of the broker.
    pub(super) fn broker_address(&self) -> String {
        self.node.address()
    }

    pub(super) fn rabbitmq_version(&self) -> &str {
        self.node.version()
    }

    pub(super) async fn postgres_version(&self) -> Result<Option<String>> {
        let Some(server) = &self.postgres else { return Ok(None) };
        let lines = server.sql("postgres", "SHOW server_version").await?;
        Ok(lines.first().and_then(|line| line.split(' ').next()).map(str::to_owned))
    }

    /// The process id of the broker.
    pub(super) fn broker_pid(&self) -> u32 {
        self.node.pid()
    }

    /// The kinds of store that can be measured.
    pub(super) fn store_kinds(&self) -> Vec<StoreKind> {
        let postgres = self.postgres.is_some().then_some(StoreKind::Postgres);
        [StoreKind::Sqlite].into_iter().chain(postgres).collect()
    }

    pub(super) async fn database(&self, kind: StoreKind) -> Result<Database> {
        if let (StoreKind::Postgres, Some(server)) = (kind, &self.postgres) {
            let name = server.create_database().await?;
            return Ok(Database { url: server.url(&name), dir: None });
        }
        let dir = workspace::temp_dir_in(&folder()?, "sqlite-")?;
        let url = format!("sqlite:{}", dir.path().join("slowlane.db").display());
        Ok(Database { url, dir: Some(dir) })
    }

    /// The bytes of a database of PostgreSQL, without the server's write-ahead log.
    pub(super) async fn postgres_size(&self, database: &Database) -> Result<f64> {
        let server = self.postgres.as_ref().context("there is no PostgreSQL")?;
        let sql = format!("SELECT pg_database_size('{}')", database.name());
        let lines = server.sql("postgres", &sql).await?;
        Ok(lines.first().context("PostgreSQL does not say the size")?.trim().parse()?)
    }

    /// A database with `count` finished requests, and the last line that the filling program prints.
    pub(super) async fn filled(&self, kind: StoreKind, count: usize) -> Result<(Database, String)> {
        let database = self.database(kind).await?;
        let fill =
            Program::new("examples/fill").arg(&database.url).arg(count.to_string()).start()?;
        let text = format!("filling {kind} with {count} requests");
        let lines =
            console::while_waiting("store", &text, fill.succeed_within(FILL_TIMEOUT)).await?;
        let last = lines.last().context("the filling program printed nothing")?.clone();
        self.tidy_up(&database).await?;
        Ok((database, last))
    }

    /// Does at once what PostgreSQL would do in the background while the next figures are measured.
    async fn tidy_up(&self, database: &Database) -> Result<()> {
        let (Some(server), None) = (&self.postgres, database.folder()) else { return Ok(()) };
        for sql in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
            server.sql(database.name(), sql).await?;
        }
        Ok(())
    }

    /// Starts a web service and waits until it is ready.
    pub(super) async fn web_service(&self, database: &Database) -> Result<WebService> {
        let web = self.starting_web_service(database).await?;
        web.wait_until_ready().await?;
        Ok(web)
    }

    /// Starts a web service and waits until it listens, which is before it has connected to the broker.
    pub(super) async fn starting_web_service(&self, database: &Database) -> Result<WebService> {
        WebService::start(self.program("web-service").env("DATABASE_URL", &database.url)).await
    }

    /// Adds a second virtual host with the topology, for a web service beside another one: two with SQLite cannot share one.
    pub(super) async fn add_second_vhost(&self) -> Result<()> {
        self.node.add_vhost(SECOND_VHOST).await?;
        let setup = self.program("setup").env("AMQP_URL", self.node.url_for(SECOND_VHOST));
        setup.start()?.succeed_within(WAIT_TIMEOUT).await.map(drop)
    }

    /// Removes the second virtual host, and all messages in it.
    pub(super) async fn delete_second_vhost(&self) -> Result<()> {
        self.node.ctl(&["delete_vhost", SECOND_VHOST]).await.map(drop)
    }

    /// Starts a web service in the second virtual host.
    pub(super) async fn second_web_service(&self, database: &Database) -> Result<WebService> {
        let program = self.program("web-service").env("DATABASE_URL", &database.url);
        let program = program.env("AMQP_URL", self.node.url_for(SECOND_VHOST));
        let web = WebService::start(program).await?;
        web.wait_until_ready().await?;
        Ok(web)
    }

    /// Starts a processor with its default settings.
    pub(super) async fn processor_service(&self) -> Result<Running> {
        let program = self.program("processor-service").start()?;
        program.wait_for_message(CONSUMING).await?;
        Ok(program)
    }

    /// Starts a processor whose result is the request's data, at once, with so many workers.
    pub(super) async fn echo_processor(&self, workers: usize) -> Result<Running> {
        let program = self.starting_echo_processor(workers, 1)?;
        program.wait_for_message(CONSUMING).await?;
        Ok(program)
    }

    /// Starts such a processor with so many workers, each with this prefetch.
    pub(super) fn starting_echo_processor(&self, workers: usize, prefetch: u16) -> Result<Running> {
        let program = self.program("examples/echo").env("WORKERS", workers.to_string());
        let program = program.env("PREFETCH", prefetch.to_string());
        program.env("JOB_TIMEOUT", "10s").start()
    }

    /// Starts a processor with one worker and these settings.
    pub(super) fn starting_processor(&self, settings: &[(&str, &str)]) -> Result<Running> {
        let program = self.program("processor-service");
        settings.iter().fold(program, |program, (name, value)| program.env(name, *value)).start()
    }

    /// Removes all messages from the queues.
    pub(super) async fn purge(&self) -> Result<()> {
        let foreign = Foreign::connect(&self.broker_url()).await?;
        foreign.purge(REQUESTS).await?;
        foreign.purge(RESULTS).await
    }

    /// The same after a measurement that failed: once its programs are gone, which had messages in hand.
    pub(super) async fn purge_after_failure(&self) -> Result<()> {
        let foreign = Foreign::connect(&self.broker_url()).await?;
        let deadline = Instant::now() + WAIT_TIMEOUT;
        for queue in [REQUESTS, RESULTS] {
            while foreign.depth(queue).await?.consumers > 0 {
                ensure!(Instant::now() < deadline, "{queue} still has consumers");
                sleep(CONSUMERS_POLL_INTERVAL).await;
            }
        }
        self.purge().await
    }

    fn program(&self, name: &str) -> Program {
        Program::new(name).env("AMQP_URL", self.node.url()).env("LOG_FORMAT", "json")
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// Locks out a second bench, whose load would disturb this one, and removes the files of a bench that was killed.
fn lock() -> Result<File> {
    let path = workspace::state_dir()?.join("bench.lock");
    let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    lock.try_lock().context("another `cargo xtask bench` is running")?;
    let _nothing_left = fs::remove_dir_all(folder()?);
    Ok(lock)
}

fn folder() -> Result<PathBuf> {
    Ok(workspace::state_dir()?.join("bench"))
}

/// Starts PostgreSQL; without it only SQLite is measured.
async fn start_postgres() -> Result<Option<Server>> {
    match postgres::Install::find_or_unpack(&|line| console::step("postgres", line)).await {
        Ok(install) => {
            let server = Server::start(&install);
            console::while_waiting("postgres", "starting a private server", server).await.map(Some)
        }
        Err(error) => {
            console::step("postgres", format!("not measured: {error:#}"));
            Ok(None)
        }
    }
}
