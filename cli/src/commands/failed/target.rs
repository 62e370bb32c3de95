//! A failed request or a parked message, and how users name it.

use std::fmt;

use uuid::Uuid;

use crate::{api::error::CallError, commands::request_id};

/// What an action is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A failed request, and the run that failed.
    Request { id: Uuid, run: u64 },
    /// The number of a parked message that belongs to no request.
    Message(i64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { id, .. } => id.fmt(f),
            Self::Message(number) => number.fmt(f),
        }
    }
}

/// The name of a request or of a parked message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Request(Uuid),
    Message(i64),
}

/// Reads a name.
///
/// # Errors
/// [`CallError::NotFound`], if it is neither an id nor a number.
pub(super) fn parse_name(text: &str) -> Result<Name, CallError> {
    if let Some(number) = message_number(text) {
        return Ok(Name::Message(number));
    }
    match request_id::parse(text) {
        Ok(id) => Ok(Name::Request(id)),
        Err(error) => Err(CallError::NotFound(format!("{error}; a message has a number"))),
    }
}

/// The number of a parked message. The id of a request is too long to be taken for one.
pub(super) fn message_number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number| *number > 0)
}
