//! The arguments of `slowlane failed`, and which failed requests they select.

use std::time::SystemTime;

use clap::{Args, Subcommand};

use crate::arguments::time::time;

#[derive(Debug, Subcommand)]
pub(crate) enum Failed {
    /// List failed requests, and messages that belong to no request
    List(FailedList),
    /// Show a failed request with its history and its data, or a message
    Show {
        /// The id of a request, or the number of a message
        which: String,
    },
    /// Replay failed requests: process them again
    Replay {
        #[command(flatten)]
        selector: Selector,
        /// Begin with 5, and go on with ten times as many each time while they succeed; the service does that by itself
        #[arg(long, conflicts_with_all = ["since", "before"])]
        canary: bool,
    },
    /// Delete failed requests and their messages, which can't be undone
    Discard {
        #[command(flatten)]
        selector: Selector,
        /// All messages that belong to no request
        #[arg(long, conflicts_with_all = ["ids", "all"])]
        messages: bool,
        /// Do not ask before everything is discarded
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FailedList {
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// How many to list
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// List all of them
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

/// Filters for failed requests and parked messages.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Filters {
    /// Only requests of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Only those that failed with this error code
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Only those whose error is of this group, as GET /api/v1/error-groups names it
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Only those that failed since then: 2h (ago), or 2026-11-21T09:00:00Z
    #[arg(long, alias = "after", value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<SystemTime>,
    /// Only those that failed before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) before: Option<SystemTime>,
}

/// Which failed requests and parked messages to replay or discard.
#[derive(Debug, Args)]
pub(crate) struct Selector {
    /// The ids of the requests; for discard also the numbers of messages
    #[arg(conflicts_with_all = ["kind", "code", "group", "since", "before", "all"])]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// All failed requests
    #[arg(long)]
    pub(crate) all: bool,
    /// Only list what would be replayed or discarded
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many calls to have in flight at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,
}
