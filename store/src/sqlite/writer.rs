//! The thread that writes.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::mpsc::Receiver;

use super::{
    file::{File, Identity},
    write::{self, Answer},
};
use crate::{StoreError, command::Write, health::Monitor};
use pipeline::backoff::Backoff;

/// The pause after a failed attempt to open the file.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// How many commands share a commit at most.
const BATCH: usize = 512;
/// From how many callers on it pays to wait for more before a commit.
const CROWD: usize = 4;
/// How long to wait for as many callers as the commit before had.
const GATHERING: Duration = Duration::from_micros(700);
const STEP: Duration = Duration::from_micros(100);

pub(super) struct Writer {
    file: Arc<File>,
    health: Monitor,
    commands: Receiver<Write>,
    connection: Option<(Connection, Identity)>,
    /// Since when the file is open.
    opened: Instant,
    /// A file that can be opened, and yet takes no writes, is tried less and less often.
    backoff: Backoff,
    /// How many commands the commit before had.
    crowd: usize,
}

impl Writer {
    pub(super) fn new(file: Arc<File>, health: Monitor, commands: Receiver<Write>) -> Self {
        let (opened, backoff) = (Instant::now(), Backoff::storing());
        Self { file, health, commands, connection: None, opened, backoff, crowd: 0 }
    }

    /// Works until nobody can ask for anything any more.
    pub(super) fn run(mut self) {
        let (mut batch, mut answers) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        while self.is_open_or_opens() {
            self.gather();
            if self.commands.blocking_recv_many(&mut batch, BATCH) == 0 {
                return;
            }
            self.crowd = batch.len();
            let mut commands = batch.drain(..);
            let committed = self.commit(&mut commands, &mut answers);
            match &committed {
                Ok(()) => self.health.committed(),
                Err(reason) => {
                    self.connection = None;
                    self.health.away(reason);
                }
            }
            let committed = committed.map_err(StoreError::Unavailable);
            answers.drain(..).for_each(|answer| answer(committed.clone()));
            if committed.is_err() {
                // Those whose turn had not come learn it by their replies being dropped.
                drop(commands);
                let pause = self.backoff.next_pause_after(self.opened.elapsed());
                self.pause(pause);
            }
        }
    }

    /// Opens the file if need be, for as long as that takes. False when nobody can ask any more.
    fn is_open_or_opens(&mut self) -> bool {
        while self.connection.is_none() && !self.commands.is_closed() {
            match self.file.open_to_write() {
                Ok(opened) => {
                    self.connection = Some(opened);
                    self.opened = Instant::now();
                    self.health.opened();
                }
                Err(reason) => {
                    self.health.away(&reason);
                    self.pause(RETRY_INTERVAL);
                }
            }
        }
        self.connection.is_some()
    }

    /// Lets some time pass. Nobody asks meanwhile, and those who asked just before are let go.
    fn pause(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        while Instant::now() < end && !self.commands.is_closed() {
            while self.commands.try_recv().is_ok() {}
            let left = end.saturating_duration_since(Instant::now());
            thread::sleep(left.min(RETRY_INTERVAL));
        }
    }

    /// In a crowd, waits a moment for those who had an answer from the commit before and are about
    /// to ask again: a commit for many costs little more than one for a few. A single caller never
    /// waits.
    fn gather(&self) {
        if self.crowd < CROWD {
            return;
        }
        let end = Instant::now() + GATHERING;
        while self.commands.len() < self.crowd && Instant::now() < end {
            thread::sleep(STEP);
        }
    }

    /// Does all of them in one transaction. If that succeeds, all is on disk.
    fn commit(
        &mut self,
        commands: &mut impl Iterator<Item = Write>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), String> {
        let Some((connection, identity)) = &mut self.connection else {
            return Err("the file is not open".to_owned());
        };
        self.file.still(*identity)?;
        let done = write::all(connection, commands, answers);
        done.map_err(|error| self.file.explain(&error))
    }
}
