//! The SQL that both stores share. Parameters are numbered in the order in which they first appear,
//! since SQLite takes `$1` for a name.

use super::{
    listing::List,
    parked::{ParkedFilter, ParkedQuery},
};

macro_rules! summary {
    () => {
        "id, status, type, owner, run, attempts, deliveries, accepted_at, started_at, \
         COALESCE(finished_at, settled_at), worker, error_code, error_message, last_error, \
         next_attempt_at, callback_url, state, calls, call_error, due_at, lease IS NOT NULL, \
         delivered_at"
    };
}

/// Where the columns of a summary are.
macro_rules! with_callbacks {
    () => {
        " FROM requests LEFT JOIN callbacks ON request_id = id "
    };
}

/// How the callback of a request that ends meets one of an earlier end.
macro_rules! callback_rule {
    () => {
        " ON CONFLICT (request_id) DO UPDATE SET of_run = excluded.of_run, host = excluded.host, \
         ended_at = excluded.ended_at, due_at = excluded.due_at, state = 0, calls = 0, \
         lease = NULL, call_error = NULL, delivered_at = NULL"
    };
}

/// How an accept meets a row that is there already: it adds what only the request knows, once.
macro_rules! accept_rule {
    () => {
        " ON CONFLICT (id) DO UPDATE SET type = excluded.type, owner = excluded.owner, \
         accepted_at = excluded.accepted_at, trace = excluded.trace, \
         callback_url = excluded.callback_url, callback_host = excluded.callback_host, \
         request_data = excluded.request_data WHERE requests.accepted_at IS NULL"
    };
}

/// When a result of some status and run becomes the final state of a request that is there already.
/// 0 is queued, 1 completed, 2 failed.
macro_rules! is_first {
    ($status:literal, $run:literal) => {
        concat!(
            "(requests.status = 0 AND (",
            $status,
            " = 1 OR ",
            $run,
            " >= requests.run) \
             OR requests.status = 2 AND (",
            $run,
            " > requests.run \
             OR ",
            $status,
            " = 1 AND ",
            $run,
            " < requests.run))"
        )
    };
}

/// The run for a row made of the news of a retry. Without the request's own row it is the first one:
/// a wrong number there would make the request deaf to how its work ends.
macro_rules! retrying_run {
    ($id:literal, $run:literal) => {
        concat!(
            "CASE WHEN EXISTS (SELECT 1 FROM requests WHERE requests.id = ",
            $id,
            ") THEN ",
            $run,
            " ELSE 0 END"
        )
    };
}

/// How the news of a retry meets a row that is there already.
macro_rules! retrying_rule {
    () => {
        " ON CONFLICT (id) DO UPDATE SET attempts = excluded.attempts, \
         last_error = excluded.last_error, next_attempt_at = excluded.next_attempt_at \
         WHERE requests.status = 0 AND excluded.run = requests.run \
         AND excluded.attempts >= requests.attempts"
    };
}

macro_rules! cancel {
    () => {
        "UPDATE requests SET status = 3, settled_at = $1, next_attempt_at = NULL \
         WHERE id = $2 AND status = 0 RETURNING id, run, settled_at, callback_host"
    };
}

/// Begins the next run of a request that has failed in one.
macro_rules! replay {
    () => {
        "UPDATE requests SET status = 0, run = run + 1, attempts = 0, deliveries = 0, \
         started_at = NULL, finished_at = NULL, settled_at = NULL, next_attempt_at = NULL, \
         worker = NULL, last_error = COALESCE(NULLIF(error_message, ''), error_code), \
         error_code = NULL, error_message = NULL \
         WHERE id = $1 AND status = 2 AND run = $2 RETURNING id"
    };
}

/// Takes a failed request away of whose end nothing is to be told.
macro_rules! discard {
    () => {
        "DELETE FROM requests WHERE id = $1 AND status = 2 AND NOT EXISTS \
         (SELECT 1 FROM callbacks WHERE request_id = requests.id AND state = 0) RETURNING id"
    };
}

macro_rules! letter {
    ($body:literal) => {
        concat!(
            "SELECT number, request_id, ",
            $body,
            ", CAST(length(body) AS bigint), headers, reason, error, received_at FROM parked WHERE "
        )
    };
}

/// A list of messages, each with its beginning.
macro_rules! letters {
    ($condition:literal, $limit:literal) => {
        concat!(
            letter!("substr(body, 1, 1000)"),
            "number < $1 AND ",
            $condition,
            " ORDER BY number DESC LIMIT ",
            $limit
        )
    };
}

macro_rules! list {
    ($condition:literal, $limit:literal) => {
        concat!(
            "SELECT ",
            summary!(),
            with_callbacks!(),
            "WHERE ",
            $condition,
            " ORDER BY id DESC LIMIT ",
            $limit
        )
    };
}

macro_rules! of_type {
    ($status:literal) => {
        concat!(
            "SELECT id FROM (SELECT id FROM requests WHERE id < $1 AND type = $2 AND status = ",
            $status,
            " ORDER BY id DESC LIMIT $3) AS of_status_",
            $status
        )
    };
}

pub(super) use {
    accept_rule, callback_rule, cancel, discard, is_first, replay, retrying_rule, retrying_run,
    summary, with_callbacks,
};

/// How many columns a summary has.
pub(super) const SUMMARY: usize = 22;

pub(super) const CANCEL: &str = cancel!();
/// Of several web services one takes a callback, and only that one says what came of it.
pub(super) const ATTEMPTED: &str = "UPDATE callbacks SET state = $1, due_at = COALESCE($2, due_at), \
    call_error = COALESCE($3, call_error), delivered_at = $4, lease = NULL \
    WHERE request_id = $5 AND lease = $6";
pub(super) const DROP_CALLBACK: &str = "DELETE FROM callbacks WHERE request_id = $1 AND lease = $2";
/// One that nobody has in hand; what still waits for its next attempt keeps count of them.
pub(super) const RETRY_CALLBACK: &str = "UPDATE callbacks SET due_at = $1, \
    calls = CASE state WHEN 0 THEN calls ELSE 0 END, state = 0, delivered_at = NULL \
    WHERE request_id = $2 AND lease IS NULL";
/// A key goes with its request, and not before its time.
pub(super) const EXPIRE_CLAIMS: &str = "DELETE FROM claims WHERE name IN \
    (SELECT name FROM claims WHERE keep_until < $1 \
    AND NOT EXISTS (SELECT 1 FROM requests WHERE requests.id = claims.id) \
    ORDER BY keep_until LIMIT $2)";
pub(super) const PROLONG_CLAIMS: &str = "UPDATE claims SET keep_until = $1 WHERE name IN \
    (SELECT name FROM claims WHERE keep_until < $2 \
    AND EXISTS (SELECT 1 FROM requests WHERE requests.id = claims.id) \
    ORDER BY keep_until LIMIT $3)";
/// Only the first claim of a key has both times from one moment. Of one that was taken over since, nobody
/// knows any more that nothing was sent.
pub(super) const FORGET: &str =
    "DELETE FROM claims WHERE name = $1 AND id = $2 AND claimed_at = keep_until - $3";
pub(super) const LEAVE: &str = "UPDATE claims SET claimed_at = 0 WHERE name = $1 AND id = $2";
pub(super) const STATE: &str = "SELECT status, run FROM requests WHERE id = $1";
pub(super) const ORIGIN: &str = "SELECT trace, request_data FROM requests WHERE id = $1";
pub(super) const PARKED_MESSAGE: &str = concat!(letter!("body"), "number = $1");
pub(super) const UNPARK: &str = "DELETE FROM parked WHERE number = $1 AND request_id IS NULL";
pub(super) const WHOSE: &str = "SELECT request_id FROM parked WHERE number = $1";
const LETTERS: &str = letters!("request_id IS NULL", "$2");
const LETTERS_OF: &str = letters!("request_id = $2", "$3");

const LIST: &str = list!("id < $1", "$2");
const LIST_STATUS: &str = list!("id < $1 AND status = $2", "$3");
const LIST_TYPE_STATUS: &str = list!("id < $1 AND type = $2 AND status = $3", "$4");
/// The newest of a type are among the newest of its four statuses.
const LIST_TYPE: &str = concat!(
    "SELECT ",
    summary!(),
    with_callbacks!(),
    "WHERE id IN (",
    of_type!("0"),
    " UNION ALL ",
    of_type!("1"),
    " UNION ALL ",
    of_type!("2"),
    " UNION ALL ",
    of_type!("3"),
    ") ORDER BY id DESC LIMIT $3"
);

/// The statement for a list of messages. Its parameters: the number all are below, the request if they
/// are one's, how many rows.
pub(super) fn letters(letters: &ParkedQuery) -> &'static str {
    match letters.whose {
        ParkedFilter::Nobody => LETTERS,
        ParkedFilter::Request(_) => LETTERS_OF,
    }
}

/// The statement for a list. Its parameters: the id all are below, the type if it is wanted, the
/// status if it is wanted, how many rows.
pub(super) fn list(list: &List) -> &'static str {
    match (&list.kind, list.status) {
        (None, None) => LIST,
        (None, Some(_)) => LIST_STATUS,
        (Some(_), None) => LIST_TYPE,
        (Some(_), Some(_)) => LIST_TYPE_STATUS,
    }
}
