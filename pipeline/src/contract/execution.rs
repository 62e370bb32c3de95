//! Execution: which attempt at which request is meant, when processes ask each other who had it.

use crate::contract::id::RequestId;

/// One attempt at a request, since deliveries of it were last found to have survived.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Execution {
    /// The request.
    pub request_id: RequestId,
    /// The run, from 0.
    pub run: i64,
    /// The attempt, from 1.
    pub attempt: i64,
    /// How many of its deliveries are known to have survived
    /// ([`SURVIVED`](crate::contract::headers::SURVIVED)). An answer counts only once: it is about the deliveries
    /// after these.
    pub survived: i64,
}
