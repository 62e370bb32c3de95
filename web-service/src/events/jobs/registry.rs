//! Job registry: which job of a request counts. Pure decisions, with the time passed in.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Instant,
};

use pipeline::topology::RequestType;
use uuid::Uuid;

use crate::events::jobs::job::{ExecutionId, Job};

/// The most jobs that are registered, so that a flood of events can't fill the memory.
const MAX_JOBS: usize = 100_000;

/// The requests that are being worked on, in the order of their ids.
#[derive(Debug)]
pub(crate) struct JobRegistry {
    jobs: BTreeMap<Uuid, ClaimedJob>,
    max_jobs: usize,
}

#[derive(Debug)]
struct ClaimedJob {
    job: Job,
    /// When its worker last claimed it, by any event.
    claimed_at: Instant,
}

/// Whether an event changed what is shown of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Unchanged,
    Changed,
}

impl Default for JobRegistry {
    fn default() -> Self {
        Self { jobs: BTreeMap::new(), max_jobs: MAX_JOBS }
    }
}

impl JobRegistry {
    /// A worker has begun a job, or claims it again in answer to `who`. Of two workers that claim the same
    /// request, the one with the later execution counts; in the same execution the one that began later.
    pub(crate) fn started(&mut self, id: Uuid, job: Job, now: Instant) -> Change {
        let Some(known) = self.jobs.get_mut(&id) else { return self.insert(id, job, now) };
        let is_same = known.job.execution == job.execution && known.job.worker == job.worker;
        if is_same && known.job.started_at.is_some() {
            known.claimed_at = now;
            return Change::Unchanged;
        }
        if (job.execution, job.started_at) <= (known.job.execution, known.job.started_at) {
            return Change::Unchanged;
        }
        let progress = if is_same { known.job.progress.take() } else { None };
        *known = ClaimedJob { job: Job { progress, ..job }, claimed_at: now };
        Change::Changed
    }

    /// A worker reports progress. A foreign worker need not give its name.
    pub(crate) fn progress(&mut self, id: Uuid, job: Job, now: Instant) -> Change {
        let Some(known) = self.jobs.get_mut(&id) else { return self.insert(id, job, now) };
        let same_worker = match (&job.worker, &known.job.worker) {
            (Some(worker), Some(known)) => worker == known,
            _ => true,
        };
        if job.execution > known.job.execution {
            *known = ClaimedJob { job, claimed_at: now };
        } else if job.execution == known.job.execution && same_worker {
            known.job.progress = job.progress;
            known.claimed_at = now;
        } else {
            return Change::Unchanged;
        }
        Change::Changed
    }

    /// An attempt has failed, and the request waits for the next one.
    pub(crate) fn retrying(&mut self, id: Uuid, execution: ExecutionId) -> Change {
        let attempt = |execution: ExecutionId| (execution.run, execution.attempt);
        let is_over = |known: &ClaimedJob| attempt(known.job.execution) <= attempt(execution);
        if !self.jobs.get(&id).is_some_and(is_over) {
            return Change::Unchanged;
        }
        self.jobs.remove(&id);
        Change::Changed
    }

    /// Removes the jobs of these requests and returns those that were known.
    pub(crate) fn remove(&mut self, ids: impl IntoIterator<Item = Uuid>) -> HashMap<Uuid, Job> {
        ids.into_iter().filter_map(|id| Some((id, self.jobs.remove(&id)?.job))).collect()
    }

    /// Removes the jobs that were last claimed before `since`.
    pub(crate) fn remove_unclaimed(&mut self, since: Instant) -> Vec<Uuid> {
        self.jobs.extract_if(.., |_, known| known.claimed_at < since).map(|(id, _)| id).collect()
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<&Job> {
        self.jobs.get(&id).map(|known| &known.job)
    }

    /// All requests that are worked on, oldest first, `limit` at most.
    pub(crate) fn all(&self, limit: usize) -> Vec<(Uuid, Job)> {
        self.jobs.iter().take(limit).map(|(id, known)| (*id, known.job.clone())).collect()
    }

    /// How many jobs there are of which workers may have died.
    pub(crate) fn suspects(&self) -> usize {
        self.jobs.values().filter(|known| known.job.is_suspect()).count()
    }

    /// The ids below `below`, newest first.
    pub(crate) fn newest(&self, below: Uuid, limit: usize) -> Vec<Uuid> {
        self.jobs.range(..below).rev().take(limit).map(|(id, _)| *id).collect()
    }

    /// How many jobs there are, and how many workers have them. Those without a name count once each.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let workers = self.jobs.values().map(|known| known.job.worker.as_deref());
        let nameless = workers.clone().filter(Option::is_none).count();
        let named: HashSet<&str> = workers.flatten().collect();
        (self.jobs.len(), named.len() + nameless)
    }

    /// How many jobs there are of each type.
    pub(crate) fn counts_by_type(&self) -> HashMap<RequestType, usize> {
        self.jobs.values().fold(HashMap::new(), |mut counts, known| {
            *counts.entry(known.job.request_type.clone()).or_default() += 1;
            counts
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn insert(&mut self, id: Uuid, job: Job, now: Instant) -> Change {
        if self.jobs.len() >= self.max_jobs {
            return Change::Unchanged;
        }
        self.jobs.insert(id, ClaimedJob { job, claimed_at: now });
        Change::Changed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pipeline::contract::{self, Progress::Fraction, Timestamp};

    use super::*;
    use crate::events::jobs::{
        job::Progress,
        registry::Change::{Changed, Unchanged},
    };

    const ID: Uuid = Uuid::from_u128(7);

    fn execution(delivery: u32) -> ExecutionId {
        ExecutionId { run: 0, attempt: 1, delivery }
    }

    fn job(delivery: u32, worker: &str, at: i64) -> Job {
        let worker = Some(worker.to_owned()).filter(|worker| !worker.is_empty());
        Job {
            request_type: RequestType::DEFAULT,
            execution: execution(delivery),
            worker,
            started_at: Some(Timestamp::from_millis(at)),
            progress: None,
        }
    }

    fn progress(delivery: u32, worker: &str, value: f64) -> Job {
        let progress =
            Progress { value: Some(Fraction(value)), message: None, at: Timestamp::from_millis(1) };
        Job { started_at: None, progress: Some(progress), ..job(delivery, worker, 0) }
    }

    fn worker(registry: &JobRegistry) -> Option<&str> {
        registry.get(ID)?.worker.as_deref()
    }

    fn value(registry: &JobRegistry) -> Option<f64> {
        registry.get(ID)?.progress.as_ref()?.value.map(contract::Progress::fraction)
    }

    #[test]
    fn the_later_execution_has_the_job() {
        let (mut registry, now) = (JobRegistry::default(), Instant::now());
        assert_eq!(registry.started(ID, job(1, "a", 9), now), Changed);
        assert_eq!(registry.started(ID, job(2, "b", 5), now), Changed);
        assert_eq!(registry.started(ID, job(1, "a", 9), now), Unchanged);
        assert_eq!(worker(&registry), Some("b"));
        // When deliveries are not counted, the start times decide.
        assert_eq!(registry.started(ID, job(2, "c", 4), now), Unchanged);
        assert_eq!(registry.started(ID, job(2, "c", 6), now), Changed);
        assert_eq!(worker(&registry), Some("c"));
    }

    #[test]
    fn claiming_a_job_again_changes_nothing() {
        let (mut registry, now) = (JobRegistry::default(), Instant::now());
        registry.started(ID, job(1, "a", 5), now);
        registry.progress(ID, progress(1, "a", 0.5), now);
        // A worker that does not keep its start time sends another one with each answer.
        assert_eq!(registry.started(ID, job(1, "a", 8), now), Unchanged);
        assert_eq!(
            (registry.get(ID).unwrap().started_at, value(&registry)),
            (Some(Timestamp::from_millis(5)), Some(0.5))
        );
    }

    #[test]
    fn progress_counts_only_for_the_registered_work() {
        let (mut registry, now) = (JobRegistry::default(), Instant::now());
        assert_eq!(registry.progress(ID, progress(2, "a", 0.1), now), Changed);
        assert_eq!(registry.started(ID, job(2, "a", 5), now), Changed);
        assert_eq!(
            (registry.get(ID).unwrap().started_at, value(&registry)),
            (Some(Timestamp::from_millis(5)), Some(0.1))
        );
        for (other, change) in [
            (progress(1, "a", 0.2), Unchanged),
            (progress(2, "b", 0.3), Unchanged),
            (progress(2, "", 0.4), Changed),
        ] {
            assert_eq!(registry.progress(ID, other, now), change);
        }
        assert_eq!((worker(&registry), value(&registry)), (Some("a"), Some(0.4)));
        assert_eq!(registry.progress(ID, progress(3, "b", 0.5), now), Changed);
        assert_eq!((worker(&registry), value(&registry)), (Some("b"), Some(0.5)));
    }

    #[test]
    fn a_retry_ends_its_own_attempt_and_no_later_one() {
        let (mut registry, now) = (JobRegistry::default(), Instant::now());
        let second = ExecutionId { attempt: 2, ..execution(1) };
        registry.started(ID, Job { execution: second, ..job(1, "a", 5) }, now);
        assert_eq!(registry.retrying(ID, execution(9)), Unchanged);
        assert_eq!(registry.retrying(ID, second), Changed);
        assert!(registry.is_empty());
        assert_eq!(registry.retrying(ID, second), Unchanged);
    }

    #[test]
    fn a_job_that_is_not_claimed_is_removed() {
        let (mut registry, start) = (JobRegistry::default(), Instant::now());
        let later = start + Duration::from_secs(1);
        let other = Uuid::from_u128(8);
        registry.started(ID, job(1, "a", 5), start);
        registry.started(other, job(1, "b", 5), start);
        registry.started(other, job(1, "b", 5), later);
        assert_eq!(registry.remove_unclaimed(later), [ID]);
        registry.progress(other, progress(1, "b", 0.5), later + Duration::from_secs(2));
        assert!(registry.remove_unclaimed(later + Duration::from_secs(1)).is_empty());
        let ended = registry.remove([other, ID]);
        assert_eq!(ended[&other].worker.as_deref(), Some("b"));
        assert!(ended.len() == 1 && registry.is_empty());
    }

    #[test]
    fn a_worker_with_two_jobs_is_one_worker() {
        let (mut registry, now) = (JobRegistry::default(), Instant::now());
        for (id, worker) in [(1, "a"), (2, "a"), (3, "b"), (4, ""), (5, "")] {
            registry.started(Uuid::from_u128(id), job(1, worker, 5), now);
        }
        assert_eq!(registry.counts(), (5, 4));
    }

    #[test]
    fn a_full_registry_takes_no_more() {
        let (mut registry, now) =
            (JobRegistry { max_jobs: 2, ..JobRegistry::default() }, Instant::now());
        for (id, change) in [(1, Changed), (2, Changed), (3, Unchanged), (2, Changed)] {
            let id = Uuid::from_u128(id);
            assert_eq!(registry.progress(id, progress(1, "a", 0.5), now), change);
        }
        let newest = |below| registry.newest(Uuid::from_u128(below), 1);
        assert_eq!(newest(9), [Uuid::from_u128(2)]);
        assert_eq!(newest(2), [Uuid::from_u128(1)]);
        assert!(newest(1).is_empty());
    }
}
