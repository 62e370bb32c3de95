//! A bulk run as JSON.

use pipeline::contract::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::bulk_runs::{batch::Phase, plan::BulkAction, stored::StoredRun};

/// An action on many requests, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BulkRun)]
pub(crate) struct BulkRunView {
    #[schema(value_type = String, format = "uuid")]
    run_id: Uuid,
    action: BulkAction,
    /// Whether a few are replayed first, and the others only while those succeed.
    canary: bool,
    phase: Phase,
    /// Which requests, in words.
    selection: String,
    /// How many requests there were when it was made, 1,000 at most.
    count: u32,
    /// Whether there may have been more.
    is_count_capped: bool,
    /// How many requests it has changed.
    done: u64,
    /// How many it left as they were, because they had changed meanwhile or the action was refused.
    skipped: u64,
    /// Why the action was refused the last time, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    refusal: Option<String>,
    /// Which batch it is at, counted from 1.
    batch: u32,
    /// How many requests that batch has.
    batch_size: usize,
    /// For a canary: how many of those that it has replayed are completed.
    completed: u64,
    /// For a canary: how many of them have failed again.
    failed: u64,
    /// For a canary: how many of them were cancelled or are gone.
    cancelled: u64,
    /// For a canary: how many of them have not ended.
    pending: usize,
    /// Whether somebody has asked to stop it.
    is_abort_asked: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    begins_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Why it waits and tries again, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    trouble: Option<String>,
}

impl From<StoredRun> for BulkRunView {
    fn from(StoredRun { id, order, progress, is_stop_asked, created_at }: StoredRun) -> Self {
        Self {
            run_id: id,
            action: order.plan.action,
            canary: order.plan.is_canary,
            phase: progress.phase,
            selection: order.plan.words(),
            count: order.count,
            is_count_capped: order.is_capped,
            done: progress.done,
            skipped: progress.skipped,
            batch: progress.batch,
            batch_size: progress.batch_size,
            completed: progress.completed,
            failed: progress.failed,
            cancelled: progress.cancelled,
            pending: progress.pending(),
            refusal: progress.refusal,
            is_abort_asked: is_stop_asked,
            created_at,
            begins_at: progress.begins_at,
            ended_at: progress.ended_at,
            trouble: progress.trouble,
        }
    }
}
