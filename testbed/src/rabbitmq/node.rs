//! A private RabbitMQ node: start, stop, kill, freeze.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{
    access::{Access, CTL_PORTS},
    config,
    install::Install,
};
use crate::{
    ports,
    process::{Process, Signal, Start},
    workspace,
};

const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// What a node is to have. The default: plain AMQP only, in a temporary folder.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// A TLS listener, with certificates made for it.
    pub tls: bool,
    /// The management API. It makes a clean stop of RabbitMQ 3.10 five seconds slower.
    pub management: bool,
    /// Lines added to `rabbitmq.conf`.
    pub extra_conf: String,
    /// A folder to keep; otherwise a temporary one that goes with the node. A node that is started there again has
    /// its data, and also its port unless somebody else has it by then.
    pub dir: Option<PathBuf>,
    /// Where the temporary folder is made; otherwise in `.slowlane/tmp`.
    pub parent: Option<PathBuf>,
}

/// A running, stopped or frozen private node. Dropping it kills it and removes its temporary folder.
///
/// Addresses and administration are those of [`Access`], to which it dereferences.
#[derive(Debug)]
pub struct Node {
    access: Access,
    // Dropped in this order: the node, the port mapper that knows it, the folder of both.
    server: Process,
    _epmd: Process,
    temporary: Option<TempDir>,
}

impl Node {
    /// Starts a node on free ports of 127.0.0.1 and waits until it takes connections.
    pub async fn start(install: &Install, options: NodeOptions) -> Result<Self> {
        let (dir, temporary) = folder(&options)?;
        let access = access(install, dir, &options)?;
        config::write(&access, &options.extra_conf)?;
        let epmd = start_epmd(&access)?;
        let server = start_server(&access, temporary.as_ref().map(TempDir::path))?;
        let node = Self { access, server, _epmd: epmd, temporary };
        node.ready().await?;
        Ok(node)
    }

    /// What another process needs to reach and administer this node.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Stops the node cleanly (SIGTERM) and waits for its end.
    pub async fn stop(&mut self) -> Result<()> {
        self.server.terminate();
        self.server.wait_within(STOP_TIMEOUT).await.map(drop)
    }

    /// Kills the node (SIGKILL) and waits for its end.
    pub async fn kill(&mut self) -> Result<()> {
        self.server.kill();
        self.server.wait_within(STOP_TIMEOUT).await.map(drop)
    }

    /// Starts a stopped or killed node with its data on its ports, and waits until it takes connections.
    pub async fn start_again(&mut self) -> Result<()> {
        self.server.kill();
        self.server.wait_within(STOP_TIMEOUT).await?;
        self.server = start_server(&self.access, self.temporary.as_ref().map(TempDir::path))?;
        self.ready().await
    }

    /// Freezes the node (SIGSTOP): its sockets stay open, and nobody answers.
    pub fn freeze(&self) {
        self.server.signal(Signal::STOP);
    }

    /// Lets a frozen node go on (SIGCONT).
    pub fn thaw(&self) {
        self.server.signal(Signal::CONT);
    }

    /// The operating system's id of the node's virtual machine.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The node prints this line after its last listener was opened.
    async fn ready(&self) -> Result<()> {
        let ready = self.server.wait_for_text("completed with").await;
        ready
            .map(drop)
            .with_context(|| format!("RabbitMQ did not start. From its log: {}", self.log_errors()))
    }

    fn log_errors(&self) -> String {
        let log = self.access.dir.join("log").join(format!("{}.log", self.access.name));
        let text = fs::read_to_string(log).unwrap_or_default();
        let errors: Vec<_> =
            text.lines().filter(|line| line.contains("[error]")).take(12).collect();
        errors.join("\n")
    }
}

impl Deref for Node {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

fn folder(options: &NodeOptions) -> Result<(PathBuf, Option<TempDir>)> {
    if let Some(dir) = &options.dir {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        return Ok((dir.canonicalize()?, None));
    }
    let temporary = match &options.parent {
        Some(parent) => workspace::temp_dir_in(parent, "node-")?,
        None => workspace::temp_dir("node-")?,
    };
    Ok((temporary.path().canonicalize()?, Some(temporary)))
}

fn access(install: &Install, dir: PathBuf, options: &NodeOptions) -> Result<Access> {
    let amqp_port = if options.dir.is_some() { kept_port(&dir)? } else { ports::free()? };
    // Data belongs to the name. Each node has a port mapper of its own, so several may have the same.
    let number = if options.dir.is_some() { String::new() } else { amqp_port.to_string() };
    Ok(Access {
        bin: install.bin.clone(),
        erlang: install.erlang.clone(),
        version: install.version().to_owned(),
        dir,
        // Not the machine's name, which may be unknown to the machine itself.
        name: format!("slowlane{number}@localhost"),
        amqp_port,
        tls_port: options.tls.then(ports::free).transpose()?,
        management_port: options.management.then(ports::free).transpose()?,
        dist_port: ports::free()?,
        epmd_port: ports::free()?,
        ctl_port: ports::free_range(CTL_PORTS)?,
    })
}

/// The port that the node in this folder had before, if it is free: clients may know it.
fn kept_port(dir: &Path) -> Result<u16> {
    let file = dir.join("amqp_port");
    let before = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    let port = ports::free_or_other(before)?;
    fs::write(&file, port.to_string())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(port)
}

/// Erlang's port mapper, kept in the foreground: as a child it ends with us, as the usual daemon it would stay.
fn start_epmd(access: &Access) -> Result<Process> {
    let port = access.epmd_port.to_string();
    let args = ["-port", &port, "-address", "127.0.0.1"];
    Start::new(access.erlang.join("epmd"), &access.dir).args(args).envs(access.env()).spawn()
}

/// Pretending to be under systemd makes the start script become the virtual machine: one process to signal.
fn start_server(access: &Access, orphaned: Option<&Path>) -> Result<Process> {
    let mut start = Start::new(access.bin.join("rabbitmq-server"), &access.dir);
    start.remove_if_orphaned = orphaned.map(Path::to_owned);
    start.envs(access.env()).envs([("RUNNING_UNDER_SYSTEMD", "true")]).spawn()
}
