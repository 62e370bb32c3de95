//! Prefetch mode: full, or one message at a time after a lost connection.

use std::{fmt, time::Duration};

use crate::broker::session::watch::ChannelEvent;

/// The shortest acknowledgement timeout that is reckoned with. As the argument of a queue it is a minute at least; the
/// broker's configuration may have less.
const MIN_ACK_TIMEOUT: Duration = Duration::from_secs(30);

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
            Ended::Lost | Ended::Detached => self,
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
    /// Other workers have all that the broker has sent, and it sends no more before that is settled.
    Detached,
}

impl Ended {
    /// How a subscription ends with this event of its channel, if it does.
    pub(super) fn by(event: Option<ChannelEvent>) -> Option<Self> {
        match event {
            None => Some(Self::Lost),
            Some(ChannelEvent::Closed { code, text }) => {
                Some(Self::Closed(format!("{code} {text}")))
            }
            Some(ChannelEvent::Cancelled) => Some(Self::Cancelled),
            Some(_) => None,
        }
    }

    /// Whether the broker has taken the deliveries back because the acknowledgement timeout was over. Releases up to 4.2
    /// close the channel then, later ones cancel the consumer:
    /// <https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>.
    ///
    /// A consumer is also cancelled when its queue is deleted, or the node of the queue crashes. So `cancelled_after` is the
    /// age of the oldest delivery; none if there is none, or the release cancels no consumer for the timeout.
    pub(super) fn is_timeout(&self, cancelled_after: Option<Duration>) -> bool {
        match self {
            Self::Closed(reason) => reason.contains("timed out"),
            Self::Cancelled => cancelled_after.is_some_and(|age| age >= MIN_ACK_TIMEOUT),
            Self::Lost | Self::Stopped | Self::Unserved | Self::Recovered | Self::Detached => false,
        }
    }

    /// Whether nothing is wrong with consuming itself: the subscription ended on purpose, or with its connection.
    pub(super) fn is_harmless(&self) -> bool {
        match self {
            Self::Lost | Self::Stopped | Self::Recovered | Self::Detached => true,
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
            Self::Detached => f.write_str("other workers have what it received"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_soon_after_the_delivery_is_no_timeout() {
        let [soon, late] = [1, 60].map(Duration::from_secs).map(Some);
        assert!(!Ended::Cancelled.is_timeout(soon), "the node of the queue has crashed");
        assert!(!Ended::Cancelled.is_timeout(None), "the release would close the channel");
        assert!(Ended::Cancelled.is_timeout(late) && !Ended::Lost.is_timeout(late));
        let closed = |reason: &str| Ended::Closed(reason.to_owned()).is_timeout(None);
        assert!(closed(
            "406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out"
        ));
        assert!(!closed("404 NOT_FOUND"));
    }

    #[test]
    fn after_a_lost_connection_messages_come_one_by_one_until_that_succeeds() {
        use PrefetchMode::{Full, Single};
        assert_eq!(Full.after(&Ended::Lost, false), Single);
        assert_eq!(Full.after(&Ended::Lost, true), Full);
        assert_eq!(Single.after(&Ended::Lost, true), Single);
        assert_eq!(Single.after(&Ended::Detached, false), Single);
        assert_eq!(Single.after(&Ended::Recovered, false), Full);
    }
}
