//! Unconfirmed messages of one channel by delivery tag, and who waits for each confirm.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

use tokio::time::Instant;

use crate::broker::{
    error::PublishError,
    publisher::pending_publish::{Failure, PendingPublish},
};

/// What was sent and not yet confirmed, in the order of delivery tags.
///
/// The broker confirms out of order, one by one or all up to a tag. A message's place stays taken
/// until its confirm comes or the channel ends, even when its caller has given up.
pub(super) struct Unconfirmed {
    /// The tag of the first place.
    first: u64,
    places: VecDeque<Option<Sent>>,
    unconfirmed: usize,
}

/// One message that was sent.
pub(super) struct Sent {
    pub(super) pending: PendingPublish,
    pub(super) at: Instant,
    /// By what the broker names it if it returns it.
    pub(super) name: ReturnedName,
    /// How many bytes its body has.
    pub(super) size: usize,
    /// Why the broker returned it, if it did; it confirms a returned message as well.
    pub(super) returned: Option<String>,
}

/// A digest of what the broker names of a message that it returns. Two messages with the same one are taken for the same, as
/// those are that have the same id and route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReturnedName(u64);

impl ReturnedName {
    pub(super) fn new(message_id: Option<&str>, exchange: &str, routing_key: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (message_id, exchange, routing_key).hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Unconfirmed {
    /// The bookkeeping of a channel on which nothing was published yet: the first tag will be 1.
    pub(super) fn new() -> Self {
        Self { first: 1, places: VecDeque::new(), unconfirmed: 0 }
    }

    /// Enters a message. Its tag follows the one before, since one task alone publishes.
    pub(super) fn enter(&mut self, sent: Sent) {
        self.places.push_back(Some(sent));
        self.unconfirmed += 1;
    }

    /// Removes the message entered last, which could not be sent.
    pub(super) fn remove_last(&mut self) -> Option<Sent> {
        let last = self.places.pop_back()?;
        self.unconfirmed -= 1;
        last
    }

    /// How many messages are unconfirmed.
    pub(super) fn len(&self) -> usize {
        self.unconfirmed
    }

    /// How many places are taken, with those already confirmed behind an older one that isn't.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unconfirmed == 0
    }

    /// When the oldest unconfirmed message was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.places.front()?.as_ref().map(|sent| sent.at)
    }

    /// Ends the message with this tag, or all up to it.
    pub(super) fn settle(&mut self, tag: u64, multiple: bool, taken: bool) {
        let Some(index) = tag.checked_sub(self.first).and_then(|index| usize::try_from(index).ok())
        else {
            return;
        };
        let from = if multiple { 0 } else { index };
        for place in
            self.places.range_mut(from.min(self.places.len())..(index + 1).min(self.places.len()))
        {
            if let Some(sent) = place.take() {
                self.unconfirmed -= 1;
                sent.end(taken);
            }
        }
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
    }

    /// Ends all messages after the broker has closed the channel for one of more than `max_bytes`. Those
    /// that are not longer are to be published again: the broker has dropped what came after the long
    /// one, and may have taken what came before.
    pub(super) fn end_for_size(&mut self, max_bytes: usize) {
        self.unconfirmed = 0;
        for sent in self.places.drain(..).flatten() {
            let Sent { pending, size, returned, .. } = sent;
            let failure = match returned {
                Some(reason) => PublishError::Unroutable(reason).into(),
                None if size > max_bytes => {
                    PublishError::TooLarge { bytes: size, max_bytes }.into()
                }
                None => Failure::Again(pending.lost("the channel was closed")),
            };
            pending.end(Err(failure));
        }
    }

    /// Ends all messages: the broker has refused them.
    pub(super) fn end_refused(&mut self, refusal: &PublishError) {
        self.unconfirmed = 0;
        for sent in self.places.drain(..).flatten() {
            sent.pending.end(Err(refusal.clone().into()));
        }
    }

    /// Notes that the broker sent a message back. It names no tag, only id and route: where several
    /// in flight have the same, all count as returned. Publishing one of them again makes a harmless
    /// duplicate; counting a returned one as confirmed would lose it.
    pub(super) fn returned(&mut self, name: ReturnedName, reason: &str) {
        for sent in self.places.iter_mut().flatten().filter(|sent| sent.name == name) {
            sent.returned = Some(reason.to_owned());
        }
    }
}

impl Sent {
    fn end(self, taken: bool) {
        self.pending.end(match self.returned {
            Some(reason) => Err(PublishError::Unroutable(reason).into()),
            None if taken => Ok(()),
            None => Err(PublishError::Nacked.into()),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::broker::publisher::pending_publish::{PublishHandle, pending_publish};

    fn sent(unconfirmed: &mut Unconfirmed, id: &str) -> PublishHandle {
        let room = Arc::new(Semaphore::new(1)).try_acquire_many_owned(1).unwrap();
        let (pending, handle) = pending_publish(room);
        assert!(pending.send());
        unconfirmed.enter(Sent {
            pending,
            at: Instant::now(),
            name: ReturnedName::new(Some(id), "x", "k"),
            size: id.len(),
            returned: None,
        });
        handle
    }

    async fn end(handle: PublishHandle) -> Result<(), PublishError> {
        handle.end(Instant::now()).await.map(drop).map_err(|failure| match failure {
            Failure::Final(error) | Failure::Again(error) => error,
        })
    }

    #[tokio::test]
    async fn confirms_come_out_of_order_and_in_bulk() {
        let mut unconfirmed = Unconfirmed::new();
        let mut handles: VecDeque<_> =
            (1..=6).map(|n| sent(&mut unconfirmed, &n.to_string())).collect();
        unconfirmed.settle(3, false, true);
        unconfirmed.settle(2, true, false);
        unconfirmed.settle(2, true, true);
        assert_eq!((unconfirmed.places(), unconfirmed.len()), (3, 3));
        unconfirmed.settle(5, false, true);
        assert_eq!((unconfirmed.places(), unconfirmed.len()), (3, 2));
        unconfirmed.settle(99, true, true);
        unconfirmed.settle(0, false, true);
        assert_eq!((unconfirmed.places(), unconfirmed.is_empty()), (0, true));
        let nacked = Err(PublishError::Nacked);
        for expected in [nacked.clone(), nacked, Ok(()), Ok(()), Ok(()), Ok(())] {
            assert_eq!(end(handles.pop_front().unwrap()).await, expected);
        }
        let late = sent(&mut unconfirmed, "7");
        unconfirmed.settle(7, false, true);
        assert_eq!(end(late).await, Ok(()));
    }

    #[tokio::test]
    async fn a_returned_message_ends_unroutable_and_so_does_its_twin() {
        let mut unconfirmed = Unconfirmed::new();
        let (first, second, other) =
            (sent(&mut unconfirmed, "a"), sent(&mut unconfirmed, "a"), sent(&mut unconfirmed, "b"));
        unconfirmed.returned(ReturnedName::new(Some("a"), "x", "k"), "312 NO_ROUTE");
        unconfirmed.returned(ReturnedName::new(Some("b"), "x", "other"), "312 NO_ROUTE");
        unconfirmed.settle(3, true, true);
        let unroutable = Err(PublishError::Unroutable("312 NO_ROUTE".into()));
        assert_eq!((end(first).await, end(second).await), (unroutable.clone(), unroutable));
        assert_eq!(end(other).await, Ok(()));
    }

    #[tokio::test]
    async fn a_lost_channel_leaves_no_caller_waiting() {
        let mut unconfirmed = Unconfirmed::new();
        let handle = sent(&mut unconfirmed, "a");
        drop(unconfirmed);
        assert!(matches!(end(handle).await, Err(PublishError::Unknown(_))));
    }

    #[tokio::test]
    async fn what_is_too_long_fails_and_what_was_in_flight_with_it_is_published_again() {
        let mut unconfirmed = Unconfirmed::new();
        let handles = ["a", "ab", "abc", "abcd"].map(|id| sent(&mut unconfirmed, id));
        unconfirmed.settle(1, false, true);
        unconfirmed.end_for_size(2);
        assert!(unconfirmed.is_empty());
        let [confirmed, short, long, longer] = handles;
        assert_eq!(end(confirmed).await, Ok(()));
        let again = short.end(Instant::now()).await;
        assert!(matches!(again, Err(Failure::Again(PublishError::Unknown(_)))), "{again:?}");
        for (handle, bytes) in [(long, 3), (longer, 4)] {
            assert_eq!(end(handle).await, Err(PublishError::TooLarge { bytes, max_bytes: 2 }));
        }
    }

    #[tokio::test]
    async fn a_place_stays_taken_after_its_caller_has_gone() {
        let mut unconfirmed = Unconfirmed::new();
        let handle = sent(&mut unconfirmed, "a");
        assert!(matches!(end(handle).await, Err(PublishError::Unknown(_))));
        assert!(unconfirmed.oldest().is_some());
        unconfirmed.settle(1, false, true);
        assert!(unconfirmed.is_empty() && unconfirmed.oldest().is_none());
    }
}
