//! What can go wrong with a statement, as far as it matters what to do about it.

use std::time::Duration;

/// The server itself gave a statement up because it took too long.
const CANCELED: &str = "57014";

/// The statement met others that were under way, and was given up for their sake: a deadlock, or
/// changes that don't go together.
const CONFLICTS: [&str; 2] = ["40P01", "40001"];

/// Why a statement failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The data are to blame: they would fail again.
    Data(String),
    /// Others were in its way. It goes well when it is repeated.
    Conflict(String),
    /// The connection, or the moment: it may go well with another one.
    Lost(String),
    /// No answer in time. Another try would take as long.
    Silence(String),
}

impl Trouble {
    pub(super) fn silence(after: Duration) -> Self {
        Self::Silence(format!("no answer within {after:.1?}"))
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(refusal) => {
                let (code, message) = (refusal.code().unwrap_or_default(), refusal.message());
                // Data exceptions, broken constraints, limits of the program: an index row that is
                // too long. Most others are about the server: shut down, out of space.
                match code.get(..2) {
                    _ if code == CANCELED => Self::Silence(message.to_owned()),
                    _ if CONFLICTS.contains(&&*code) => Self::Conflict(message.to_owned()),
                    Some("22" | "23" | "54") => Self::Data(message.to_owned()),
                    _ => Self::Lost(format!("{message} ({code})")),
                }
            }
            sqlx::Error::Encode(_) => Self::Data(error.to_string()),
            _ => Self::Lost(error.to_string()),
        }
    }
}
