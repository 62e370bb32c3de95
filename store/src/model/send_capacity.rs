//! How many callback attempts may start, in all and per host, and which due callbacks that lets through.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use uuid::Uuid;

/// A callback that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DueCallback {
    pub(crate) id: Uuid,
    pub(crate) host: String,
    /// How long ago the run ended, or somebody asked for another attempt.
    pub(crate) age: Duration,
}

/// What is to be done with callbacks that are due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) leased: Vec<Uuid>,
    pub(crate) given_up: Vec<(Uuid, String)>,
}

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

    /// The callbacks for which there is capacity, out of those that are due, in the order in which they are. Slow hosts can get
    /// more of them than there will ever be capacity for, so those to a slow host that are older than `max_age` are given up.
    pub(crate) fn select(&self, due: Vec<DueCallback>, max_age: Duration) -> Selection {
        let (mut busy, mut slow) = (self.busy.clone(), 0);
        let mut selection = Selection::default();
        for DueCallback { id, host, age } in due {
            let count = busy.entry(host.clone()).or_default();
            let is_slow = self.slow.contains(&host);
            let has_capacity = *count < self.per_host && (!is_slow || slow < self.slow_total);
            if has_capacity && selection.leased.len() < self.total {
                *count += 1;
                slow += usize::from(is_slow);
                selection.leased.push(id);
            } else if is_slow && age > max_age {
                selection.given_up.push((id, host));
            }
        }
        selection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(60);

    /// Callbacks to these hosts, numbered from 0, all of this age.
    fn due<'h>(hosts: impl IntoIterator<Item = &'h str>, age: Duration) -> Vec<DueCallback> {
        let callback = |(id, host): (u128, &str)| {
            let (id, host) = (Uuid::from_u128(id), host.to_owned());
            DueCallback { id, host, age }
        };
        (0..).zip(hosts).map(callback).collect()
    }

    fn leased(selection: Selection) -> Vec<u128> {
        assert_eq!(selection.given_up, []);
        selection.leased.into_iter().map(|id| id.as_u128()).collect()
    }

    #[test]
    fn a_busy_host_leaves_the_capacity_to_the_others() {
        let busy = HashMap::from([("slow".to_owned(), 2), ("full".to_owned(), 3)]);
        let capacity =
            SendCapacity { total: 4, per_host: 3, busy, slow: HashSet::new(), slow_total: 0 };
        assert_eq!(capacity.full_hosts(), ["full"]);
        let hosts = ["slow", "slow", "fine", "full", "fine", "fine", "fine", "other"];
        let old = due(hosts, MAX_AGE * 2);
        assert_eq!(leased(capacity.select(old, MAX_AGE)), [0, 2, 4, 5]);
    }

    #[test]
    fn slow_hosts_share_a_part_of_the_capacity() {
        let slow = ["a", "b", "c"].map(str::to_owned).into();
        let mut capacity =
            SendCapacity { total: 6, per_host: 2, busy: HashMap::new(), slow, slow_total: 3 };
        assert!(capacity.full_hosts().is_empty());
        let hosts = ["a", "a", "a", "b", "b", "c", "fine", "c", "fine", "fine", "other"];
        let due = || due(hosts, Duration::ZERO);
        assert_eq!(leased(capacity.select(due(), MAX_AGE)), [0, 1, 3, 6, 8, 10]);
        (capacity.slow_total, capacity.busy) = (0, HashMap::from([("a".to_owned(), 2)]));
        assert_eq!(capacity.full_hosts().into_iter().collect::<HashSet<_>>(), capacity.slow);
        assert_eq!(leased(capacity.select(due(), MAX_AGE)), [6, 8, 10]);
    }

    #[test]
    fn old_callbacks_for_which_a_slow_host_has_no_capacity_are_given_up() {
        let (slow, busy) = (HashSet::from(["slow".to_owned()]), HashMap::new());
        let capacity = SendCapacity { total: 4, per_host: 1, busy, slow, slow_total: 4 };
        let hosts = ["slow", "slow", "fine", "fine", "slow"];
        assert_eq!(leased(capacity.select(due(hosts, MAX_AGE), MAX_AGE)), [0, 2]);
        let selection = capacity.select(due(hosts, MAX_AGE * 2), MAX_AGE);
        assert_eq!(selection.leased, [0, 2].map(Uuid::from_u128));
        let given_up = [1, 4].map(|id| (Uuid::from_u128(id), "slow".to_owned()));
        assert_eq!(selection.given_up, given_up);
    }
}
