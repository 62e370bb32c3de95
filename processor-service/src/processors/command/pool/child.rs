//! A child of the command pool: does one job after the other, and is not used again after anything unexpected.

use std::{future::pending, io, pin::pin, time::Duration};

use futures_util::{FutureExt, future::join3};
use rustix::io::Errno;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, copy, sink},
    net::UnixStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    processor::{error::ProcessError, job::Job},
    processors::command::{
        command_line::CommandLine,
        exit_status::CommandStatus,
        guard::{Guard, PROGRESS_PREFIX, SIGNAL_MARK},
        interruption::is_interrupted,
        pool::lines,
        process_group::{self, Pipes, ProcessGroup, end_input, send_input},
        reaper::OwnChildren,
        stderr::Stderr,
    },
};

/// How long what a child has written, and how it ended, may come after its end.
const END_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a child that is not needed any more may take to end.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much a pipe holds, in bytes.
const PIPE_BYTES: usize = 64 << 10;
/// What an answer may have beside its result, in bytes.
const MAX_ANSWER_OVERHEAD_BYTES: usize = 4096;

/// A child that stays up. It is killed, with all that it has started, when this is dropped.
pub(super) struct Child {
    group: ProcessGroup,
    pipes: Pipes,
    stderr: Stderr,
    /// What was read of the guard's present line.
    guard_line: Vec<u8>,
    /// What was read of standard output and belongs to no job yet.
    output: Vec<u8>,
    jobs: u64,
}

/// What came of a job.
pub(super) enum Reply {
    /// The child has answered with this line, and may be used again or not.
    Answered { line: Vec<u8>, is_usable: bool },
    /// It wrote more than the limit.
    TooLong,
    /// It ended without an answer, or at least its output did.
    Ended(Option<CommandStatus>),
}

impl Reply {
    /// Whether the child ended with exit code 0 and without an answer.
    pub(super) fn is_end_without_failure(&self) -> bool {
        matches!(self, Self::Ended(Some(CommandStatus::Code(0))))
    }
}

/// What was read of a line.
enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

impl Child {
    /// Starts a child for its first job.
    pub(super) fn start(
        guard: &Guard,
        line: &CommandLine,
        children: &OwnChildren,
        job: &Job,
    ) -> io::Result<Self> {
        let (group, pipes) = process_group::start(guard, line, Vec::new(), children)?;
        let stderr = Stderr::new(job.id.clone());
        Ok(Self { group, pipes, stderr, guard_line: Vec::new(), output: Vec::new(), jobs: 0 })
    }

    /// How many jobs it has had.
    pub(super) fn jobs(&self) -> u64 {
        self.jobs
    }

    /// Whether it is there and has written nothing since its last answer.
    pub(super) fn is_idle(&mut self) -> bool {
        let told = self.pipes.guard.fill_buf().now_or_never();
        let is_over = matches!(told, Some(Ok([]) | Err(_)));
        !self.output_has_ended()
            && !is_over
            && self.output.trim_ascii().is_empty()
            && !self.has_status()
    }

    /// Reads what it has written. Whether that was all there will be is asked from the pipe itself: the runtime may not
    /// have noticed yet.
    fn output_has_ended(&mut self) -> bool {
        let mut read = [0; 4096];
        match rustix::io::read(&self.pipes.stdout, &mut read) {
            Ok(0) => true,
            Ok(count) => {
                self.output.extend_from_slice(&read[..count]);
                false
            }
            Err(error) => !matches!(error, Errno::AGAIN | Errno::INTR),
        }
    }

    /// Whether the guard has told how the child ended.
    fn has_status(&mut self) -> bool {
        let _read_or_not = read_status(&mut self.pipes.guard, &mut self.guard_line).now_or_never();
        self.guard_line.ends_with(b"\n")
    }

    /// Has the child do a job. It is not used again if it ended, if it wrote too much or not what it should, or if this is
    /// dropped. Returns whether its process group was signalled, too.
    pub(super) async fn work(&mut self, job: &Job, result_limit: usize) -> (Reply, bool) {
        self.jobs += 1;
        self.read_late_errors();
        self.stderr.begin(job.id.clone());
        self.output.clear();
        // Signals that came before this job.
        self.guard_line.retain(|byte| *byte != SIGNAL_MARK as u8);
        let (order, limit) =
            (lines::order(job), result_limit.saturating_add(MAX_ANSWER_OVERHEAD_BYTES));
        let (mut was_sent, mut signalled, mut is_terminated) = (false, false, false);
        let Self { group, pipes: Pipes { guard, stdout, stderr: errors }, stderr, .. } = self;
        let (ended, line) = {
            let mut status = pin!(async {
                // A guard that could not begin tells so, and reads nothing.
                was_sent = send_input(guard, &order).await.is_ok();
                wait_for_status(guard, &mut self.guard_line, job, &mut signalled).await
            });
            let mut answer = pin!(read_line(stdout, &mut self.output, limit));
            let mut errors = pin!(async {
                stderr.read(errors).await;
                pending().await
            });
            let mut ended = None;
            let line = tokio::select! {
                biased;
                line = answer.as_mut() => line,
                status = status.as_mut() => {
                    ended = Some(status);
                    // What it wrote before its end counts.
                    timeout(END_TIMEOUT, answer.as_mut()).await.unwrap_or(Line::End)
                }
                never = errors.as_mut() => never,
                never = async {
                    job.stop.cancelled().await;
                    is_terminated = true;
                    group.terminate();
                    pending().await
                } => never,
            };
            if matches!(line, Line::End) && ended.is_none() {
                ended = timeout(END_TIMEOUT, status).await.ok();
            }
            // What it wrote before its answer belongs to this job.
            let _all_that_is_there = errors.now_or_never();
            (ended, line)
        };
        signalled |= self.guard_line.starts_with(&[SIGNAL_MARK as u8]);
        let reply = match line {
            Line::Whole(line) => {
                let is_alone = self.output.trim_ascii().is_empty();
                // One that was asked to end may answer first, and would end in the next job.
                let goes_on = ended.is_none() && !is_terminated;
                Reply::Answered { line, is_usable: was_sent && is_alone && goes_on }
            }
            Line::TooLong => Reply::TooLong,
            Line::End => Reply::Ended(ended),
        };
        (reply, signalled)
    }

    /// Reads what it has written to standard error since its last job: that is not the next one's. As `output_has_ended`,
    /// this asks the pipe itself.
    fn read_late_errors(&mut self) {
        self.stderr.end();
        let mut read = [0; 4096];
        // Not for ever, if it never ceases to write.
        for _ in 0..PIPE_BYTES / read.len() {
            match rustix::io::read(&self.pipes.stderr, &mut read) {
                Ok(count @ 1..) => self.stderr.take(&read[..count]),
                _ => return,
            }
        }
    }

    /// The end of what it wrote to standard error during its job.
    pub(super) fn errors(&self) -> String {
        self.stderr.tail()
    }

    /// Whether a job that ended like this was interrupted by the stop of the program.
    pub(super) async fn is_interrupted(
        &mut self,
        status: &CommandStatus,
        signalled: bool,
        stopping: &CancellationToken,
    ) -> bool {
        let Self { pipes: Pipes { guard, .. }, guard_line, .. } = self;
        is_interrupted(status, signalled, guard, guard_line, stopping).await
    }

    /// Kills it, with all that it has started, and waits for its end.
    pub(super) async fn kill(self) {
        self.group.kill_and_wait().await;
    }

    /// Ends its input, and lets it end by itself for a while.
    pub(super) async fn retire(mut self) {
        let _ended_or_late = timeout(RETIRE_TIMEOUT, self.end()).await;
        self.kill().await;
    }

    /// Ends its input, and waits for its end. What it writes meanwhile is read, or a child that writes much could not end.
    async fn end(&mut self) {
        self.stderr.end();
        let Self { pipes: Pipes { guard, stdout, stderr: errors }, stderr, guard_line, .. } = self;
        if end_input(guard).await.is_ok() {
            let mut nobody = sink();
            let _all_is_read = join3(
                read_status(guard, guard_line),
                copy(stdout, &mut nobody),
                stderr.read(errors),
            )
            .await;
        }
    }
}

/// Reads until `line` is the one in which the guard tells how the child ended, or the guard is gone. Marks of signals, and
/// late progress, are read past. What was read stays in `line` when this is dropped.
async fn read_status(guard: &mut BufReader<UnixStream>, line: &mut Vec<u8>) {
    while !line.ends_with(b"\n") || is_progress(line) {
        if line.ends_with(b"\n") {
            line.clear();
        }
        if !matches!(guard.read_until(b'\n', line).await, Ok(1..)) {
            return;
        }
    }
}

fn is_progress(line: &[u8]) -> bool {
    String::from_utf8_lossy(line).trim_start_matches(SIGNAL_MARK).starts_with(PROGRESS_PREFIX)
}

/// Waits until the guard tells how the child ended, and takes its progress meanwhile.
async fn wait_for_status(
    guard: &mut BufReader<UnixStream>,
    line: &mut Vec<u8>,
    job: &Job,
    signalled: &mut bool,
) -> CommandStatus {
    // What was read stays in `line` when this is dropped.
    while let Ok(1..) = guard.read_until(b'\n', line).await {
        let text = String::from_utf8_lossy(line).into_owned();
        line.clear();
        let told = text.trim_start_matches(SIGNAL_MARK);
        *signalled |= told.len() < text.len();
        match told.strip_prefix(PROGRESS_PREFIX) {
            Some(report) => _ = job.reporter.report_json(report.as_bytes()),
            None => return CommandStatus::parse(told.trim_end()),
        }
    }
    CommandStatus::Unknown
}

/// Reads a line of at most so many bytes. What was read of it stays in `read` when this is dropped.
async fn read_line(from: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>, limit: usize) -> Line {
    let mut searched = 0;
    loop {
        if let Some(at) = read[searched..].iter().position(|byte| *byte == b'\n') {
            let rest = read.split_off(searched + at + 1);
            return Line::Whole(std::mem::replace(read, rest));
        }
        searched = read.len();
        if searched > limit {
            return Line::TooLong;
        }
        if !matches!(from.read_buf(read).await, Ok(1..)) {
            return Line::End;
        }
    }
}

/// The failure of a job whose child ended without an answer.
pub(super) fn no_answer(status: Option<&CommandStatus>, errors: &str) -> ProcessError {
    let Some(status) = status else {
        return ProcessError::transient("the command closed its standard output without an answer");
    };
    status.failure(errors).unwrap_or_else(|| {
        ProcessError::transient("the command ended with exit code 0 and without an answer")
    })
}
