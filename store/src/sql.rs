//! The SQL that both backends share. Parameters are numbered in the order in which they first appear,
//! since SQLite takes `$1` for a name.

pub(crate) mod attempts;
pub(crate) mod bulk_runs;
pub(crate) mod due_callbacks;
pub(crate) mod groups;
pub(crate) mod list;
pub(crate) mod merged;
pub(crate) mod statement;
pub(crate) mod stats;

use crate::model::{
    parked::{ParkedFilter, ParkedQuery},
    retry_now::Reissue,
};

/// The columns of a summary, [`SUMMARY_COLUMNS`] of them.
macro_rules! summary {
    () => {
        "id, status, type, owner, run, attempts, deliveries, accepted_at, started_at, \
         COALESCE(finished_at, settled_at), worker, error_code, error_message, last_error, \
         next_attempt_at, callback_url, state, calls, call_error, due_at, lease IS NOT NULL, \
         delivered_at, settled_at"
    };
}

/// The tables in which the columns of a summary are.
macro_rules! with_callbacks {
    () => {
        " FROM requests LEFT JOIN callbacks ON request_id = id "
    };
}

/// What the callback of a request that ends does to a callback of an earlier end.
macro_rules! callback_rule {
    () => {
        " ON CONFLICT (request_id) DO UPDATE SET of_run = excluded.of_run, host = excluded.host, \
         ended_at = excluded.ended_at, due_at = excluded.due_at, state = 0, calls = 0, \
         lease = NULL, call_error = NULL, delivered_at = NULL, retried_at = NULL"
    };
}

/// What an accepted request does to a row that is there already: it adds what only the request knows,
/// once.
macro_rules! accept_rule {
    () => {
        " ON CONFLICT (id) DO UPDATE SET type = excluded.type, owner = excluded.owner, \
         accepted_at = excluded.accepted_at, trace = excluded.trace, \
         callback_url = excluded.callback_url, callback_host = excluded.callback_host, \
         request_data = excluded.request_data WHERE requests.accepted_at IS NULL"
    };
}

/// Whether the row of a request that a result has ended in this run says more than the result does, see
/// [`Applied`](crate::Applied::StoredWithHistory).
macro_rules! has_history {
    ($run:expr) => {
        concat!("(", $run, " > 0 OR last_error IS NOT NULL)")
    };
}

/// Whether a result with this status and run becomes the final state of a request that is there already.
macro_rules! is_stored {
    ($status:literal, $run:expr) => {
        concat!(
            "(",
            $crate::sql::is_end!($status, $run),
            " OR ",
            $crate::sql::is_better_end!($status, $run),
            ")"
        )
    };
}

/// The same of a request that has not ended. 0 is queued, 1 completed, 2 failed.
macro_rules! is_end {
    ($status:literal, $run:expr) => {
        concat!("(requests.status = 0 AND (", $status, " = 1 OR ", $run, " >= requests.run))")
    };
}

/// The same of a request that has failed.
macro_rules! is_better_end {
    ($status:literal, $run:expr) => {
        concat!(
            "(requests.status = 2 AND (",
            $run,
            " > requests.run \
             OR ",
            $status,
            " = 1 AND ",
            $run,
            " < requests.run OR ",
            $status,
            " = 1 AND ",
            $run,
            " = requests.run AND requests.error_code IN ('poison', 'delivery_limit', 'expired')))"
        )
    };
}

/// The run of a result with this status that does not name it, by the row of its request: of a replay that is
/// noted, or else of the present run. A success counts also if it is of an earlier run.
macro_rules! unnamed_run {
    ($status:literal) => {
        concat!(
            "CASE WHEN noted_run > run THEN noted_run WHEN ",
            $status,
            " = 1 THEN 0 ELSE run END"
        )
    };
}

/// Ends a request as cancelled, unless it is final.
macro_rules! cancel {
    () => {
        "UPDATE requests SET status = 3, settled_at = $1, next_attempt_at = NULL \
         WHERE id = $2 AND status = 0 RETURNING id, run, settled_at, callback_host, type"
    };
}

/// Notes that the next run of a request that has failed in this one is about to be published.
macro_rules! note_replay {
    () => {
        "UPDATE requests SET noted_run = run + 1 WHERE id = $1 AND status = 2 AND run = $2 RETURNING id"
    };
}

/// Begins the next run of a request that has failed in this one.
macro_rules! replay {
    () => {
        "UPDATE requests SET status = 0, run = run + 1, attempts = 0, deliveries = 0, \
         started_at = NULL, finished_at = NULL, settled_at = NULL, next_attempt_at = NULL, \
         worker = NULL, last_error = COALESCE(NULLIF(error_message, ''), error_code), \
         error_code = NULL, error_message = NULL \
         WHERE id = $1 AND status = 2 AND run = $2 RETURNING id, type"
    };
}

/// Deletes a failed request that has no pending callback.
macro_rules! discard {
    () => {
        "DELETE FROM requests WHERE id = $1 AND status = 2 AND NOT EXISTS \
         (SELECT 1 FROM callbacks WHERE request_id = requests.id AND state = 0) RETURNING id, type"
    };
}

/// Parked messages, with their bodies or a part of them.
macro_rules! parked {
    ($body:literal) => {
        concat!(
            "SELECT number, request_id, ",
            $body,
            ", CAST(length(body) AS bigint), headers, reason, error, received_at FROM parked WHERE "
        )
    };
}

/// A list of parked messages, each with the beginning of its body. In SQLite that of an empty one is NULL.
macro_rules! list_parked {
    ($condition:literal, $limit:literal) => {
        concat!(
            parked!("COALESCE(substr(body, 1, 1000), body)"),
            "number < $1 AND ",
            $condition,
            " ORDER BY number DESC LIMIT ",
            $limit
        )
    };
}

/// Notes a run in which a message of an open request is about to be published again. Runs are numbers of 32 bits: the last one,
/// which only a message of another program can have named, has none after it.
macro_rules! note_retry {
    ($condition:literal) => {
        concat!(
            "UPDATE requests SET noted_run = \
             CASE WHEN noted_run > run THEN noted_run ELSE run END + 1 \
             WHERE id = $1 AND status = 0 AND run = $2 AND attempts = $3 \
             AND run < 4294967295 AND noted_run < 4294967295",
            $condition,
            " RETURNING noted_run"
        )
    };
}

/// Begins a run that was noted.
macro_rules! begin_retry {
    ($also:literal) => {
        concat!(
            "UPDATE requests SET run = $1, deliveries = 0",
            $also,
            " WHERE id = $2 AND status = 0 AND run < $1 RETURNING id"
        )
    };
}

/// How many rows of `requests` there are, 10,000 at most, counted along an index.
macro_rules! count {
    ($rows:literal) => {
        count!($rows, "10000")
    };
    ($rows:literal, $limit:literal) => {
        concat!(
            "(SELECT count(*) FROM (SELECT 1 FROM requests WHERE ",
            $rows,
            " LIMIT ",
            $limit,
            ") AS few)"
        )
    };
}

/// How many requests of a status there are, of each type 10,000 at most, counted along the index of types and statuses.
macro_rules! count_of_status {
    ($status:literal) => {
        concat!(
            "(SELECT CAST(COALESCE(sum(of_type), 0) AS bigint) FROM \
             (SELECT (SELECT count(*) FROM (SELECT 1 FROM requests WHERE type = known.type AND status = ",
            $status,
            " ORDER BY id LIMIT 10000) AS few) AS of_type \
             FROM (SELECT DISTINCT type FROM tallies) AS known) AS counted)"
        )
    };
}

/// The keys whose time is over first, and of each whether it can go: it is kept longer if its request is stored. Those that
/// stay count, too, so that the work is bounded. `EXISTS` would let PostgreSQL read all requests.
macro_rules! due_claims {
    () => {
        "SELECT name, (SELECT 1 FROM requests WHERE requests.id = claims.id) IS NULL AS can_go \
         FROM claims WHERE keep_until < $1 ORDER BY keep_until LIMIT $2"
    };
}

pub(crate) use {
    accept_rule, callback_rule, cancel, discard, due_claims, has_history, is_better_end, is_end,
    is_stored, note_replay, replay, summary, unnamed_run, with_callbacks,
};

/// How many columns a summary has.
pub(crate) const SUMMARY_COLUMNS: usize = 23;

/// Only the web service that holds the lease records the outcome.
pub(crate) const RECORD_ATTEMPT: &str = "UPDATE callbacks SET state = $1, due_at = COALESCE($2, due_at), \
    call_error = COALESCE($3, call_error), delivered_at = $4, lease = NULL \
    WHERE request_id = $5 AND lease = $6";
/// What is known of an earlier attempt tells more than why there was no other.
pub(crate) const GIVE_UP_CALLBACK: &str = "UPDATE callbacks SET state = 2, lease = NULL, \
    call_error = COALESCE(call_error, $1) WHERE request_id = $2";
/// The error of a callback that was given up before there was capacity for an attempt.
pub(crate) const NO_CAPACITY: &str = "the receiver was too slow for an attempt in time";
pub(crate) const DROP_CALLBACK: &str = "DELETE FROM callbacks WHERE request_id = $1 AND lease = $2";
/// A callback under lease is left alone. One that is still pending keeps its number of attempts.
pub(crate) const RETRY_CALLBACK: &str = "UPDATE callbacks SET due_at = $1, \
    calls = CASE state WHEN 0 THEN calls ELSE 0 END, state = 0, delivered_at = NULL, retried_at = $1 \
    WHERE request_id = $2 AND lease IS NULL";
pub(crate) const DUE_CLAIMS: &str = due_claims!();
/// Only in the first claim of a key both times come from the same moment. After a takeover it is not known
/// that nothing was sent.
pub(crate) const DELETE_CLAIM: &str =
    "DELETE FROM claims WHERE name = $1 AND id = $2 AND claimed_at = keep_until - $3";
pub(crate) const ALLOW_TAKEOVER: &str =
    "UPDATE claims SET claimed_at = 0 WHERE name = $1 AND id = $2";
/// Each call notes a run of its own, so that of several copies that were published one is the latest.
const NOTE_RETRY: &str = note_retry!(" AND next_attempt_at IS NOT NULL");
const NOTE_REPUBLISH: &str = note_retry!("");
const BEGIN_RETRY: &str = begin_retry!(", next_attempt_at = NULL");
const BEGIN_REPUBLISH: &str = begin_retry!("");
/// The types that requests have or had.
pub(crate) const TYPES: &str = "SELECT DISTINCT type FROM tallies";
/// How many open requests of a type are below an id.
pub(crate) const OPEN_BEFORE: &str =
    concat!("SELECT ", count!("type = $1 AND status = 0 AND id < $2 ORDER BY id"));
/// A request's status and run.
pub(crate) const STATE: &str = "SELECT status, run FROM requests WHERE id = $1";
pub(crate) const END: &str = "SELECT status, run, error_code FROM requests WHERE id = $1";
pub(crate) const ORIGIN: &str = "SELECT trace, request_data, CASE WHEN accepted_at IS NULL THEN NULL ELSE type END FROM requests \
    WHERE id = $1";
pub(crate) const GET_PARKED: &str = concat!(parked!("body"), "number = $1");
pub(crate) const DELETE_PARKED: &str =
    "DELETE FROM parked WHERE number = $1 AND request_id IS NULL";
/// The request that a parked message belongs to.
pub(crate) const PARKED_REQUEST: &str = "SELECT request_id FROM parked WHERE number = $1";
/// Counts requests and tells how many came and ended lately. The parameters: now; the time after which, and the ids
/// between which, requests count for the rates.
pub(crate) const OVERVIEW: &str = concat!(
    "SELECT ",
    count_of_status!("0"),
    ", ",
    count_of_status!("2"),
    ", ",
    count!("next_attempt_at > $1 ORDER BY next_attempt_at"),
    ", ",
    count!("settled_at > $2 ORDER BY settled_at", "1000"),
    ", (SELECT settled_at FROM requests WHERE settled_at > $2 \
     ORDER BY settled_at DESC LIMIT 1 OFFSET 999), ",
    count!("id > $3 AND id < $4 ORDER BY id", "1000"),
    ", (SELECT id FROM requests WHERE id > $3 AND id < $4 ORDER BY id DESC LIMIT 1 OFFSET 999)"
);
/// The open request that was submitted first, which is the first of its type.
pub(crate) const OLDEST: &str = "SELECT id, accepted_at FROM requests WHERE id = (SELECT first FROM \
    (SELECT (SELECT id FROM requests WHERE type = known.type AND status = 0 ORDER BY id LIMIT 1) AS first \
    FROM (SELECT DISTINCT type FROM tallies) AS known) AS firsts \
    WHERE first IS NOT NULL ORDER BY first LIMIT 1)";
const LIST_PARKED_WITHOUT_REQUEST: &str = list_parked!("request_id IS NULL", "$2");
const LIST_PARKED_OF_REQUEST: &str = list_parked!("request_id = $2", "$3");

/// The statement that notes a run. Its parameters: the request, its run, its attempts.
pub(crate) fn note_retry(reissue: Reissue) -> &'static str {
    match reissue {
        Reissue::AtOnce => NOTE_RETRY,
        Reissue::Missing => NOTE_REPUBLISH,
    }
}

/// The statement that begins a run which was noted. Its parameters: the run, the request.
pub(crate) fn begin_retry(reissue: Reissue) -> &'static str {
    match reissue {
        Reissue::AtOnce => BEGIN_RETRY,
        Reissue::Missing => BEGIN_REPUBLISH,
    }
}

/// The statement for a list of parked messages. Its parameters: the number that all are below, the request
/// if the query names one, how many rows.
pub(crate) fn list_parked(query: &ParkedQuery) -> &'static str {
    match query.filter {
        ParkedFilter::WithoutRequest => LIST_PARKED_WITHOUT_REQUEST,
        ParkedFilter::OfRequest(_) => LIST_PARKED_OF_REQUEST,
    }
}
