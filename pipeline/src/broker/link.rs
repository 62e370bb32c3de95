//! A connection that comes back by itself: sessions one after the other, for ever.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::broker::{
    address::Address,
    declare,
    error::{AskError, OpenError},
    session::Session,
    subscribe_gate::SubscribeGate,
};
use crate::{backoff::Backoff, topology::Topology};

/// How long to wait before trying again what only a person can mend.
const SLOWLY: Duration = Duration::from_secs(10);
/// About the longest pause after a session that was open, at first: the broker is there.
const SOON: Duration = Duration::from_millis(250);
/// A session that lived this long was a good one: the next begins with short pauses again.
const GOOD_LIFE: Duration = Duration::from_secs(10);
/// How often queues are declared again that nobody consumes. Hosted brokers delete what was not used
/// for 28 days, with all that waits in it.
const RENEW_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How the link is.
#[derive(Clone)]
pub(super) enum LinkState {
    /// Not connected, and why.
    Away(String),
    /// Connected, but something is missing that we may not declare.
    Incomplete(String),
    /// Connected, and everything is there.
    Ready(Arc<Session>),
}

/// A handle to the link; clones are the same link.
#[derive(Clone)]
pub(crate) struct Link {
    program: &'static str,
    state: watch::Receiver<LinkState>,
    repairs: mpsc::Sender<oneshot::Sender<()>>,
    gate: SubscribeGate,
}

/// What a link is made of.
pub(super) struct LinkOptions {
    /// The program, which all its messages name as `app_id`.
    pub(super) program: &'static str,
    /// What the broker shows of us, and what the log calls it.
    pub(super) name: String,
    /// Which of the program's connections it is, for the log.
    pub(super) role: &'static str,
    /// Tried in turn.
    pub(super) addresses: Vec<Address>,
    /// Checked at each connect.
    pub(super) topology: Arc<Topology>,
    /// Whether it keeps those queues alive that nobody consumes.
    pub(super) renews: bool,
    /// Ends the link.
    pub(super) stop: CancellationToken,
}

impl Link {
    /// Begins to connect, and returns at once, with the task that ends when the link has.
    pub(super) fn start(options: LinkOptions) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, state) = watch::channel(LinkState::Away("connecting".to_owned()));
        let (repairs, requested) = mpsc::channel(64);
        let program = options.program;
        let renew_at = options.renews.then(Instant::now);
        let supervisor =
            Supervisor { options, state: sender, repairs: requested, said: None, renew_at };
        (
            Self { program, state, repairs, gate: SubscribeGate::default() },
            tokio::spawn(supervisor.run()),
        )
    }

    /// The program that the link belongs to.
    pub(super) fn program(&self) -> &'static str {
        self.program
    }

    /// What consumers pass before they subscribe.
    pub(super) fn gate(&self) -> &SubscribeGate {
        &self.gate
    }

    /// How the link is now.
    pub(super) fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// Waits for a session on which everything is there. `None` if the link has ended.
    pub(super) async fn ready(&mut self) -> Option<Arc<Session>> {
        let ready =
            |state: &LinkState| matches!(state, LinkState::Ready(session) if !session.is_lost());
        match &*self.state.wait_for(ready).await.ok()? {
            LinkState::Ready(session) => Some(session.clone()),
            _ => None,
        }
    }

    /// Has the topology checked, with its bindings, and mended where we may; waits until it was.
    pub(super) async fn repair(&self) {
        let (reply, done) = oneshot::channel();
        if self.repairs.send(reply).await.is_ok() {
            let _done_or_away = done.await;
        }
    }
}

struct Supervisor {
    options: LinkOptions,
    state: watch::Sender<LinkState>,
    repairs: mpsc::Receiver<oneshot::Sender<()>>,
    /// What was logged last of the topology, so that the same trouble is said once.
    said: Option<String>,
    /// When the idle queues are to be declared again.
    renew_at: Option<Instant>,
}

/// What is known of one address.
struct Candidate {
    address: Address,
    not_before: Instant,
    backoff: Backoff,
    /// Sessions in a row that did not live long.
    short_lives: u32,
    /// What was logged last, so that the same trouble is said once.
    said: Option<String>,
}

impl Supervisor {
    async fn run(mut self) {
        let candidate = |address: &Address| Candidate {
            address: address.clone(),
            not_before: Instant::now(),
            backoff: Backoff::connecting(),
            short_lives: 0,
            said: None,
        };
        let mut candidates: VecDeque<_> = self.options.addresses.iter().map(candidate).collect();
        let stop = self.options.stop.clone();
        while let Some(at) = candidates.iter().map(|candidate| candidate.not_before).min() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.turn_away_repairs(at) => {}
            }
            // The first that is due; after its turn it is the last in the row.
            let due =
                candidates.iter().position(|candidate| candidate.not_before <= Instant::now());
            let Some(mut candidate) = due.and_then(|due| candidates.remove(due)) else { continue };
            let opened = tokio::select! {
                () = stop.cancelled() => return,
                opened = Session::open(&candidate.address, &self.options.name) => opened,
            };
            let pause = match opened {
                Ok(session) => {
                    let began = Instant::now();
                    candidate.said = None;
                    self.serve(&candidate.address, &session).await;
                    candidate.pause_after(began.elapsed())
                }
                Err(error) => {
                    self.away(&mut candidate, &error);
                    if error.needs_a_person() { SLOWLY } else { candidate.backoff.next_pause() }
                }
            };
            candidate.not_before = Instant::now() + pause;
            candidates.push_back(candidate);
        }
    }

    /// Serves one session until it is lost or the link is stopped.
    async fn serve(&mut self, address: &Address, session: &Arc<Session>) {
        info!(role = self.options.role, broker = %address, "connected");
        self.said = None;
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        let mut backoff = Backoff::connecting();
        loop {
            let missing =
                match declare::ensure(session, &self.options.topology, !waiting.is_empty()).await {
                    Ok(()) => None,
                    Err(_) if session.is_lost() => break,
                    Err(declare::EnsureError { error: AskError::Lost, .. }) => break,
                    Err(error) => Some(error.to_string()),
                };
            self.set_ready(session, missing.as_deref());
            for reply in waiting.drain(..) {
                let _asked_still_or_not = reply.send(());
            }
            tokio::select! {
                _ = session.lost() => break,
                () = self.options.stop.cancelled() => return session.close().await,
                Some(reply) = self.repairs.recv() => waiting.push(reply),
                () = sleep(backoff.next_pause()), if missing.is_some() => {}
                () = due(self.renew_at), if missing.is_none() => self.renew(session).await,
            }
            while let Ok(reply) = self.repairs.try_recv() {
                waiting.push(reply);
            }
        }
        session.discard().await;
        let reason = session.lost().await;
        self.state.send_replace(LinkState::Away(reason.clone()));
        warn!(role = self.options.role, broker = %address, reason, "disconnected");
    }

    /// Keeps the idle queues alive for another while.
    async fn renew(&mut self, session: &Arc<Session>) {
        let useful = declare::renew(session, &self.options.topology).await;
        self.renew_at = useful.then(|| Instant::now() + RENEW_AFTER);
    }

    fn set_ready(&mut self, session: &Arc<Session>, missing: Option<&str>) {
        match missing {
            None => {
                self.said = None;
                self.state.send_replace(LinkState::Ready(session.clone()));
            }
            Some(missing) => {
                if self.said.as_deref() != Some(missing) {
                    error!(role = self.options.role, "the topology is incomplete: {missing}");
                    self.said = Some(missing.to_owned());
                }
                self.state.send_replace(LinkState::Incomplete(missing.to_owned()));
            }
        }
    }

    fn away(&mut self, candidate: &mut Candidate, error: &OpenError) {
        let text = error.to_string();
        // First, so that whoever has read the log finds the state as it says.
        self.state.send_replace(LinkState::Away(text.clone()));
        if candidate.said.as_ref() == Some(&text) {
            debug!(role = self.options.role, "still not connected: {text}");
        } else if error.needs_a_person() {
            error!(role = self.options.role, "not connected: {text}");
        } else {
            warn!(role = self.options.role, "not connected: {text}");
        }
        candidate.said = Some(text);
    }

    /// Waits, and meanwhile answers those who ask for a repair: there is nothing to repair while
    /// the broker is away.
    async fn turn_away_repairs(&mut self, until: Instant) {
        let over = sleep_until(until);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                Some(reply) = self.repairs.recv() => drop(reply),
            }
        }
    }
}

/// Waits until then; for ever, if there is no such time.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Candidate {
    /// The pause after a session that lived so long. A message that kills each connection it is
    /// delivered on is parked by the broker after 20 of them, and until then others wait: so many
    /// pauses are short. After that something else is wrong.
    fn pause_after(&mut self, life: Duration) -> Duration {
        if life > GOOD_LIFE {
            self.backoff.reset();
            self.short_lives = 0;
        }
        self.short_lives += 1;
        let pause = self.backoff.next_pause();
        if self.short_lives < 30 { pause.min(SOON + pause / 50) } else { pause }
    }
}
