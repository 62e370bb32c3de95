//! The attempts that are under way, and for how many more there is room.

use std::collections::HashMap;

use tokio::task::{Id, JoinError, JoinSet};

use crate::store::Room;

/// Attempts that are under way.
#[derive(Default)]
pub(super) struct InFlight {
    attempts: JoinSet<()>,
    hosts: HashMap<Id, String>,
}

impl InFlight {
    /// Begins an attempt.
    pub(super) fn start(
        &mut self,
        host: String,
        attempt: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.attempts.spawn(attempt).id();
        self.hosts.insert(id, host);
    }

    /// For how many more there is room, if there is for `total`, and for `per_host` to one host.
    pub(super) fn room(&self, total: usize, per_host: usize) -> Room {
        let mut busy = HashMap::new();
        for host in self.hosts.values() {
            *busy.entry(host.clone()).or_default() += 1;
        }
        Room { total: total.saturating_sub(self.hosts.len()), per_host, busy }
    }

    /// Waits until one has ended; for ever, if there is none.
    pub(super) async fn one_ended(&mut self) {
        match self.attempts.join_next_with_id().await {
            Some(ended) => self.ended(ended),
            None => std::future::pending().await,
        }
    }

    /// Forgets those that have ended.
    pub(super) fn reap(&mut self) {
        while let Some(ended) = self.attempts.try_join_next_with_id() {
            self.ended(ended);
        }
    }

    /// Waits until all have ended.
    pub(super) async fn all_ended(mut self) {
        while self.attempts.join_next().await.is_some() {}
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = ended.map_or_else(|broken| broken.id(), |(id, ())| id);
        self.hosts.remove(&id);
    }
}
