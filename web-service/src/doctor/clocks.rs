//! Clocks: those of the workers' hosts, and that of the store.

use std::time::{Duration, Instant};

use pipeline::contract::Timestamp;
use store::Store;

use crate::{
    doctor::diagnosis::{Check, Verdict},
    events::jobs::RunningJobs,
};

/// Clocks that differ by no more than this are taken to agree: an answer also takes a moment to come.
const MAX_STORE_SKEW: Duration = Duration::from_secs(10);

const MEND: &str = "synchronise the clocks with NTP: timedatectl set-ntp true";

/// Compares the clocks with that of this host.
pub(super) async fn check(store: &Store, jobs: &RunningJobs) -> Vec<Check> {
    let mut checks = vec![Check::new("store-clock", of_store(store).await)];
    let skews = jobs.skews.recent(Instant::now());
    for (host, skew) in &skews {
        let detail = format!("The clock of {host}, where workers run, is {skew} that of this host");
        checks.push(Check::new("worker-clock", Verdict::finding(detail, MEND)));
    }
    if skews.is_empty() {
        let fine = "no event of a worker showed another time";
        checks.push(Check::new("worker-clock", Verdict::Fine(fine.to_owned())));
    }
    checks
}

async fn of_store(store: &Store) -> Verdict {
    let before = Timestamp::now();
    let Ok(at) = store.clock().await else {
        return Verdict::unseen("The store's clock, while the store is away", "SELECT now()");
    };
    let ahead = at.saturating_duration_since(Timestamp::now());
    let behind = before.saturating_duration_since(at);
    let skew = ahead.max(behind);
    if skew > MAX_STORE_SKEW {
        let skew = humantime::format_duration(Duration::from_secs(skew.as_secs()));
        return Verdict::finding(format!("The clock of the database differs by {skew}"), MEND);
    }
    Verdict::Fine("the store's clock agrees".to_owned())
}
