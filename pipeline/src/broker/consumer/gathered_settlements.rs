//! Gathered settlements: those that have come and were not written yet. Acks may wait a moment for others.

use std::{time::Duration, vec::Drain};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until},
};

use crate::broker::consumer::{delivery::Settle, options::ConsumerOptions};

/// How many settlements are taken from the channel at once.
const MAX_SETTLEMENTS: usize = 256;
/// How long an ack waits for others, if it may.
const ACK_DELAY: Duration = Duration::from_millis(10);
/// With this part of the prefetch waiting for its ack, no ack waits any longer: the broker is to send other messages.
const WAITING_PART: u16 = 4;

/// Settlements that are to be written.
pub(super) struct GatheredSettlements {
    waiting: Vec<Settle>,
    /// When they are to be written, if there are any.
    due: Option<Instant>,
    /// How many need not wait for others.
    enough: usize,
}

impl GatheredSettlements {
    /// Gathers for a subscription with these options.
    pub(super) fn new(options: &ConsumerOptions) -> Self {
        let enough = if options.gathers_acks { options.prefetch / WAITING_PART } else { 1 };
        Self { waiting: Vec::with_capacity(MAX_SETTLEMENTS), due: None, enough: enough.into() }
    }

    /// Waits until settlements are to be written, and returns how many. None waits if the subscription `is_full`: the broker
    /// sends no other message before. Nothing is lost when the wait is given up. 0 once none is left and none can come.
    pub(super) async fn next(
        &mut self,
        settled: &mut UnboundedReceiver<Settle>,
        is_full: bool,
    ) -> usize {
        let mut is_open = true;
        while is_open && !self.is_due(is_full) {
            let before = self.waiting.len();
            tokio::select! {
                biased;
                count = settled.recv_many(&mut self.waiting, MAX_SETTLEMENTS) => {
                    is_open = count > 0;
                    self.note(before);
                }
                () = until(self.due) => {}
            }
        }
        self.waiting.len()
    }

    /// Takes those that have come so far, whether they may wait or not.
    pub(super) fn drain(&mut self) -> Drain<'_, Settle> {
        self.due = None;
        self.waiting.drain(..)
    }

    /// Sets when to write, now that more may have come; the first `before` of them were there.
    fn note(&mut self, before: usize) {
        let now = Instant::now();
        let may_wait = |settle: &Settle| matches!(settle, Settle::Ack(_));
        self.due = match self.due {
            _ if !self.waiting[before..].iter().all(may_wait) => Some(now),
            None if self.waiting.is_empty() => None,
            None => Some(now + ACK_DELAY),
            due => due,
        };
    }

    fn is_due(&self, is_full: bool) -> bool {
        let is_enough = is_full || self.waiting.len() >= self.enough;
        self.due.is_some_and(|due| is_enough || due <= Instant::now())
    }
}

/// Waits until then; for ever, if there is no such time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::broker::Consume;

    fn gathered(consume: Consume) -> GatheredSettlements {
        let options = ConsumerOptions::from(consume);
        GatheredSettlements::new(&options)
    }

    fn tags(gathered: &mut GatheredSettlements) -> Vec<u64> {
        let tag = |settle| match settle {
            Settle::Ack(tag) | Settle::Requeue(tag) | Settle::Detach(tag) => tag,
            Settle::Flush(_) => 0,
        };
        gathered.drain().map(tag).collect()
    }

    #[tokio::test]
    async fn an_ack_waits_for_others_but_not_for_long() {
        let (sender, mut settled) = mpsc::unbounded_channel();
        let mut gathered = gathered(Consume::queue("q", 100, "w").gathering_acks());
        sender.send(Settle::Ack(1)).unwrap();
        let later = async {
            tokio::task::yield_now().await;
            sender.send(Settle::Ack(2)).unwrap();
        };
        tokio::join!(gathered.next(&mut settled, false), later);
        assert_eq!(tags(&mut gathered), [1, 2]);
    }

    #[tokio::test]
    async fn an_ack_that_waits_is_kept_when_the_wait_is_given_up() {
        let (sender, mut settled) = mpsc::unbounded_channel();
        let mut gathered = gathered(Consume::queue("q", 100, "w").gathering_acks());
        sender.send(Settle::Ack(1)).unwrap();
        let given_up = futures_util::FutureExt::now_or_never(gathered.next(&mut settled, false));
        assert!(given_up.is_none());
        assert_eq!(tags(&mut gathered), [1]);
    }

    #[tokio::test]
    async fn what_is_no_ack_waits_for_nothing_and_nor_does_a_part_of_the_prefetch() {
        let at_once = |consume: Consume, settlements: Vec<Settle>, is_full: bool| {
            let (sender, mut settled) = mpsc::unbounded_channel();
            settlements.into_iter().for_each(|settle| sender.send(settle).unwrap());
            let mut gathered = gathered(consume);
            futures_util::FutureExt::now_or_never(gathered.next(&mut settled, is_full))
        };
        let gathering = || Consume::queue("q", 8, "w").gathering_acks();
        assert_eq!(at_once(gathering(), vec![Settle::Ack(1)], false), None);
        assert_eq!(at_once(gathering(), vec![Settle::Ack(1)], true), Some(1));
        assert_eq!(at_once(gathering(), vec![Settle::Ack(1), Settle::Ack(2)], false), Some(2));
        assert_eq!(at_once(gathering(), vec![Settle::Requeue(1)], false), Some(1));
        let (flush, _flushed) = oneshot::channel();
        assert_eq!(
            at_once(gathering(), vec![Settle::Ack(1), Settle::Flush(flush)], false),
            Some(2)
        );
        assert_eq!(at_once(Consume::queue("q", 8, "w"), vec![Settle::Ack(1)], false), Some(1));
        let one_by_one = Consume::queue("q", 1, "w").gathering_acks();
        assert_eq!(at_once(one_by_one, vec![Settle::Ack(1)], false), Some(1));
    }

    #[tokio::test]
    async fn what_waits_is_written_when_nothing_can_come() {
        let (sender, mut settled) = mpsc::unbounded_channel();
        let mut gathered = gathered(Consume::queue("q", 100, "w").gathering_acks());
        sender.send(Settle::Ack(1)).unwrap();
        drop(sender);
        assert_eq!(gathered.next(&mut settled, false).await, 1);
        assert_eq!(tags(&mut gathered), [1]);
        assert_eq!(gathered.next(&mut settled, false).await, 0);
    }
}
