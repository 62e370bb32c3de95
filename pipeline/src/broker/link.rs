//! Link: connects to the broker and reconnects with backoff; one session after another.

mod candidate;
mod check;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::broker::{
    address::Address,
    broker_metrics::BrokerMetrics,
    consumer::unserved::WaitingMessages,
    declare::{self, EnsureError},
    error::OpenError,
    link::{candidate::Candidate, check::Check},
    session::Session,
    subscribe_gate::SubscribeGate,
};
use crate::{backoff::Backoff, log_messages::DISCONNECTED, topology::Topology};

/// How long to wait after a failure that an operator has to fix, such as a wrong password.
const OPERATOR_RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// How long a link waits for another link of the program that completes the topology.
const COMPLETING_TIMEOUT: Duration = Duration::from_secs(5);
/// When a queue is looked at again that did not answer. Not often: several unanswered questions end the session.
const LOOK_AGAIN_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How often queues without consumers are declared again. Hosted brokers delete queues that were not
/// used for 28 days, with their messages.
const RENEW_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The state of a link.
#[derive(Clone)]
pub(super) enum LinkState {
    /// Not connected, with the reason.
    Away(String),
    /// Connected, but an exchange or queue is missing that this user may not declare.
    Incomplete(String),
    /// Connected, and the topology is complete.
    Ready(Arc<Session>),
}

/// A handle to the link; clones are the same link.
#[derive(Clone)]
pub(crate) struct Link {
    program: &'static str,
    state: watch::Receiver<LinkState>,
    repairs: mpsc::Sender<oneshot::Sender<()>>,
    gate: SubscribeGate,
    metrics: BrokerMetrics,
    waiting: WaitingMessages,
    cancels: Arc<AtomicU64>,
}

/// How to start a link.
pub(super) struct LinkOptions {
    /// The program's name, the `app_id` of its messages.
    pub(super) program: &'static str,
    /// The connection's name, which the broker shows.
    pub(super) name: String,
    /// Which of the program's connections this is, for the log.
    pub(super) role: &'static str,
    /// Tried in turn.
    pub(super) addresses: Vec<Address>,
    /// Checked, and completed where allowed, at each connect.
    pub(super) topology: Arc<Topology>,
    /// Held by the link of this program that completes the topology, so that the others find it complete.
    pub(super) completing: Arc<Mutex<()>>,
    /// Whether this link declares queues without consumers again from time to time.
    pub(super) renews: bool,
    /// Where reconnects are counted.
    pub(super) metrics: BrokerMetrics,
    /// Ends the link.
    pub(super) stop: CancellationToken,
}

impl Link {
    /// Begins to connect, and returns at once, with the task that ends when the link has.
    pub(super) fn start(options: LinkOptions) -> (Self, tokio::task::JoinHandle<()>) {
        let brokers: Vec<_> = options.addresses.iter().map(Address::host_and_port).collect();
        let connecting = format!("connecting to RabbitMQ at {}", brokers.join(", "));
        let (sender, state) = watch::channel(LinkState::Away(connecting));
        let (repairs, requested) = mpsc::channel(64);
        let (program, metrics) = (options.program, options.metrics.clone());
        let reconnects = Reconnects::new(metrics.reconnects(options.role));
        let renew_at = options.renews.then(Instant::now);
        let supervisor = Supervisor {
            options,
            state: sender,
            repairs: requested,
            logged: None,
            renew_at,
            reconnects,
        };
        (
            Self {
                program,
                state,
                repairs,
                gate: SubscribeGate::default(),
                metrics,
                waiting: WaitingMessages::default(),
                cancels: Arc::default(),
            },
            tokio::spawn(supervisor.run()),
        )
    }

    /// The program that the link belongs to.
    pub(super) fn program(&self) -> &'static str {
        self.program
    }

    /// The gate that consumers pass before they subscribe.
    pub(super) fn gate(&self) -> &SubscribeGate {
        &self.gate
    }

    /// Where what happens on the link is counted.
    pub(super) fn metrics(&self) -> &BrokerMetrics {
        &self.metrics
    }

    /// How many messages wait in the queues that are consumed on the link.
    pub(super) fn waiting(&self) -> &WaitingMessages {
        &self.waiting
    }

    /// Notes that the broker has cancelled a consumer.
    pub(super) fn note_cancel(&self) {
        self.cancels.fetch_add(1, Ordering::Relaxed);
    }

    /// How many consumers the broker has cancelled so far.
    pub(super) fn cancels(&self) -> u64 {
        self.cancels.load(Ordering::Relaxed)
    }

    /// The present state.
    pub(super) fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// Waits for a session with a complete topology. `None` if the link has ended.
    pub(super) async fn ready(&mut self) -> Option<Arc<Session>> {
        self.ready_or(|_| {}).await
    }

    /// The same; `meanwhile` gets each state that comes before.
    pub(super) async fn ready_or(
        &mut self,
        mut meanwhile: impl FnMut(&LinkState) + Send,
    ) -> Option<Arc<Session>> {
        loop {
            match &*self.state.borrow_and_update() {
                LinkState::Ready(session) if !session.is_lost() => return Some(session.clone()),
                state => meanwhile(state),
            }
            self.state.changed().await.ok()?;
        }
    }

    /// Requests a check of the topology and its bindings, and waits until missing parts are declared.
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
    /// What was logged last about the topology, so that the same problem is logged once.
    logged: Option<String>,
    /// When the idle queues are to be declared again.
    renew_at: Option<Instant>,
    reconnects: Reconnects,
}

/// Counts connections but for the first.
struct Reconnects {
    counter: Counter,
    is_first: bool,
}

impl Reconnects {
    fn new(counter: Counter) -> Self {
        Self { counter, is_first: true }
    }

    fn count(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.counter.inc();
        }
    }
}

impl Supervisor {
    async fn run(mut self) {
        let addresses = self.options.addresses.iter();
        let mut candidates: VecDeque<_> = addresses.map(Candidate::new).collect();
        let stop = self.options.stop.clone();
        while let Some(at) = candidates.iter().map(|candidate| candidate.not_before).min() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.refuse_repairs(at) => {}
            }
            // The first that is due; afterwards it goes to the end of the list.
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
                    candidate.logged = None;
                    self.serve(&candidate.address, &session).await;
                    candidate.pause_after(began.elapsed())
                }
                Err(error) => {
                    self.set_away(&mut candidate, &error);
                    if error.needs_operator() {
                        OPERATOR_RETRY_INTERVAL
                    } else {
                        candidate.backoff.next_pause()
                    }
                }
            };
            candidate.not_before = Instant::now() + pause;
            candidates.push_back(candidate);
        }
    }

    /// Serves one session until it is lost or the link is stopped.
    async fn serve(&mut self, address: &Address, session: &Arc<Session>) {
        info!(role = self.options.role, broker = %address, "connected");
        self.reconnects.count();
        self.logged = None;
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        let mut backoff = Backoff::connecting();
        loop {
            let before = session.unanswered();
            let completed = self.complete(session).await;
            let is_unanswered = completed.is_err() && session.unanswered() > before;
            if let (Err(EnsureError { what, .. }), true) = (&completed, is_unanswered) {
                let role = self.options.role;
                warn!(
                    role,
                    "the broker does not answer for {what}; what comes after it is not checked"
                );
            }
            let missing = match completed {
                Ok(()) => None,
                Err(_) if session.is_lost() => break,
                Err(error) => match Check::of(&error.error, is_unanswered) {
                    Check::Lost => break,
                    Check::Missing => Some(error.to_string()),
                    Check::NotKnown => None,
                },
            };
            let look_again_at = is_unanswered.then(|| Instant::now() + LOOK_AGAIN_INTERVAL);
            self.set_ready(session, missing.as_deref());
            for reply in waiting.drain(..) {
                let _asked_still_or_not = reply.send(());
            }
            tokio::select! {
                _ = session.lost() => break,
                () = self.options.stop.cancelled() => return session.close().await,
                Some(reply) = self.repairs.recv() => waiting.push(reply),
                () = sleep(backoff.next_pause()), if missing.is_some() => {}
                () = due(look_again_at), if is_unanswered => {}
                () = due(self.renew_at), if missing.is_none() && !is_unanswered => {
                    self.renew(session).await;
                }
            }
            while let Ok(reply) = self.repairs.try_recv() {
                waiting.push(reply);
            }
        }
        session.discard().await;
        let reason = session.lost().await;
        let at = address.host_and_port();
        let away = format!("the connection to RabbitMQ at {at} was lost: {reason}");
        self.state.send_replace(LinkState::Away(away));
        warn!(role = self.options.role, broker = %address, reason, "{DISCONNECTED}");
    }

    /// Declares what is missing of the topology, one link of the program after the other. A link whose broker does not
    /// answer holds up the others only for a moment.
    async fn complete(&self, session: &Arc<Session>) -> Result<(), EnsureError> {
        let _turn = timeout(COMPLETING_TIMEOUT, self.options.completing.lock()).await.ok();
        declare::ensure(session, &self.options.topology).await
    }

    /// Declares the idle queues again.
    async fn renew(&mut self, session: &Arc<Session>) {
        let useful = declare::renew(session, &self.options.topology).await;
        self.renew_at = useful.then(|| Instant::now() + RENEW_INTERVAL);
    }

    fn set_ready(&mut self, session: &Arc<Session>, missing: Option<&str>) {
        match missing {
            None => {
                self.logged = None;
                self.state.send_replace(LinkState::Ready(session.clone()));
            }
            Some(missing) => {
                if self.logged.as_deref() != Some(missing) {
                    error!(role = self.options.role, "the topology is incomplete: {missing}");
                    self.logged = Some(missing.to_owned());
                }
                self.state.send_replace(LinkState::Incomplete(missing.to_owned()));
            }
        }
    }

    fn set_away(&mut self, candidate: &mut Candidate, error: &OpenError) {
        let text = error.to_string();
        // Set before logging, so that a reader of the log finds this state.
        self.state.send_replace(LinkState::Away(text.clone()));
        if candidate.logged.as_ref() == Some(&text) {
            debug!(role = self.options.role, "still not connected: {text}");
        } else if error.needs_operator() {
            error!(role = self.options.role, "not connected: {text}");
        } else {
            warn!(role = self.options.role, "not connected: {text}");
        }
        candidate.logged = Some(text);
    }

    /// Waits, and meanwhile refuses requests for a repair: there is nothing to repair without a
    /// connection.
    async fn refuse_repairs(&mut self, until: Instant) {
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

/// Waits until this time; `None` never comes.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
