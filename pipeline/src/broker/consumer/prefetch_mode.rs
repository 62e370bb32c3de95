//! How many messages a subscription takes at a time, after how the last one ended.

use std::{fmt, time::Duration};

/// A connection that was lost so soon after subscribing may have been lost because of a message.
const YOUNG: Duration = Duration::from_secs(5);

/// How many messages a subscription takes at a time.
///
/// A message that the client can't decode costs the connection, and all that were delivered with it
/// count as delivered once more, until the broker parks them all as poison. So after connections
/// that died young, messages are taken one by one, and the bad one is alone when it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PrefetchMode {
    Full,
    Single,
}

impl PrefetchMode {
    pub(super) fn after(self, ended: &Ended, life: Duration, broker_closed: bool) -> Self {
        match ended {
            Ended::Lost if life < YOUNG && !broker_closed => Self::Single,
            Ended::Lost => self,
            Ended::Recovered | Ended::Closed(_) | Ended::Cancelled | Ended::Stopped => Self::Full,
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
    /// Taking messages one by one went well for as long as a full prefetch reaches.
    Recovered,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("the connection was lost"),
            Self::Closed(reason) => write!(f, "the broker closed the channel: {reason}"),
            Self::Cancelled => f.write_str("the broker cancelled the consumer"),
            Self::Stopped => f.write_str("stopped"),
            Self::Recovered => f.write_str("nothing is wrong any more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_that_die_young_of_themselves_make_it_cautious() {
        let (young, old) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(PrefetchMode::Full.after(&Ended::Lost, young, false), PrefetchMode::Single);
        assert_eq!(PrefetchMode::Full.after(&Ended::Lost, young, true), PrefetchMode::Full);
        assert_eq!(PrefetchMode::Full.after(&Ended::Lost, old, false), PrefetchMode::Full);
        assert_eq!(PrefetchMode::Single.after(&Ended::Lost, old, false), PrefetchMode::Single);
        assert_eq!(PrefetchMode::Single.after(&Ended::Recovered, old, false), PrefetchMode::Full);
    }
}
