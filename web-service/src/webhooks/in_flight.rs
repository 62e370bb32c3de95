//! Webhooks in flight: the running attempts, and the capacity for more, in total and by host.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::task::{Id, JoinError, JoinSet};

use store::SendCapacity;

/// The most attempts in flight.
const MAX_IN_FLIGHT: usize = 32;
/// The most attempts in flight to one host.
const MAX_PER_HOST: usize = 4;
/// The most attempts in flight to all slow hosts together, so that many hanging receivers leave capacity
/// for the others.
const MAX_TO_SLOW_HOSTS: usize = 16;
/// A host is slow if its last attempt took this long.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// The most slow hosts that are remembered.
const MAX_SLOW_HOSTS: usize = 1000;

/// The attempts in flight.
#[derive(Default)]
pub(crate) struct InFlight {
    /// Each attempt returns how long the receiver took, if something was sent.
    attempts: JoinSet<Option<Duration>>,
    hosts: HashMap<Id, String>,
    slow: HashSet<String>,
}

impl InFlight {
    /// Starts an attempt, which returns how long the receiver took, if something was sent.
    pub(crate) fn start(
        &mut self,
        host: String,
        attempt: impl Future<Output = Option<Duration>> + Send + 'static,
    ) {
        let id = self.attempts.spawn(attempt).id();
        self.hosts.insert(id, host);
    }

    /// The capacity for more attempts.
    pub(crate) fn capacity(&self) -> SendCapacity {
        let mut busy = HashMap::new();
        for host in self.hosts.values() {
            *busy.entry(host.clone()).or_default() += 1;
        }
        let to_slow = self.hosts.values().filter(|host| self.slow.contains(*host)).count();
        SendCapacity {
            total: MAX_IN_FLIGHT.saturating_sub(self.hosts.len()),
            per_host: MAX_PER_HOST,
            busy,
            slow: self.slow.clone(),
            slow_total: MAX_TO_SLOW_HOSTS.saturating_sub(to_slow),
        }
    }

    /// Waits until an attempt has ended; forever if there is none.
    pub(crate) async fn one_ended(&mut self) {
        match self.attempts.join_next_with_id().await {
            Some(ended) => self.ended(ended),
            None => std::future::pending().await,
        }
    }

    /// Removes the attempts that have ended. Does not wait.
    pub(crate) fn reap(&mut self) {
        while let Some(ended) = self.attempts.try_join_next_with_id() {
            self.ended(ended);
        }
    }

    /// Waits until all attempts have ended.
    pub(crate) async fn all_ended(mut self) {
        while self.attempts.join_next().await.is_some() {}
    }

    /// An attempt that sent nothing, or panicked, says nothing about its host: a slow one stays slow.
    fn ended(&mut self, ended: Result<(Id, Option<Duration>), JoinError>) {
        let (id, took) = ended.unwrap_or_else(|error| (error.id(), None));
        let Some((host, took)) = self.hosts.remove(&id).zip(took) else { return };
        if took < SLOW_AFTER {
            self.slow.remove(&host);
        } else if self.slow.len() < MAX_SLOW_HOSTS {
            self.slow.insert(host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn attempts(in_flight: &mut InFlight, host: &str, took: &[Duration]) {
        for took in took {
            let took = *took;
            in_flight.start(host.to_owned(), async move { Some(took) });
        }
        while !in_flight.hosts.is_empty() {
            in_flight.one_ended().await;
        }
    }

    #[tokio::test]
    async fn a_host_is_slow_until_an_attempt_is_quick() {
        let mut in_flight = InFlight::default();
        attempts(&mut in_flight, "slow", &[SLOW_AFTER]).await;
        attempts(&mut in_flight, "quick", &[SLOW_AFTER / 2]).await;
        assert_eq!(in_flight.capacity().slow, ["slow".to_owned()].into());
        in_flight.start("slow".to_owned(), std::future::pending());
        in_flight.start("quick".to_owned(), std::future::pending());
        let capacity = in_flight.capacity();
        assert_eq!(
            (capacity.total, capacity.slow_total, capacity.busy["slow"]),
            (MAX_IN_FLIGHT - 2, MAX_TO_SLOW_HOSTS - 1, 1)
        );

        let mut in_flight = InFlight { slow: capacity.slow, ..InFlight::default() };
        attempts(&mut in_flight, "slow", &[Duration::ZERO]).await;
        assert!(in_flight.capacity().slow.is_empty());
    }

    #[tokio::test]
    async fn an_attempt_that_panics_frees_its_capacity() {
        let mut in_flight = InFlight::default();
        in_flight.start("a".to_owned(), async { panic!("it breaks") });
        in_flight.one_ended().await;
        assert_eq!(
            (in_flight.capacity().total, in_flight.capacity().busy.len()),
            (MAX_IN_FLIGHT, 0)
        );
    }

    #[tokio::test]
    async fn a_slow_host_stays_slow_after_an_attempt_that_sends_nothing_or_panics() {
        let mut in_flight = InFlight::default();
        attempts(&mut in_flight, "slow", &[SLOW_AFTER]).await;
        in_flight.start("slow".to_owned(), async { None });
        in_flight.one_ended().await;
        in_flight.start("slow".to_owned(), async { panic!("it breaks") });
        in_flight.one_ended().await;
        assert_eq!(in_flight.capacity().slow, ["slow".to_owned()].into());
        assert_eq!(in_flight.capacity().total, MAX_IN_FLIGHT);
    }

    #[tokio::test]
    async fn the_number_of_remembered_slow_hosts_is_limited() {
        let mut in_flight = InFlight::default();
        for n in 0..=MAX_SLOW_HOSTS {
            attempts(&mut in_flight, &n.to_string(), &[SLOW_AFTER]).await;
        }
        assert_eq!(in_flight.capacity().slow.len(), MAX_SLOW_HOSTS);
    }
}
