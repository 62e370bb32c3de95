//! The attempts that are under way, and for how many more there is room.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::task::{Id, JoinError, JoinSet};

use store::SendCapacity;

/// How many attempts are under way at most,
const TOTAL: usize = 32;
/// how many of them to one host,
const PER_HOST: usize = 4;
/// and how many to all the hosts that took long the last time: when many hang, the others find room.
const TO_SLOW: usize = 16;
/// From when on a host takes long.
const SLOW: Duration = Duration::from_secs(2);
/// How many slow hosts are remembered.
const REMEMBERED: usize = 1000;

/// Attempts that are under way.
#[derive(Default)]
pub(crate) struct InFlight {
    /// Each gives how long the receiver took.
    attempts: JoinSet<Duration>,
    hosts: HashMap<Id, String>,
    slow: HashSet<String>,
}

impl InFlight {
    /// Begins an attempt, which gives how long the receiver took.
    pub(crate) fn start(
        &mut self,
        host: String,
        attempt: impl Future<Output = Duration> + Send + 'static,
    ) {
        let id = self.attempts.spawn(attempt).id();
        self.hosts.insert(id, host);
    }

    /// For how many more there is room.
    pub(crate) fn room(&self) -> SendCapacity {
        let mut busy = HashMap::new();
        for host in self.hosts.values() {
            *busy.entry(host.clone()).or_default() += 1;
        }
        let to_slow = self.hosts.values().filter(|host| self.slow.contains(*host)).count();
        SendCapacity {
            total: TOTAL.saturating_sub(self.hosts.len()),
            per_host: PER_HOST,
            busy,
            slow: self.slow.clone(),
            slow_total: TO_SLOW.saturating_sub(to_slow),
        }
    }

    /// Waits until one has ended; for ever, if there is none.
    pub(crate) async fn one_ended(&mut self) {
        match self.attempts.join_next_with_id().await {
            Some(ended) => self.ended(ended),
            None => std::future::pending().await,
        }
    }

    /// Forgets those that have ended.
    pub(crate) fn reap(&mut self) {
        while let Some(ended) = self.attempts.try_join_next_with_id() {
            self.ended(ended);
        }
    }

    /// Waits until all have ended.
    pub(crate) async fn all_ended(mut self) {
        while self.attempts.join_next().await.is_some() {}
    }

    fn ended(&mut self, ended: Result<(Id, Duration), JoinError>) {
        let (id, took) = ended.unwrap_or_else(|broken| (broken.id(), Duration::ZERO));
        let Some(host) = self.hosts.remove(&id) else { return };
        if took < SLOW {
            self.slow.remove(&host);
        } else if self.slow.len() < REMEMBERED {
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
            in_flight.start(host.to_owned(), async move { took });
        }
        while !in_flight.hosts.is_empty() {
            in_flight.one_ended().await;
        }
    }

    #[tokio::test]
    async fn a_host_is_slow_until_it_is_quick_again() {
        let mut in_flight = InFlight::default();
        attempts(&mut in_flight, "slow", &[SLOW]).await;
        attempts(&mut in_flight, "quick", &[SLOW / 2]).await;
        assert_eq!(in_flight.room().slow, ["slow".to_owned()].into());
        in_flight.start("slow".to_owned(), std::future::pending());
        in_flight.start("quick".to_owned(), std::future::pending());
        let room = in_flight.room();
        assert_eq!((room.total, room.slow_total, room.busy["slow"]), (TOTAL - 2, TO_SLOW - 1, 1));

        let mut in_flight = InFlight { slow: room.slow, ..InFlight::default() };
        attempts(&mut in_flight, "slow", &[Duration::ZERO]).await;
        assert!(in_flight.room().slow.is_empty());
    }

    #[tokio::test]
    async fn an_attempt_that_breaks_leaves_its_room() {
        let mut in_flight = InFlight::default();
        in_flight.start("a".to_owned(), async { panic!("it breaks") });
        in_flight.one_ended().await;
        assert_eq!((in_flight.room().total, in_flight.room().busy.len()), (TOTAL, 0));
    }

    #[tokio::test]
    async fn only_so_many_slow_hosts_are_remembered() {
        let mut in_flight = InFlight::default();
        for n in 0..=REMEMBERED {
            attempts(&mut in_flight, &n.to_string(), &[SLOW]).await;
        }
        assert_eq!(in_flight.room().slow.len(), REMEMBERED);
    }
}
