//! Isolation: a request that may have killed its workers runs alone in its process.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

/// Which workers of this process may work. Clones share it.
///
/// While a request runs isolated here, or waits for that, no other request may start, and the other workers stop
/// consuming: a message that kills the process counts as a delivery for everything else that waits in it, until that is
/// taken for poison too. Workers also stop consuming while this host can't begin their work.
#[derive(Clone)]
pub(crate) struct Isolation {
    state: Arc<watch::Sender<State>>,
    workers: Arc<[WorkerState]>,
}

#[derive(Default)]
struct State {
    /// The worker whose request runs isolated, or waits for that.
    isolated: Option<usize>,
    /// Which workers must not consume because of the host.
    suspended: Suspended,
    /// How many copies of deliveries are being published.
    republishing: usize,
}

/// Which workers must not consume because their work can't begin on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Suspended {
    /// None.
    #[default]
    Nobody,
    /// The one with this number, from 1.
    One(usize),
    /// All.
    All,
    /// All but those from `first` to `last`, which try.
    AllBut { first: usize, last: usize },
}

impl State {
    fn is_paused(&self, slot: usize) -> bool {
        let suspended = match self.suspended {
            Suspended::Nobody => false,
            Suspended::One(one) => slot == one,
            Suspended::All => true,
            Suspended::AllBut { first, last } => !(first..=last).contains(&slot),
        };
        suspended || self.isolated.is_some_and(|isolated| isolated != slot)
    }
}

#[derive(Default)]
struct WorkerState {
    /// Whether the worker must not consume.
    paused: watch::Sender<bool>,
    /// How many channels of the worker may hold deliveries, or have some on their way.
    busy: OnceLock<watch::Receiver<usize>>,
}

/// The right of a worker to process a request, until it is dropped.
pub(crate) struct WorkPermit {
    isolation: Isolation,
    slot: usize,
    isolated: bool,
}

/// Keeps jobs from starting while a copy of a delivery is published, until it is dropped.
pub(crate) struct RepublishGuard(Isolation);

impl Isolation {
    /// No isolation yet, of this many workers.
    pub(crate) fn new(workers: usize) -> Self {
        let workers = (0..workers).map(|_| WorkerState::default()).collect();
        Self { state: Arc::default(), workers }
    }

    /// Whether the worker with this number, from 1, must not consume at the moment.
    pub(crate) fn paused(&self, slot: usize) -> watch::Receiver<bool> {
        self.workers[slot - 1].paused.subscribe()
    }

    /// Sets what tells how many channels of this worker may hold deliveries, or have some on their way.
    pub(crate) fn set_busy(&self, slot: usize, busy: watch::Receiver<usize>) {
        self.workers[slot - 1].busy.get_or_init(|| busy);
    }

    /// Lets a worker process a request. None if another request runs isolated here, or waits for that.
    pub(crate) fn permit(&self, slot: usize, isolated: bool) -> Option<WorkPermit> {
        let mut permitted = false;
        self.state.send_if_modified(|state| {
            permitted = state.isolated.is_none();
            if permitted && isolated {
                state.isolated = Some(slot);
                self.pause(state);
            }
            permitted && isolated
        });
        permitted.then(|| WorkPermit { isolation: self.clone(), slot, isolated })
    }

    /// Keeps all jobs from starting while a copy of a delivery is published. The copy may come back at once, and kill the
    /// process before the delivery is acked: then there would be two.
    pub(crate) fn republishing(&self) -> RepublishGuard {
        self.state.send_modify(|state| state.republishing += 1);
        RepublishGuard(self.clone())
    }

    /// Sets which workers must not consume because of the host.
    pub(crate) fn suspend(&self, suspended: Suspended) {
        self.state.send_modify(|state| {
            state.suspended = suspended;
            self.pause(state);
        });
    }

    /// Sets which workers are paused. The caller holds the state, so no two calls run at the same time.
    fn pause(&self, state: &State) {
        for (slot, worker) in (1..).zip(&*self.workers) {
            worker.paused.send_replace(state.is_paused(slot));
        }
    }
}

impl WorkPermit {
    /// Waits until the job may start: until no copy is being published and, if it runs isolated, until the other workers
    /// hold no delivery, and none is on its way to them.
    pub(crate) async fn ready(&self) {
        if self.isolated {
            self.others_idle().await;
        }
        // It cannot fail: this permit keeps the sender.
        let _ = self.isolation.state.subscribe().wait_for(|state| state.republishing == 0).await;
    }

    async fn others_idle(&self) {
        let others = (1..).zip(&*self.isolation.workers).filter(|(slot, _)| *slot != self.slot);
        for mut busy in others.filter_map(|(_, worker)| worker.busy.get().cloned()) {
            // It fails if that worker has ended.
            let _ = busy.wait_for(|channels| *channels == 0).await;
        }
    }
}

impl Drop for WorkPermit {
    fn drop(&mut self) {
        if self.isolated {
            self.isolation.state.send_modify(|state| {
                state.isolated = None;
                self.isolation.pause(state);
            });
        }
    }
}

impl Drop for RepublishGuard {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.republishing -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn an_isolated_request_keeps_others_from_starting_and_waits_for_those_that_run() {
        let isolation = Isolation::new(3);
        let busy = [1, 2, 3].map(|slot| {
            let (sender, receiver) = watch::channel(usize::from(slot != 3));
            isolation.set_busy(slot, receiver);
            sender
        });
        let paused = || [1, 2, 3].map(|slot| *isolation.paused(slot).borrow());
        let (one, two) = (isolation.permit(1, false).unwrap(), isolation.permit(2, true).unwrap());
        assert!(isolation.permit(3, false).is_none() && isolation.permit(3, true).is_none());
        assert_eq!(paused(), [true, false, true]);
        assert!(one.ready().now_or_never().is_some());
        assert!(two.ready().now_or_never().is_none());
        busy[0].send_replace(0);
        assert!(two.ready().now_or_never().is_some());
        drop(two);
        assert_eq!(paused(), [false; 3]);
        assert!(isolation.permit(3, true).is_some());
    }

    #[test]
    fn workers_do_not_consume_while_the_host_cannot_begin_their_work() {
        let isolation = Isolation::new(3);
        let paused = || [1, 2, 3].map(|slot| *isolation.paused(slot).borrow());
        for (suspended, expected) in [
            (Suspended::One(2), [false, true, false]),
            (Suspended::All, [true; 3]),
            (Suspended::AllBut { first: 1, last: 1 }, [false, true, true]),
            (Suspended::AllBut { first: 2, last: 3 }, [true, false, false]),
            (Suspended::Nobody, [false; 3]),
        ] {
            isolation.suspend(suspended);
            assert_eq!(paused(), expected, "{suspended:?}");
        }
        let alone = isolation.permit(1, true).unwrap();
        isolation.suspend(Suspended::Nobody);
        assert_eq!(paused(), [false, true, true], "the one does not end the other");
        drop(alone);
        assert_eq!(paused(), [false; 3]);
    }

    #[test]
    fn no_job_starts_while_a_copy_is_published() {
        let isolation = Isolation::new(2);
        let (permit, republishing) =
            (isolation.permit(1, false).unwrap(), isolation.republishing());
        assert!(permit.ready().now_or_never().is_none());
        drop(republishing);
        assert!(permit.ready().now_or_never().is_some());
    }
}
