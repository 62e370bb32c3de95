//! Errors of statements, by what is to be done about them.

use std::time::Duration;

/// The server itself cancelled a statement because it took too long.
const QUERY_CANCELED: &str = "57014";

/// The server, or the user, has too many connections.
const TOO_MANY_CONNECTIONS: &str = "53300";

/// A lock was not free in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// A prepared statement exists, or does not, against what this connection knows: it is not alone with its server process.
const WRONG_PREPARED_STATEMENT: [&str; 2] = ["42P05", "26000"];

/// A deadlock, or concurrent changes that don't go together.
const CONFLICTS: [&str; 2] = ["40P01", "40001"];

/// SQLSTATE classes of errors that the data cause: data exceptions, broken constraints, and limits of the
/// program, such as an index row that is too long. Most others are about the server: it is shut down, or
/// out of space.
const DATA_CLASSES: [&str; 3] = ["22", "23", "54"];

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct StatementError {
    pub(super) kind: ErrorKind,
    pub(super) reason: String,
}

/// What is to be done about a statement that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorKind {
    /// Nothing: the server refuses the data, and will refuse them again.
    Data,
    /// Repeat it: another statement was in its way.
    Conflict,
    /// Repeat it on another connection: this one is lost.
    Connection,
    /// The same, later: the server takes no more connections.
    NoRoom,
    /// Give up: the statement took too long, and another try would take as long.
    Timeout,
    /// Give up: the server does not answer.
    NoAnswer,
    /// Try again much later: a migration failed, which others may have waited for.
    Migration,
}

impl StatementError {
    pub(super) fn new(kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    /// An error of the server with this SQLSTATE.
    fn of_code(code: &str, message: &str) -> Self {
        let class = code.get(..2).unwrap_or_default();
        if code == QUERY_CANCELED {
            Self::new(ErrorKind::Timeout, message)
        } else if code == TOO_MANY_CONNECTIONS {
            Self::new(ErrorKind::NoRoom, message)
        } else if WRONG_PREPARED_STATEMENT.contains(&code) {
            Self::of_pooler(message)
        } else if CONFLICTS.contains(&code) {
            Self::new(ErrorKind::Conflict, message)
        } else if DATA_CLASSES.contains(&class) {
            Self::new(ErrorKind::Data, message)
        } else {
            Self::new(ErrorKind::Connection, format!("{message} ({code})"))
        }
    }

    /// A sign that a connection is not alone with its server process.
    pub(super) fn of_pooler(sign: &str) -> Self {
        let hint = "there seems to be a pooler in transaction mode, such as PgBouncer, which gives a connection \
            several server processes; use pool_mode=session, or connect to the server itself";
        Self::new(ErrorKind::Connection, format!("{hint} ({sign})"))
    }

    /// The error of a statement of a migration.
    pub(super) fn of_migration(number: i32, error: sqlx::Error) -> Self {
        let refusal = error.as_database_error();
        let reason = match refusal.and_then(|refusal| refusal.code()).as_deref() {
            Some(LOCK_NOT_AVAILABLE) => {
                "it waits for a lock on a table; another session holds it".to_owned()
            }
            _ => Self::from(error).reason,
        };
        Self::new(ErrorKind::Migration, format!("migration {number} of the schema: {reason}"))
    }

    /// The same error, inside a migration.
    pub(super) fn in_migration(self) -> Self {
        Self { kind: ErrorKind::Migration, ..self }
    }

    pub(super) fn timeout(after: Duration) -> Self {
        Self::new(ErrorKind::Timeout, format!("no answer within {after:.1?}"))
    }

    pub(super) fn no_answer(after: Duration) -> Self {
        Self::new(ErrorKind::NoAnswer, format!("no answer within {after:.1?}"))
    }
}

impl From<sqlx::Error> for StatementError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(refusal) = &error else {
            let is_data = matches!(error, sqlx::Error::Encode(_));
            let kind = if is_data { ErrorKind::Data } else { ErrorKind::Connection };
            return Self::new(kind, error.to_string());
        };
        Self::of_code(&refusal.code().unwrap_or_default(), refusal.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooler_in_transaction_mode_is_named() {
        for (code, message) in [
            ("42P05", "prepared statement \"sqlx_s_1\" already exists"),
            ("26000", "prepared statement \"sqlx_s_1\" does not exist"),
        ] {
            let error = StatementError::of_code(code, message);
            assert_eq!(error.kind, ErrorKind::Connection);
            let reason = error.to_string();
            assert!(reason.contains("pool_mode=session") && reason.contains(message), "{reason}");
        }
    }
}
