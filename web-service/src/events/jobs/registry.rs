//! Which job is on the board: pure decisions, with the time passed in.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use uuid::Uuid;

use crate::events::jobs::job::{Job, Turn};

/// The most jobs that are shown, so that no flood of events can fill the memory.
const MOST: usize = 100_000;

/// The requests that are being worked on, in order of their ids.
#[derive(Debug)]
pub(crate) struct Board {
    jobs: BTreeMap<Uuid, Claimed>,
    most: usize,
}

#[derive(Debug)]
struct Claimed {
    job: Job,
    /// When its worker last gave a sign of it.
    at: Instant,
}

/// Whether something changed that is worth a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    Something,
}

impl Default for Board {
    fn default() -> Self {
        Self { jobs: BTreeMap::new(), most: MOST }
    }
}

impl Board {
    /// A worker says that it has a request in hand; it says so again whenever it is asked. Of two
    /// that claim the same one, the later turn counts, and in the same turn who began later.
    pub(crate) fn started(&mut self, id: Uuid, job: Job, now: Instant) -> Change {
        let Some(known) = self.jobs.get_mut(&id) else { return self.put(id, job, now) };
        let again = known.job.turn == job.turn && known.job.worker == job.worker;
        if again && known.job.started_at.is_some() {
            known.at = now;
            return Change::Nothing;
        }
        if (job.turn, job.started_at) <= (known.job.turn, known.job.started_at) {
            return Change::Nothing;
        }
        let progress = if again { known.job.progress.take() } else { None };
        *known = Claimed { job: Job { progress, ..job }, at: now };
        Change::Something
    }

    /// A worker says how far it is; its name need not be given.
    pub(crate) fn progress(&mut self, id: Uuid, job: Job, now: Instant) -> Change {
        let Some(known) = self.jobs.get_mut(&id) else { return self.put(id, job, now) };
        let nameless = job.worker.is_none() || known.job.worker.is_none();
        if job.turn > known.job.turn {
            *known = Claimed { job, at: now };
        } else if job.turn == known.job.turn && (nameless || job.worker == known.job.worker) {
            known.job.progress = job.progress;
            known.at = now;
        } else {
            return Change::Nothing;
        }
        Change::Something
    }

    /// An attempt has failed, and the request waits for the next one.
    pub(crate) fn retrying(&mut self, id: Uuid, turn: Turn) -> Change {
        let attempt = |turn: Turn| (turn.run, turn.attempt);
        let over = |known: &Claimed| attempt(known.job.turn) <= attempt(turn);
        if !self.jobs.get(&id).is_some_and(over) {
            return Change::Nothing;
        }
        self.jobs.remove(&id);
        Change::Something
    }

    /// Requests have come to their end. Gives the work on them, as far as it was known.
    pub(crate) fn end(&mut self, ids: impl IntoIterator<Item = Uuid>) -> HashMap<Uuid, Job> {
        ids.into_iter().filter_map(|id| Some((id, self.jobs.remove(&id)?.job))).collect()
    }

    /// Takes down what nobody has claimed since then.
    pub(crate) fn forget_unclaimed(&mut self, since: Instant) -> Vec<Uuid> {
        self.jobs.extract_if(.., |_, known| known.at < since).map(|(id, _)| id).collect()
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<&Job> {
        self.jobs.get(&id).map(|known| &known.job)
    }

    pub(crate) fn newest(&self, below: Uuid, limit: usize) -> Vec<Uuid> {
        self.jobs.range(..below).rev().take(limit).map(|(id, _)| *id).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn put(&mut self, id: Uuid, job: Job, now: Instant) -> Change {
        if self.jobs.len() >= self.most {
            return Change::Nothing;
        }
        self.jobs.insert(id, Claimed { job, at: now });
        Change::Something
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pipeline::contract::Timestamp;

    use super::*;
    use crate::events::jobs::{
        job::Progress,
        registry::Change::{Nothing, Something},
    };

    const ID: Uuid = Uuid::from_u128(7);

    fn turn(delivery: u32) -> Turn {
        Turn { run: 0, attempt: 1, delivery }
    }

    fn job(delivery: u32, worker: &str, at: i64) -> Job {
        let worker = Some(worker.to_owned()).filter(|worker| !worker.is_empty());
        Job {
            turn: turn(delivery),
            worker,
            started_at: Some(Timestamp::from_millis(at)),
            progress: None,
        }
    }

    fn progress(delivery: u32, worker: &str, value: f64) -> Job {
        let progress =
            Progress { value: Some(value), message: None, at: Timestamp::from_millis(1) };
        Job { started_at: None, progress: Some(progress), ..job(delivery, worker, 0) }
    }

    fn worker(board: &Board) -> Option<&str> {
        board.get(ID)?.worker.as_deref()
    }

    fn value(board: &Board) -> Option<f64> {
        board.get(ID)?.progress.as_ref()?.value
    }

    #[test]
    fn of_two_workers_the_later_has_the_job() {
        let (mut board, now) = (Board::default(), Instant::now());
        assert_eq!(board.started(ID, job(1, "a", 9), now), Something);
        assert_eq!(board.started(ID, job(2, "b", 5), now), Something);
        assert_eq!(board.started(ID, job(1, "a", 9), now), Nothing);
        assert_eq!(worker(&board), Some("b"));
        // Where deliveries are not counted, the clocks decide.
        assert_eq!(board.started(ID, job(2, "c", 4), now), Nothing);
        assert_eq!(board.started(ID, job(2, "c", 6), now), Something);
        assert_eq!(worker(&board), Some("c"));
    }

    #[test]
    fn a_job_claimed_again_stays_as_it_is() {
        let (mut board, now) = (Board::default(), Instant::now());
        board.started(ID, job(1, "a", 5), now);
        board.progress(ID, progress(1, "a", 0.5), now);
        // Of a worker that does not say when it began, each answer seems to be a beginning.
        assert_eq!(board.started(ID, job(1, "a", 8), now), Nothing);
        assert_eq!(
            (board.get(ID).unwrap().started_at, value(&board)),
            (Some(Timestamp::from_millis(5)), Some(0.5))
        );
    }

    #[test]
    fn progress_counts_for_the_work_that_is_shown() {
        let (mut board, now) = (Board::default(), Instant::now());
        assert_eq!(board.progress(ID, progress(2, "a", 0.1), now), Something);
        assert_eq!(board.started(ID, job(2, "a", 5), now), Something);
        assert_eq!(
            (board.get(ID).unwrap().started_at, value(&board)),
            (Some(Timestamp::from_millis(5)), Some(0.1))
        );
        for (other, change) in [
            (progress(1, "a", 0.2), Nothing),
            (progress(2, "b", 0.3), Nothing),
            (progress(2, "", 0.4), Something),
        ] {
            assert_eq!(board.progress(ID, other, now), change);
        }
        assert_eq!((worker(&board), value(&board)), (Some("a"), Some(0.4)));
        assert_eq!(board.progress(ID, progress(3, "b", 0.5), now), Something);
        assert_eq!((worker(&board), value(&board)), (Some("b"), Some(0.5)));
    }

    #[test]
    fn a_retry_ends_its_own_attempt_and_no_later_one() {
        let (mut board, now) = (Board::default(), Instant::now());
        let second = Turn { attempt: 2, ..turn(1) };
        board.started(ID, Job { turn: second, ..job(1, "a", 5) }, now);
        assert_eq!(board.retrying(ID, turn(9)), Nothing);
        assert_eq!(board.retrying(ID, second), Something);
        assert!(board.is_empty());
        assert_eq!(board.retrying(ID, second), Nothing);
    }

    #[test]
    fn what_is_not_claimed_is_forgotten() {
        let (mut board, start) = (Board::default(), Instant::now());
        let later = start + Duration::from_secs(1);
        let other = Uuid::from_u128(8);
        board.started(ID, job(1, "a", 5), start);
        board.started(other, job(1, "b", 5), start);
        board.started(other, job(1, "b", 5), later);
        assert_eq!(board.forget_unclaimed(later), [ID]);
        board.progress(other, progress(1, "b", 0.5), later + Duration::from_secs(2));
        assert!(board.forget_unclaimed(later + Duration::from_secs(1)).is_empty());
        let ended = board.end([other, ID]);
        assert_eq!(ended[&other].worker.as_deref(), Some("b"));
        assert!(ended.len() == 1 && board.is_empty());
    }

    #[test]
    fn a_full_board_takes_no_more() {
        let (mut board, now) = (Board { most: 2, ..Board::default() }, Instant::now());
        for (id, change) in [(1, Something), (2, Something), (3, Nothing), (2, Something)] {
            let id = Uuid::from_u128(id);
            assert_eq!(board.progress(id, progress(1, "a", 0.5), now), change);
        }
        let newest = |below| board.newest(Uuid::from_u128(below), 1);
        assert_eq!(newest(9), [Uuid::from_u128(2)]);
        assert_eq!(newest(2), [Uuid::from_u128(1)]);
        assert!(newest(1).is_empty());
    }
}
