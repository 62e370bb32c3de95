//! Errors of the broker, told apart where callers react differently.

use std::fmt;

/// Why a connection could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// No broker answers at that address, or not in time.
    Unreachable(String),
    /// Something answers there that is no broker, or it speaks TLS where the URL says otherwise.
    WrongPort(String),
    /// The TLS handshake failed.
    Tls(String),
    /// The broker refused the user or the password.
    Credentials(String),
    /// The broker refused the virtual host.
    Vhost(String),
}

impl OpenError {
    /// Whether an operator has to fix it, so that frequent retries are useless.
    pub fn needs_operator(&self) -> bool {
        matches!(self, Self::WrongPort(_) | Self::Credentials(_) | Self::Vhost(_))
    }
}

impl std::error::Error for OpenError {}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreachable(text)
        | Self::WrongPort(text)
        | Self::Tls(text)
        | Self::Credentials(text)
        | Self::Vhost(text)) = self;
        f.write_str(text)
    }
}

/// Why the broker can't be asked: the connection is away, or something that the program needs is missing there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotConnected(pub(super) String);

/// Why a declaration or another question to the broker failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskError {
    /// The broker refused, with its reply code and text: 403 without permission, 404 where
    /// something is missing, 406 where it exists with other arguments.
    Refused {
        /// The AMQP reply code.
        code: u16,
        /// The broker's explanation.
        text: String,
    },
    /// All channels that the broker allows on a connection are in use.
    NoChannelLeft {
        /// The broker's `channel_max`.
        max: u16,
    },
    /// The queue did not tell the broker its numbers in time: it hangs, or the broker is overloaded.
    NotCounted,
    /// The connection was lost before an answer came.
    Lost,
}

impl AskError {
    /// Whether the thing asked about is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Whether the user lacks the permission.
    pub fn is_access_refused(&self) -> bool {
        matches!(self, Self::Refused { code: 403, .. })
    }
}

impl std::error::Error for AskError {}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, text } => write!(f, "{code} {text}"),
            Self::NoChannelLeft { max } => write!(
                f,
                "the broker allows {max} channels on a connection, and all are in use: raise its channel_max, or lower WORKERS"
            ),
            Self::NotCounted => f.write_str(
                "the queue does not tell the broker its numbers in time: it hangs, or the broker is overloaded",
            ),
            Self::Lost => f.write_str("the connection to the broker was lost"),
        }
    }
}

/// Why a message was not confirmed, and whether publishing it again is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nothing was sent, for this reason: the broker is unreachable or blocks publishers. Safe to try again.
    #[error("not sent: {0}")]
    NotSent(String),
    /// Nothing was sent: too many messages or bytes are unconfirmed. Safe to try again.
    #[error("not sent: too many messages are waiting for their confirm")]
    Overloaded,
    /// The broker answered that it could not take the message, until the deadline. Safe to try
    /// again.
    #[error("the broker refused the message (nack)")]
    Nacked,
    /// No queue is bound to the routing key, or the exchange is not there. Nothing was kept.
    #[error("no queue takes the message: {0}")]
    Unroutable(String),
    /// The broker refuses messages of this program: its user lacks a permission. Nothing was kept.
    #[error("the broker refused the message: {0}")]
    Refused(String),
    /// The message was sent, but no confirm came: the broker may have it or not. Trying again may
    /// make a second copy.
    #[error("sent, but not confirmed: {0}")]
    Unknown(String),
    /// The message is longer than the broker takes (its `max_message_size`). Nothing was kept.
    #[error("the message has {bytes} bytes, and the broker takes {max_bytes} at most")]
    TooLarge {
        /// The length of the body.
        bytes: usize,
        /// The longest body that the broker takes.
        max_bytes: usize,
    },
    /// The message can't be sent in this form, now or later.
    #[error("the message can't be sent: {0}")]
    Invalid(String),
}
