//! Who works beside whom: a message under suspicion runs alone in its process.

use std::sync::Arc;

use tokio::sync::watch;

/// Where all workers of a process work. Clones are the same place.
///
/// As long as somebody is alone here, or waits to be, nobody else may begin, and the others are to
/// take nothing from the broker: what waited in this process for the end of a message that kills it
/// would be delivered once more each time, until it is taken for poison itself.
#[derive(Clone)]
pub struct Room {
    state: Arc<watch::Sender<State>>,
    paused: Arc<[watch::Sender<bool>]>,
}

#[derive(Default)]
struct State {
    busy: usize,
    alone: Option<usize>,
}

/// A worker's right to work, until this is dropped.
pub struct Seat {
    room: Room,
    slot: usize,
}

impl Room {
    /// An empty room for so many workers.
    pub fn new(workers: usize) -> Self {
        let paused = (0..workers).map(|_| watch::Sender::new(false)).collect();
        Self { state: Arc::default(), paused }
    }

    /// Whether the worker with this number, from 1, is to take nothing at the moment.
    pub fn paused(&self, slot: usize) -> watch::Receiver<bool> {
        self.paused[slot - 1].subscribe()
    }

    /// Lets a worker begin. None if another is alone here, or wants to be.
    pub fn enter(&self, slot: usize, alone: bool) -> Option<Seat> {
        let mut entered = false;
        self.state.send_if_modified(|state| {
            entered = state.alone.is_none();
            if entered {
                state.busy += 1;
                if alone {
                    state.alone = Some(slot);
                    self.pause(|other| other != slot);
                }
            }
            entered
        });
        entered.then(|| Seat { room: self.clone(), slot })
    }

    /// Sets who is paused. Only while the state is held, or two who do this would mix.
    fn pause(&self, who: impl Fn(usize) -> bool) {
        for (slot, paused) in (1..).zip(&*self.paused) {
            paused.send_replace(who(slot));
        }
    }
}

impl Seat {
    /// Waits until all others have ended what they were at.
    pub async fn alone(&self) {
        // The sender is ours.
        let _ = self.room.state.subscribe().wait_for(|state| state.busy == 1).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.state.send_modify(|state| {
            state.busy -= 1;
            if state.alone == Some(self.slot) {
                state.alone = None;
                self.room.pause(|_| false);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_wants_to_be_alone_keeps_others_out_and_waits_for_those_inside() {
        let room = Room::new(3);
        let paused = || [1, 2, 3].map(|slot| *room.paused(slot).borrow());
        let (one, two) = (room.enter(1, false).unwrap(), room.enter(2, true).unwrap());
        assert!(room.enter(3, false).is_none() && room.enter(3, true).is_none());
        assert_eq!(paused(), [true, false, true]);
        assert!(two.alone().now_or_never().is_none());
        drop(one);
        assert!(two.alone().now_or_never().is_some());
        drop(two);
        assert_eq!(paused(), [false; 3]);
        assert!(room.enter(3, true).is_some());
    }
}
