//! The worker under test: a child process, which is killed and started again.

use std::{
    io,
    os::fd::AsFd,
    process::{ExitStatus, Stdio},
};

use pipeline::{
    config::variables::{AMQP_URL, CLOUDAMQP_URL, TYPES},
    topology::RequestType,
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// A worker with all its processes, which are killed when this is dropped.
pub(super) struct Worker {
    command: Vec<String>,
    url: String,
    kind: RequestType,
    child: Child,
}

impl Worker {
    /// Starts the command with this `AMQP_URL`, and the type of its requests as `TYPES`. What it prints goes to standard error.
    ///
    /// # Errors
    /// If it can't be started.
    pub(super) fn start(command: Vec<String>, url: String, kind: &RequestType) -> io::Result<Self> {
        let child = spawn(&command, &url, kind)?;
        Ok(Self { command, url, kind: kind.clone(), child })
    }

    /// Kills it (SIGKILL), if it runs, and starts it again.
    ///
    /// # Errors
    /// If it can't be started.
    pub(super) async fn start_again(&mut self) -> io::Result<()> {
        self.kill().await;
        self.child = spawn(&self.command, &self.url, &self.kind)?;
        Ok(())
    }

    /// Kills it (SIGKILL), and waits until it is gone.
    pub(super) async fn kill(&mut self) {
        self.kill_group();
        let _status = self.child.wait().await;
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    fn kill_group(&self) {
        // None once it was waited for: its id may be another process's by now.
        let id = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(id) = id {
            let _sent = kill_process_group(id, Signal::KILL);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill_group();
    }
}

fn spawn(command: &[String], url: &str, kind: &RequestType) -> io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    Command::new(program)
        .args(arguments)
        .env(AMQP_URL.name, url)
        .env(TYPES.name, kind.as_str())
        .env_remove(CLOUDAMQP_URL.name)
        .stdin(Stdio::null())
        .stdout(stderr)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}
