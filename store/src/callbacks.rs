//! Callbacks: who is to be told of the end of a request, and how far that has come.
//!
//! A request that was accepted with a [`Target`] gets its callback in the very transaction that makes it
//! final. From then on the callback is taken by one web service at a time, on a lease: if nothing is
//! heard of that one, the callback is due again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use pipeline::contract::Timestamp;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    Store, StoreError,
    command::{Read, Write},
    text,
};

/// How many due callbacks are looked at to find some whose hosts are not busy.
pub(super) const LOOK_AT: usize = 256;

/// Where to tell of the end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The whole address. It may hold a password of its owner's, so it is never shown.
    pub url: String,
    /// The host in it.
    pub host: String,
}

/// How far a callback has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackStatus {
    /// It waits for the end of its request, or for its next attempt.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It was given up.
    Failed,
}

impl CallbackStatus {
    /// The word for it in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    pub(super) fn number(self) -> i16 {
        match self {
            Self::Pending => 0,
            Self::Delivered => 1,
            Self::Failed => 2,
        }
    }

    /// The schema lets no other numbers in.
    pub(super) fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Delivered,
            2 => Self::Failed,
            _ => Self::Pending,
        }
    }
}

/// A request's callback as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Where it goes.
    pub url: String,
    /// How far it has come.
    pub status: CallbackStatus,
    /// How many attempts were begun.
    pub attempts: u32,
    /// What went wrong with the last one that failed.
    pub last_error: Option<String>,
    /// When the next one begins; none while one is under way, and when there will be no other.
    pub next_attempt_at: Option<Timestamp>,
    /// When the receiver took it.
    pub delivered_at: Option<Timestamp>,
}

/// For how many attempts there is room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendCapacity {
    /// How many more may begin.
    pub total: usize,
    /// How many may be under way to one host.
    pub per_host: usize,
    /// How many are under way, by host.
    pub busy: HashMap<String, usize>,
    /// Hosts that take long. They share a part of the room, so that the others find some.
    pub slow: HashSet<String>,
    /// How many more may begin to all of those.
    pub slow_total: usize,
}

impl SendCapacity {
    /// The hosts to which no more may begin.
    pub(super) fn full(&self) -> Vec<String> {
        let busy = self.busy.iter().filter(|(_, count)| **count >= self.per_host);
        let slow = self.slow.iter().filter(|_| self.slow_total == 0);
        let full: HashSet<_> = busy.map(|(host, _)| host).chain(slow).collect();
        full.into_iter().cloned().collect()
    }

    /// Those for which there is room, of callbacks in the order in which they are due.
    pub(super) fn choose(&self, due: Vec<(Uuid, String)>) -> Vec<Uuid> {
        let (mut busy, mut slow) = (self.busy.clone(), 0);
        let fits = |(_, host): &(Uuid, String)| {
            let count = busy.entry(host.clone()).or_default();
            let is_slow = self.slow.contains(host);
            let fits = *count < self.per_host && (!is_slow || slow < self.slow_total);
            *count += usize::from(fits);
            slow += usize::from(fits && is_slow);
            fits
        };
        due.into_iter().filter(fits).map(|(id, _)| id).take(self.total).collect()
    }
}

/// A wish to send what is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseCallbacks {
    /// For how much there is room.
    pub room: SendCapacity,
    /// What tells this wish from all others.
    pub lease: Uuid,
    /// After how long without news another may try.
    pub patience: Duration,
}

/// A callback that was taken. An attempt begins with that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedCallback {
    /// Of which request.
    pub id: Uuid,
    /// The wish by which it was taken.
    pub lease: Uuid,
    /// The host it goes to.
    pub host: String,
    /// Of which run.
    pub run: u32,
    /// Which attempt this is, counted from 1.
    pub attempt: u32,
    /// When the request came to its end.
    pub ended_at: Timestamp,
}

/// What becomes of a callback after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The receiver has it.
    Delivered,
    /// It is tried again after this pause.
    Again(Duration),
    /// It is given up.
    GivenUp,
    /// There is nothing to be told any more.
    Dropped,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    /// Of which request.
    pub id: Uuid,
    /// The lease of the one who tried. If another has taken the callback since, it is theirs.
    pub lease: Uuid,
    /// What becomes of it.
    pub fate: AttemptOutcome,
    /// What went wrong, if anything.
    pub error: Option<String>,
}

/// What an attempt leaves in the row.
pub(super) struct Mark<'a> {
    pub(super) state: i16,
    /// None if it stays as it is.
    pub(super) due_at: Option<Timestamp>,
    pub(super) error: Option<&'a str>,
    pub(super) delivered_at: Option<Timestamp>,
}

impl AttemptReport {
    /// None if the row goes.
    pub(super) fn mark(&self, now: Timestamp) -> Option<Mark<'_>> {
        let (status, due_at, delivered_at) = match self.fate {
            AttemptOutcome::Delivered => (CallbackStatus::Delivered, None, Some(now)),
            AttemptOutcome::Again(pause) => (CallbackStatus::Pending, Some(now + pause), None),
            AttemptOutcome::GivenUp => (CallbackStatus::Failed, None, None),
            AttemptOutcome::Dropped => return None,
        };
        let (state, error) = (status.number(), self.error.as_deref());
        Some(Mark { state, due_at, error, delivered_at })
    }
}

impl Store {
    /// Takes callbacks that are due, for as many as there is room. None if none is due for which there
    /// is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; some may be taken all the same, and are due again after the lease.
    pub async fn take_callbacks(
        &self,
        take: LeaseCallbacks,
    ) -> Result<Vec<LeasedCallback>, StoreError> {
        self.change(&self.writes, self.patience, |reply| Write::TakeCallbacks(take, reply)).await
    }

    /// Notes what came of an attempt, unless another has taken the callback since.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it bears repeating.
    pub async fn record_attempt(&self, mut attempted: AttemptReport) -> Result<(), StoreError> {
        text::clean_attempted(&mut attempted);
        self.change(&self.writes, self.patience, |reply| Write::AttemptReport(attempted, reply))
            .await
    }

    /// Makes a callback due now, also if it was delivered or given up. False if there is none, or if an
    /// attempt is under way.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it may be due again all the same.
    pub async fn retry_callback(&self, id: Uuid) -> Result<bool, StoreError> {
        let again =
            self.change(&self.writes, self.patience, |reply| Write::RetryCallback(id, reply)).await;
        self.bell.notify_one();
        again
    }

    /// In how long the next callback is due to a host that has room; zero if it is already.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn next_callback(&self, room: &SendCapacity) -> Result<Option<Duration>, StoreError> {
        let full = room.full();
        self.look(|reply| Read::NextCallback(full, reply)).await
    }

    /// Rings when something was done here that may have made a callback due.
    pub fn bell(&self) -> Arc<Notify> {
        self.bell.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_busy_leaves_the_room_to_the_others() {
        let busy = HashMap::from([("slow".to_owned(), 2), ("full".to_owned(), 3)]);
        let room =
            SendCapacity { total: 4, per_host: 3, busy, slow: HashSet::new(), slow_total: 0 };
        assert_eq!(room.full(), ["full"]);
        let hosts = ["slow", "slow", "fine", "full", "fine", "fine", "fine", "other"];
        let due = (0..).map(Uuid::from_u128).zip(hosts.map(str::to_owned)).collect();
        assert_eq!(room.choose(due), [0, 2, 4, 5].map(Uuid::from_u128));
    }

    #[test]
    fn slow_hosts_share_a_part_of_the_room() {
        let slow = ["a", "b", "c"].map(str::to_owned).into();
        let mut room =
            SendCapacity { total: 6, per_host: 2, busy: HashMap::new(), slow, slow_total: 3 };
        assert!(room.full().is_empty());
        let hosts = ["a", "a", "a", "b", "b", "c", "fine", "c", "fine", "fine", "other"];
        let due = || (0..).map(Uuid::from_u128).zip(hosts.map(str::to_owned)).collect();
        assert_eq!(room.choose(due()), [0, 1, 3, 6, 8, 10].map(Uuid::from_u128));
        (room.slow_total, room.busy) = (0, HashMap::from([("a".to_owned(), 2)]));
        assert_eq!(room.full().into_iter().collect::<HashSet<_>>(), room.slow);
        assert_eq!(room.choose(due()), [6, 8, 10].map(Uuid::from_u128));
    }
}
