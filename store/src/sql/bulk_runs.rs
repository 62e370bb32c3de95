//! The SQL of bulk runs that both backends share.

macro_rules! columns {
    () => {
        "id, plan, progress, is_over, is_stop_asked, created_at"
    };
}

/// Leases due runs. `$skip` leaves those that another web service is leasing to it.
macro_rules! lease_bulk_runs {
    ($skip:literal) => {
        concat!(
            "UPDATE bulk_runs SET lease = $1, due_at = $2 WHERE id IN (SELECT id FROM bulk_runs \
             WHERE NOT is_over AND due_at <= $3 ORDER BY due_at LIMIT $4",
            $skip,
            ") RETURNING ",
            $crate::sql::bulk_runs::columns!()
        )
    };
}

pub(crate) use columns;
pub(crate) use lease_bulk_runs;

/// Makes a run, once.
pub(crate) const ADD: &str = "INSERT INTO bulk_runs (id, plan, progress, created_at, due_at) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";
/// Records how far a leased run is.
pub(crate) const REPORT: &str = "UPDATE bulk_runs SET progress = $1, is_over = $2, due_at = $3 \
    WHERE id = $4 AND lease = $5 AND NOT is_over RETURNING is_stop_asked";
/// Asks to stop a run. One that waits for its beginning is due at once, to be told.
pub(crate) const STOP: &str = "UPDATE bulk_runs SET is_stop_asked = true, \
    due_at = CASE WHEN lease IS NULL THEN $1 ELSE due_at END WHERE id = $2 AND NOT is_over";
/// A run.
pub(crate) const GET: &str = concat!("SELECT ", columns!(), " FROM bulk_runs WHERE id = $1");
/// The latest runs.
pub(crate) const LIST: &str =
    concat!("SELECT ", columns!(), " FROM bulk_runs ORDER BY created_at DESC, id DESC LIMIT $1");
/// When the next run is due.
pub(crate) const NEXT: &str = "SELECT min(due_at) FROM bulk_runs WHERE NOT is_over";
/// Deletes old runs that are over. When one has ended it was due for the last time.
pub(crate) const EXPIRE: &str = "DELETE FROM bulk_runs WHERE id IN \
    (SELECT id FROM bulk_runs WHERE is_over AND created_at < $1 AND due_at < $1 \
    ORDER BY created_at LIMIT $2)";
