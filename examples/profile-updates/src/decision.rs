//! Decision: what the follower does about an update that it could not apply.

use rusqlite::ErrorCode;

/// Why an update could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The body is no update.
    #[error("the body can't be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The database didn't take it.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Try again later: what is wrong is not the update.
    Requeue,
    /// Ack it and answer with a rollback: it would fail each time.
    Refuse,
    /// Ack it and keep it for an operator: it doesn't say what a rollback would have to undo.
    SetAside,
}

/// Decides whether an update is worth another try. In doubt it is: only what is known to be wrong for good is not.
pub fn decide(error: &ApplyError) -> Decision {
    match error {
        ApplyError::Unreadable(_) => Decision::SetAside,
        ApplyError::Database(error) => match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => {
                Decision::Refuse
            }
            _ => Decision::Requeue,
        },
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn of_sqlite(code: i32) -> Decision {
        decide(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into())
    }

    #[test]
    fn what_may_pass_is_worth_requeueing() {
        for code in [
            ffi::SQLITE_BUSY,
            ffi::SQLITE_LOCKED,
            ffi::SQLITE_FULL,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_CANTOPEN,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_NOMEM,
            ffi::SQLITE_CORRUPT,
        ] {
            assert_eq!(of_sqlite(code), Decision::Requeue, "{code}");
        }
        assert_eq!(decide(&rusqlite::Error::InvalidQuery.into()), Decision::Requeue);
    }

    #[test]
    fn what_breaks_a_rule_of_the_copy_is_refused() {
        for code in [ffi::SQLITE_CONSTRAINT_CHECK, ffi::SQLITE_MISMATCH, ffi::SQLITE_TOOBIG] {
            assert_eq!(of_sqlite(code), Decision::Refuse, "{code}");
        }
    }

    #[test]
    fn what_can_t_be_read_is_set_aside() {
        let unreadable = serde_json::from_str::<i64>("x").unwrap_err();
        assert_eq!(decide(&unreadable.into()), Decision::SetAside);
    }
}
