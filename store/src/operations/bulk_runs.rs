//! Bulk runs: begin one, lease those that are due, report how far they are, ask to stop one, look them up.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    Store,
    command::{Read, Write},
    error::StoreError,
    model::bulk_run::{BulkRun, BulkRunReport, LeaseBulkRuns, NewBulkRun, Reported},
};

impl Store {
    /// Makes a bulk run, unless there is one with the same id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be made all the same, and can be made again.
    pub async fn begin_bulk_run(&self, run: NewBulkRun) -> Result<(), StoreError> {
        self.write_for_client(|reply| Write::BeginBulkRun(run, reply)).await
    }

    /// How long until the next bulk run is due: zero if one is due already, none if there is no such run.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn next_bulk_run_in(&self) -> Result<Option<Duration>, StoreError> {
        self.read(Read::NextBulkRunIn).await
    }

    /// Leases bulk runs that are due.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: some may be leased all the same, and are due again after the lease.
    pub async fn lease_bulk_runs(&self, wanted: LeaseBulkRuns) -> Result<Vec<BulkRun>, StoreError> {
        self.write_in_background(0, |reply| Write::LeaseBulkRuns(wanted, reply)).await
    }

    /// Records how far a leased bulk run is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be recorded all the same, and can be recorded again.
    pub async fn report_bulk_run(&self, report: BulkRunReport) -> Result<Reported, StoreError> {
        self.write_in_background(0, |reply| Write::ReportBulkRun(report, reply)).await
    }

    /// Asks to stop a bulk run. False if there is none, or if it is over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be stopped all the same.
    pub async fn stop_bulk_run(&self, id: Uuid) -> Result<bool, StoreError> {
        self.write_for_client(|reply| Write::StopBulkRun(id, reply)).await
    }

    /// A bulk run.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn bulk_run(&self, id: Uuid) -> Result<Option<BulkRun>, StoreError> {
        self.read(|reply| Read::GetBulkRun(id, reply)).await
    }

    /// The latest bulk runs, so many at most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn bulk_runs(&self, limit: u32) -> Result<Vec<BulkRun>, StoreError> {
        self.read(|reply| Read::ListBulkRuns(limit, reply)).await
    }
}
