//! Claims: what was delivered to this process, so that it can tell the others that it did not die of it; and the
//! questions that this process asks.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pipeline::{
    broker::{DeliveryWatch, EventPublisher},
    contract::{Control, Execution, RequestId},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use uuid::Uuid;

use crate::decisions::admission::Claimed;

/// How many attempts are remembered; then the oldest are forgotten, first those that are over.
const MAX_REMEMBERED: usize = 10_000;
/// How many attempts that are not over are passed by in search of one that is.
const MAX_PASSED_BY: usize = 1000;
/// How often a question is repeated: some processes are still connecting.
const QUESTION_INTERVAL: Duration = Duration::from_millis(500);
/// How long to wait for answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait, beyond the time for answers, for the first sign that control messages arrive here at all.
const ECHO_TIMEOUT: Duration = Duration::from_secs(15);

/// What was delivered to this process, and what it asks others. Clones share it.
#[derive(Clone)]
pub(crate) struct Claims {
    /// Tells the processes apart. A new one for each start.
    process: Arc<str>,
    event_publisher: EventPublisher,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    remembered: HashMap<Attempt, Remembered>,
    /// The attempts in the order in which they were first delivered here.
    order: VecDeque<Attempt>,
    questions: HashMap<Execution, watch::Sender<Answers>>,
}

/// One attempt at a request, whatever survived of its deliveries.
type Attempt = (RequestId, i64, i64);

#[derive(Default)]
struct Remembered {
    /// The [`Execution::survived`] that the deliveries had.
    survived: i64,
    deliveries: Vec<Delivered>,
    /// Whether what followed from the attempt was confirmed by the broker.
    done: bool,
}

/// One delivery to this process.
struct Delivered {
    /// Its number within the attempt.
    number: i64,
    /// Tells whether the acknowledgement timeout was over before its job ended. None if it was not.
    until_end: Option<DeliveryWatch>,
}

impl Delivered {
    /// Whether its job has ended, or may still end.
    fn has_survived(&self) -> bool {
        self.until_end.as_ref().is_none_or(|watch| !watch.has_timed_out())
    }
}

/// The answers to a question so far.
#[derive(Debug, Default, Clone)]
struct Answers {
    /// How often each process had it.
    times: HashMap<String, i64>,
    /// When the first answer of this process itself came back: since then, answers can arrive.
    heard_since: Option<Instant>,
}

impl Answers {
    fn claimed(&self) -> i64 {
        self.times.values().fold(0, |sum, times| sum.saturating_add(*times))
    }
}

impl Remembered {
    /// Adds a delivery. One that was lost before it was counted comes again with the same number.
    fn add(&mut self, number: i64, delivery: DeliveryWatch) {
        self.forget(number);
        self.deliveries.push(Delivered { number, until_end: Some(delivery) });
    }

    fn forget(&mut self, number: i64) {
        self.deliveries.retain(|other| other.number != number);
    }

    /// Notes that the job has ended. What it leads to may be confirmed long after the acknowledgement timeout.
    fn end_work(&mut self) {
        for ended in self.deliveries.iter_mut().filter(|it| it.has_survived()) {
            ended.until_end = None;
        }
    }

    /// How many deliveries this process has survived. It has not survived those for which the broker's
    /// acknowledgement timeout was over while their jobs ran: these hang.
    fn times(&self) -> i64 {
        self.times_before(i64::MAX)
    }

    /// The same, of the deliveries before this one.
    fn times_before(&self, number: i64) -> i64 {
        let survived = self.deliveries.iter();
        let survived = survived.filter(|other| other.number < number && other.has_survived());
        i64::try_from(survived.count()).unwrap_or(i64::MAX)
    }
}

impl Claims {
    /// Nothing was delivered yet. Questions and answers are published by this publisher.
    pub(crate) fn new(event_publisher: EventPublisher) -> Self {
        let process = Uuid::now_v7().to_string().into();
        Self { process, event_publisher, state: Arc::default() }
    }

    /// Notes that this was delivered, as the delivery with this number, and that its work may begin.
    pub(crate) fn take(&self, execution: &Execution, number: i64, delivery: DeliveryWatch) {
        let mut state = self.state();
        let attempt = attempt(execution);
        if !state.remembered.contains_key(&attempt) {
            state.forget_oldest();
            state.order.push_back(attempt.clone());
        }
        let remembered = state.remembered.entry(attempt).or_default();
        if remembered.survived != execution.survived {
            *remembered = Remembered { survived: execution.survived, ..Remembered::default() };
        }
        remembered.done = false;
        remembered.add(number, delivery);
    }

    /// Forgets the delivery with this number: the copy that was published in its place has the same number.
    pub(crate) fn forget(&self, execution: &Execution, number: i64) {
        if let Some(remembered) = self.state().remembered.get_mut(&attempt(execution)) {
            remembered.forget(number);
        }
    }

    /// How many deliveries of this there were to this process before the one with this number.
    pub(crate) fn times_before(&self, execution: &Execution, number: i64) -> i64 {
        let state = self.state();
        let known = state.remembered.get(&attempt(execution));
        let known = known.filter(|known| known.survived == execution.survived);
        known.map_or(0, |known| known.times_before(number))
    }

    /// Forgets the deliveries of this: it was handed back by a copy that does not count them.
    pub(crate) fn release(&self, execution: &Execution) {
        let mut state = self.state();
        let known = state.remembered.get_mut(&attempt(execution));
        if let Some(known) = known.filter(|known| known.survived == execution.survived) {
            known.deliveries.clear();
        }
    }

    /// Notes that the job of the attempt has ended in this process, and is to be settled.
    pub(crate) fn end_work(&self, execution: &Execution) {
        if let Some(remembered) = self.state().remembered.get_mut(&attempt(execution)) {
            remembered.end_work();
        }
    }

    /// Notes that what follows from the attempt was confirmed: a redelivery of it needs only an ack.
    pub(crate) fn finish(&self, execution: &Execution) {
        if let Some(remembered) = self.state().remembered.get_mut(&attempt(execution)) {
            remembered.done = true;
        }
    }

    /// Whether this process has finished the attempt.
    pub(crate) fn is_finished(&self, execution: &Execution) -> bool {
        self.state().remembered.get(&attempt(execution)).is_some_and(|remembered| remembered.done)
    }

    /// Handles a control message of this kind; ignores others.
    pub(crate) fn handle(&self, control: Control) {
        match control {
            Control::WhoHad { execution, process } => self.answer(execution, &process),
            Control::Had { execution, process, times } => self.note(&execution, process, times),
            Control::Cancel(..) | Control::Who => {}
        }
    }

    /// Asks all processes how often they had this, until they claim `needed` deliveries or the time is over. Returns what
    /// they claim.
    pub(crate) async fn ask(&self, execution: &Execution, needed: i64) -> Claimed {
        let asking = Asking::begin(self, execution);
        let mut answers = asking.answers();
        tokio::select! {
            _ = answers.wait_for(|answers| answers.claimed() >= needed) => {}
            () = asking.repeat() => {}
            () = time_is_over(asking.answers()) => {}
        }
        let answers = asking.answers();
        let answers = answers.borrow();
        let was_heard = answers.heard_since.is_some();
        Claimed { deliveries: answers.claimed(), was_heard }
    }

    fn answer(&self, execution: Execution, asker: &str) {
        let times = self.state().times(&execution);
        if times > 0 || *asker == *self.process {
            let process = self.process.to_string();
            // If it can't be sent, the question comes again.
            self.event_publisher.try_publish(Control::Had { execution, process, times }.message());
        }
    }

    fn note(&self, execution: &Execution, process: String, times: i64) {
        let state = self.state();
        let Some(question) = state.questions.get(execution) else { return };
        question.send_modify(|answers| {
            if *process == *self.process {
                answers.heard_since.get_or_insert_with(Instant::now);
            }
            answers.times.insert(process, times.max(0));
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn times(&self, execution: &Execution) -> i64 {
        let remembered = self.remembered.get(&attempt(execution));
        remembered.filter(|known| known.survived == execution.survived).map_or(0, Remembered::times)
    }

    /// Makes room for one more. What is not over is passed by, since it may be in flight.
    fn forget_oldest(&mut self) {
        if self.order.len() < MAX_REMEMBERED {
            return;
        }
        let is_over = |known: &Remembered| known.done || known.deliveries.is_empty();
        for _ in 0..MAX_PASSED_BY {
            let Some(oldest) = self.order.pop_front() else { return };
            if self.remembered.get(&oldest).is_none_or(is_over) {
                self.remembered.remove(&oldest);
                return;
            }
            self.order.push_back(oldest);
        }
        if let Some(oldest) = self.order.pop_front() {
            self.remembered.remove(&oldest);
        }
    }
}

/// A question that is being asked; it ends when this is dropped. Two workers may ask the same.
struct Asking<'a> {
    claims: &'a Claims,
    execution: &'a Execution,
    answers: watch::Receiver<Answers>,
}

impl<'a> Asking<'a> {
    fn begin(claims: &'a Claims, execution: &'a Execution) -> Self {
        let mut state = claims.state();
        let question = state.questions.entry(execution.clone()).or_default();
        Self { claims, execution, answers: question.subscribe() }
    }

    fn answers(&self) -> watch::Receiver<Answers> {
        self.answers.clone()
    }

    /// Publishes the question again and again.
    async fn repeat(&self) {
        let (execution, process) = (self.execution.clone(), self.claims.process.to_string());
        let question = Arc::new(Control::WhoHad { execution, process }.message());
        let mut ticks = interval(QUESTION_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.claims.event_publisher.try_publish(question.clone());
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.claims.state();
        // This receiver itself is one of them.
        if state.questions.get(self.execution).is_some_and(|asked| asked.receiver_count() == 1) {
            state.questions.remove(self.execution);
        }
    }
}

fn attempt(execution: &Execution) -> Attempt {
    (execution.request_id.clone(), execution.run, execution.attempt)
}

/// Waits until answers could arrive for so long, or never began to.
async fn time_is_over(mut answers: watch::Receiver<Answers>) {
    let give_up = Instant::now() + ANSWER_TIMEOUT + ECHO_TIMEOUT;
    let until = tokio::select! {
        heard = answers.wait_for(|answers| answers.heard_since.is_some()) => {
            heard.ok().and_then(|answers| answers.heard_since).map(|since| since + ANSWER_TIMEOUT)
        }
        () = sleep_until(give_up) => return,
    };
    sleep_until(until.unwrap_or(give_up)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_whose_job_has_ended_can_time_out_no_more() {
        let mut remembered = Remembered::default();
        remembered.add(1, DeliveryWatch::default());
        remembered.end_work();
        remembered.add(2, DeliveryWatch::default());
        let watched = |it: &Delivered| it.until_end.is_some();
        assert_eq!(remembered.deliveries.iter().map(watched).collect::<Vec<_>>(), [false, true]);
        assert_eq!((remembered.times_before(2), remembered.times()), (1, 2));
    }
}
