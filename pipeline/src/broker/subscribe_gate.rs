//! Subscribe gate: after a lost connection one consumer subscribes first, the others follow.
//!
//! A message that the client can't decode breaks the connection on which it is delivered, and the
//! broker counts one more delivery for all other messages that were delivered on it. So consumers
//! don't all subscribe at once to a queue that may begin with such a message: one subscribes first,
//! and only its messages are affected. The others follow once it has settled as many messages as
//! there are consumers, or has received none for a moment. Most lost connections have other reasons,
//! so after the first loss it stays alone for some seconds at most; after several early ones, longer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How long the first consumer waits for a message before the others follow.
const QUIET_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the first consumer stays alone at most after one lost connection, however long its work takes.
const FIRST_ALONE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same after several that were lost early.
const ALONE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that was lost later than this was not lost because of the first messages.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// The gate that all consumers of one link pass before they subscribe. Clones are the same gate.
#[derive(Clone)]
pub(super) struct SubscribeGate {
    state: Arc<watch::Sender<State>>,
    consumers: Arc<AtomicUsize>,
}

struct State {
    /// The newest session that a consumer has asked for.
    session: u64,
    since: Instant,
    /// Sessions in a row that were lost early, and not closed by the broker.
    early_losses: u32,
    is_lost: bool,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    /// All consumers may subscribe.
    Open,
    /// The next consumer goes first, alone.
    Closed,
    /// A first consumer has subscribed; the others wait.
    Probing(Progress),
}

/// How far the first consumer has come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    since: Instant,
    last: Instant,
    received: usize,
    settled: usize,
}

/// A consumer's permission to subscribe. The first consumer reports its progress through it.
pub(super) struct Pass {
    gate: Option<SubscribeGate>,
    session: u64,
}

impl Default for SubscribeGate {
    fn default() -> Self {
        let state = State {
            session: 0,
            since: Instant::now(),
            early_losses: 0,
            is_lost: false,
            phase: Phase::Open,
        };
        Self { state: Arc::new(watch::Sender::new(state)), consumers: Arc::default() }
    }
}

impl SubscribeGate {
    /// Adds a consumer to the number of those that use the gate.
    pub(super) fn register(&self) {
        self.consumers.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until a consumer may subscribe on this session.
    pub(super) async fn pass(&self, session: u64) -> Pass {
        let mut changes = self.state.subscribe();
        loop {
            let opens_at = match self.try_pass(session) {
                Ok(pass) => return pass,
                Err(opens_at) => opens_at,
            };
            tokio::select! {
                // Never an error: `self` has the sender.
                _ = changes.changed() => {}
                () = sleep_until(opens_at) => {}
            }
        }
    }

    /// The permission, or when to ask again at the latest.
    fn try_pass(&self, session: u64) -> Result<Pass, Instant> {
        let (mut answer, now) = (Err(Instant::now() + QUIET_TIMEOUT), Instant::now());
        let consumers = self.consumers.load(Ordering::Relaxed);
        self.state.send_if_modified(|state| {
            let pass = |gate| Ok(Pass { gate, session });
            if session < state.session {
                // That session is lost, and with it whatever is done on it.
                answer = pass(None);
                return false;
            }
            state.begin(session, now);
            match state.phase {
                Phase::Open => answer = pass(None),
                Phase::Closed => {
                    let progress = Progress { since: now, last: now, received: 0, settled: 0 };
                    state.phase = Phase::Probing(progress);
                    answer = pass(Some(self.clone()));
                }
                Phase::Probing(progress) => {
                    let opens_at = progress.opens_at(state.early_losses, consumers);
                    if opens_at > now {
                        answer = Err(opens_at);
                        return false;
                    }
                    state.phase = Phase::Open;
                    answer = pass(None);
                    return true;
                }
            }
            false
        });
        answer
    }

    /// Records that a session was lost. If the broker closed it, a message was not the reason.
    pub(super) fn lost(&self, session: u64, closed_by_broker: bool) {
        self.state.send_if_modified(|state| {
            if state.session != session || state.is_lost {
                return false;
            }
            state.is_lost = true;
            state.early_losses = match (closed_by_broker, state.since.elapsed() < STEADY_AFTER) {
                (true, _) => 0,
                (false, true) => state.early_losses.saturating_add(1),
                (false, false) => 1,
            };
            true
        });
    }

    fn progress(&self, session: u64, change: impl FnOnce(&mut Progress)) {
        self.state.send_if_modified(|state| match &mut state.phase {
            Phase::Probing(progress) if state.session == session => {
                change(progress);
                progress.last = Instant::now();
                true
            }
            _ => false,
        });
    }
}

impl State {
    /// Begins with a newer session.
    fn begin(&mut self, session: u64, now: Instant) {
        if self.session == session {
            return;
        }
        let phase = if self.early_losses == 0 { Phase::Open } else { Phase::Closed };
        let early_losses = self.early_losses;
        *self = Self { session, since: now, early_losses, is_lost: false, phase };
    }
}

impl Progress {
    /// When the others may follow, if nothing more happens.
    fn opens_at(&self, early_losses: u32, consumers: usize) -> Instant {
        if self.settled >= consumers {
            return self.since;
        }
        let alone = if early_losses > 1 { ALONE_TIMEOUT } else { FIRST_ALONE_TIMEOUT };
        let quiet = self.received == self.settled;
        let at = if quiet { self.last + QUIET_TIMEOUT } else { self.since + alone };
        at.min(self.since + alone)
    }
}

impl Pass {
    /// Waits until the other consumers may subscribe, too.
    pub(super) async fn followed(&self) {
        if let Some(gate) = &self.gate {
            let _others_may = gate.pass(self.session).await;
        }
    }

    /// A message was received.
    pub(super) fn received(&self) {
        if let Some(gate) = &self.gate {
            gate.progress(self.session, |progress| progress.received += 1);
        }
    }

    /// `count` messages were settled.
    pub(super) fn settled(&self, count: usize) {
        if let Some(gate) = &self.gate {
            gate.progress(self.session, |progress| progress.settled += count);
        }
    }
}

impl Drop for Pass {
    /// If the first consumer stops, another one becomes the first.
    fn drop(&mut self) {
        let Some(gate) = &self.gate else { return };
        gate.state.send_if_modified(|state| {
            let probing = state.session == self.session && matches!(state.phase, Phase::Probing(_));
            if probing {
                state.phase = Phase::Closed;
            }
            probing
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn gate(consumers: usize) -> SubscribeGate {
        let gate = SubscribeGate::default();
        (0..consumers).for_each(|_| gate.register());
        gate
    }

    fn try_pass(gate: &SubscribeGate, session: u64) -> Option<Pass> {
        gate.pass(session).now_or_never()
    }

    #[tokio::test]
    async fn at_first_and_after_a_close_by_the_broker_all_subscribe_at_once() {
        let gate = gate(2);
        let (one, two) = (try_pass(&gate, 1), try_pass(&gate, 1));
        assert!(one.is_some() && two.is_some());
        gate.lost(1, true);
        let (one, two) = (try_pass(&gate, 2), try_pass(&gate, 2));
        assert!(one.is_some() && two.is_some());
    }

    #[tokio::test]
    async fn after_a_loss_the_others_follow_once_the_first_has_settled_some() {
        let gate = gate(2);
        drop(try_pass(&gate, 1).unwrap());
        gate.lost(1, false);
        let first = try_pass(&gate, 2).unwrap();
        first.received();
        assert!(try_pass(&gate, 2).is_none());
        first.settled(2);
        assert!(try_pass(&gate, 2).is_some());
    }

    #[test]
    fn a_first_consumer_is_followed_after_a_moment_without_messages() {
        let since = Instant::now();
        let progress = |received, settled| Progress { since, last: since, received, settled };
        let opens_after = |progress: Progress, losses| progress.opens_at(losses, 2) - since;
        assert_eq!(opens_after(progress(0, 0), 1), QUIET_TIMEOUT);
        assert_eq!(opens_after(progress(1, 0), 1), FIRST_ALONE_TIMEOUT);
        assert_eq!(opens_after(progress(1, 1), 2), QUIET_TIMEOUT);
        assert_eq!(opens_after(progress(2, 2), 2), Duration::ZERO);
        // Long work doesn't block the others without end.
        assert_eq!(opens_after(progress(1, 0), 2), ALONE_TIMEOUT);
    }

    #[tokio::test]
    async fn after_a_second_early_loss_the_first_settles_as_many_as_there_are_consumers() {
        let gate = gate(2);
        for session in [1, 2] {
            drop(try_pass(&gate, session).unwrap());
            gate.lost(session, false);
        }
        let first = try_pass(&gate, 3).unwrap();
        first.received();
        first.settled(1);
        assert!(try_pass(&gate, 3).is_none());
        first.received();
        first.settled(1);
        assert!(try_pass(&gate, 3).is_some());
    }

    #[tokio::test]
    async fn a_consumer_of_an_older_session_changes_nothing() {
        let gate = gate(2);
        drop(try_pass(&gate, 1).unwrap());
        gate.lost(1, false);
        let first = try_pass(&gate, 2).unwrap();
        let late = try_pass(&gate, 1).unwrap();
        assert!(late.gate.is_none() && try_pass(&gate, 2).is_none());
        drop(late);
        assert!(try_pass(&gate, 2).is_none());
        first.settled(2);
        assert!(try_pass(&gate, 2).is_some());
    }

    #[tokio::test]
    async fn the_turn_of_a_first_consumer_that_stops_is_anothers() {
        let gate = gate(2);
        drop(try_pass(&gate, 1).unwrap());
        gate.lost(1, false);
        drop(try_pass(&gate, 2).unwrap());
        let second = try_pass(&gate, 2).unwrap();
        assert!(second.gate.is_some() && try_pass(&gate, 2).is_none());
    }
}
