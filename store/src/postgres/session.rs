//! A session: one connection to the server, replaced when it fails, and the repetition of work that fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    command::Reply,
    error::StoreError,
    health::HealthMonitor,
    postgres::{
        error::{ErrorKind, StatementError},
        server::Server,
    },
};

/// How often work is tried on a new connection. All work can be repeated without harm.
const MAX_TRIES: usize = 3;
/// The pause before the next try when the server takes no more connections.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(100);
/// How often work is repeated that conflicts with other statements.
const MAX_CONFLICTS: usize = 20;
/// A connection that was idle for longer is not used again: a firewall may have forgotten it, which would
/// show only by a timeout.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// Work for a connection: a few statements.
pub(super) trait Work: Sync {
    /// What it results in.
    type Answer: Send;

    /// How many times the timeout of a statement it may take.
    fn timeout_factor(&self) -> u32 {
        1
    }

    /// Does the work. This may be repeated until it succeeds.
    fn run(
        &self,
        connection: &mut PgConnection,
    ) -> impl Future<Output = sqlx::Result<Self::Answer>> + Send;
}

/// Why work was not done.
pub(super) enum WorkError {
    /// The server refuses the data, for this reason.
    Data(String),
    /// The store is unavailable; its health has the reason.
    Away,
    /// The work failed for this reason; the store may be available all the same.
    Unavailable(String),
}

impl WorkError {
    /// The answer to the command, unless it is to have none: then the store's health has the reason.
    pub(super) fn answer(self) -> Option<StoreError> {
        match self {
            Self::Data(reason) => Some(StoreError::Refused(reason)),
            Self::Unavailable(reason) => Some(StoreError::Unavailable(reason)),
            Self::Away => None,
        }
    }
}

/// What a session does, and so whether the store is available without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// It writes requests or results. Without it the store is unavailable: nobody may be told that a request is accepted
    /// that is never recorded.
    Carry,
    /// It does other writes. If it fails the store is unavailable, but not if only the server has no room for its connection.
    Write,
    /// It reads. Its failures are no outage: a table may be locked, or broken, while writes go on.
    Read,
}

/// A connection and what it takes to replace it.
pub(super) struct Session {
    server: Arc<Server>,
    health: HealthMonitor,
    idle: Option<IdleConnection>,
    statement_timeout: Duration,
    duty: Duty,
    /// Dropped after the connection, for who waits until the store is closed.
    _running: watch::Sender<()>,
}

struct IdleConnection {
    connection: PgConnection,
    since: Instant,
    /// For which opening of the store it was made.
    opening: u64,
}

impl Session {
    pub(super) fn new(
        server: Arc<Server>,
        health: HealthMonitor,
        duty: Duty,
        running: watch::Sender<()>,
    ) -> Self {
        let statement_timeout = match duty {
            Duty::Carry | Duty::Write => server.statement_timeout,
            Duty::Read => server.read_timeout,
        };
        Self { server, health, idle: None, statement_timeout, duty, _running: running }
    }

    /// Does some work, repeatedly if need be.
    pub(super) async fn run<W: Work>(&mut self, work: &W) -> Result<W::Answer, WorkError> {
        self.run_repeating(work).await.map(|(answer, _)| answer)
    }

    /// Does some work, repeatedly if need be, and tells whether a connection was lost after it had begun: the work may have
    /// been done then.
    pub(super) async fn run_repeating<W: Work>(
        &mut self,
        work: &W,
    ) -> Result<(W::Answer, bool), WorkError> {
        let (mut tries, mut conflicts, mut is_repeated) = (0, 0, false);
        if self.health.reason().is_some() {
            return Err(WorkError::Away);
        }
        loop {
            let mut has_begun = false;
            let error = match self.try_once(work, &mut has_begun).await {
                Ok(answer) => return Ok((answer, is_repeated)),
                Err(error) => error,
            };
            is_repeated |= has_begun && error.kind == ErrorKind::Connection;
            if self.health.reason().is_some() {
                return Err(WorkError::Away);
            }
            match error.kind {
                ErrorKind::Data => return Err(WorkError::Data(error.reason)),
                ErrorKind::Conflict => conflicts += 1,
                ErrorKind::Connection | ErrorKind::NoRoom => tries += 1,
                ErrorKind::NoAnswer | ErrorKind::Timeout | ErrorKind::Migration => {
                    return Err(self.give_up(&error));
                }
            }
            if conflicts >= MAX_CONFLICTS {
                return Err(self.give_up(&error));
            }
            if tries >= MAX_TRIES {
                return Err(self.failed(&error));
            }
            if error.kind == ErrorKind::NoRoom {
                sleep(NO_ROOM_PAUSE).await;
            }
        }
    }

    /// Does the work of a command, and answers the caller. When the store is unavailable the reply is
    /// dropped: its health has the reason. A read whose caller has given up is not done: after a slow one many have, and have
    /// asked again.
    pub(super) async fn answer<W: Work>(&mut self, reply: Reply<W::Answer>, work: &W) {
        if self.duty == Duty::Read && reply.is_abandoned() {
            return;
        }
        let answer = match self.run(work).await {
            Ok(answer) => Ok(answer),
            Err(error) => match error.answer() {
                Some(error) => Err(error),
                None => return,
            },
        };
        reply.send(answer);
    }

    /// Notes that a commit succeeded.
    pub(super) fn set_committed(&self) {
        self.health.set_committed();
    }

    /// The server refuses the work, or can't be reached. One that only takes no more connections serves the others that it has.
    fn failed(&self, error: &StatementError) -> WorkError {
        match (self.duty, error.kind) {
            (Duty::Write | Duty::Read, ErrorKind::NoRoom) => {
                WorkError::Unavailable(self.server.explain(error))
            }
            (Duty::Read, _) => self.give_up(error),
            (Duty::Carry | Duty::Write, _) => {
                self.health.set_away(&self.server.explain(error));
                WorkError::Away
            }
        }
    }

    /// The work was not done in time. A ping will find out whether the store is available.
    fn give_up(&self, error: &StatementError) -> WorkError {
        self.health.suspect();
        WorkError::Unavailable(self.server.explain(error))
    }

    /// A new connection; or the one that was idle for long, if the server has no room for another, and still answers on it.
    async fn replace(&self, old: Option<IdleConnection>) -> Result<PgConnection, StatementError> {
        match (self.server.connect(self.statement_timeout).await, old) {
            (Err(error), Some(mut old)) if error.kind == ErrorKind::NoRoom => {
                self.server.ping_on(&mut old.connection).await.map(|()| old.connection)
            }
            (connected, _) => connected,
        }
    }

    async fn try_once<W: Work>(
        &mut self,
        work: &W,
        has_begun: &mut bool,
    ) -> Result<W::Answer, StatementError> {
        let (opening, began) = (self.health.openings(), Instant::now());
        // It is put back only if all went well: a connection that was given up in the middle of a
        // statement would answer the next one with the rest of this.
        let mut connection = match self.idle.take().filter(|idle| idle.opening == opening) {
            Some(idle) if idle.since.elapsed() < MAX_IDLE => idle.connection,
            old => self.replace(old).await?,
        };
        *has_begun = true;
        let limit = self.statement_timeout.saturating_mul(work.timeout_factor());
        let outcome = tokio::select! {
            outcome = timeout(limit, work.run(&mut connection)) => outcome,
            // The answer may never come.
            () = self.health.until_away() => return Err(StatementError::no_answer(began.elapsed())),
        };
        let outcome = outcome.map_err(|_| StatementError::timeout(limit))?;
        let outcome = outcome.map_err(StatementError::from);
        let kind = outcome.as_ref().err().map(|error| error.kind);
        if matches!(kind, None | Some(ErrorKind::Data | ErrorKind::Conflict)) {
            self.idle = Some(IdleConnection { connection, since: Instant::now(), opening });
        }
        outcome
    }
}
