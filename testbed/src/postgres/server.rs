//! A private PostgreSQL server: start, stop, kill, freeze.

use std::{ffi::OsString, fs, ops::Deref, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use uuid::Uuid;

use super::{
    access::{Access, USER},
    install::Install,
    unprivileged,
};
use crate::{
    ports,
    process::{Process, Start, run},
};

const SERVER_TIMEOUT: Duration = Duration::from_secs(60);

/// A running, stopped or frozen private server. Dropping it kills it and removes its data.
///
/// Addresses and administration are those of [`Access`], to which it dereferences.
#[derive(Debug)]
pub struct Server {
    access: Access,
    bin: PathBuf,
    process: Option<Process>,
    dir: TempDir,
}

impl Server {
    /// Makes an empty server on a free port of 127.0.0.1 and waits until it takes connections.
    pub async fn start(install: &Install) -> Result<Self> {
        let password = Uuid::now_v7().simple().to_string();
        let access = Access { psql: install.psql.clone(), port: ports::free()?, password };
        let dir = unprivileged::folder("postgres-")?;
        let bin = install.bin.clone();
        let mut server = Self { access, bin, process: None, dir };
        server.make_data().await?;
        server.start_again().await?;
        Ok(server)
    }

    /// What another process needs to reach and administer this server.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Stops the server cleanly, as an administrator would, and waits for its end.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::INT);
        process.wait_within(SERVER_TIMEOUT).await.map(drop)
    }

    /// Kills the server and all its helpers (SIGKILL) and waits for their end.
    pub async fn kill(&mut self) -> Result<()> {
        let helpers = self.signal_all(Signal::KILL);
        let Some(process) = self.process.take() else { return Ok(()) };
        process.wait_within(SERVER_TIMEOUT).await?;
        // As long as one of them lives, the data can't be used by a new server.
        let gone = async {
            while helpers.iter().any(|helper| is_alive(*helper)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SERVER_TIMEOUT, gone)
            .await
            .context("a helper of the server does not end")
    }

    /// Starts a stopped or killed server with its data on its port, and waits until it takes
    /// connections.
    pub async fn start_again(&mut self) -> Result<()> {
        // The old process must be gone for good, or the new one takes it for the data's owner.
        self.kill().await?;
        let port = self.access.port.to_string();
        let settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "jit=off"];
        let start = self
            .as_unprivileged("postgres")?
            .args([OsString::from("-D"), self.data().into(), "-p".into(), port.into()])
            .args(settings.into_iter().flat_map(|setting| ["-c", setting]));
        let process = self.process.insert(start.spawn()?);
        process.wait_for_text("ready to accept connections").await.map(drop)
    }

    /// Freezes the server and all its helpers (SIGSTOP): its sockets stay open, nobody answers.
    pub fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets a frozen server go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    async fn make_data(&self) -> Result<()> {
        let secret = self.dir.path().join("password");
        fs::write(&secret, &self.access.password)?;
        unprivileged::own(&secret)?;
        let args = ["--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync"];
        let start = self
            .as_unprivileged("initdb")?
            .args(["-D".into(), self.data().into_os_string()])
            .args(["-U".into(), USER.into(), "--pwfile".into(), secret.into_os_string()])
            .args(args);
        run(start, SERVER_TIMEOUT).await.context("`initdb` failed").map(drop)
    }

    fn as_unprivileged(&self, program: &str) -> Result<Start> {
        let start = unprivileged::start(&self.bin.join(program), self.dir.path())?;
        Ok(start.envs([("LC_ALL", "C"), ("TZ", "UTC")]))
    }

    /// A server is many processes, each in a group of its own. Gives those beside the first.
    fn signal_all(&self, signal: Signal) -> Vec<Pid> {
        let Some(process) = &self.process else { return Vec::new() };
        // While it is stopped it starts no new ones, so that none is missed.
        process.signal(Signal::STOP);
        let helpers = helpers(process.pid());
        for helper in &helpers {
            // It may have ended meanwhile.
            let _ = kill_process(*helper, signal);
        }
        process.signal(signal);
        helpers
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal_all(Signal::KILL);
    }
}

impl Deref for Server {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

/// The processes that the server has started, as far as the system shows them.
fn helpers(server: u32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids =
        processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    ids.filter(|id| stat(*id).is_some_and(|(_, parent)| parent == server)).collect()
}

/// A process that has ended but was not yet taken note of by its parent is not alive.
fn is_alive(id: Pid) -> bool {
    stat(id).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// The state of a process and the id of its parent.
fn stat(id: Pid) -> Option<(char, u32)> {
    let path = format!("/proc/{}/stat", id.as_raw_nonzero());
    let stat = fs::read_to_string(path).ok()?;
    // The name stands in brackets and may have spaces; the state and the parent follow it.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
