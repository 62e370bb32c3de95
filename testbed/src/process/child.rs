//! One child process: signals, the wait for its exit, its output so far.

use std::{
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::sync::watch;

use super::{
    guardian::{self, Guardian},
    history::{Follow, History},
    start::Start,
};

/// How long anything may take before a wait is given up. It is generous: a slow machine must not fail a test.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(180);

/// How long the output may stay open after the exit: a grandchild may hold it for ever.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);

/// How many of its last lines an error about a process shows.
const LINES_IN_ERROR: usize = 40;

/// A running or ended child process. Dropping it kills it, and all of its process group, at once.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    child: Child,
    guardian: Guardian,
    history: Arc<History>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Start {
    /// Starts the process.
    pub fn spawn(self) -> Result<Process> {
        if !self.program.is_file() {
            bail!("{} does not exist", self.program.display());
        }
        let mut guardian = Guardian::start(self.remove_if_orphaned.as_deref())?;
        let history = Arc::new(History::of(self.keep_lines));
        let mut child = gated(&self, &history)?;
        let pid = Pid::from_child(&child);
        guardian.guard(pid)?;
        guardian::open_gate(&mut child)?;
        let exit = watch_exit(pid);
        Ok(Process { name: self.name, pid, child, guardian, history, exit })
    }
}

/// Runs a program to its end and gives its lines; fails unless it exits with success within `timeout`.
pub async fn run(start: Start, timeout: Duration) -> Result<Vec<String>> {
    start.spawn()?.succeed_within(timeout).await
}

impl Process {
    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operating system's id of the process. It is not given to another one while this value lives.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal to the process alone, not to its children. It is no error if it has exited already.
    pub fn signal(&self, signal: Signal) {
        // The child is reaped only when `self` is dropped, so the id cannot belong to a stranger.
        let _ = kill_process(self.pid, signal);
    }

    /// Asks the process to stop (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Kills the process (SIGKILL).
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Asks the process and all others of its group to stop (SIGTERM).
    pub fn terminate_group(&self) {
        self.signal_group(Signal::TERM);
    }

    /// Kills the process and all others of its group (SIGKILL), also once it has exited itself.
    pub fn kill_group(&self) {
        self.signal_group(Signal::KILL);
    }

    fn signal_group(&self, signal: Signal) {
        // For the same reason this is no stranger's group.
        let _ = kill_process_group(self.pid, signal);
    }

    /// Waits until the process has exited, and another one that it has started holds its output open for 2 s more; for
    /// ever if that does not happen.
    pub fn outlived(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut exit, history) = (self.exit.clone(), Arc::clone(&self.history));
        async move {
            let exited = exit.wait_for(Option::is_some).await.is_ok();
            if exited && tokio::time::timeout(OUTPUT_TIMEOUT, history.closed()).await.is_err() {
                return;
            }
            std::future::pending().await
        }
    }

    /// Waits until the process has exited, within [`WAIT_TIMEOUT`].
    pub async fn wait(&self) -> Result<ExitStatus> {
        self.wait_within(WAIT_TIMEOUT).await
    }

    /// Waits until the process has exited, and fails with its last lines if that takes longer than `timeout`.
    pub async fn wait_within(&self, timeout: Duration) -> Result<ExitStatus> {
        let mut exit = self.exit.clone();
        let exited = exit.wait_for(Option::is_some);
        match tokio::time::timeout(timeout, exited).await {
            Ok(status) => status.context("the watching thread is gone")?.context("no exit status"),
            Err(_) => Err(self.error(&format!("has not exited after {timeout:?}"))),
        }
    }

    /// The exit status, if the process has exited.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// All lines so far, standard output and standard error in the order in which they came.
    pub fn lines(&self) -> Vec<String> {
        self.history.lines()
    }

    /// A reader over the lines: first those that came already, then the new ones.
    pub fn follow(&self) -> Follow {
        Follow::new(Arc::clone(&self.history))
    }

    /// Waits for the exit and the last line, within [`WAIT_TIMEOUT`]; gives the exit status and the whole output.
    pub async fn ended(&self) -> Result<(ExitStatus, String)> {
        let status = self.wait_for_last_line(WAIT_TIMEOUT).await?;
        Ok((status, self.lines().join("\n")))
    }

    /// Waits for the exit and the last line, and gives all lines; fails unless the process exits with success.
    pub async fn succeed_within(&self, timeout: Duration) -> Result<Vec<String>> {
        let status = self.wait_for_last_line(timeout).await?;
        if status.success() {
            Ok(self.lines())
        } else {
            Err(self.error(&format!("ended with {status}")))
        }
    }

    /// An error about this process that shows the last lines it wrote.
    pub fn error(&self, what: &str) -> anyhow::Error {
        let lines = self.lines();
        let last = lines[lines.len().saturating_sub(LINES_IN_ERROR)..].join("\n  ");
        anyhow!("{} (pid {}) {what}. Its last lines:\n  {last}", self.name, self.pid())
    }

    async fn wait_for_last_line(&self, timeout: Duration) -> Result<ExitStatus> {
        let status = self.wait_within(timeout).await?;
        // After this time the lines so far have to do.
        let _ = tokio::time::timeout(OUTPUT_TIMEOUT, self.history.closed()).await;
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
        let _ = self.child.wait();
        self.guardian.dismiss();
    }
}

/// Starts the child behind its gate: the program does not run before the guardian knows it.
fn gated(start: &Start, history: &Arc<History>) -> Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(guardian::GATE).arg(&start.name).arg(&start.program).args(&start.args);
    command.env_clear().envs(start.env.iter().map(|(key, value)| (key, value)));
    command.current_dir(&start.dir).process_group(0).stdin(Stdio::piped());
    if start.capture {
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        command.stdout(writer.try_clone()?).stderr(writer);
        history.read_from(reader);
    } else {
        history.close();
    }
    if let Some(pipe) = &start.stderr {
        command.stderr(pipe.try_clone()?);
    }
    command.spawn().with_context(|| format!("cannot start {}", start.program.display()))
}

/// Reports the exit without reaping the process, so that its id is not reused.
fn watch_exit(pid: Pid) -> watch::Receiver<Option<ExitStatus>> {
    let (sender, exit) = watch::channel(None);
    std::thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let Ok(Some(status)) = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), options))
        else {
            return;
        };
        let code = status.exit_status().map(|code| (code & 0xff) << 8);
        sender.send_replace(code.or(status.terminating_signal()).map(ExitStatus::from_raw));
    });
    exit
}
