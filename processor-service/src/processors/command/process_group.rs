//! The process group of a command: started, terminated and killed as a whole.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::Stdio,
};

use pipeline::{config::variables, contract::Timestamp, open_files, spans};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::UnixStream,
    process::{Child, ChildStderr, ChildStdout, Command},
};

use crate::{
    processor::job::Job,
    processors::command::{command_line::CommandLine, guard::Guard, reaper::OwnChildren},
};

/// The pipes to a command and its guard.
pub(super) struct Pipes {
    /// Takes the data and gives the exit status. When our end is closed, the guard kills the group.
    pub(super) guard: BufReader<UnixStream>,
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
    children: OwnChildren,
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
        let id = self.leader.id();
        let _status = self.leader.wait().await;
        self.forget(id);
    }

    fn forget(&self, id: Option<u32>) {
        if let Some(id) = id {
            self.children.forget(id);
        }
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
        // None if it was waited for. Otherwise either Tokio or the reaper does it.
        self.forget(self.leader.id());
    }
}

/// Sends a part of a command's input to its guard.
pub(super) async fn send_input(guard: &mut BufReader<UnixStream>, part: &[u8]) -> io::Result<()> {
    guard.write_u64(part.len() as u64).await?;
    guard.write_all(part).await
}

/// Ends the command's input.
pub(super) async fn end_input(guard: &mut BufReader<UnixStream>) -> io::Result<()> {
    guard.write_u64(0).await
}

/// The variables that tell a command whose work it is.
pub(super) fn variables_of(job: &Job) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("SLOWLANE_REQUEST_ID", job.id.text().to_owned()),
        ("SLOWLANE_TYPE", job.request_type.to_string()),
        ("SLOWLANE_ATTEMPT", job.attempt.to_string()),
        ("SLOWLANE_DEADLINE", Timestamp::from(job.deadline).to_string()),
    ];
    variables.extend(job.traceparent.iter().map(|trace| ("TRACEPARENT", trace.clone())));
    variables
}

/// Starts the guard of a command with these variables. The guard waits for input, then starts the command.
pub(super) fn start(
    guard: &Guard,
    line: &CommandLine,
    own_variables: Vec<(&'static str, String)>,
    children: &OwnChildren,
) -> io::Result<(ProcessGroup, Pipes)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = guard.command(line);
    let secrets = variables::ALL.iter().filter(|variable| variable.secret).map(|it| it.name);
    for name in secrets.chain(spans::SECRET_VARIABLES) {
        command.env_remove(name);
    }
    command
        .envs(own_variables)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut leader = children.start(|| Command::from(command).spawn(), Child::id)?;
    let id = leader.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    // In time for the command, which the guard starts when it has input.
    id.into_iter().for_each(open_files::give_back);
    let missing = || io::Error::other("it has no pipes");
    let stdout = leader.stdout.take().ok_or_else(missing)?;
    let stderr = leader.stderr.take().ok_or_else(missing)?;
    let group = ProcessGroup { id, leader, children: children.clone() };
    Ok((group, Pipes { guard: BufReader::new(UnixStream::from_std(ours)?), stdout, stderr }))
}
