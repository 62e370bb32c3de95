//! The ledger, as the load, the receiver, the programs' logs and the last looks write into it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ledger::Ledger;

/// One ledger for all tasks of a run.
#[derive(Clone, Default)]
pub(super) struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    /// The ledger for a moment, never across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
