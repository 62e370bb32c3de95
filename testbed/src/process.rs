//! A child process on a leash, with everything it says kept line by line.
//!
//! Nothing here is tied to an async runtime: threads read and reap, watch channels tell. So a process can be started
//! in one test's runtime and used, or dropped, in another's.

mod from_now;
mod history;
mod leash;

use std::{
    ffi::OsString,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
pub use from_now::FromNow;
pub use history::Follow;
use history::History;
use leash::Leash;
pub use rustix::process::Signal;
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::sync::watch;

/// How long anything may take before a wait is given up. It is generous: a slow machine must not fail a test.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What to start, and how.
#[derive(Debug, Clone)]
pub struct Start {
    /// The name the process has in error messages.
    pub name: String,
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment; nothing else is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// The folder it runs in.
    pub dir: PathBuf,
    /// A folder that is removed should this process die before the child does.
    pub orphaned: Option<PathBuf>,
    /// Whether its lines are captured; otherwise it writes to this process's own output.
    pub capture: bool,
}

impl Start {
    /// Starts from `program` with no arguments, an empty environment, and captured output, in `dir`.
    pub fn new(program: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        let program = program.into();
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (args, env) = (Vec::new(), Vec::new());
        Self { name, program, args, env, dir: dir.into(), orphaned: None, capture: true }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds variables to the environment.
    #[must_use]
    pub fn envs<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.env.extend(env.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// Starts the process.
    pub fn spawn(self) -> Result<Process> {
        Process::spawn(self)
    }
}

/// A running or ended child process. Dropping it ends it, and all of its process group, at once.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    child: Child,
    leash: Leash,
    history: Arc<History>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    fn spawn(start: Start) -> Result<Self> {
        if !start.program.is_file() {
            bail!("{} does not exist", start.program.display());
        }
        let mut leash = Leash::new(start.orphaned.as_deref())?;
        let history = Arc::new(History::default());
        let mut child = gated(&start, &history)?;
        let pid = Pid::from_child(&child);
        leash.hold(pid)?;
        leash::open_gate(&mut child)?;
        let exit = watch_exit(pid);
        Ok(Self { name: start.name, pid, child, leash, history, exit })
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operating system's id of the process. It is not given to another one while this value lives.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal to the process alone, not to its children. It is no error if it has ended already.
    pub fn signal(&self, signal: Signal) {
        // The child is reaped only when `self` is dropped, so the id cannot belong to a stranger.
        let _ = kill_process(self.pid, signal);
    }

    /// Asks the process to stop (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends the process where it stands (SIGKILL).
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits until the process has ended, within [`DEADLINE`].
    pub async fn wait(&self) -> Result<ExitStatus> {
        self.wait_within(DEADLINE).await
    }

    /// Waits until the process has ended, and fails with its last lines if that takes longer than `limit`.
    pub async fn wait_within(&self, limit: Duration) -> Result<ExitStatus> {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some);
        match tokio::time::timeout(limit, ended).await {
            Ok(status) => status.context("the watching thread is gone")?.context("no exit status"),
            Err(_) => Err(self.complaint(&format!("has not ended after {limit:?}"))),
        }
    }

    /// The exit status, if the process has ended.
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

    /// Leaves out all lines so far: what is waited for then has to come from now on.
    pub fn from_now(&self) -> FromNow<'_> {
        FromNow::new(self)
    }

    /// Waits for a line, past or future, that `pick` makes something of, within [`DEADLINE`].
    pub async fn wait_for<T>(&self, what: &str, pick: impl FnMut(&str) -> Option<T>) -> Result<T> {
        self.search(self.follow(), what, pick).await
    }

    async fn search<T>(
        &self,
        mut lines: Follow,
        what: &str,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let search = async {
            loop {
                let Some(line) = lines.next().await else { return Err("ended without") };
                if let Some(found) = pick(&line) {
                    return Ok(found);
                }
            }
        };
        let found = tokio::time::timeout(DEADLINE, search)
            .await
            .unwrap_or(Err("gave, within a minute, no sign of"));
        found.map_err(|how| self.complaint(&format!("{how} {what}")))
    }

    /// Waits for a line that contains `text` and gives that line.
    pub async fn wait_for_text(&self, text: &str) -> Result<String> {
        self.wait_for(&format!("{text:?}"), |line| line.contains(text).then(|| line.to_owned()))
            .await
    }

    /// Waits for a JSON log line whose `message` is `message` and gives that line.
    pub async fn wait_for_message(&self, message: &str) -> Result<serde_json::Value> {
        self.wait_for(&format!("the message {message:?}"), |line| json_message(line, message)).await
    }

    /// Waits for the end and for the last line, and gives the exit status and all that was said.
    pub async fn ended(&self) -> Result<(ExitStatus, String)> {
        let status = self.wait_for_last_line(DEADLINE).await?;
        Ok((status, self.lines().join("\n")))
    }

    async fn wait_for_last_line(&self, limit: Duration) -> Result<ExitStatus> {
        let status = self.wait_within(limit).await?;
        // A grandchild may keep the pipe open for ever: then the lines so far have to do.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.history.closed()).await;
        Ok(status)
    }

    /// Waits for the end and for the last line, and gives all lines; fails unless the process ended with success.
    pub async fn succeed_within(&self, limit: Duration) -> Result<Vec<String>> {
        let status = self.wait_for_last_line(limit).await?;
        if status.success() {
            Ok(self.lines())
        } else {
            Err(self.complaint(&format!("ended with {status}")))
        }
    }

    /// An error about this process that shows the last lines it wrote.
    pub fn complaint(&self, what: &str) -> anyhow::Error {
        let lines = self.lines();
        let last = lines[lines.len().saturating_sub(40)..].join("\n  ");
        anyhow!("{} (pid {}) {what}. Its last lines:\n  {last}", self.name, self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
        self.leash.release();
    }
}

/// The JSON log line in `line`, if its `message` is `message`.
pub fn json_message(line: &str, message: &str) -> Option<serde_json::Value> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    (value.get("message")?.as_str()? == message).then_some(value)
}

/// Starts the child behind a gate: it waits to be let through until its leash holds it.
fn gated(start: &Start, history: &Arc<History>) -> Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(leash::GATE).arg(&start.name).arg(&start.program).args(&start.args);
    command.env_clear().envs(start.env.iter().map(|(key, value)| (key, value)));
    command.current_dir(&start.dir).process_group(0).stdin(Stdio::piped());
    if start.capture {
        let (reader, writer) = std::io::pipe().context("no pipe")?;
        command.stdout(writer.try_clone()?).stderr(writer);
        history.read_from(reader);
    } else {
        history.close();
    }
    command.spawn().with_context(|| format!("cannot start {}", start.program.display()))
}

/// Tells of the end of the process without reaping it, so that its id stays its own.
fn watch_exit(pid: Pid) -> watch::Receiver<Option<ExitStatus>> {
    let (tell, exit) = watch::channel(None);
    std::thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let Ok(Some(status)) = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), options))
        else {
            return;
        };
        let code = status.exit_status().map(|code| (code & 0xff) << 8);
        tell.send_replace(code.or(status.terminating_signal()).map(ExitStatus::from_raw));
    });
    exit
}

/// The variables that a program needs from the environment of this process, and nothing else.
pub fn minimal_env() -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    vec![("PATH".into(), path)]
}

/// Runs a program to its end and gives its lines; fails unless it ended with success.
pub async fn run(start: Start, limit: Duration) -> Result<Vec<String>> {
    start.spawn()?.succeed_within(limit).await
}

/// Makes `path` the first place where programs are looked for, before the present `PATH`.
pub(crate) fn path_with(first: &Path) -> OsString {
    let mut path = first.as_os_str().to_owned();
    for (_, rest) in minimal_env() {
        path.push(":");
        path.push(rest);
    }
    path
}
