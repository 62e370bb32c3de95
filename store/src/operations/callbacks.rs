//! Callbacks: lease due ones, record attempts, make one due again.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    Store,
    command::{Read, Write},
    error::StoreError,
    model::{
        callback::{AttemptReport, LeaseCallbacks, Leases},
        sanitize,
        send_capacity::SendCapacity,
    },
};

impl Store {
    /// How long until the next callback is due to a host that has capacity: zero if one is due already,
    /// none if there is no such callback.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn next_callback_in(
        &self,
        capacity: &SendCapacity,
    ) -> Result<Option<Duration>, StoreError> {
        let full = capacity.full_hosts();
        self.read(|reply| Read::NextCallbackIn(full, reply)).await
    }

    /// Leases due callbacks, as many as there is capacity for, and gives up old ones to slow hosts for which there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: some may be leased all the same, and are due again after the lease.
    pub async fn lease_callbacks(&self, wanted: LeaseCallbacks) -> Result<Leases, StoreError> {
        self.write_in_background(0, |reply| Write::LeaseCallbacks(wanted, reply)).await
    }

    /// Records the outcome of an attempt, unless the callback was leased again since.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it can be recorded again.
    pub async fn record_attempt(&self, mut report: AttemptReport) -> Result<(), StoreError> {
        sanitize::attempt_report(&mut report);
        self.write_in_background(0, |reply| Write::RecordAttempt(report, reply)).await
    }

    /// Makes a callback due now, also if it was delivered or given up. False if there is none, or if an
    /// attempt is running.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be due all the same.
    pub async fn retry_callback(&self, id: Uuid) -> Result<bool, StoreError> {
        let is_due = self.write_for_client(|reply| Write::RetryCallback(id, reply)).await;
        self.callback_due.notify_one();
        is_due
    }
}
