//! How far a bulk run is, and what it does next (pure).
//!
//! A run takes batch after batch: it chooses the requests of a batch, which are kept before anything is done, and then does
//! its action with each. A canary waits until all of the batch have ended before it chooses ten times as many.

use std::collections::{HashMap, HashSet};

use pipeline::contract::Timestamp;
use serde::{Deserialize, Serialize};
use store::{Status, Summary};
use uuid::Uuid;

use crate::api::bulk_runs::batch::{Item, Outcome, Phase, Step};

/// How many requests a batch has, if the run is no canary.
const BATCH_SIZE: usize = 100;
/// How many the first batch of a canary has, and how many any has at most.
const FIRST_CANARY_SIZE: usize = 5;
const MAX_CANARY_SIZE: usize = 5000;
/// A canary stops when more than one of so many in its batch have failed again.
const TOLERATED_FAILURE: usize = 20;

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    pub(crate) begins_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    /// How many requests it has changed.
    pub(crate) done: u64,
    /// How many it left as they were, since they had changed meanwhile or the action was refused.
    pub(crate) skipped: u64,
    /// Why the action was refused the last time.
    #[serde(default)]
    pub(crate) refusal: Option<String>,
    /// How many of the replayed ones of a canary have ended so.
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    /// Why it waits, if it does.
    pub(crate) trouble: Option<String>,
    /// Which batch this is, counted from 1.
    pub(crate) batch: u32,
    /// How many requests the batch has so far. In a canary those do not count that were left out: nothing is learned from them.
    pub(crate) batch_size: usize,
    /// How many are still to be chosen for it.
    missing: usize,
    failed_in_batch: usize,
    /// Where the next requests are: in the list, or among the ids of the plan.
    pub(crate) cursor: Option<String>,
    pub(crate) taken: usize,
    /// Whether there are no further requests.
    pub(crate) is_exhausted: bool,
    /// Those of the batch that are not over.
    pub(crate) items: Vec<Item>,
}

impl Progress {
    /// That of a run that begins then. `cursor` is where its requests begin in the list.
    pub(crate) fn beginning(begins_at: Timestamp, cursor: Option<String>) -> Self {
        Self {
            phase: Phase::Waiting,
            begins_at,
            ended_at: None,
            done: 0,
            skipped: 0,
            refusal: None,
            completed: 0,
            failed: 0,
            cancelled: 0,
            trouble: None,
            batch: 0,
            batch_size: 0,
            missing: 0,
            failed_in_batch: 0,
            cursor,
            taken: 0,
            is_exhausted: false,
            items: Vec::new(),
        }
    }

    /// What comes next.
    pub(crate) fn next(&mut self, is_canary: bool) -> Step {
        if is_canary && self.failed_in_batch * TOLERATED_FAILURE > self.batch_size {
            return Step::End(Phase::Stopped);
        }
        if self.items.iter().any(|item| !item.is_done) {
            return Step::Perform;
        }
        if self.missing > 0 && !self.is_exhausted {
            return Step::Choose(self.missing);
        }
        if !self.items.is_empty() {
            return Step::Watch;
        }
        if self.is_exhausted {
            return Step::End(Phase::Finished);
        }
        self.batch += 1;
        (self.batch_size, self.failed_in_batch) = (0, 0);
        self.missing = if is_canary { canary_size(self.batch) } else { BATCH_SIZE };
        Step::Choose(self.missing)
    }

    /// Adds requests to the batch.
    pub(crate) fn choose(&mut self, chosen: impl IntoIterator<Item = (Uuid, u32)>) {
        let before = self.items.len();
        let item = |(id, run)| Item { id, run, is_done: false, is_uncertain: false };
        self.items.extend(chosen.into_iter().map(item));
        let chosen = self.items.len() - before;
        self.batch_size += chosen;
        self.missing = self.missing.saturating_sub(chosen);
    }

    /// Notes what became of a request of the batch.
    pub(crate) fn performed(&mut self, id: Uuid, outcome: Outcome, is_canary: bool) {
        match outcome {
            Outcome::Trouble(trouble) => {
                self.trouble = Some(trouble);
                self.put_off(id);
            }
            Outcome::Changed => self.leave_out(id, is_canary),
            Outcome::Refused(reason) => {
                self.refusal = Some(reason);
                self.leave_out(id, is_canary);
            }
            Outcome::Done => {
                self.done += 1;
                if is_canary {
                    let item = self.items.iter_mut().find(|item| item.id == id);
                    item.into_iter().for_each(|item| item.is_done = true);
                } else {
                    self.items.retain(|item| item.id != id);
                }
            }
        }
    }

    /// Puts a request at the end, as others of another type may be taken by the broker. It may have been done.
    fn put_off(&mut self, id: Uuid) {
        if let Some(place) = self.items.iter().position(|item| item.id == id) {
            let item = self.items.remove(place);
            self.items.push(Item { is_uncertain: true, ..item });
        }
    }

    /// Leaves a request as it is. A canary takes another one instead of it, so that each batch is as large as it should be.
    fn leave_out(&mut self, id: Uuid, is_canary: bool) {
        self.skipped += 1;
        self.items.retain(|item| item.id != id);
        if is_canary {
            self.batch_size = self.batch_size.saturating_sub(1);
            self.missing += 1;
        }
    }

    /// Notes which of these replayed requests have ended, or are gone.
    pub(crate) fn watched(&mut self, looked_at: &[Uuid], found: &[Summary]) {
        let looked_at: HashSet<_> = looked_at.iter().collect();
        let found: HashMap<_, _> = found.iter().map(|request| (request.id, request)).collect();
        for item in std::mem::take(&mut self.items) {
            let is_watched = item.is_done && looked_at.contains(&item.id);
            if !is_watched || !self.has_ended(item, found.get(&item.id).copied()) {
                self.items.push(item);
            }
        }
    }

    /// Whether a replayed request has ended, or is gone; counts it then.
    fn has_ended(&mut self, item: Item, request: Option<&Summary>) -> bool {
        match request.map(|request| (request.status, request.run)) {
            Some((Status::Queued, _)) => return false,
            Some((_, now)) if now <= item.run => return false,
            Some((Status::Completed, _)) => self.completed += 1,
            Some((Status::Failed, _)) => {
                self.failed += 1;
                self.failed_in_batch += 1;
            }
            Some((Status::Cancelled, _)) | None => self.cancelled += 1,
        }
        true
    }

    /// How many of the replayed ones have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.completed + self.failed + self.cancelled
    }

    /// How many of the replayed ones have not ended.
    pub(crate) fn pending(&self) -> usize {
        self.items.iter().filter(|item| item.is_done).count()
    }
}

/// How many requests this batch of a canary has.
fn canary_size(batch: u32) -> usize {
    let factor = 10_usize.saturating_pow(batch.saturating_sub(1));
    FIRST_CANARY_SIZE.saturating_mul(factor).min(MAX_CANARY_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::summary;

    fn progress() -> Progress {
        Progress::beginning(Timestamp::from_millis(0), None)
    }

    fn ids(count: usize) -> Vec<Uuid> {
        (0..count).map(|_| Uuid::now_v7()).collect()
    }

    fn ended(id: Uuid, status: Status, run: u32) -> Summary {
        Summary { id, run, ..summary(status) }
    }

    /// Chooses as many requests as a canary wants next, and returns them.
    fn chosen(progress: &mut Progress) -> Vec<Uuid> {
        let Step::Choose(count) = progress.next(true) else { panic!("{progress:?}") };
        let chosen = ids(count);
        progress.choose(chosen.iter().map(|id| (*id, 0)));
        chosen
    }

    /// Chooses and replays the next batch, and returns it.
    fn replayed(progress: &mut Progress, is_last: bool) -> Vec<Uuid> {
        let chosen = chosen(progress);
        progress.is_exhausted = is_last;
        for id in &chosen {
            assert_eq!(progress.next(true), Step::Perform);
            progress.performed(*id, Outcome::Done, true);
        }
        assert_eq!((progress.next(true), progress.pending()), (Step::Watch, chosen.len()));
        chosen
    }

    /// The batch ends, with so many failures.
    fn end(progress: &mut Progress, batch: &[Uuid], failures: usize) {
        let status = |at| if at < failures { Status::Failed } else { Status::Completed };
        let all: Vec<_> =
            batch.iter().enumerate().map(|(at, id)| ended(*id, status(at), 1)).collect();
        progress.watched(batch, &all);
    }

    #[test]
    fn a_canary_takes_five_and_then_ten_times_as_many_up_to_a_limit() {
        let mut progress = progress();
        for (batch, size) in [(1, 5), (2, 50), (3, 500), (4, 5000), (5, 5000)] {
            let chosen = replayed(&mut progress, batch == 5);
            assert_eq!((chosen.len(), progress.batch), (size, batch));
            end(&mut progress, &chosen, 0);
        }
        assert_eq!(progress.next(true), Step::End(Phase::Finished));
        assert_eq!((progress.completed, progress.failed, progress.pending()), (10_555, 0, 0));
    }

    #[test]
    fn a_canary_stops_when_more_than_one_in_twenty_of_a_batch_have_failed() {
        let mut progress = progress();
        let batch = replayed(&mut progress, false);
        progress.watched(&batch, &[ended(batch[0], Status::Failed, 0)]);
        assert_eq!((progress.next(true), progress.failed), (Step::Watch, 0), "of the run before");
        end(&mut progress, &batch, 0);
        let batch = replayed(&mut progress, false);
        end(&mut progress, &batch[..2], 2);
        assert_eq!(progress.next(true), Step::Watch);
        end(&mut progress, &batch[2..3], 1);
        assert_eq!(progress.next(true), Step::End(Phase::Stopped), "it waits for no others");
        assert_eq!((progress.failed, progress.pending()), (3, 47));
    }

    #[test]
    fn a_canary_takes_others_for_those_that_it_leaves_out() {
        let mut progress = progress();
        let chosen = chosen(&mut progress);
        let refused = Outcome::Refused("there is no such type".to_owned());
        for (id, outcome) in [(chosen[0], Outcome::Changed), (chosen[1], refused)] {
            progress.performed(id, outcome, true);
        }
        assert_eq!(progress.next(true), Step::Perform, "first the others");
        for id in &chosen[2..] {
            progress.performed(*id, Outcome::Done, true);
        }
        assert_eq!(progress.next(true), Step::Choose(2));
        assert_eq!(
            (progress.skipped, progress.refusal.as_deref()),
            (2, Some("there is no such type"))
        );
        let others = self::chosen(&mut progress);
        let replayed = [&chosen[2..], &others[..]].concat();
        for id in &others {
            progress.performed(*id, Outcome::Done, true);
        }
        assert_eq!((progress.next(true), progress.batch_size), (Step::Watch, 5));
        end(&mut progress, &replayed, 1);
        assert_eq!(
            progress.next(true),
            Step::End(Phase::Stopped),
            "one of five that were replayed"
        );
    }

    #[test]
    fn a_canary_that_leaves_all_out_ends_without_a_second_batch() {
        let mut progress = progress();
        let chosen = chosen(&mut progress);
        for id in &chosen {
            progress.performed(*id, Outcome::Changed, true);
        }
        assert_eq!(progress.next(true), Step::Choose(5));
        progress.is_exhausted = true;
        assert_eq!((progress.next(true), progress.batch), (Step::End(Phase::Finished), 1));
    }

    #[test]
    fn a_request_whose_queue_is_away_does_not_hold_up_the_others() {
        let mut progress = progress();
        assert_eq!(progress.next(false), Step::Choose(100));
        let chosen = ids(3);
        progress.choose(chosen.iter().map(|id| (*id, 0)));
        progress.performed(chosen[0], Outcome::Trouble("full".to_owned()), false);
        let order: Vec<_> = progress.items.iter().map(|item| item.id).collect();
        assert_eq!(order, [chosen[1], chosen[2], chosen[0]]);
    }

    #[test]
    fn a_request_that_is_cancelled_or_gone_ends_too() {
        let mut progress = progress();
        let batch = replayed(&mut progress, true);
        let found: Vec<_> = batch[1..].iter().map(|id| ended(*id, Status::Cancelled, 1)).collect();
        progress.watched(&batch, &found);
        assert_eq!((progress.cancelled, progress.failed), (5, 0));
        assert_eq!(progress.next(true), Step::End(Phase::Finished));
    }

    #[test]
    fn a_run_that_is_no_canary_awaits_no_end() {
        let mut progress = progress();
        assert_eq!(progress.next(false), Step::Choose(100));
        let [one, two, three] = std::array::from_fn(|_| Uuid::now_v7());
        progress.choose([(one, 0)]);
        assert_eq!(progress.next(false), Step::Perform);
        progress.performed(one, Outcome::Done, false);
        assert_eq!(progress.next(false), Step::Choose(99), "a page may be short");
        progress.choose([(two, 0), (three, 0)]);
        progress.is_exhausted = true;
        progress.performed(two, Outcome::Trouble("away".to_owned()), false);
        assert_eq!(
            (progress.next(false), progress.trouble.as_deref()),
            (Step::Perform, Some("away"))
        );
        let uncertain: Vec<_> = progress.items.iter().map(|item| item.is_uncertain).collect();
        assert_eq!(uncertain, [false, true], "it may have been done");
        progress.performed(two, Outcome::Changed, false);
        progress.performed(three, Outcome::Done, false);
        assert_eq!(progress.next(false), Step::End(Phase::Finished));
        assert_eq!((progress.done, progress.skipped), (2, 1));
    }

    #[test]
    fn progress_is_kept_as_json() {
        let mut progress = progress();
        replayed(&mut progress, false);
        let json = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&json).unwrap(), progress);
    }
}
