//! Options: how long callers wait, and how long the database may take.

use std::time::Duration;

/// Settings of a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// How long a caller waits for an operation. That none came in time does not make the store unavailable: it may
    /// be slow.
    pub timeout: Duration,
    /// How long the database may take for a statement. No caller waits that long, but what was begun is finished.
    pub statement_timeout: Duration,
    /// How long the database may take to answer a ping, or another program may hold the lock of a SQLite file, before
    /// the store is unavailable.
    pub ping_timeout: Duration,
    /// Whether a SQLite file is locked, so that no other process that does so can open it. A lock ends with its process.
    pub locks_file: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(60),
            ping_timeout: Duration::from_secs(10),
            locks_file: false,
        }
    }
}
