//! The guardian: a shell that kills a child when the process that started it is gone, however it went.
//!
//! The guardian waits at the end of a pipe held by the owner. The kernel closes the pipe when the owner dies, also by
//! SIGKILL; then the guardian kills the child's process group, and the child's own children that left it, as PostgreSQL's
//! do: one of these that is stopped by SIGSTOP could not notice that the child is gone. (Linux could signal the child by itself, but does so
//! already when the *thread* that started it ends, which is of no use with a thread pool.)
//!
//! A child must never run without its guardian, not even for a moment. So it starts behind a gate: it waits for a line
//! on its standard input, which is written once the guardian knows it. If the owner dies before, the gate reads the end
//! of the input, and the program is never run.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result};
use rustix::process::Pid;

/// What the child's shell runs before it becomes the program. RabbitMQ needs more open files than the usual 1024, which
/// harm no other program; far more would make Erlang allocate gigabytes. SIGXFSZ is ignored so that a limit to the size
/// of files makes a write fail, as a full disk does, and does not kill the program.
pub(super) const GATE: &str = r#"
read -r go || exit 1
trap '' XFSZ
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)" 2>/dev/null
exec "$@" </dev/null
"#;

const GUARDIAN: &str = r#"
trap '' INT TERM HUP QUIT
read -r group || exit 0
read -r dismissed && exit 0
children=$(cat "/proc/$group/task"/*/children 2>/dev/null)
kill -s KILL -- "-$group" $children 2>/dev/null
[ -n "$1" ] || exit 0
tries=0
while kill -s 0 -- "-$group" 2>/dev/null && [ "$tries" -lt 20 ]; do sleep 0.05; tries=$((tries + 1)); done
rm -rf -- "$1"
"#;

/// The owner's side of a guardian.
#[derive(Debug)]
pub(super) struct Guardian {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Starts a guardian; it removes the folder `remove` after the child if the owner dies.
    pub(super) fn start(remove: Option<&Path>) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", GUARDIAN, "guardian"])
            .args(remove)
            .env_clear()
            .env("PATH", "/usr/bin:/bin");
        // Its own process group keeps Ctrl-C, which the terminal sends to the whole group, away from it.
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().context("cannot start the guardian of a child process")?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// Names the process group that is to be killed if the owner dies.
    pub(super) fn guard(&mut self, pid: Pid) -> Result<()> {
        self.write(&pid.as_raw_nonzero().to_string())
            .context("the guardian of a child process is gone")
    }

    /// Ends the guardian: the child was ended by its owner.
    pub(super) fn dismiss(&mut self) {
        let _ = self.write("dismissed");
        self.pipe = None;
        let _ = self.shell.wait();
    }

    fn write(&mut self, line: &str) -> Result<()> {
        let pipe = self.pipe.as_mut().context("the guardian was dismissed")?;
        Ok(writeln!(pipe, "{line}")?)
    }
}

/// Lets the child through its gate.
pub(super) fn open_gate(child: &mut Child) -> Result<()> {
    let mut gate = child.stdin.take().context("the child has no gate")?;
    writeln!(gate, "go").context("the child is gone before it was let through its gate")
}
