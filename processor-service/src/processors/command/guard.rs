//! The guard process of a command: kills the command's process group when the worker is gone, however that ended.
//!
//! The guard is this program, started once more in front of each command. It leads the process group of the command and
//! of everything that the command starts. Its standard input is a socket to the worker: the data comes in, the exit
//! status goes out, with a mark for each signal, and its end means that the worker is gone. Then the guard kills the group, itself with it. It is
//! started before the command and killed with it, so no command is ever without a guard.

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
    thread,
};

use rustix::{
    process::{Signal, getpid, kill_process_group},
    stdio::{dup2_stderr, dup2_stdout},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::processors::command::{command_line::CommandLine, exit_status::CommandStatus};

/// The first argument of a program that is started as a guard.
const GUARD_ARGUMENT: &str = "--guard-a-command";
/// The running program, even if its file was replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// What the guard sends to the worker for each signal that it gets.
pub(super) const SIGNAL_MARK: char = 'X';
/// The signals that the guard survives when they are sent to its group: by the worker to stop the command, by a
/// service manager to stop the whole service, or by the command itself.
const HANDLED_SIGNALS: [i32; 6] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];

/// The program that is started as the guard of each command.
#[derive(Debug, Clone)]
pub struct Guard {
    program: PathBuf,
}

impl Guard {
    /// Uses the running program as guard. This must be the first call in `main`: where the program was started as a
    /// guard, it does not return.
    ///
    /// # Errors
    /// If the program's own file is not found.
    pub fn first_in_main() -> io::Result<Self> {
        serve_if_started_as_guard();
        Self::own_program()
    }

    /// Uses the running program as guard. Its `main` must begin with [`processor_service::main`](crate::main), one of its
    /// other forms, or [`Guard::first_in_main`].
    ///
    /// # Errors
    /// If the program's own file is not found.
    pub fn own_program() -> io::Result<Self> {
        let own = Path::new(OWN_PROGRAM);
        Ok(Self { program: if own.exists() { own.to_owned() } else { std::env::current_exe()? } })
    }

    /// Uses another program as guard, whose `main` begins with [`Guard::first_in_main`], as that of `processor-service`
    /// does. It must be of the same release.
    pub fn program(path: impl Into<PathBuf>) -> Self {
        Self { program: path.into() }
    }

    /// The command that starts the guard of this command.
    pub(super) fn command(&self, line: &CommandLine) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg0("processor-service")
            .arg(GUARD_ARGUMENT)
            .arg(&line.program)
            .args(&line.arguments);
        command
    }
}

/// Does not return where this process was started as a guard.
pub(crate) fn serve_if_started_as_guard() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == GUARD_ARGUMENT) {
        serve(arguments);
    }
}

/// Guards one command, until this process is killed.
fn serve(words: impl Iterator<Item = OsString>) -> ! {
    let Err(error) = guard_command(words);
    eprintln!("{GUARD_ARGUMENT} is an internal argument of the program: {error}");
    end_group()
}

fn guard_command(mut words: impl Iterator<Item = OsString>) -> io::Result<Infallible> {
    let mut worker = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    for signal in HANDLED_SIGNALS {
        // Handlers end with exec, while a command would inherit that a signal is ignored. These write `SIGNAL_MARK`.
        signal_hook::low_level::pipe::register(signal, worker.try_clone()?)?;
    }
    let data = read_data(&mut worker)?;
    let lifeline = worker.try_clone()?;
    spawn(move || wait_for_end(lifeline))?;
    let program = words.next().ok_or_else(|| io::Error::other("it names no program"))?;
    let started = Command::new(program).args(words).stdin(Stdio::piped()).spawn();
    // Or the pipes would stay open after the command has ended.
    let null = File::options().write(true).open("/dev/null")?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    let waited = started.and_then(|mut child| {
        let stdin = child.stdin.take();
        spawn(move || feed(stdin, &data))?;
        child.wait()
    });
    worker.write_all(CommandStatus::of(waited).to_line().as_bytes())?;
    wait_for_end(worker)
}

/// Reads the data: its length as eight bytes, then itself.
fn read_data(worker: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    worker.read_exact(&mut length)?;
    let (length, mut data) = (u64::from_be_bytes(length), Vec::new());
    let read = worker.take(length).read_to_end(&mut data)?;
    if read as u64 == length { Ok(data) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Writes the data to the command, which need not read it.
fn feed(stdin: Option<ChildStdin>, data: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _all_or_part = stdin.write_all(data);
    }
}

/// Waits until the worker is gone, and kills the group. The worker sends nothing more, so reading ends with it.
fn wait_for_end(mut worker: UnixStream) -> ! {
    let _end = worker.read(&mut [0]);
    end_group()
}

/// Kills the process group, this process with it.
fn end_group() -> ! {
    let _killed = kill_process_group(getpid(), Signal::KILL);
    // A process that was not started as a guard leads no group, and is still here.
    std::process::exit(1)
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().spawn(work).map(|_| ())
}
