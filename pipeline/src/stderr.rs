//! Standard error without blocking: a bounded queue of lines, written by a thread of its own. Lines that find no room are
//! dropped and counted.
//!
//! Standard error may be a pipe whose reader has stopped, or a terminal that somebody has paused. A write to it then blocks
//! for as long as that lasts, and must not hold up work.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use crate::threads::give_way;

/// The most bytes that wait to be written. Lines beyond are dropped.
const MAX_QUEUED_BYTES: usize = 4 << 20;
/// How many bytes of lines that wait are written at once: a write costs more than a line.
const MAX_WRITE_BYTES: usize = 64 << 10;
/// For how long after a write lines are gathered for the next one. Each wakes this program's thread, and the reader.
const GATHER_TIME: Duration = Duration::from_millis(2);
/// The pause before another write to an output that is full and does not block.
const FULL_PAUSE: Duration = Duration::from_millis(5);
/// How long the end of a program waits until its last lines are written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

static QUEUE: LazyLock<Arc<LineQueue>> =
    LazyLock::new(|| LineQueue::start(MAX_QUEUED_BYTES, io::stderr()));

/// Queues what is written to it for standard error. Each write is kept or dropped as a whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StderrWriter;

impl Write for StderrWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        QUEUE.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a line to standard error, after all lines so far. Gives up after a second if nobody reads.
pub fn print(line: &str) {
    QUEUE.push(format!("{line}\n").as_bytes());
    flush();
}

/// Waits until all lines so far are written, for a second at most.
pub fn flush() {
    QUEUE.flush(FLUSH_TIMEOUT);
}

/// Lines on their way to an output.
#[derive(Debug)]
struct LineQueue {
    max_bytes: usize,
    state: Mutex<State>,
    pushed: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// Of the lines that wait, and of those that are being written.
    bytes: usize,
    /// Whether lines that were taken out are being written.
    writing: bool,
    /// Whether the thread sleeps until there is a line.
    waiting: bool,
    /// How many lines were dropped since that was last logged.
    dropped: u64,
}

impl LineQueue {
    /// A queue of at most `max_bytes`, and the thread that writes it to `output`.
    fn start(max_bytes: usize, output: impl Write + Send + 'static) -> Arc<Self> {
        let (state, pushed, written) = Default::default();
        let queue = Arc::new(Self { max_bytes, state, pushed, written });
        let writer = queue.clone();
        // Without the thread the program still does its work, and its log is lost.
        let write = move || {
            give_way();
            writer.write_to(output);
        };
        let _started = thread::Builder::new().name("stderr".to_owned()).spawn(write);
        queue
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.bytes + line.len() > self.max_bytes {
            state.dropped += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        let is_awaited = std::mem::take(&mut state.waiting);
        // First, or the thread would wake only to wait for the lock.
        drop(state);
        // To notify nobody would be a system call, too.
        if is_awaited {
            self.pushed.notify_one();
        }
    }

    fn flush(&self, timeout: Duration) {
        let is_busy = |state: &mut State| state.writing || !state.lines.is_empty();
        let _idle_or_late = self.written.wait_timeout_while(self.lock(), timeout, is_busy);
    }

    fn write_to(&self, mut output: impl Write) {
        let mut last_write = None;
        loop {
            let lines = self.next(last_write);
            // There is nowhere to tell of an error here. Such a line is not counted, or counting would write the next.
            let _written = write_all(&mut output, &lines).and_then(|()| output.flush());
            last_write = Some(Instant::now());
            self.lock().bytes -= lines.len();
            if let Some(dropped) = self.take_dropped() {
                warn!(dropped, "log lines were dropped: standard error was not read in time");
            }
            self.lock().writing = false;
            self.written.notify_all();
        }
    }

    /// Waits for the next lines to write: those that wait, as far as they are short. The first after a while is not held up
    /// for others.
    fn next(&self, last_write: Option<Instant>) -> Vec<u8> {
        let is_empty = |state: &mut State| {
            state.waiting = state.lines.is_empty();
            state.waiting
        };
        let waited = self.pushed.wait_while(self.lock(), is_empty);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        if let Some(last) = last_write {
            thread::sleep(GATHER_TIME.saturating_sub(last.elapsed()));
        }
        let mut state = self.lock();
        let mut lines = state.lines.pop_front().unwrap_or_default();
        while let Some(next) =
            state.lines.pop_front_if(|next| lines.len() + next.len() <= MAX_WRITE_BYTES)
        {
            lines.extend(next);
        }
        state.writing = true;
        lines
    }

    /// The number of dropped lines, once there is room again to tell it.
    fn take_dropped(&self) -> Option<u64> {
        let mut state = self.lock();
        let tell = state.dropped > 0 && state.bytes <= self.max_bytes / 2;
        tell.then(|| std::mem::take(&mut state.dropped))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all of it, also to an output that does not block: another program may have made standard error such, since all
/// that share a terminal or a pipe share that setting.
fn write_all(output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Instant,
    };

    use super::*;

    /// An output that blocks until the other end of its channel is gone.
    struct Blocked(mpsc::Receiver<()>);

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _gone = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Counts the writes.
    struct Counting(Arc<AtomicUsize>);

    impl Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_come_one_after_the_other_share_a_write() {
        let writes = Arc::new(AtomicUsize::new(0));
        let queue = LineQueue::start(MAX_QUEUED_BYTES, Counting(writes.clone()));
        let began = Instant::now();
        for _ in 0..100 {
            queue.push(b"line\n");
            // As long as the thread would need to write it.
            thread::sleep(Duration::from_micros(200));
        }
        queue.flush(Duration::from_secs(60));
        let writes = writes.load(Ordering::Relaxed) as u128;
        let most = began.elapsed().as_millis() / GATHER_TIME.as_millis() + 2;
        assert!((1..=most).contains(&writes) && writes < 90, "{writes} writes, at most {most}");
    }

    /// Takes three bytes at every second write, and is full at the others.
    #[derive(Default)]
    struct OftenFull {
        is_free: bool,
        taken: Vec<u8>,
    }

    impl Write for OftenFull {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.is_free = !self.is_free;
            if self.is_free {
                return Err(ErrorKind::WouldBlock.into());
            }
            let taken = &bytes[..bytes.len().min(3)];
            self.taken.extend(taken);
            Ok(taken.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_is_lost_at_an_output_that_does_not_block_and_is_full() {
        let mut output = OftenFull::default();
        write_all(&mut output, b"two\nlines\n").unwrap();
        assert_eq!(output.taken, b"two\nlines\n");
    }

    #[test]
    fn an_output_that_blocks_holds_up_nobody_and_what_finds_no_room_is_counted() {
        let (unblock, blocked) = mpsc::channel();
        let queue = LineQueue::start(1000, Blocked(blocked));
        for _ in 0..100 {
            queue.push(&[b'x'; 100]);
        }
        let began = Instant::now();
        queue.flush(Duration::from_millis(10));
        assert!(began.elapsed() < Duration::from_secs(10));
        // Ten wait; one more may be on its way.
        let dropped = queue.lock().dropped;
        assert!((89..=90).contains(&dropped), "{dropped}");
        assert_eq!(queue.take_dropped(), None, "there is no room yet to log it");
        drop(unblock);
        queue.flush(Duration::from_secs(60));
        let state = queue.lock();
        assert_eq!((state.lines.len(), state.bytes, state.dropped), (0, 0, 0));
    }
}
