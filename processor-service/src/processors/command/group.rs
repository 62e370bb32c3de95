//! The process group of a command: started, asked to end, and killed as a whole.

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

use super::{CommandLine, Guard};
use crate::Job;

/// What leads to a command and its guard.
pub(super) struct Pipes {
    /// Takes the data and gives what came of it; its end is the end of the group.
    pub(super) guard: UnixStream,
    /// What the command writes.
    pub(super) stdout: ChildStdout,
    /// What the command says.
    pub(super) stderr: ChildStderr,
}

/// The process group, which is killed when this is dropped.
///
/// Its id is that of its leader, the guard, and belongs to nobody else as long as the guard was not
/// waited for.
pub(super) struct Group {
    id: Option<Pid>,
    leader: Child,
}

impl Group {
    /// Asks all of it to end.
    pub(super) fn ask(&self) {
        self.send(Signal::TERM);
    }

    /// Ends all of it at once.
    pub(super) fn kill(&self) {
        self.send(Signal::KILL);
    }

    /// Ends all of it at once, and waits until the guard is gone.
    pub(super) async fn end(mut self) {
        self.kill();
        self.id = None;
        let _status = self.leader.wait().await;
    }

    fn send(&self, signal: Signal) {
        if let Some(id) = self.id {
            // It may have ended already.
            let _sent = kill_process_group(id, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts the guard of a command for this job. It waits for the data, and then starts the command.
pub(super) fn start(guard: &Guard, line: &CommandLine, job: &Job) -> io::Result<(Group, Pipes)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = guard.of(line);
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
    let group = Group { id, leader };
    Ok((group, Pipes { guard: UnixStream::from_std(ours)?, stdout, stderr }))
}
