//! The guard of a command: this very program, started once more in front of each command, so that none outlives its
//! worker, however that ends.
//!
//! It leads a process group, in which the command is and whatever that starts. Its standard input is a socket to the
//! worker: the data comes in, how the command ended goes out, and its end means that the worker is gone. Then the guard
//! kills the group, itself with it. It is there before the command and killed with it, so no command is ever without one.

use std::{
    convert::Infallible,
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::AsFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::Arc,
    thread,
};

use rustix::{
    process::{Signal, getpid, kill_process_group},
    stdio::{dup2_stderr, dup2_stdout},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::{CommandLine, ended::Ended};

/// What makes the program a guard, as its first argument.
const ARGUMENT: &str = "--guard-a-command";
/// The running program, also if its file was replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// What a command may send to its own group, and a worker does to ask it to end.
const SURVIVED: [i32; 6] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];

/// The program that guards commands.
#[derive(Debug, Clone)]
pub struct Guard {
    program: PathBuf,
}

impl Guard {
    /// Makes the running program a guard of commands. This must be the first thing in `main`, since each
    /// guard is the program started once more: then this doesn't return.
    ///
    /// # Errors
    /// If the program can't be found again.
    pub fn first_in_main() -> io::Result<Self> {
        let mut arguments = std::env::args_os().skip(1);
        if arguments.next().is_some_and(|first| first == ARGUMENT) {
            serve(arguments);
        }
        let own = Path::new(OWN_PROGRAM);
        Ok(Self { program: if own.exists() { own.to_owned() } else { std::env::current_exe()? } })
    }

    /// Takes this program, whose `main` begins with [`Guard::first_in_main`], as `processor-service`
    /// does. It must be of the same release.
    pub fn program(path: impl Into<PathBuf>) -> Self {
        Self { program: path.into() }
    }

    /// What starts the guard of a command.
    pub(super) fn of(&self, line: &CommandLine) -> Command {
        let mut command = Command::new(&self.program);
        command.arg0("processor-service").arg(ARGUMENT).arg(&line.program).args(&line.arguments);
        command
    }
}

/// Guards one command, until this process is killed.
fn serve(words: impl Iterator<Item = OsString>) -> ! {
    let Err(error) = guard(words);
    eprintln!("{ARGUMENT} is for the program's own use: {error}");
    end_group()
}

fn guard(mut words: impl Iterator<Item = OsString>) -> io::Result<Infallible> {
    for signal in SURVIVED {
        // Handled, and not ignored, which the command would inherit.
        signal_hook::flag::register(signal, Arc::default())?;
    }
    let mut worker = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let data = read_data(&mut worker)?;
    let lifeline = worker.try_clone()?;
    spawn(move || wait_for_end(lifeline))?;
    let program = words.next().ok_or_else(|| io::Error::other("it names no program"))?;
    let started = Command::new(program).args(words).stdin(Stdio::piped()).spawn();
    // Or the worker would not see the end of what the command writes.
    let nowhere = File::options().write(true).open("/dev/null")?;
    dup2_stdout(&nowhere)?;
    dup2_stderr(&nowhere)?;
    let ended = started.and_then(|mut child| {
        let stdin = child.stdin.take();
        spawn(move || feed(stdin, &data))?;
        child.wait()
    });
    worker.write_all(Ended::of(ended).line().as_bytes())?;
    wait_for_end(worker)
}

/// The data: its length in eight bytes, and then itself.
fn read_data(worker: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    worker.read_exact(&mut length)?;
    let (length, mut data) = (u64::from_be_bytes(length), Vec::new());
    let read = worker.take(length).read_to_end(&mut data)?;
    if read as u64 == length { Ok(data) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Gives the command its data. It need not read it.
fn feed(stdin: Option<ChildStdin>, data: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _all_or_not = stdin.write_all(data);
    }
}

/// The worker sends nothing more: what can be read is its end.
fn wait_for_end(mut worker: UnixStream) -> ! {
    let _its_end = worker.read(&mut [0]);
    end_group()
}

/// Kills the group, and this process with it.
fn end_group() -> ! {
    let _killed = kill_process_group(getpid(), Signal::KILL);
    // Only one that was not started as a guard is still here.
    std::process::exit(1)
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().spawn(work).map(|_| ())
}
