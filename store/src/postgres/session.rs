//! A session: one connection to the server, replaced when it fails, and the repetition of work that fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::{
    sync::{mpsc::WeakSender, oneshot, watch},
    time::timeout,
};

use crate::{
    command::{Reply, Write},
    error::StoreError,
    health::HealthMonitor,
    postgres::{
        error::{ErrorKind, StatementError},
        server::Server,
    },
};

/// How often work is tried on a new connection. All work can be repeated without harm.
const MAX_TRIES: usize = 3;
/// How often work is repeated that conflicts with other statements.
const MAX_CONFLICTS: usize = 20;
/// A connection that was idle for longer is not used again: a firewall may have forgotten it, which would
/// show only by a timeout.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// Work for a connection: a few statements.
pub(super) trait Work: Sync {
    /// What it results in.
    type Answer: Send;

    /// How many times the usual timeout it may take.
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

/// A connection and what it takes to replace it.
pub(super) struct Session {
    server: Arc<Server>,
    health: HealthMonitor,
    idle: Option<IdleConnection>,
    on_failure: OnFailure,
    /// Dropped after the connection, for who waits until the store is closed.
    _running: watch::Sender<()>,
}

/// What a session does when its work has failed.
enum OnFailure {
    /// It makes the store unavailable.
    SetAway,
    /// It lets the session behind this queue find out whether the store is available: a single read may
    /// take too long, or a table may be locked, while writes go on.
    Ping(WeakSender<Write>),
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
        running: watch::Sender<()>,
    ) -> Self {
        Self { server, health, idle: None, on_failure: OnFailure::SetAway, _running: running }
    }

    /// This session, for reads: when one fails, a ping in this queue finds out whether the store is
    /// available.
    pub(super) fn for_reading(self, writes: WeakSender<Write>) -> Self {
        Self { on_failure: OnFailure::Ping(writes), ..self }
    }

    /// Does some work, repeatedly if need be.
    pub(super) async fn run<W: Work>(&mut self, work: &W) -> Result<W::Answer, WorkError> {
        let (mut tries, mut conflicts) = (0, 0);
        loop {
            if self.health.reason().is_some() {
                return Err(WorkError::Away);
            }
            let error = match self.try_once(work).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match error.kind {
                ErrorKind::Data => return Err(WorkError::Data(error.reason)),
                ErrorKind::Conflict => conflicts += 1,
                ErrorKind::Connection => tries += 1,
                ErrorKind::Timeout => tries = MAX_TRIES,
            }
            if tries >= MAX_TRIES || conflicts >= MAX_CONFLICTS {
                return Err(self.failed(self.server.explain(&error)));
            }
        }
    }

    /// Does the work of a command, and answers the caller. When the store is unavailable the reply is
    /// dropped: its health has the reason.
    pub(super) async fn answer<W: Work>(&mut self, reply: Reply<W::Answer>, work: &W) {
        let answer = match self.run(work).await {
            Ok(answer) => Ok(answer),
            Err(error) => match error.answer() {
                Some(error) => Err(error),
                None => return,
            },
        };
        drop(reply.send(answer));
    }

    /// Notes that a commit succeeded.
    pub(super) fn set_committed(&self) {
        self.health.set_committed();
    }

    fn failed(&self, reason: String) -> WorkError {
        match &self.on_failure {
            OnFailure::SetAway => {
                self.health.set_away(&reason);
                WorkError::Away
            }
            OnFailure::Ping(writes) => {
                if let Some(writes) = writes.upgrade() {
                    let _full_or_sent = writes.try_send(Write::Ping(oneshot::channel().0));
                }
                WorkError::Unavailable(reason)
            }
        }
    }

    async fn try_once<W: Work>(&mut self, work: &W) -> Result<W::Answer, StatementError> {
        let opening = self.health.openings();
        // It is put back only if all went well: a connection that was given up in the middle of a
        // statement would answer the next one with the rest of this.
        let mut connection = match self.idle.take().filter(|idle| idle.is_usable(opening)) {
            Some(idle) => idle.connection,
            None => self.server.connect().await?,
        };
        let limit = self.server.timeout * work.timeout_factor();
        let outcome = timeout(limit, work.run(&mut connection)).await;
        let outcome = outcome.map_err(|_| StatementError::timeout(limit))?;
        let outcome = outcome.map_err(StatementError::from);
        let kind = outcome.as_ref().err().map(|error| error.kind);
        if matches!(kind, None | Some(ErrorKind::Data | ErrorKind::Conflict)) {
            self.idle = Some(IdleConnection { connection, since: Instant::now(), opening });
        }
        outcome
    }
}

impl IdleConnection {
    fn is_usable(&self, opening: u64) -> bool {
        self.opening == opening && self.since.elapsed() < MAX_IDLE
    }
}
