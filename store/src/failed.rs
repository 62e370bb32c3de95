//! What people decide of failed requests: that they are done again, or need not be kept.

use uuid::Uuid;

use super::{
    Store, StoreError,
    command::{Read, Write},
    request::Status,
};

/// The answer to a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It is queued in its next run from now on.
    Done,
    /// Another replay of the same run was noted before, or the next run has even ended.
    Overtaken,
    /// It ended in another way, or has not ended.
    NotFailed(Status),
    /// It was here, and its time is over.
    Expired,
    /// There is no such request.
    Unknown,
}

/// The answer to a discard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// It is gone from now on, with its messages; its id is remembered.
    Done,
    /// Its end is still to be told.
    CallbackPending,
    /// It ended in another way, or has not ended.
    NotFailed(Status),
    /// It was here, and its time is over.
    Expired,
    /// There is no such request.
    Unknown,
}

/// What a request was made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// What to work on, as it was accepted; none if it never was.
    pub data: Option<Vec<u8>>,
    /// The trace it belongs to, as a `traceparent`.
    pub trace: Option<String>,
}

impl Replay {
    /// What became of a replay of `run` that found nothing to change: what it found instead, or else
    /// whether the request has expired.
    pub(super) fn dropped(stored: Option<(Status, u32)>, run: u32, expired: bool) -> Self {
        match stored {
            Some((_, now)) if now > run => Self::Overtaken,
            Some((status, _)) => Self::NotFailed(status),
            None if expired => Self::Expired,
            None => Self::Unknown,
        }
    }
}

impl Discard {
    /// What became of a discard that found nothing to discard.
    pub(super) fn dropped(stored: Option<Status>, expired: bool) -> Self {
        match stored {
            // Nothing else keeps a failed request.
            Some(Status::Failed) => Self::CallbackPending,
            Some(status) => Self::NotFailed(status),
            None if expired => Self::Expired,
            None => Self::Unknown,
        }
    }
}

impl Store {
    /// Begins the next run of a request that has failed in this one. Its error becomes the last error,
    /// and what is to be told of its end is told of the next end.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it may be noted all the same, and can be tried again.
    pub async fn replay(&self, id: Uuid, run: u32) -> Result<Replay, StoreError> {
        self.change(&self.writes, self.patience, |reply| Write::Replay(id, run, reply)).await
    }

    /// Lets a failed request expire at once, and clears away its parked messages.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it may be gone all the same.
    pub async fn discard(&self, id: Uuid) -> Result<Discard, StoreError> {
        self.change(&self.writes, self.patience, |reply| Write::Discard(id, reply)).await
    }

    /// What a request was made of, as far as it is known.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn origin(&self, id: Uuid) -> Result<Origin, StoreError> {
        self.look(|reply| Read::Origin(id, reply)).await
    }
}
