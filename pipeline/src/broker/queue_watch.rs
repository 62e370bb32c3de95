//! Queue watch: asks every few seconds how many messages and consumers the queues have (passive declare), and warns of
//! messages that no program could receive.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::broker::{
    declare::Declarer,
    error::AskError,
    link::{Link, LinkState},
    session::Session,
};
use crate::{health::QueueCounts, log_messages::UNREADABLE_MESSAGES, topology::names::UNREADABLE};

/// How often the queues are asked.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// How often a queue is asked about which the broker refused to tell, or which was missing: each time the broker closes
/// a channel.
const REFUSED_INTERVAL: Duration = Duration::from_secs(60);
/// How long nothing is asked after a question that had no answer: several of these end the session.
const UNANSWERED_INTERVAL: Duration = Duration::from_secs(300);
/// How often messages in `processing.unreadable` are warned of.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Why nothing is known of a queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotCounted(String);

/// What was counted last in each of the watched queues, or why nothing is known.
#[derive(Debug, Clone, Default)]
pub struct CountedQueues(Vec<(Arc<str>, Result<QueueCounts, NotCounted>)>);

impl CountedQueues {
    fn unknown(queues: &[Arc<str>], reason: &str) -> Self {
        let unknown = |queue: &Arc<str>| (queue.clone(), Err(NotCounted(reason.to_owned())));
        Self(queues.iter().map(unknown).collect())
    }

    /// The counts of one queue.
    ///
    /// # Errors
    /// Why they are not known.
    pub fn of(&self, queue: &str) -> Result<QueueCounts, NotCounted> {
        let counted = self.0.iter().find(|(counted, _)| **counted == *queue);
        counted
            .map_or_else(|| Err(NotCounted("not watched".to_owned())), |(_, counts)| counts.clone())
    }

    /// The queues whose counts are known.
    pub fn known(&self) -> impl Iterator<Item = (&str, QueueCounts)> {
        self.0.iter().filter_map(|(queue, counts)| Some((&**queue, *counts.as_ref().ok()?)))
    }

    fn set(&mut self, queue: &str, counts: Result<QueueCounts, NotCounted>) {
        if let Some((_, known)) = self.0.iter_mut().find(|(counted, _)| **counted == *queue) {
            *known = counts;
        }
    }
}

/// The counts of the watched queues; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct QueueWatch(watch::Sender<CountedQueues>);

impl QueueWatch {
    /// What was counted last. It counts as changed each time all queues were asked about.
    pub(super) fn counted(&self) -> watch::Receiver<CountedQueues> {
        self.0.subscribe()
    }

    /// How many messages no program could receive; `None` for zero.
    pub(super) fn unreadable(&self) -> Option<u32> {
        let counts = self.0.borrow().of(UNREADABLE).ok()?;
        Some(counts.waiting).filter(|messages| *messages > 0)
    }

    /// Asks about these queues until told to stop.
    pub(super) async fn watch(
        self,
        queues: Arc<[Arc<str>]>,
        mut link: Link,
        stop: CancellationToken,
    ) {
        let (refused, warned_at) = (HashMap::new(), None);
        self.set_unknown(&queues, "not counted yet");
        let mut watching =
            Watching { counted: self.clone(), queues: queues.clone(), refused, warned_at };
        let asking = async {
            while let Some(session) = link.ready_or(|link| self.set_away(&queues, link)).await {
                let pause = watching.ask(&session).await;
                sleep(pause).await;
            }
        };
        let _ended_or_stopped = stop.run_until_cancelled(asking).await;
    }

    fn set_away(&self, queues: &[Arc<str>], link: &LinkState) {
        if let LinkState::Away(reason) | LinkState::Incomplete(reason) = link {
            self.set_unknown(queues, reason);
        }
    }

    fn set_unknown(&self, queues: &[Arc<str>], reason: &str) {
        drop(self.0.send_replace(CountedQueues::unknown(queues, reason)));
    }
}

/// A running watch.
struct Watching {
    counted: QueueWatch,
    queues: Arc<[Arc<str>]>,
    /// When to ask again about queues that the broker told nothing about.
    refused: HashMap<Arc<str>, Instant>,
    warned_at: Option<Instant>,
}

impl Watching {
    /// Asks about all queues, and returns how long to wait before the next time.
    async fn ask(&mut self, session: &Arc<Session>) -> Duration {
        if session.channels_run_short() {
            self.counted.set_unknown(&self.queues, "too few channels are left on the connection");
            return ASK_INTERVAL;
        }
        let mut declarer = Declarer::on(session.clone());
        let (mut counted, mut pause) = (self.counted.0.borrow().clone(), ASK_INTERVAL);
        for queue in self.queues.clone().iter() {
            if self.refused.get(queue).is_some_and(|until| *until > Instant::now()) {
                continue;
            }
            let counts = declarer.queue_counts(queue).await;
            let known = self.note(queue, &counts);
            counted.set(queue, known);
            if counts == Err(AskError::Lost) {
                pause = if session.is_lost() { ASK_INTERVAL } else { UNANSWERED_INTERVAL };
                break;
            }
        }
        declarer.close_channel().await;
        drop(self.counted.0.send_replace(counted));
        pause
    }

    fn note(
        &mut self,
        queue: &Arc<str>,
        counts: &Result<QueueCounts, AskError>,
    ) -> Result<QueueCounts, NotCounted> {
        match counts {
            Ok(QueueCounts { waiting, .. }) if **queue == *UNREADABLE => self.warn_of(*waiting),
            Ok(_) => {}
            Err(error) => {
                debug!(%queue, "not asked for its numbers: {error}");
                if matches!(error, AskError::Refused { .. }) {
                    self.refused.insert(queue.clone(), Instant::now() + REFUSED_INTERVAL);
                }
            }
        }
        counts.clone().map_err(|error| NotCounted(error.to_string()))
    }

    fn warn_of(&mut self, messages: u32) {
        let is_due = self.warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL);
        if messages > 0 && is_due {
            self.warned_at = Some(Instant::now());
            warn!(queue = UNREADABLE, messages, "{UNREADABLE_MESSAGES}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_counts_are_not_given_as_present_ones() {
        let watch = QueueWatch::default();
        let queues: [Arc<str>; 2] = ["a".into(), UNREADABLE.into()];
        let mut counted = CountedQueues::unknown(&queues, "not counted yet");
        counted.set("a", Ok(QueueCounts { waiting: 2, consumers: 1 }));
        counted.set(UNREADABLE, Ok(QueueCounts { waiting: 7, consumers: 0 }));
        watch.0.send_replace(counted);
        assert_eq!(watch.counted().borrow().known().count(), 2);
        assert_eq!(watch.unreadable(), Some(7), "nobody consumes it");

        watch.set_away(&queues, &LinkState::Away("gone".to_owned()));
        let counted = watch.counted();
        let counted = counted.borrow();
        assert_eq!(counted.known().count(), 0);
        assert_eq!(counted.of("a").unwrap_err().to_string(), "gone");
    }
}
