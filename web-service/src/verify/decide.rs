//! Which requests have no message. Pure decisions over what was observed.
//!
//! What was open from the beginning to the end of an observation, in the same attempt, and claimed by no worker, waits in a
//! queue, or its message is missing. Two facts tell these apart:
//!
//! - A queue is left in order. If a request was worked on that came after the beginning, then whatever was in the queue
//!   before has left it, too: all requests of its type that still wait are missing.
//! - A queue holds no more requests than messages. If more wait than it holds, the others are missing: the oldest, since a
//!   queue is emptied from its head, whoever does it. Which they are is a guess.
//!
//! A wrong guess costs no more than the work, done twice: what is published again is a run of its own.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pipeline::{contract::Timestamp, topology::RequestType};
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
    /// The types of which a request was worked on that was accepted after the beginning.
    pub overtaken: BTreeSet<RequestType>,
    /// Whether there were more open requests than are looked at.
    pub is_cut: bool,
}

/// How many messages the queues held at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Requests, by their type.
    pub requests: BTreeMap<RequestType, u32>,
    /// Requests that wait for their next attempt.
    pub retries: u32,
    /// Results and failed requests that were not stored yet.
    pub results: u32,
}

/// The messages that the queues held at least, whatever was in the hands of programs meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Requests, by their type.
    pub requests: BTreeMap<RequestType, u32>,
    /// Requests that wait for their next attempt.
    pub retries: u32,
}

/// A request without a message.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// The messages that the queues held at least. A request moves between the queue of its type and the retry queues, so
    /// they are counted together.
    pub fn held(&self) -> Held {
        let mut held = Held::default();
        for of_type in self.types() {
            let (requests, retries) = self.held_of(of_type);
            held.requests.insert(of_type.clone(), requests);
            held.retries = held.retries.max(retries);
        }
        held
    }

    fn held_of(&self, of_type: &RequestType) -> (u32, u32) {
        let counts = |it: &Sample| (it.requests.get(of_type).copied().unwrap_or(0), it.retries);
        let counts: Vec<_> = self.samples.iter().map(counts).collect();
        let total = |(requests, retries): &(u32, u32)| u64::from(*requests) + u64::from(*retries);
        let windows = counts.windows(SAMPLES_IN_A_ROW);
        let fullest = windows.filter_map(|counts| counts.iter().max_by_key(|it| total(it)));
        fullest.min_by_key(|counts| total(counts)).copied().unwrap_or_default()
    }

    /// How many requests of types that were not overtaken waited all the time, and how many messages more than that the
    /// queues held.
    pub fn surplus(&self) -> (usize, u64) {
        let held = self.held();
        let is_judged = |of_type: &RequestType| !self.overtaken.contains(of_type);
        let expected = self.stayed.iter().filter(|it| is_judged(&it.request_type));
        let expected = expected.filter(|it| self.place(it) != Place::OnTheWay).count();
        let requests = held.requests.iter().filter(|(of_type, _)| is_judged(of_type));
        let messages = requests.map(|(_, count)| u64::from(*count)).sum::<u64>();
        let messages = messages + u64::from(held.retries);
        (expected, messages.saturating_sub(expected as u64))
    }

    /// The types of the requests that stayed, and those whose messages were counted.
    fn types(&self) -> BTreeSet<&RequestType> {
        let counted = self.samples.iter().flat_map(|sample| sample.requests.keys());
        self.stayed.iter().map(|it| &it.request_type).chain(counted).collect()
    }

    /// Two seconds in which these requests stayed open.
    #[cfg(test)]
    pub(crate) fn sample(stayed: &[OpenRequest], samples: Vec<Sample>) -> Self {
        Self {
            open: stayed.len(),
            in_work: 0,
            stayed: stayed.to_vec(),
            between: [1_000_000, 1_002_000].map(Timestamp::from_millis),
            samples,
            overtaken: BTreeSet::new(),
            is_cut: false,
        }
    }

    /// The requests of this type, or of all types, whose message should be at this place.
    fn of<'a>(
        &'a self,
        place: Place,
        of_type: Option<&'a RequestType>,
    ) -> impl Iterator<Item = &'a OpenRequest> {
        let stayed = self.stayed.iter().filter(move |it| self.place(it) == place);
        stayed.filter(move |it| of_type.is_none_or(|of_type| it.request_type == *of_type))
    }

    fn oldest_first(
        &self,
        place: Place,
        of_type: Option<&RequestType>,
    ) -> impl Iterator<Item = OpenRequest> + use<> {
        let mut found: Vec<_> = self.of(place, of_type).cloned().collect();
        found.sort_unstable_by_key(published);
        found.into_iter()
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
    let held = seen.held();
    let counts = seen.types().into_iter().map(|of_type| Counts::of(seen, of_type, &held));
    let counts: Vec<_> = counts.collect();
    let needed: usize = counts.iter().map(|it| it.lacking + it.retrying_elsewhere).sum();
    let retries = usize::try_from(held.retries).unwrap_or(usize::MAX);
    // What seems to be missing in the queue of a type may wait in a retry queue, which all types share.
    let mut lost = needed.saturating_sub(retries);
    let mut missing = Vec::new();
    for Counts { of_type, lacking, .. } in &counts {
        let is_overtaken = seen.overtaken.contains(*of_type);
        let of_type_lost = (*lacking).min(lost);
        lost -= of_type_lost;
        let (reason, count) = match is_overtaken {
            true => (Reason::Overtaken, usize::MAX),
            false => (Reason::TooFewMessages, of_type_lost),
        };
        let waiting = seen.oldest_first(Place::RequestQueue, Some(of_type));
        missing.extend(waiting.take(count).map(|request| Missing { request, reason }));
    }
    let retrying = seen.oldest_first(Place::RetryQueue, None).take(lost);
    let reason = Reason::TooFewMessages;
    missing.extend(retrying.map(|request| Missing { request, reason }));
    missing
}

/// The requests of a type that stayed, beside the messages in its queue.
struct Counts<'a> {
    of_type: &'a RequestType,
    /// How many more wait in the queue than it holds, unless all of them are known to be missing.
    lacking: usize,
    /// How many that wait for their next attempt are not accounted for by further messages in the queue.
    retrying_elsewhere: usize,
}

impl<'a> Counts<'a> {
    fn of(seen: &Observation, of_type: &'a RequestType, held: &Held) -> Self {
        let count = |place| seen.of(place, Some(of_type)).count();
        let is_overtaken = seen.overtaken.contains(of_type);
        let waiting = if is_overtaken { 0 } else { count(Place::RequestQueue) };
        let held = held.requests.get(of_type).copied().unwrap_or(0);
        let held = usize::try_from(held).unwrap_or(usize::MAX);
        let more = held.saturating_sub(waiting);
        let retrying_elsewhere = count(Place::RetryQueue).saturating_sub(more);
        Self { of_type, lacking: waiting.saturating_sub(held), retrying_elsewhere }
    }
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
            request_type: RequestType::DEFAULT,
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
        let sample = |&[requests, retries, results]: &[u32; 3]| {
            let requests = [(RequestType::DEFAULT, requests)].into();
            Sample { requests, retries, results }
        };
        Observation::sample(stayed, samples.iter().map(sample).collect())
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
        let overtaken = Observation {
            overtaken: [RequestType::DEFAULT].into(),
            ..seen(&stayed, &[[7, 1, 0]; 3])
        };
        let found = missing(&overtaken);
        assert_eq!(ids(&found), [1, 2]);
        assert!(found.iter().all(|it| it.reason == Reason::Overtaken));
    }

    #[test]
    fn each_type_is_judged_by_its_own_queue() {
        let video = |request: OpenRequest| OpenRequest {
            request_type: "video".parse().unwrap(),
            ..request
        };
        let sample = |plain, of_video, retries| Sample {
            requests: [(RequestType::DEFAULT, plain), ("video".parse().unwrap(), of_video)].into(),
            retries,
            results: 0,
        };
        let seen = |stayed: &[OpenRequest], sample: Sample| {
            Observation::sample(stayed, vec![sample; SAMPLES_IN_A_ROW])
        };
        let stayed = [waiting(1), video(waiting(2)), video(waiting(3)), video(retrying(4, 60))];
        assert_eq!(missing(&seen(&stayed, sample(1, 2, 1))), []);
        let found = |plain, of_video, retries| {
            ids(&missing(&seen(&stayed, sample(plain, of_video, retries))))
        };
        assert_eq!(found(9, 0, 1), [2, 3], "others are in another queue");
        assert_eq!(found(0, 2, 1), [1]);
        assert_eq!(found(0, 3, 1), [1; 0], "the first may wait for a retry in its place");
        assert_eq!(found(0, 3, 0), [1], "it may be in the queue of its type");
        assert_eq!(found(9, 2, 0), [4], "but not in another one");
        let fast = Observation {
            overtaken: [RequestType::DEFAULT].into(),
            ..seen(&stayed, sample(0, 2, 1))
        };
        assert_eq!(ids(&missing(&fast)), [1], "slow work is not overtaken by fast work");
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
