//! The share of the machine's CPU that other programs used during measurements.

use std::{cell::RefCell, fs};

use super::process_usage::own_family_ticks;

/// If other programs used a larger share than this, figures are imprecise.
pub(super) const BUSY_SHARE: f64 = 0.12;

/// The load by other programs, measurement by measurement.
#[derive(Debug, Default)]
pub(super) struct OtherLoad {
    shares: RefCell<Vec<f64>>,
}

impl OtherLoad {
    /// Does `work` and records the load during it.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let before = Ticks::now();
        let done = work.await;
        if let (Some(before), Some(after)) = (before, Ticks::now()) {
            self.shares.borrow_mut().extend(after.others_share_since(before));
        }
        done
    }

    /// The recorded shares, the largest last.
    pub(super) fn shares(&self) -> Vec<f64> {
        let mut shares = self.shares.borrow().clone();
        shares.sort_by(f64::total_cmp);
        shares
    }
}

/// CPU time since the machine started, in ticks.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    /// Used by this process and its descendants.
    ours: u64,
    /// Used by any process.
    used: u64,
    /// Used or idle.
    all: u64,
}

impl Ticks {
    fn now() -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let cpu = text.lines().next()?.strip_prefix("cpu")?;
        let fields: Vec<u64> = cpu.split_whitespace().flat_map(str::parse).take(8).collect();
        let all = fields.iter().sum();
        let idle: u64 = fields.iter().skip(3).take(2).sum();
        Some(Self { ours: own_family_ticks(), used: all - idle, all })
    }

    /// The share of other programs; `None` if no time has passed.
    fn others_share_since(self, before: Self) -> Option<f64> {
        let ours = self.ours.saturating_sub(before.ours);
        let used = self.used.saturating_sub(before.used);
        let all = self.all.saturating_sub(before.all);
        (all > 0).then(|| used.saturating_sub(ours) as f64 / all as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_time_that_is_not_ours_belongs_to_others() {
        let before = Ticks { ours: 100, used: 300, all: 1000 };
        let after = Ticks { ours: 150, used: 370, all: 1200 };
        assert_eq!(after.others_share_since(before), Some(0.1));
        assert_eq!(after.others_share_since(after), None);
    }
}
