//! Running jobs: which worker works on which request, known from the workers' events, kept in memory.
//!
//! This is best effort. Events may be lost, late or wrong, so a request whose final status is stored is shown
//! as final whatever is registered here, and a job that no worker claims any more is forgotten.

pub mod job;
pub mod poll_schedule;
pub mod registry;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use pipeline::{
    contract::{JobEvent, JobEventName},
    topology::RequestType,
};
use uuid::Uuid;

use crate::events::{
    clock_skew::RecentSkews,
    jobs::{
        job::{ExecutionId, Job},
        registry::{Change, JobRegistry},
    },
    waiters::{Waiter, Waiters},
};

/// The requests that are being worked on. Clones share the same jobs.
#[derive(Debug, Clone, Default)]
pub struct RunningJobs {
    /// The hosts of workers whose clocks differ.
    pub(crate) skews: RecentSkews,
    registry: Arc<Mutex<JobRegistry>>,
    /// Those who follow the progress of a request. Who waits only for the end is not among them: no job
    /// event ends a request.
    followers: Waiters,
    changes: Arc<AtomicU64>,
}

impl RunningJobs {
    /// Applies a worker's event, and wakes the followers of the request if it changes anything.
    pub fn apply(&self, event: &JobEvent, now: Instant) {
        // The API knows only UUIDs.
        let Some(id) = event.request_id.uuid() else { return };
        let mut registry = self.registry();
        let change = match event.event {
            JobEventName::Started => registry.started(id, Job::started(event), now),
            JobEventName::Progress => registry.progress(id, Job::in_progress(event), now),
            JobEventName::Retrying => registry.retrying(id, ExecutionId::of(event)),
        };
        drop(registry);
        if change == Change::Changed {
            self.changes.fetch_add(1, Ordering::Relaxed);
            self.followers.wake([id]);
        }
    }

    /// Rises whenever a job begins, makes progress or is gone.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Removes the jobs of requests that have ended, and returns them. The caller also wakes those who
    /// wait for the end.
    pub fn ended(&self, ids: impl IntoIterator<Item = Uuid>) -> HashMap<Uuid, Job> {
        let ended = self.registry().remove(ids);
        self.changes.fetch_add(ended.len() as u64, Ordering::Relaxed);
        ended
    }

    /// Removes the job of a request, if it is of this run or an earlier one.
    pub fn forget_until(&self, id: Uuid, run: u32) {
        let mut registry = self.registry();
        if registry.get(id).is_some_and(|job| job.execution.run <= run) {
            registry.remove([id]);
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes the jobs that no worker has claimed since `since`, and wakes their followers.
    pub fn remove_unclaimed(&self, since: Instant) {
        let removed = self.registry().remove_unclaimed(since);
        self.changes.fetch_add(removed.len() as u64, Ordering::Relaxed);
        self.followers.wake(removed);
    }

    /// The job of a request, if a worker is known to work on it.
    pub fn get(&self, id: Uuid) -> Option<Job> {
        self.registry().get(id).cloned()
    }

    /// The requests that are worked on with their jobs, oldest first, `limit` at most.
    pub fn all(&self, limit: usize) -> Vec<(Uuid, Job)> {
        self.registry().all(limit)
    }

    /// How many requests are worked on of which workers may have died, of all types: each may run alone in its process.
    pub fn suspects(&self) -> usize {
        self.registry().suspects()
    }

    /// The ids of the newest requests below `below` that are worked on, newest first.
    pub fn newest(&self, below: Uuid, limit: usize) -> Vec<Uuid> {
        self.registry().newest(below, limit)
    }

    /// How many jobs are known, and how many workers have them. Those whose workers do not tell their names have one
    /// each.
    pub fn counts(&self) -> (usize, usize) {
        self.registry().counts()
    }

    /// How many jobs there are of each type.
    pub fn counts_by_type(&self) -> HashMap<RequestType, usize> {
        self.registry().counts_by_type()
    }

    /// Whether no job is known.
    pub fn is_empty(&self) -> bool {
        self.registry().is_empty()
    }

    /// Registers a follower of the work on a request.
    pub fn follow(&self, id: Uuid) -> Waiter {
        self.followers.register(id)
    }

    /// Those who follow the work on requests.
    pub fn followers(&self) -> &Waiters {
        &self.followers
    }

    fn registry(&self) -> MutexGuard<'_, JobRegistry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
