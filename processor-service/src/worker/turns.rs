//! Turns: which delivery of a worker is handled next, and what becomes of the others meanwhile.
//!
//! With a prefetch of 1 there are no others.

use std::time::SystemTime;

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use pipeline::{broker::Delivery, contract::Request};
use tokio::time::sleep;
use tracing::debug;

use crate::{
    decisions::{admission, incoming::IncomingRequest},
    processor::Processor,
    worker::{
        Worker,
        intake::{Event, Intake, Turn, Waited},
        settle::HAND_BACK_TIMEOUT,
    },
};

/// What is left to do of deliveries beside the one that has its turn: results to confirm, and requests to hand back.
type Background<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

impl<P: Processor> Worker<P> {
    /// Takes requests until told to stop.
    pub(crate) async fn run(self, mut intake: Intake) {
        let mut background = Background::new();
        while let Some(turn) = self.next_turn(&mut intake, &mut background).await {
            if let Some(turn) = self.alone_if_suspect(turn, &mut intake, &mut background).await {
                self.take_turn(turn, &mut intake, &mut background).await;
            }
        }
        self.stop(&mut intake, &mut background).await;
        drop(background);
        intake.close().await;
    }

    /// The delivery whose turn is next. None when the worker has to stop.
    async fn next_turn<'a>(
        &'a self,
        intake: &mut Intake,
        background: &mut Background<'a>,
    ) -> Option<Turn> {
        loop {
            if self.drain.is_cancelled() {
                return None;
            }
            if let Some(turn) = intake.pop() {
                return Some(turn);
            }
            if intake.has_ended() {
                return None;
            }
            tokio::select! {
                biased;
                () = self.drain.cancelled() => {}
                Some(()) = background.next() => {}
                event = intake.next_while_idle() => match event {
                    Event::Received(delivery) => {
                        self.metrics.delivered();
                        return Some(Turn::New(delivery));
                    }
                    Event::Ended => return None,
                    Event::Closed | Event::ClosingIsLate => self.hand_back_all(intake, background),
                    Event::WaitIsOver => {}
                },
            }
        }
    }

    /// Hands back all else that this worker has, if a worker may have died of this request. None if that went back too.
    async fn alone_if_suspect<'a>(
        &'a self,
        turn: Turn,
        intake: &mut Intake,
        background: &mut Background<'a>,
    ) -> Option<Turn> {
        let Turn::New(delivery) = &turn else { return Some(turn) };
        if !turn.is_suspect() {
            return Some(turn);
        }
        intake.take_one_by_one();
        self.hand_back_waiting(intake, background);
        if intake.is_closing() || !background.is_empty() {
            self.claim(&turn);
        }
        while intake.is_closing() || !background.is_empty() {
            tokio::select! {
                biased;
                () = delivery.revoked() => return None,
                () = self.drain.cancelled() => {
                    self.go_back(vec![turn], intake, background);
                    return None;
                }
                Some(()) = background.next() => {}
                event = intake.next_while_busy() => match event {
                    Event::Received(other) => {
                        self.go_back(vec![Turn::New(other)], intake, background);
                    }
                    Event::Closed | Event::Ended | Event::ClosingIsLate => {
                        self.hand_back_all(intake, background);
                    }
                    Event::WaitIsOver => {}
                },
            }
        }
        if intake.may_hold_several() {
            // An ack that the broker has not read is lost if this process dies.
            let _settled_or_goes_back =
                self.unless_it_goes_back(delivery.others_settled(), delivery).await;
        }
        Some(turn)
    }

    /// Handles a delivery. Others that come meanwhile wait.
    async fn take_turn<'a>(
        &'a self,
        turn: Turn,
        intake: &mut Intake,
        background: &mut Background<'a>,
    ) {
        let was_suspect = turn.is_suspect();
        if !was_suspect && intake.has_enough_short_jobs() {
            self.claim(&turn);
            let switching = intake.consume_ahead();
            let _switched_or_stopping = self.drain.run_until_cancelled(switching).await;
        }
        let handling = self.handle(turn, intake.is_ahead());
        tokio::pin!(handling);
        let mut is_stopping = false;
        let handled = loop {
            tokio::select! {
                biased;
                handled = &mut handling => break handled,
                () = self.drain.cancelled(), if !is_stopping => {
                    // Or the ack would bring a request that is only handed back.
                    intake.stop();
                    self.hand_back_waiting(intake, background);
                    is_stopping = true;
                }
                Some(()) = background.next() => {}
                event = intake.next_while_busy() => match event {
                    Event::Received(delivery) if is_stopping => {
                        self.go_back(vec![Turn::New(delivery)], intake, background);
                    }
                    Event::Received(delivery) => {
                        self.metrics.delivered();
                        self.let_wait(delivery, intake, background);
                    }
                    Event::WaitIsOver => {
                        intake.take_one_by_one();
                        self.hand_back_waiting(intake, background);
                    }
                    Event::Closed | Event::Ended | Event::ClosingIsLate => {
                        self.hand_back_all(intake, background);
                    }
                },
            }
        };
        background.extend(handled.rest);
        if let Some(took) = handled.took {
            intake.note_job(took, was_suspect);
        }
    }

    /// Lets a delivery wait for its turn. If a worker may have died of it, nothing else waits with it.
    fn let_wait<'a>(
        &'a self,
        delivery: Delivery,
        intake: &mut Intake,
        background: &mut Background<'a>,
    ) {
        if intake.has_suspect() {
            return self.go_back(vec![Turn::New(delivery)], intake, background);
        }
        if IncomingRequest::from(&delivery).deliveries() == 1 {
            return intake.push(self.waiting(delivery));
        }
        let delivery = match Request::parse(&delivery.body) {
            Ok(request) => self.not_mine_now(&request.id, delivery),
            Err(_) => Some(delivery),
        };
        let Some(turn) = delivery.map(Turn::New) else { return };
        if turn.is_suspect() {
            intake.take_one_by_one();
            self.hand_back_waiting(intake, background);
        }
        self.claim(&turn);
        intake.push(turn);
    }

    /// Claims a delivery that has to wait before it is looked at: if the connection is lost meanwhile, no worker has died
    /// of it.
    fn claim(&self, turn: &Turn) {
        let Turn::New(delivery) = turn else { return };
        let incoming = IncomingRequest::from(delivery);
        if admission::is_claimed_at_once(incoming, &self.policy, SystemTime::now())
            && let Ok(request) = Request::parse(&delivery.body)
        {
            let execution = incoming.execution(&request.id);
            // What this process has finished needs only an ack.
            if !self.claims.is_finished(&execution) {
                self.claims.take(&execution, incoming.deliveries(), delivery.watch());
            }
        }
    }

    /// A first delivery that waits for its turn: it can be cancelled, and this process answers for it.
    fn waiting(&self, delivery: Delivery) -> Turn {
        let Ok(request) = Request::parse(&delivery.body) else { return Turn::New(delivery) };
        let incoming = IncomingRequest::from(&delivery);
        let execution = incoming.execution(&request.id);
        self.claims.take(&execution, incoming.deliveries(), delivery.watch());
        let started = self.started_event(&request.id, incoming);
        let in_flight = self.in_flight.add(started, delivery.watch());
        Turn::Waited(Waited { request, in_flight, delivery })
    }

    fn hand_back_waiting<'a>(&'a self, intake: &mut Intake, background: &mut Background<'a>) {
        let waiting = intake.take_waiting();
        if !waiting.is_empty() {
            let worker = &self.name;
            debug!(worker, requests = waiting.len(), "handing back the requests that wait");
        }
        self.go_back(waiting, intake, background);
    }

    /// Hands deliveries back, once nothing more can arrive.
    fn go_back<'a>(
        &'a self,
        turns: Vec<Turn>,
        intake: &mut Intake,
        background: &mut Background<'a>,
    ) {
        if intake.is_closing() {
            turns.iter().for_each(|turn| self.claim(turn));
        }
        let now = match self.settler.is_given_up() {
            true => turns,
            false => intake.go_back(turns),
        };
        background.extend(now.into_iter().map(|turn| self.give_back(turn).boxed()));
    }

    /// Hands back what has waited until nothing more could arrive.
    fn hand_back_all<'a>(&'a self, intake: &mut Intake, background: &mut Background<'a>) {
        let turns = intake.take_going_back();
        background.extend(turns.into_iter().map(|turn| self.give_back(turn).boxed()));
    }

    /// Hands back a delivery whose turn has not come, unless it was cancelled.
    async fn give_back(&self, turn: Turn) {
        match turn {
            Turn::New(delivery) => self.settler.hand_back(delivery, false).await,
            Turn::Waited(Waited { in_flight, delivery, .. }) if in_flight.is_cancelled() => {
                delivery.ack();
            }
            Turn::Waited(Waited { delivery, .. }) => self.settler.hand_back(delivery, false).await,
        }
    }

    /// Hands back what the broker has sent already, and finishes what is left to do. A broker that does not answer takes
    /// everything back when the connection ends.
    async fn stop<'a>(&'a self, intake: &mut Intake, background: &mut Background<'a>) {
        intake.stop();
        self.hand_back_waiting(intake, background);
        if intake.has_ended() {
            self.hand_back_all(intake, background);
        }
        let mut may_receive = true;
        let late = sleep(HAND_BACK_TIMEOUT);
        tokio::pin!(late);
        while !background.is_empty()
            || intake.has_going_back()
            || (may_receive && !intake.has_ended())
        {
            tokio::select! {
                biased;
                Some(()) = background.next() => {}
                event = intake.next_while_idle(), if may_receive && !intake.has_ended() => match event {
                    Event::Received(delivery) => {
                        self.go_back(vec![Turn::New(delivery)], intake, background);
                    }
                    Event::Closed | Event::Ended | Event::ClosingIsLate => {
                        self.hand_back_all(intake, background);
                    }
                    Event::WaitIsOver => {}
                },
                // While something goes back, more may come: it would count as delivered.
                () = &mut late, if may_receive && background.is_empty() && !intake.has_going_back() => {
                    may_receive = false;
                }
            }
        }
    }
}
