//! Who works on what: known from what the workers tell, kept in memory only.
//!
//! Nothing depends on it. What is told may be lost, come late or be wrong, so a request whose final
//! state is stored is shown final whatever stands here, and a job that no worker claims any more is
//! forgotten.

pub mod job;
pub mod poll_schedule;
pub mod registry;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::events::jobs::{
    job::{Job, Turn},
    registry::{Board, Change},
};
use pipeline::contract::{JobEvent, JobEventName};
use uuid::Uuid;

use crate::events::waiters::{Waiter, Waiters};

/// The requests that are being worked on. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Jobs {
    board: Arc<Mutex<Board>>,
    /// Those who follow the work. Others wait for the end alone, and nothing here is one.
    followers: Waiters,
}

impl Jobs {
    /// Takes note of what a worker tells, and wakes who follows that.
    pub fn hear(&self, event: &JobEvent, now: Instant) {
        // Nobody can ask for what has another id.
        let Some(id) = event.request_id.uuid() else { return };
        let mut board = self.board();
        let change = match event.event {
            JobEventName::Started => board.started(id, Job::started(event), now),
            JobEventName::Progress => board.progress(id, Job::underway(event), now),
            JobEventName::Retrying => board.retrying(id, Turn::of(event)),
        };
        drop(board);
        if change == Change::Something {
            self.followers.wake([id]);
        }
    }

    /// Takes requests down that have ended, and gives the work on them that was known of. Whoever tells
    /// this also wakes those who wait for the end.
    pub fn ended(&self, ids: impl IntoIterator<Item = Uuid>) -> HashMap<Uuid, Job> {
        self.board().end(ids)
    }

    /// Takes down what nobody has claimed since then, and wakes who follows that.
    pub fn forget_unclaimed(&self, since: Instant) {
        let forgotten = self.board().forget_unclaimed(since);
        self.followers.wake(forgotten);
    }

    /// The work on a request, if anybody is known to do it.
    pub fn get(&self, id: Uuid) -> Option<Job> {
        self.board().get(id).cloned()
    }

    /// The newest requests with ids below `below` that are worked on, in this order.
    pub fn newest(&self, below: Uuid, limit: usize) -> Vec<Uuid> {
        self.board().newest(below, limit)
    }

    /// Whether nothing is known to be worked on.
    pub fn is_empty(&self) -> bool {
        self.board().is_empty()
    }

    /// Registers one who follows the work on a request.
    pub fn follow(&self, id: Uuid) -> Waiter {
        self.followers.register(id)
    }

    /// Those who follow the work.
    pub fn followers(&self) -> &Waiters {
        &self.followers
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
