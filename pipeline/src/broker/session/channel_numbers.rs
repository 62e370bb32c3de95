//! Channel numbers: opens channels within the number that the broker allows on a connection.
//!
//! The client never frees the number of a channel that the broker closed. It hands out numbers in groups of
//! eight, whatever the maximum, and panics when there are none.

use amqprs::{channel::Channel, connection::Connection};

use super::session_end::SessionEnd;
use crate::broker::error::AskError;

/// Up to this maximum the numbers are tried one by one. With more, the counts are exact enough.
const MAX_TRIED: u16 = 64;

/// How many channels are kept for questions.
const KEPT: usize = 8;

/// Whether channels are left on a connection. Clones are of the same connection.
#[derive(Clone)]
pub(crate) struct SpareChannels {
    pub(super) end: SessionEnd,
    pub(super) max: usize,
}

impl SpareChannels {
    /// Whether each user of a channel may open another one: they may do so at the same time.
    pub(crate) fn are_left(&self) -> bool {
        2 * self.end.used_channels() + KEPT < self.max
    }
}

/// How many channels a connection may have: zero means no limit (AMQP 0-9-1, `connection.tune`).
pub(super) fn max_channels(negotiated: u16) -> u16 {
    if negotiated == 0 { u16::MAX } else { negotiated }
}

/// Opens a channel. If channels that the broker closed have used up the numbers, the session ends, because a
/// new connection has them all.
pub(super) async fn open(connection: &Connection, end: &SessionEnd) -> Result<Channel, AskError> {
    let max = max_channels(connection.channel_max());
    if max > MAX_TRIED {
        if end.used_channels() >= usize::from(max) {
            return Err(none_left(max, end));
        }
        return connection.open_channel(None).await.map_err(|_| AskError::Lost);
    }
    for number in 1..=max {
        // The client refuses a number that is in use, and asks the broker about no other.
        if let Ok(channel) = connection.open_channel(Some(number)).await {
            return Ok(channel);
        }
    }
    if !connection.is_open() || end.lost.is_cancelled() {
        return Err(AskError::Lost);
    }
    Err(none_left(max, end))
}

fn none_left(max: u16, end: &SessionEnd) -> AskError {
    if end.closed_by_broker() == 0 {
        return AskError::NoChannelLeft { max };
    }
    end.end(None, "the channels that the broker closed have used up the connection's numbers");
    AskError::Lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_max_of_zero_is_no_limit() {
        assert_eq!([0, 1, 2047].map(max_channels), [u16::MAX, 1, 2047]);
    }
}
