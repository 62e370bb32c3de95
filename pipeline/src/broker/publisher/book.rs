//! Who waits for which confirm: pure bookkeeping over delivery tags.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::{super::PublishError, ticket::Ticket};

/// What was sent and not yet confirmed, in the order of delivery tags.
///
/// The broker confirms out of order, one by one or all up to a tag. A message's place stays taken
/// until its confirm comes or the channel ends, even when its caller has given up.
pub(super) struct Book {
    /// The tag of the first place.
    first: u64,
    places: VecDeque<Option<Sent>>,
    unconfirmed: usize,
}

/// One message that was sent.
pub(super) struct Sent {
    pub(super) ticket: Ticket,
    pub(super) at: Instant,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) message_id: Option<String>,
    /// How many bytes its body has.
    pub(super) size: usize,
    /// Why the broker sent it back, if it did; it is confirmed all the same afterwards.
    pub(super) returned: Option<String>,
}

impl Book {
    /// A book for a channel on which nothing was published yet: the first tag will be 1.
    pub(super) fn new() -> Self {
        Self { first: 1, places: VecDeque::new(), unconfirmed: 0 }
    }

    /// Enters a message. Its tag follows the one before, since one task alone publishes.
    pub(super) fn enter(&mut self, sent: Sent) {
        self.places.push_back(Some(sent));
        self.unconfirmed += 1;
    }

    /// Takes back the message entered last, which could not be sent after all.
    pub(super) fn strike_last(&mut self) -> Option<Sent> {
        let last = self.places.pop_back()?;
        self.unconfirmed -= 1;
        last
    }

    /// How many places are taken, with those already confirmed behind an older one that isn't.
    pub(super) fn len(&self) -> usize {
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

    /// Ends all messages that have so many bytes or more: the broker has closed the channel for one of
    /// that length, and would do so again.
    pub(super) fn too_long(&mut self, size: usize, reason: &str) {
        for place in &mut self.places {
            if let Some(sent) = place.take_if(|sent| sent.size >= size) {
                self.unconfirmed -= 1;
                sent.ticket.end(Err(PublishError::Invalid(reason.to_owned())));
            }
        }
    }

    /// Notes that the broker sent a message back. It names no tag, only id and route: where several
    /// in flight have the same, all are taken for returned. One of them published again is a twin
    /// that everybody can bear; one taken for confirmed by mistake would be lost.
    pub(super) fn returned(
        &mut self,
        message_id: Option<&str>,
        exchange: &str,
        routing_key: &str,
        reason: &str,
    ) {
        let meant = self.places.iter_mut().flatten().filter(|sent| {
            sent.message_id.as_deref() == message_id
                && sent.exchange == exchange
                && sent.routing_key == routing_key
        });
        for sent in meant {
            sent.returned = Some(reason.to_owned());
        }
    }
}

impl Sent {
    fn end(self, taken: bool) {
        self.ticket.end(match self.returned {
            Some(reason) => Err(PublishError::Unroutable(reason)),
            None if taken => Ok(()),
            None => Err(PublishError::Nacked),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::super::ticket::{Stub, ticket};
    use super::*;

    fn sent(book: &mut Book, id: &str) -> Stub {
        let room = Arc::new(Semaphore::new(1)).try_acquire_many_owned(1).unwrap();
        let (ticket, stub) = ticket(room);
        assert!(ticket.send());
        book.enter(Sent {
            ticket,
            at: Instant::now(),
            exchange: "x".into(),
            routing_key: "k".into(),
            message_id: Some(id.into()),
            size: id.len(),
            returned: None,
        });
        stub
    }

    async fn end(stub: Stub) -> Result<(), PublishError> {
        stub.end(Instant::now()).await
    }

    #[tokio::test]
    async fn confirms_come_out_of_order_and_in_bulk() {
        let mut book = Book::new();
        let mut stubs: VecDeque<_> = (1..=6).map(|n| sent(&mut book, &n.to_string())).collect();
        book.settle(3, false, true);
        book.settle(2, true, false);
        book.settle(2, true, true);
        assert_eq!((book.len(), book.is_empty()), (3, false));
        book.settle(99, true, true);
        book.settle(0, false, true);
        assert_eq!((book.len(), book.is_empty()), (0, true));
        let nacked = Err(PublishError::Nacked);
        for expected in [nacked.clone(), nacked, Ok(()), Ok(()), Ok(()), Ok(())] {
            assert_eq!(end(stubs.pop_front().unwrap()).await, expected);
        }
        let late = sent(&mut book, "7");
        book.settle(7, false, true);
        assert_eq!(end(late).await, Ok(()));
    }

    #[tokio::test]
    async fn a_returned_message_ends_unroutable_and_so_does_its_twin() {
        let mut book = Book::new();
        let (first, second, other) =
            (sent(&mut book, "a"), sent(&mut book, "a"), sent(&mut book, "b"));
        book.returned(Some("a"), "x", "k", "312 NO_ROUTE");
        book.returned(Some("b"), "x", "other", "312 NO_ROUTE");
        book.settle(3, true, true);
        let unroutable = Err(PublishError::Unroutable("312 NO_ROUTE".into()));
        assert_eq!((end(first).await, end(second).await), (unroutable.clone(), unroutable));
        assert_eq!(end(other).await, Ok(()));
    }

    #[tokio::test]
    async fn a_lost_book_leaves_nobody_waiting() {
        let mut book = Book::new();
        let stub = sent(&mut book, "a");
        drop(book);
        assert!(matches!(end(stub).await, Err(PublishError::Unknown(_))));
    }

    #[tokio::test]
    async fn what_is_too_long_is_told_from_what_is_lost_with_it() {
        let mut book = Book::new();
        let stubs = ["ab", "abc", "abcd"].map(|id| sent(&mut book, id));
        book.too_long(3, "too long");
        assert!(!book.is_empty());
        drop(book);
        let [short, long, longer] = stubs;
        assert!(matches!(end(short).await, Err(PublishError::Unknown(_))));
        let invalid = Err(PublishError::Invalid("too long".into()));
        assert_eq!((end(long).await, end(longer).await), (invalid.clone(), invalid));
    }

    #[tokio::test]
    async fn a_place_stays_taken_after_its_caller_has_gone() {
        let mut book = Book::new();
        let stub = sent(&mut book, "a");
        assert!(matches!(end(stub).await, Err(PublishError::Unknown(_))));
        assert!(book.oldest().is_some());
        book.settle(1, false, true);
        assert!(book.is_empty() && book.oldest().is_none());
    }
}
