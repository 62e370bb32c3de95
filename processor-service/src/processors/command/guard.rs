//! The guard process of a command: kills the command's process group when the worker is gone, however that ended.
//!
//! The guard is this program, started once more in front of each command. It leads the process group of the command and
//! of everything that the command starts. Its standard input is a socket to the worker: the input comes in, the progress
//! and at last the exit status go out, with a mark for each signal, and its end means that the worker is gone. Then the
//! guard kills the group, itself with it. It is started before the command and killed with it, so no command is ever
//! without a guard.

use std::{
    convert::Infallible,
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, PipeReader, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
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
/// The descriptor to which a command may write its progress.
const PROGRESS_DESCRIPTOR: RawFd = 3;
/// The longest line about progress in bytes; what is longer is not passed on.
const MAX_PROGRESS_BYTES: u64 = 4096;
/// The line that the guard itself writes to that descriptor when the command has ended.
const LAST_PROGRESS: &[u8] = b"\0\n";
/// What a line about progress begins with when it is passed on.
pub(super) const PROGRESS_PREFIX: &str = "progress ";
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
    let error = match Prepared::new() {
        Ok(prepared) => {
            let Err(error) = guard_command(words, prepared);
            error
        }
        Err(error) => {
            // The worker learns that nothing was begun, whatever is missing: so this is no attempt.
            let _told = rustix::io::write(
                io::stdin(),
                CommandStatus::not_started(&error).to_line().as_bytes(),
            );
            error
        }
    };
    eprintln!("{GUARD_ARGUMENT} is an internal argument of the program: {error}");
    end_group()
}

/// All that a guard needs and that the system may refuse. It is there before the command is started, so that no command is
/// begun in vain.
struct Prepared {
    worker: UnixStream,
    progress: Option<ProgressThread>,
    /// Gives the command's standard input to the thread that writes to it.
    stdin: Sender<ChildStdin>,
    null: File,
}

impl Prepared {
    fn new() -> io::Result<Self> {
        // First, while the descriptor's number is free.
        let progress = progress_pipe()?;
        let mut worker = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        for signal in HANDLED_SIGNALS {
            // Handlers end with exec, while a command would inherit that a signal is ignored. These write `SIGNAL_MARK`.
            signal_hook::low_level::pipe::register(signal, worker.try_clone()?)?;
        }
        let first = read_input(&mut worker)?;
        let (lifeline, (input, further)) = (worker.try_clone()?, mpsc::channel());
        spawn(move || pass_on_input(lifeline, input))?;
        let (stdin, started) = mpsc::channel();
        spawn(move || feed(&started, &first, &further))?;
        let progress = progress.map(|pipe| ProgressThread::start(pipe, worker.try_clone()?));
        let (progress, null) =
            (progress.transpose()?, File::options().write(true).open("/dev/null")?);
        Ok(Self { worker, progress, stdin, null })
    }
}

fn guard_command(
    mut words: impl Iterator<Item = OsString>,
    prepared: Prepared,
) -> io::Result<Infallible> {
    let Prepared { mut worker, progress, stdin: give_stdin, null } = prepared;
    let program = words.next().ok_or_else(|| io::Error::other("it names no program"))?;
    let started = Command::new(program).args(words).stdin(Stdio::piped()).spawn();
    // Or the pipes would stay open after the command has ended.
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    let waited = started.and_then(|mut child| {
        let _taken = child.stdin.take().map(|stdin| give_stdin.send(stdin));
        child.wait()
    });
    // First: after the status only marks of signals may come.
    if let Some(progress) = progress {
        progress.finish();
    }
    worker.write_all(CommandStatus::of(waited).to_line().as_bytes())?;
    // The worker's end ends this process, too.
    loop {
        thread::park();
    }
}

/// A pipe whose end to write to has the number [`PROGRESS_DESCRIPTOR`] here and in what is started. None if the number is
/// taken: somebody has left a file open for this program.
fn progress_pipe() -> io::Result<Option<(PipeReader, OwnedFd)>> {
    let (lowest, writer) = io::pipe()?;
    let reader = lowest.try_clone()?;
    // Its number is the lowest that is free, which a duplicate gets. Unlike the others it is kept in what is started.
    drop(lowest);
    let writer = rustix::io::dup(&writer)?;
    Ok((writer.as_raw_fd() == PROGRESS_DESCRIPTOR).then_some((reader, writer)))
}

/// The thread that sends the lines which the command writes about its progress to the worker.
struct ProgressThread {
    thread: JoinHandle<()>,
    /// The command has it, too, and what the command has started.
    writer: File,
}

impl ProgressThread {
    fn start((reader, writer): (PipeReader, OwnedFd), worker: UnixStream) -> io::Result<Self> {
        let thread = spawn(move || pass_on_progress(reader, worker))?;
        Ok(Self { thread, writer: writer.into() })
    }

    /// Sends what the command has written until now, and ends the thread.
    fn finish(mut self) {
        // What the command wrote may have ended within a line.
        if self.writer.write_all(&[b"\n", LAST_PROGRESS].concat()).is_ok() {
            let _ended = self.thread.join();
        }
    }
}

fn pass_on_progress(from: PipeReader, mut worker: UnixStream) {
    let mut from = BufReader::new(from);
    let (mut line, mut is_rest) = (Vec::new(), false);
    while let Ok(1..) = (&mut from).take(MAX_PROGRESS_BYTES).read_until(b'\n', &mut line) {
        let is_ended = line.ends_with(b"\n");
        if line == LAST_PROGRESS && !is_rest {
            return;
        }
        if is_ended && !is_rest {
            let _sent = worker.write_all(&[PROGRESS_PREFIX.as_bytes(), &line].concat());
        }
        // What follows the beginning of a line that is too long is no line of its own.
        is_rest = !is_ended;
        line.clear();
    }
}

/// Reads a part of the command's input: its length as eight bytes, then itself. One without bytes is the end.
fn read_input(worker: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    worker.read_exact(&mut length)?;
    let (length, mut data) = (u64::from_be_bytes(length), Vec::new());
    let read = worker.take(length).read_to_end(&mut data)?;
    if read as u64 == length { Ok(data) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Passes on what the worker sends to the command, until the worker is gone; then kills the group.
fn pass_on_input(mut worker: UnixStream, input: Sender<Vec<u8>>) -> ! {
    let mut input = Some(input);
    while let Ok(part) = read_input(&mut worker) {
        if part.is_empty() {
            input = None;
        } else if let Some(input) = &input {
            let _taken_or_over = input.send(part);
        }
    }
    end_group()
}

/// Writes the input to the command once it is started. It need not read it, and its input is closed at the end of that.
fn feed(started: &Receiver<ChildStdin>, first: &[u8], further: &Receiver<Vec<u8>>) {
    let Ok(mut stdin) = started.recv() else { return };
    let mut taken = stdin.write_all(first);
    while let (Ok(()), Ok(part)) = (&taken, further.recv()) {
        taken = stdin.write_all(&part);
    }
}

/// Kills the process group, this process with it.
fn end_group() -> ! {
    let _killed = kill_process_group(getpid(), Signal::KILL);
    // A process that was not started as a guard leads no group, and is still here.
    std::process::exit(1)
}

fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().spawn(work)
}
