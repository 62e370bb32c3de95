//! Settlement frames: what is written for a batch of settlements, with as few frames as possible.

use std::collections::{BTreeMap, HashSet};

use crate::broker::consumer::delivery::Settle;

/// A frame that settles messages.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Acks a message, with `multiple` all that were delivered before, too.
    Ack {
        /// The delivery tag.
        tag: u64,
        /// Whether the ack is for all messages up to the tag.
        multiple: bool,
    },
    /// Returns a message to its queue.
    Requeue {
        /// The delivery tag.
        tag: u64,
    },
}

/// What to write for a batch of settlements: acks of the oldest outstanding messages become one.
pub(super) fn frames<T>(
    outstanding: &mut BTreeMap<u64, T>,
    batch: impl Iterator<Item = Settle>,
) -> Vec<Frame> {
    let mut acked = HashSet::new();
    let mut frames = Vec::new();
    for settle in batch {
        match settle {
            Settle::Ack(tag) => drop(acked.insert(tag)),
            Settle::Requeue(tag) => {
                outstanding.remove(&tag);
                frames.push(Frame::Requeue { tag });
            }
            Settle::Detach(_) | Settle::Flush(_) => {}
        }
    }
    let mut last = None;
    while let Some(first) = outstanding.keys().next().copied().filter(|first| acked.remove(first)) {
        let multiple = last.is_some();
        outstanding.remove(&first);
        last = Some(Frame::Ack { tag: first, multiple });
    }
    frames.extend(last);
    for tag in acked {
        outstanding.remove(&tag);
        frames.push(Frame::Ack { tag, multiple: false });
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_of_the_oldest_become_one() {
        let mut outstanding = BTreeMap::from([1, 2, 3, 4, 5].map(|tag| (tag, ())));
        let batch = [Settle::Ack(2), Settle::Ack(1), Settle::Requeue(3), Settle::Ack(5)];
        let written = frames(&mut outstanding, batch.into_iter());
        let expected = [
            Frame::Requeue { tag: 3 },
            Frame::Ack { tag: 2, multiple: true },
            Frame::Ack { tag: 5, multiple: false },
        ];
        assert_eq!(written, expected);
        assert_eq!(outstanding, BTreeMap::from([(4, ())]));
    }

    #[test]
    fn one_ack_stays_one() {
        let mut outstanding = BTreeMap::from([(7, ())]);
        let written = frames(&mut outstanding, [Settle::Ack(7)].into_iter());
        assert_eq!(written, [Frame::Ack { tag: 7, multiple: false }]);
    }
}
