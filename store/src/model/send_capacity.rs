//! How many callback attempts may start, in all and per host, and which due callbacks that lets through.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

/// How many more callback attempts may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendCapacity {
    /// How many more may start in all.
    pub total: usize,
    /// How many may run at the same time to one host.
    pub per_host: usize,
    /// How many are running, by host.
    pub busy: HashMap<String, usize>,
    /// Hosts that answer slowly. Together they get only a part of the capacity, so that the others
    /// always have some.
    pub slow: HashSet<String>,
    /// How many more may start to all slow hosts together.
    pub slow_total: usize,
}

impl SendCapacity {
    /// The hosts to which no more attempts may start.
    pub(crate) fn full_hosts(&self) -> Vec<String> {
        let busy = self.busy.iter().filter(|(_, count)| **count >= self.per_host);
        let slow = self.slow.iter().filter(|_| self.slow_total == 0);
        let full: HashSet<_> = busy.map(|(host, _)| host).chain(slow).collect();
        full.into_iter().cloned().collect()
    }

    /// The callbacks for which there is capacity, out of ids and hosts in the order in which they are due.
    pub(crate) fn select(&self, due: Vec<(Uuid, String)>) -> Vec<Uuid> {
        let (mut busy, mut slow) = (self.busy.clone(), 0);
        let fits = |(_, host): &(Uuid, String)| {
            let count = busy.entry(host.clone()).or_default();
            let is_slow = self.slow.contains(host);
            let fits = *count < self.per_host && (!is_slow || slow < self.slow_total);
            *count += usize::from(fits);
            slow += usize::from(fits && is_slow);
            fits
        };
        due.into_iter().filter(fits).map(|(id, _)| id).take(self.total).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_host_leaves_the_capacity_to_the_others() {
        let busy = HashMap::from([("slow".to_owned(), 2), ("full".to_owned(), 3)]);
        let capacity =
            SendCapacity { total: 4, per_host: 3, busy, slow: HashSet::new(), slow_total: 0 };
        assert_eq!(capacity.full_hosts(), ["full"]);
        let hosts = ["slow", "slow", "fine", "full", "fine", "fine", "fine", "other"];
        let due = (0..).map(Uuid::from_u128).zip(hosts.map(str::to_owned)).collect();
        assert_eq!(capacity.select(due), [0, 2, 4, 5].map(Uuid::from_u128));
    }

    #[test]
    fn slow_hosts_share_a_part_of_the_capacity() {
        let slow = ["a", "b", "c"].map(str::to_owned).into();
        let mut capacity =
            SendCapacity { total: 6, per_host: 2, busy: HashMap::new(), slow, slow_total: 3 };
        assert!(capacity.full_hosts().is_empty());
        let hosts = ["a", "a", "a", "b", "b", "c", "fine", "c", "fine", "fine", "other"];
        let due = || (0..).map(Uuid::from_u128).zip(hosts.map(str::to_owned)).collect();
        assert_eq!(capacity.select(due()), [0, 1, 3, 6, 8, 10].map(Uuid::from_u128));
        (capacity.slow_total, capacity.busy) = (0, HashMap::from([("a".to_owned(), 2)]));
        assert_eq!(capacity.full_hosts().into_iter().collect::<HashSet<_>>(), capacity.slow);
        assert_eq!(capacity.select(due()), [6, 8, 10].map(Uuid::from_u128));
    }
}
