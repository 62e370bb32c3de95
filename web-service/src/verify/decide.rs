//! Which requests have no message. Pure decisions over what was observed.
//!
//! What was open from the beginning to the end of an observation, in the same attempt, and claimed by no worker, waits in a
//! queue, or its message is missing. Two facts tell these apart:
//!
//! - A queue is left in order. If a request was worked on that came after the beginning, then whatever was in the queue
//!   before has left it, too: all requests that still wait are missing.
//! - A queue holds no more requests than messages. If more wait than it holds, the others are missing: the oldest, since a
//!   queue is emptied from its head, whoever does it. Which they are is a guess.
//!
//! A wrong guess costs no more than the work, done twice: what is published again is a run of its own.

use std::{cmp::Reverse, time::Duration};

use pipeline::contract::Timestamp;
use store::OpenRequest;

/// How long around its time a request may be on the way from the retry queue. It is not judged then.
const ON_THE_WAY: Duration = Duration::from_secs(2);
/// So many samples in a row have to show the same: a message may be in the hands of a program for a moment.
const SAMPLES_IN_A_ROW: usize = 3;

/// What was seen of the system for some seconds.
#[derive(Debug, Clone)]
pub struct Observation {
    /// How many requests were open at its end.
    pub open: usize,
    /// How many of them a worker claimed.
    pub in_work: usize,
    /// The requests that were open from its beginning to its end, in the same attempt, and were claimed by no worker.
    pub stayed: Vec<OpenRequest>,
    /// When it began and ended.
    pub between: [Timestamp; 2],
    /// The messages in the queues, sample by sample.
    pub samples: Vec<Sample>,
    /// Whether a request was worked on that was accepted after the beginning.
    pub is_overtaken: bool,
    /// Whether there were more open requests than are looked at.
    pub is_cut: bool,
}

/// How many messages the queues held at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Requests.
    pub requests: u32,
    /// Requests that wait for their next attempt.
    pub retries: u32,
    /// Results and failed requests that were not stored yet.
    pub results: u32,
}

/// A request without a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The request.
    pub request: OpenRequest,
    /// How that is known.
    pub reason: Reason,
}

/// How it is known that the message of a request is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Requests that came later were worked on.
    Overtaken,
    /// The queues hold fewer messages than requests wait, and this is one of the oldest.
    TooFewMessages,
}

/// Where the message of a request should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    RequestQueue,
    RetryQueue,
    /// Between the two.
    OnTheWay,
}

impl Observation {
    /// Whether results wait to be stored all the time: then their requests are open although they are done.
    pub fn is_storing(&self) -> bool {
        !self.samples.iter().any(|sample| sample.results == 0)
    }

    /// How many requests should have a message in the queue of requests, and how many in a retry queue.
    pub fn expected(&self) -> [usize; 2] {
        let count = |place| self.stayed.iter().filter(|it| self.place(it) == place).count();
        [count(Place::RequestQueue), count(Place::RetryQueue)]
    }

    /// The messages that the queues held at least, whatever was in the hands of programs meanwhile.
    pub fn held(&self) -> Sample {
        let total = |sample: &Sample| u64::from(sample.requests) + u64::from(sample.retries);
        let windows = self.samples.windows(SAMPLES_IN_A_ROW);
        let fullest = windows.filter_map(|samples| samples.iter().max_by_key(|it| total(it)));
        fullest.min_by_key(|sample| total(sample)).copied().unwrap_or_default()
    }

    /// Two seconds in which these requests stayed open.
    #[cfg(test)]
    pub(crate) fn of(stayed: &[OpenRequest], samples: Vec<Sample>) -> Self {
        Self {
            open: stayed.len(),
            in_work: 0,
            stayed: stayed.to_vec(),
            between: [1_000_000, 1_002_000].map(Timestamp::from_millis),
            samples,
            is_overtaken: false,
            is_cut: false,
        }
    }

    fn place(&self, request: &OpenRequest) -> Place {
        let [began, ended] = self.between;
        match request.next_attempt_at {
            Some(at) if at > ended + ON_THE_WAY => Place::RetryQueue,
            Some(at) if at + ON_THE_WAY > began => Place::OnTheWay,
            _ => Place::RequestQueue,
        }
    }
}

/// The requests whose message is missing.
pub fn missing(seen: &Observation) -> Vec<Missing> {
    if seen.is_storing() || seen.samples.len() < SAMPLES_IN_A_ROW {
        return Vec::new();
    }
    let of = |place| seen.stayed.iter().copied().filter(move |it| seen.place(it) == place);
    let mut waiting: Vec<_> = of(Place::RequestQueue).collect();
    let mut retrying: Vec<_> = of(Place::RetryQueue).collect();
    let held = seen.held();
    let [requests, retries] =
        [held.requests, held.retries].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    let (reason, lost, retries_lost) = if seen.is_overtaken {
        let retries_lost = retrying.len().saturating_sub(retries.saturating_add(requests));
        (Reason::Overtaken, waiting.len(), retries_lost)
    } else {
        let held = requests.saturating_add(retries);
        let all_lost = (waiting.len() + retrying.len()).saturating_sub(held);
        let lost = waiting.len().saturating_sub(requests).min(all_lost);
        (Reason::TooFewMessages, lost, all_lost - lost)
    };
    waiting.sort_unstable_by_key(published);
    retrying.sort_unstable_by_key(published);
    let missing = |request, reason| Missing { request, reason };
    let lost = waiting.into_iter().take(lost).map(|it| missing(it, reason));
    let retries_lost = retrying.into_iter().take(retries_lost);
    lost.chain(retries_lost.map(|it| missing(it, Reason::TooFewMessages))).collect()
}

/// The order in which the messages entered their queue, as far as it is known. When a later run was published is not.
fn published(request: &OpenRequest) -> (bool, Option<Timestamp>, Reverse<u32>, uuid::Uuid) {
    let at = request.next_attempt_at.or(request.accepted_at);
    (request.run > 0, at, Reverse(request.attempts), request.id)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// When the observation begins.
    const NOW: i64 = 1_000_000;

    /// A request that was accepted at this millisecond.
    fn waiting(at: i64) -> OpenRequest {
        OpenRequest {
            id: Uuid::from_u128(at.unsigned_abs().into()),
            run: 0,
            attempts: 0,
            accepted_at: Some(Timestamp::from_millis(at)),
            next_attempt_at: None,
        }
    }

    /// One that waits for its next attempt, so many seconds from now.
    fn retrying(at: i64, seconds: i64) -> OpenRequest {
        let next_attempt_at = Some(Timestamp::from_millis(NOW + seconds * 1000));
        OpenRequest { attempts: 1, next_attempt_at, ..waiting(at) }
    }

    fn seen(stayed: &[OpenRequest], samples: &[[u32; 3]]) -> Observation {
        let sample =
            |&[requests, retries, results]: &[u32; 3]| Sample { requests, retries, results };
        Observation::of(stayed, samples.iter().map(sample).collect())
    }

    fn ids(missing: &[Missing]) -> Vec<u128> {
        missing.iter().map(|it| it.request.id.as_u128()).collect()
    }

    #[test]
    fn nothing_is_missing_while_the_queues_hold_a_message_for_each_request() {
        let stayed = [waiting(1), waiting(2), retrying(3, 60)];
        assert_eq!(missing(&seen(&stayed, &[[2, 1, 0]; 3])), []);
        assert_eq!(missing(&seen(&stayed, &[[9, 1, 0]; 3])), [], "of other programs");
        assert_eq!(missing(&seen(&[], &[[0, 0, 0]; 3])), []);
    }

    #[test]
    fn if_more_wait_than_the_queue_holds_the_oldest_are_missing() {
        let stayed = [waiting(3), waiting(1), waiting(2)];
        let found = missing(&seen(&stayed, &[[1, 0, 0]; 3]));
        assert_eq!(ids(&found), [1, 2]);
        assert!(found.iter().all(|it| it.reason == Reason::TooFewMessages));
        let all = missing(&seen(&stayed, &[[0, 0, 0]; 3]));
        assert_eq!(ids(&all), [1, 2, 3], "it was purged");
        // It entered the queue when its time had come, and when a later run did is not known.
        let later_run = OpenRequest { run: 1, ..waiting(0) };
        let late = [retrying(0, -5), waiting(NOW - 60_000), waiting(NOW - 4000), later_run];
        let found = missing(&seen(&late, &[[1, 0, 0]; 3]));
        assert_eq!(found.last().unwrap().request, waiting(NOW - 4000));
        assert_eq!(found[1].request, retrying(0, -5));
    }

    #[test]
    fn whatever_was_overtaken_is_missing_however_many_messages_there_are() {
        let stayed = [waiting(1), waiting(2), retrying(3, 60)];
        let overtaken = Observation { is_overtaken: true, ..seen(&stayed, &[[7, 1, 0]; 3]) };
        let found = missing(&overtaken);
        assert_eq!(ids(&found), [1, 2]);
        assert!(found.iter().all(|it| it.reason == Reason::Overtaken));
    }

    #[test]
    fn the_retry_queues_are_counted_with_the_queue_of_requests() {
        let stayed = [retrying(1, 60), retrying(2, 30), waiting(3)];
        assert_eq!(ids(&missing(&seen(&stayed, &[[1, 1, 0]; 3]))), [2], "the first that is due");
        assert_eq!(ids(&missing(&seen(&stayed, &[[0, 0, 0]; 3]))), [3, 2, 1]);
        // It waits in the other queue than it seems: until it is asked about, or sent back.
        assert_eq!(missing(&seen(&stayed, &[[0, 3, 0]; 3])), []);
        assert_eq!(missing(&seen(&stayed, &[[3, 0, 0]; 3])), []);
        let on_the_way = [retrying(1, 0), retrying(2, 3), retrying(3, -1)];
        assert_eq!(missing(&seen(&on_the_way, &[[0, 0, 0]; 3])), []);
    }

    #[test]
    fn a_message_that_is_in_the_hands_of_a_program_for_a_moment_is_not_missing() {
        let stayed = [waiting(1), waiting(2)];
        let samples = [[2, 0, 0], [1, 0, 0], [1, 0, 0], [2, 0, 0], [0, 0, 0], [2, 0, 0]];
        assert_eq!(missing(&seen(&stayed, &samples)), []);
        let samples = [[2, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]];
        assert_eq!(ids(&missing(&seen(&stayed, &samples))), [1]);
    }

    #[test]
    fn what_is_done_and_not_stored_yet_is_not_missing() {
        let stayed = [waiting(1)];
        assert_eq!(missing(&seen(&stayed, &[[0, 0, 4]; 3])), []);
        assert_eq!(ids(&missing(&seen(&stayed, &[[0, 0, 4], [0, 0, 0], [0, 0, 2]]))), [1]);
        assert_eq!(missing(&seen(&stayed, &[])), [], "nothing was seen");
    }
}
