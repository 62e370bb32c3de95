//! Intake: the deliveries of one worker that wait in the process for their turn, and how many the broker may send ahead.

use std::{
    collections::VecDeque,
    future::{pending, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pipeline::{
    broker::{Consumer, Delivery},
    contract::Request,
    log_messages::CONSUMING_AHEAD,
};
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep},
};
use tracing::debug;

use crate::{decisions::incoming::IncomingRequest, worker::in_flight::InFlightGuard};

/// How long a delivery may wait for its turn. Then it is handed back: another worker may be idle.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// How long what goes back waits for the end of the subscription. The broker may not answer.
const MAX_CLOSING_TIME: Duration = Duration::from_secs(5);
/// How long when the worker stops.
const MAX_CLOSING_TIME_AT_STOP: Duration = Duration::from_secs(1);

/// What happens to an intake.
#[expect(clippy::large_enum_variant, reason = "a box would cost each delivery an allocation")]
pub(crate) enum Event {
    /// The broker has sent this.
    Received(Delivery),
    /// The subscription has ended, and what was sent before has all arrived.
    Closed,
    /// What waits should go back: it has waited for too long, or this worker must not consume.
    WaitIsOver,
    /// The consumer was stopped and has no more deliveries.
    Ended,
    /// What goes back has waited long enough for the end of the subscription.
    ClosingIsLate,
}

/// A delivery whose turn has come, or that waits for it.
pub(crate) enum Turn {
    /// It has not waited, or nothing is known of it yet.
    New(Delivery),
    /// A first delivery that has waited.
    Waited(Waited),
}

/// A first delivery that has waited for its turn.
pub(crate) struct Waited {
    pub(crate) request: Request,
    pub(crate) in_flight: InFlightGuard,
    pub(crate) delivery: Delivery,
}

impl Turn {
    /// Whether a worker may have died of it.
    pub(crate) fn is_suspect(&self) -> bool {
        match self {
            Self::New(delivery) => is_suspect(delivery),
            Self::Waited(_) => false,
        }
    }
}

/// Whether a worker may have died of a delivered request.
fn is_suspect(delivery: &Delivery) -> bool {
    IncomingRequest::from(delivery).suspected_deaths() > 0
}

/// What waits for a worker, in the order in which it came.
///
/// With a prefetch above 1 a worker consumes *ahead*: further deliveries wait here while it works on one. It does so only
/// while jobs are short and no request is suspected of having ended a worker; else it takes requests one by one, as with a
/// prefetch of 1.
pub(crate) struct Intake {
    worker: String,
    consumer: Consumer,
    receiving: watch::Receiver<bool>,
    one_by_one: watch::Sender<bool>,
    paused: watch::Receiver<bool>,
    prefetch: u16,
    waiting: VecDeque<(Turn, Instant)>,
    /// Ends when the oldest delivery may have waited too long. None while nothing waits.
    wait: Option<Pin<Box<Sleep>>>,
    /// How many short jobs there were in a row since requests are taken one by one.
    short_jobs: u16,
    /// Whether the subscription is being ended, to take requests one by one or to stop, and what was sent before can still
    /// arrive.
    is_closing: bool,
    is_stopping: bool,
    has_ended: bool,
    /// What goes back as soon as nothing more can arrive. Before, the broker might send the copies to this consumer, and
    /// what it sends to one that is being cancelled can be lost, which counts as a delivery.
    going_back: Vec<Turn>,
    /// Ends when they have waited long enough. None while there are none.
    late: Option<Pin<Box<Sleep>>>,
}

impl Intake {
    /// Takes the deliveries of this worker from this consumer, which takes them one by one while `one_by_one` is true, and none while
    /// `paused` is.
    pub(crate) fn new(
        worker: &str,
        consumer: Consumer,
        prefetch: u16,
        one_by_one: watch::Sender<bool>,
        paused: watch::Receiver<bool>,
    ) -> Self {
        Self {
            worker: worker.to_owned(),
            receiving: consumer.receiving(),
            consumer,
            one_by_one,
            paused,
            prefetch,
            waiting: VecDeque::new(),
            wait: None,
            short_jobs: 0,
            is_closing: false,
            is_stopping: false,
            has_ended: false,
            going_back: Vec::new(),
            late: None,
        }
    }

    /// Whether the broker may send deliveries ahead.
    pub(crate) fn is_ahead(&self) -> bool {
        self.prefetch > 1 && !*self.one_by_one.borrow()
    }

    /// Whether the worker may hold several deliveries at a time.
    pub(crate) fn may_hold_several(&self) -> bool {
        self.prefetch > 1
    }

    /// Whether the consumer was stopped and has no more deliveries.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// What happens next while the worker has a delivery.
    pub(crate) async fn next_while_busy(&mut self) -> Event {
        let may_receive = self.is_ahead() || self.is_closing;
        self.next(may_receive).await
    }

    /// What happens next while the worker has no delivery.
    pub(crate) async fn next_while_idle(&mut self) -> Event {
        self.next(true).await
    }

    async fn next(&mut self, may_receive: bool) -> Event {
        let wait = poll_fn(|context| poll_wait(&mut self.wait, &self.waiting, context));
        tokio::select! {
            // First: what has arrived was sent before.
            biased;
            delivery = self.consumer.next(), if may_receive && !self.has_ended => match delivery {
                Some(delivery) => Event::Received(delivery),
                None => {
                    self.has_ended = true;
                    self.is_closing = false;
                    Event::Ended
                }
            },
            () = has_become_false(&mut self.receiving), if self.is_closing => self.last_received(),
            () = elapsed(&mut self.late) => {
                self.late = None;
                Event::ClosingIsLate
            }
            () = becomes(&mut self.paused, true), if !self.waiting.is_empty() => Event::WaitIsOver,
            () = wait, if !self.waiting.is_empty() => Event::WaitIsOver,
            else => pending().await,
        }
    }

    /// What has arrived before the end of a subscription, and then that end.
    fn last_received(&mut self) -> Event {
        match self.consumer.next_received() {
            Some(delivery) => {
                self.receiving.mark_changed();
                Event::Received(delivery)
            }
            None => {
                self.is_closing = false;
                Event::Closed
            }
        }
    }

    /// Lets deliveries go back, and returns those that may do so now.
    pub(crate) fn go_back(&mut self, turns: Vec<Turn>) -> Vec<Turn> {
        if !self.is_closing() {
            return turns;
        }
        if !turns.is_empty() {
            let limit = if self.is_stopping { MAX_CLOSING_TIME_AT_STOP } else { MAX_CLOSING_TIME };
            self.late.get_or_insert_with(|| Box::pin(sleep(limit)));
            self.going_back.extend(turns);
        }
        Vec::new()
    }

    /// Whether something waits for the end of the subscription to go back.
    pub(crate) fn has_going_back(&self) -> bool {
        !self.going_back.is_empty()
    }

    /// All that waits for the end of the subscription to go back.
    pub(crate) fn take_going_back(&mut self) -> Vec<Turn> {
        self.late = None;
        std::mem::take(&mut self.going_back)
    }

    /// The one that waits first.
    pub(crate) fn pop(&mut self) -> Option<Turn> {
        self.waiting.pop_front().map(|(turn, _)| turn)
    }

    /// Lets a delivery wait for its turn.
    pub(crate) fn push(&mut self, turn: Turn) {
        self.wait.get_or_insert_with(|| Box::pin(sleep(MAX_WAIT)));
        self.waiting.push_back((turn, Instant::now()));
    }

    /// Whether a request waits of which a worker may have died.
    pub(crate) fn has_suspect(&self) -> bool {
        self.waiting.iter().any(|(turn, _)| turn.is_suspect())
    }

    /// All that waits.
    pub(crate) fn take_waiting(&mut self) -> Vec<Turn> {
        self.wait = None;
        self.waiting.drain(..).map(|(turn, _)| turn).collect()
    }

    /// Takes requests one by one from here on. What was sent ahead may still arrive, until [`Event::Closed`].
    pub(crate) fn take_one_by_one(&mut self) {
        self.short_jobs = 0;
        if self.is_ahead() {
            self.receiving.mark_unchanged();
            self.one_by_one.send_replace(true);
            self.is_closing = true;
        }
    }

    /// Whether the subscription is being ended, and what was sent before can still arrive.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Notes how long a job took. After some short ones in a row, requests are sent ahead.
    pub(crate) fn note_job(&mut self, took: Duration, was_suspect: bool) {
        let is_short = took <= MAX_WAIT / u32::from(self.prefetch);
        self.short_jobs =
            if is_short && !was_suspect { self.short_jobs.saturating_add(1) } else { 0 };
    }

    /// Whether there were enough short jobs to let the broker send requests ahead.
    pub(crate) fn has_enough_short_jobs(&self) -> bool {
        let is_one_by_one = self.prefetch > 1 && !self.is_ahead() && !self.is_closing;
        is_one_by_one && self.short_jobs >= self.prefetch
    }

    /// Lets the broker send requests ahead from the next one on. The worker has a delivery that is not settled, so that no
    /// other is on its way when the subscription is cancelled.
    pub(crate) async fn consume_ahead(&mut self) {
        debug!(worker = self.worker, prefetch = self.prefetch, "{CONSUMING_AHEAD}");
        self.one_by_one.send_replace(false);
        becomes(&mut self.receiving, false).await;
    }

    /// Cancels the subscription. What has arrived before is still received.
    pub(crate) fn stop(&mut self) {
        self.consumer.stop();
        if self.is_stopping || self.has_ended {
            return;
        }
        self.is_stopping = true;
        self.receiving.mark_unchanged();
        self.is_closing = true;
        if let Some(late) = &mut self.late {
            late.as_mut().reset(Instant::now() + MAX_CLOSING_TIME_AT_STOP);
        }
    }

    /// Ends the subscription. All deliveries must have been settled.
    pub(crate) async fn close(self) {
        self.consumer.close().await;
    }
}

/// Waits until a timer has run out, if there is one.
async fn elapsed(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => pending().await,
    }
}

/// Waits until the watched value is this, or can change no more.
async fn becomes(watched: &mut watch::Receiver<bool>, value: bool) {
    let _so_or_over = watched.wait_for(|now| *now == value).await;
}

/// Waits until the watched value is false, or was since it was last marked as seen: when that is noticed, the next
/// subscription may have begun.
async fn has_become_false(watched: &mut watch::Receiver<bool>) {
    if *watched.borrow() {
        let _changed_or_over = watched.changed().await;
    }
}

/// Whether the oldest delivery has waited for too long. The timer is not set anew for each.
fn poll_wait(
    wait: &mut Option<Pin<Box<Sleep>>>,
    waiting: &VecDeque<(Turn, Instant)>,
    context: &mut Context<'_>,
) -> Poll<()> {
    while let (Some(timer), Some((_, since))) = (wait.as_mut(), waiting.front()) {
        let until = *since + MAX_WAIT;
        if Instant::now() >= until {
            return Poll::Ready(());
        }
        if timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        timer.as_mut().reset(until);
    }
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_end_of_a_subscription_is_noticed_after_the_next_has_begun() {
        let (receiving, mut watched) = watch::channel(false);
        receiving.send_replace(true);
        watched.mark_unchanged();
        assert_eq!(has_become_false(&mut watched).now_or_never(), None);
        receiving.send_replace(false);
        receiving.send_replace(true);
        assert_eq!(has_become_false(&mut watched).now_or_never(), Some(()));
    }
}
