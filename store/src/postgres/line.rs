//! One connection, renewed when it fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::{
    sync::{mpsc::WeakSender, oneshot, watch},
    time::timeout,
};

use super::{server::Server, trouble::Trouble};
use crate::{command::Write, health::Monitor};

/// How often a statement is tried on a new connection. Each can be repeated without harm.
const TRIES: usize = 3;
/// How often it is repeated if others are in its way.
const CONFLICTS: usize = 20;
/// A connection that was idle for longer may have been forgotten by a firewall on the way, which
/// would show only as silence.
const IDLE: Duration = Duration::from_secs(60);

/// Something to do with a connection.
pub(super) trait Work: Sync {
    /// What comes of it.
    type Answer: Send;

    /// How many times the usual patience it may take.
    fn weight(&self) -> u32 {
        1
    }

    /// Does it; it may be done several times until it succeeds.
    fn run(
        &self,
        connection: &mut PgConnection,
    ) -> impl Future<Output = sqlx::Result<Self::Answer>> + Send;
}

/// Why something was not done.
pub(super) enum Failure {
    /// The data are to blame, for this reason.
    Data(String),
    /// The store is away; its health says why.
    Away,
    /// It did not work out, for this reason; whether the store is away is for others to say.
    Unavailable(String),
}

pub(super) struct Line {
    server: Arc<Server>,
    health: Monitor,
    idle: Option<Idle>,
    judge: Judge,
    /// Goes after the connection: whoever closes the store waits for this.
    _alive: watch::Sender<()>,
}

/// Who says that the store is away.
enum Judge {
    /// This line itself.
    Itself,
    /// One that writes, when it is asked for a sign of life: a question may be too hard, or a table
    /// locked, and requests and results are stored all the same.
    Writer(WeakSender<Write>),
}

struct Idle {
    connection: PgConnection,
    since: Instant,
    /// Which opening of the store it belongs to.
    opening: u64,
}

impl Line {
    pub(super) fn new(server: Arc<Server>, health: Monitor, alive: watch::Sender<()>) -> Self {
        Self { server, health, idle: None, judge: Judge::Itself, _alive: alive }
    }

    /// This line, for questions: when it fails, the one behind `writer` is asked how the store is.
    pub(super) fn for_reading(self, writer: WeakSender<Write>) -> Self {
        Self { judge: Judge::Writer(writer), ..self }
    }

    /// Does some work. If the server is not there, the store's health gets to know it.
    pub(super) async fn run<W: Work>(&mut self, work: &W) -> Result<W::Answer, Failure> {
        let mut last = String::new();
        let (mut tries, mut conflicts) = (0, 0);
        while tries < TRIES && conflicts < CONFLICTS {
            if self.health.reason().is_some() {
                return Err(Failure::Away);
            }
            match self.attempt(work).await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Data(reason)) => return Err(Failure::Data(reason)),
                Err(Trouble::Conflict(reason)) => {
                    conflicts += 1;
                    last = reason;
                }
                Err(Trouble::Lost(reason)) => {
                    tries += 1;
                    last = reason;
                }
                Err(Trouble::Silence(reason)) => {
                    last = reason;
                    break;
                }
            }
        }
        Err(self.failed(self.server.explain(&last)))
    }

    fn failed(&self, reason: String) -> Failure {
        match &self.judge {
            Judge::Itself => {
                self.health.away(&reason);
                Failure::Away
            }
            Judge::Writer(writer) => {
                if let Some(writer) = writer.upgrade() {
                    let _busy_or_asked = writer.try_send(Write::Ping(oneshot::channel().0));
                }
                Failure::Unavailable(reason)
            }
        }
    }

    /// Counts a commit.
    pub(super) fn committed(&self) {
        self.health.committed();
    }

    async fn attempt<W: Work>(&mut self, work: &W) -> Result<W::Answer, Trouble> {
        let opening = self.health.openings();
        // It is put back only if all went well: a connection that was given up in the middle of a
        // statement would answer the next one with the rest of this.
        let mut connection = match self.idle.take().filter(|idle| idle.is_good(opening)) {
            Some(idle) => idle.connection,
            None => self.server.connect().await?,
        };
        let patience = self.server.patience * work.weight();
        let outcome = timeout(patience, work.run(&mut connection)).await;
        let outcome = outcome.map_err(|_| Trouble::silence(patience))?.map_err(Trouble::from);
        if matches!(outcome, Ok(_) | Err(Trouble::Data(_) | Trouble::Conflict(_))) {
            self.idle = Some(Idle { connection, since: Instant::now(), opening });
        }
        outcome
    }
}

impl Idle {
    fn is_good(&self, opening: u64) -> bool {
        self.opening == opening && self.since.elapsed() < IDLE
    }
}
