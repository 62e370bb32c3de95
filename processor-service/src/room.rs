//! Who works beside whom: a message under suspicion runs alone in its process.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

/// Where all workers of a process work. Clones are the same place.
///
/// As long as somebody is alone here, or waits to be, nobody else may begin, and the others take
/// nothing from the broker: what waited in this process for the end of a message that kills it would be
/// delivered once more each time, until it is taken for poison itself.
#[derive(Clone)]
pub struct Room {
    state: Arc<watch::Sender<State>>,
    places: Arc<[Place]>,
}

#[derive(Default)]
struct State {
    /// Whether one of them is alone, or waits to be.
    alone: bool,
    /// How many messages are on their way out.
    leaving: usize,
}

/// What belongs to a worker.
#[derive(Default)]
struct Place {
    /// Whether it is to take nothing.
    paused: watch::Sender<bool>,
    /// Whether it has nothing, and nothing can come to it.
    idle: OnceLock<watch::Receiver<bool>>,
}

/// A worker's right to work, until this is dropped.
pub struct Seat {
    room: Room,
    slot: usize,
    alone: bool,
}

/// A message on its way out of this process, until this is dropped.
pub struct Leaving(Room);

impl Room {
    /// An empty room for so many workers.
    pub fn new(workers: usize) -> Self {
        let places = (0..workers).map(|_| Place::default()).collect();
        Self { state: Arc::default(), places }
    }

    /// Whether the worker with this number, from 1, is to take nothing at the moment.
    pub fn paused(&self, slot: usize) -> watch::Receiver<bool> {
        self.places[slot - 1].paused.subscribe()
    }

    /// Takes note of what tells whether this worker has nothing, and nothing can come to it.
    pub fn watch(&self, slot: usize, idle: watch::Receiver<bool>) {
        self.places[slot - 1].idle.get_or_init(|| idle);
    }

    /// Lets a worker begin. None if another is alone here, or wants to be.
    pub fn enter(&self, slot: usize, alone: bool) -> Option<Seat> {
        let mut entered = false;
        self.state.send_if_modified(|state| {
            entered = !state.alone;
            if entered && alone {
                state.alone = true;
                self.pause(|other| other != slot);
            }
            entered && alone
        });
        entered.then(|| Seat { room: self.clone(), slot, alone })
    }

    /// Keeps all work from beginning while another message goes out in place of one that was delivered
    /// here. The other may come back at once, and end the process before the first is let go of: then
    /// there would be two.
    pub fn leaving(&self) -> Leaving {
        self.state.send_modify(|state| state.leaving += 1);
        Leaving(self.clone())
    }

    /// Sets who is paused. Only while the state is held, or two who do this would mix.
    fn pause(&self, who: impl Fn(usize) -> bool) {
        for (slot, place) in (1..).zip(&*self.places) {
            place.paused.send_replace(who(slot));
        }
    }
}

impl Seat {
    /// Waits until this worker may begin: until no message is leaving, and, if it is to be alone, until
    /// the others have ended what they were at, and nothing more can come to them.
    pub async fn turn(&self) {
        if self.alone {
            self.others_idle().await;
        }
        // The sender is ours.
        let _ = self.room.state.subscribe().wait_for(|state| state.leaving == 0).await;
    }

    async fn others_idle(&self) {
        let others = (1..).zip(&*self.room.places).filter(|(slot, _)| *slot != self.slot);
        for idle in others.filter_map(|(_, place)| place.idle.get().cloned()) {
            // Without its sender that worker has ended.
            let mut idle = idle;
            let _ = idle.wait_for(|idle| *idle).await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.alone {
            self.room.state.send_modify(|state| {
                state.alone = false;
                self.room.pause(|_| false);
            });
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.leaving -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_wants_to_be_alone_keeps_others_out_and_waits_for_those_inside() {
        let room = Room::new(3);
        let idle = [1, 2, 3].map(|slot| {
            let (sender, receiver) = watch::channel(slot == 3);
            room.watch(slot, receiver);
            sender
        });
        let paused = || [1, 2, 3].map(|slot| *room.paused(slot).borrow());
        let (one, two) = (room.enter(1, false).unwrap(), room.enter(2, true).unwrap());
        assert!(room.enter(3, false).is_none() && room.enter(3, true).is_none());
        assert_eq!(paused(), [true, false, true]);
        assert!(one.turn().now_or_never().is_some());
        assert!(two.turn().now_or_never().is_none());
        idle[0].send_replace(true);
        assert!(two.turn().now_or_never().is_some());
        drop(two);
        assert_eq!(paused(), [false; 3]);
        assert!(room.enter(3, true).is_some());
    }

    #[test]
    fn nobody_begins_while_a_message_leaves() {
        let room = Room::new(2);
        let (seat, leaving) = (room.enter(1, false).unwrap(), room.leaving());
        assert!(seat.turn().now_or_never().is_none());
        drop(leaving);
        assert!(seat.turn().now_or_never().is_some());
    }
}
