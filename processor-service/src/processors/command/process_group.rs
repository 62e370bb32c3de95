//! The process group of a command: started, terminated and killed as a whole.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::Stdio,
};

use pipeline::{config::variables, contract::Timestamp};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    net::UnixStream,
    process::{Child, ChildStderr, ChildStdout, Command},
};

use crate::{
    processor::job::Job,
    processors::command::{command_line::CommandLine, guard::Guard},
};

/// The pipes to a command and its guard.
pub(super) struct Pipes {
    /// Takes the data and gives the exit status. When our end is closed, the guard kills the group.
    pub(super) guard: UnixStream,
    /// The command's standard output.
    pub(super) stdout: ChildStdout,
    /// The command's standard error.
    pub(super) stderr: ChildStderr,
}

/// A process group. It is killed when this is dropped.
///
/// Its id is the process id of its leader, the guard. No other process can get that id before the guard was waited for.
pub(super) struct ProcessGroup {
    id: Option<Pid>,
    leader: Child,
}

impl ProcessGroup {
    /// Sends SIGTERM to all its processes.
    pub(super) fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// Sends SIGKILL to all its processes.
    pub(super) fn kill(&self) {
        self.send(Signal::KILL);
    }

    /// Kills all its processes, and waits until the guard is gone.
    pub(super) async fn kill_and_wait(mut self) {
        self.kill();
        self.id = None;
        let _status = self.leader.wait().await;
    }

    fn send(&self, signal: Signal) {
        if let Some(id) = self.id {
            // It fails if all of them have ended.
            let _sent = kill_process_group(id, signal);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts the guard of a command for this job. The guard waits for the data, then starts the command.
pub(super) fn start(
    guard: &Guard,
    line: &CommandLine,
    job: &Job,
) -> io::Result<(ProcessGroup, Pipes)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = guard.command(line);
    for variable in variables::ALL.iter().filter(|variable| variable.secret) {
        command.env_remove(variable.name);
    }
    command
        .env("SLOWLANE_REQUEST_ID", job.id.text())
        .env("SLOWLANE_ATTEMPT", job.attempt.to_string())
        .env("SLOWLANE_DEADLINE", Timestamp::from(job.deadline).to_string())
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut leader = Command::from(command).spawn()?;
    let id = leader.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let missing = || io::Error::other("it has no pipes");
    let stdout = leader.stdout.take().ok_or_else(missing)?;
    let stderr = leader.stderr.take().ok_or_else(missing)?;
    let group = ProcessGroup { id, leader };
    Ok((group, Pipes { guard: UnixStream::from_std(ours)?, stdout, stderr }))
}
