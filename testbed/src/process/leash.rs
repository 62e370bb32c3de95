//! The leash: a guardian that ends a child when its owner is gone, however it went.
//!
//! The guardian is a shell that waits at the end of a pipe held by the owner. The kernel closes the pipe when the
//! owner dies, also by SIGKILL; then the guardian kills the child's process group. (Linux could signal the child by
//! itself, but does so already when the *thread* that started it ends, which is of no use with a thread pool.)
//!
//! A child must never be without a leash, not even for a moment. So it is started behind a gate: it waits for a line
//! on its standard input, which is written once the guardian knows it; if the owner dies before, the gate reads the
//! end of the input, and the program is never run.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result};
use rustix::process::Pid;

/// What the child's shell runs before it becomes the program. More open files than the usual 1024 do no harm to
/// any program and are needed by RabbitMQ; far more would make Erlang allocate gigabytes. A limit to the size of
/// files is to be an error of the write, like a full disk, and not the end of the program.
pub(super) const GATE: &str = r#"
read -r go || exit 1
trap '' XFSZ
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)" 2>/dev/null
exec "$@" </dev/null
"#;

const GUARDIAN: &str = r#"
trap '' INT TERM HUP QUIT
read -r group || exit 0
read -r released && exit 0
kill -s KILL -- "-$group" 2>/dev/null
[ -n "$1" ] || exit 0
tries=0
while kill -s 0 -- "-$group" 2>/dev/null && [ "$tries" -lt 20 ]; do sleep 0.05; tries=$((tries + 1)); done
rm -rf -- "$1"
"#;

/// The owner's end of the leash.
#[derive(Debug)]
pub(super) struct Leash {
    guardian: Child,
    pipe: Option<ChildStdin>,
}

impl Leash {
    /// Starts a guardian; `remove` is the folder it cleans away should the owner die.
    pub(super) fn new(remove: Option<&Path>) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", GUARDIAN, "leash"])
            .args(remove)
            .env_clear()
            .env("PATH", "/usr/bin:/bin");
        // Its own process group keeps Ctrl-C, which the terminal sends to the whole group, away from it.
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut guardian =
            command.spawn().context("cannot start the guardian of a child process")?;
        let pipe = guardian.stdin.take();
        Ok(Self { guardian, pipe })
    }

    /// Tells the guardian which process group it is for.
    pub(super) fn hold(&mut self, pid: Pid) -> Result<()> {
        self.tell(&pid.as_raw_nonzero().to_string())
            .context("the guardian of a child process is gone")
    }

    /// Sends the guardian away: the child was ended by its owner.
    pub(super) fn release(&mut self) {
        let _ = self.tell("released");
        self.pipe = None;
        let _ = self.guardian.wait();
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        let pipe = self.pipe.as_mut().context("the leash was released")?;
        Ok(writeln!(pipe, "{line}")?)
    }
}

/// Lets the child through its gate.
pub(super) fn open_gate(child: &mut Child) -> Result<()> {
    let mut gate = child.stdin.take().context("the child has no gate")?;
    writeln!(gate, "go").context("the child is gone before it was let through its gate")
}
