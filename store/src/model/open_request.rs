//! Open requests: of each what tells where a message of it should be.

use pipeline::{contract::Timestamp, topology::RequestType};
use uuid::Uuid;

/// A request that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRequest {
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub request_type: RequestType,
    /// Its run.
    pub run: u32,
    /// How many attempts were made, as far as workers have reported them.
    pub attempts: u32,
    /// When it was accepted; none if only an event about it has come so far.
    pub accepted_at: Option<Timestamp>,
    /// When the next attempt starts, or should have started, if the request waits for one.
    pub next_attempt_at: Option<Timestamp>,
}

impl OpenRequest {
    /// The first of these, in the order of their ids, `limit` at most.
    pub(crate) fn first_of(mut open: Vec<Self>, limit: u32) -> Vec<Self> {
        open.sort_by_key(|request| request.id);
        open.truncate(limit as usize);
        open
    }
}
