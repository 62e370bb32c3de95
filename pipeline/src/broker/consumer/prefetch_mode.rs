//! Prefetch mode: full, or one message at a time after a lost connection.

use std::fmt;

/// How many messages a subscription takes at a time.
///
/// A message that the client can't decode costs the connection, and the broker counts one more
/// delivery for all that were delivered with it. So after a lost connection that the broker has not
/// closed, messages are taken one by one, until as many went well as a full prefetch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PrefetchMode {
    /// As many as the consumer asked for.
    Full,
    /// One.
    Single,
}

impl PrefetchMode {
    /// The mode of the next subscription.
    pub(super) fn after(self, ended: &Ended, closed_by_broker: bool) -> Self {
        match ended {
            Ended::Lost if !closed_by_broker => Self::Single,
            Ended::Lost => self,
            Ended::Recovered
            | Ended::Closed(_)
            | Ended::Cancelled
            | Ended::Stopped
            | Ended::Unserved => Self::Full,
        }
    }
}

/// How a subscription ended.
#[derive(Debug)]
pub(super) enum Ended {
    Lost,
    Closed(String),
    Cancelled,
    Stopped,
    /// Messages wait, and the broker delivers none.
    Unserved,
    /// As many messages as a full prefetch were settled one by one.
    Recovered,
}

impl Ended {
    /// Whether nothing is wrong with consuming itself: the subscription ended on purpose, or with its connection.
    pub(super) fn is_harmless(&self) -> bool {
        match self {
            Self::Lost | Self::Stopped | Self::Recovered => true,
            Self::Closed(_) | Self::Cancelled | Self::Unserved => false,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("the connection was lost"),
            Self::Closed(reason) => write!(f, "the broker closed the channel: {reason}"),
            Self::Cancelled => f.write_str("the broker cancelled the consumer"),
            Self::Stopped => f.write_str("stopped"),
            Self::Unserved => f.write_str("messages wait, and the broker delivers none"),
            Self::Recovered => f.write_str("consuming one by one has succeeded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_lost_connection_messages_come_one_by_one_until_that_succeeds() {
        use PrefetchMode::{Full, Single};
        assert_eq!(Full.after(&Ended::Lost, false), Single);
        assert_eq!(Full.after(&Ended::Lost, true), Full);
        assert_eq!(Single.after(&Ended::Lost, true), Single);
        assert_eq!(Single.after(&Ended::Recovered, false), Full);
    }
}
