//! Who used the processors and the memory, as Linux tells. Elsewhere nothing is known.

use std::{cell::RefCell, fs};

/// Others were busy if they took more than this share of the machine: figures then move.
pub(super) const BUSY: f64 = 0.12;

/// In this many ticks a second the kernel counts, on every machine that Rust runs on.
const TICKS: f64 = 100.0;

/// What others took of the machine during each measurement.
#[derive(Debug, Default)]
pub(super) struct Log {
    shares: RefCell<Vec<f64>>,
}

/// The processor time used so far, in ticks.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    /// By this process and all that it started.
    ours: u64,
    /// By anybody.
    used: u64,
    /// Used or not.
    all: u64,
}

impl Log {
    /// Does work, and notes how much of the machine others took meanwhile.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let before = Ticks::now();
        let done = work.await;
        if let (Some(before), Some(after)) = (before, Ticks::now()) {
            self.shares.borrow_mut().extend(after.by_others_since(before));
        }
        done
    }

    /// The shares that others had, the largest last.
    pub(super) fn shares(&self) -> Vec<f64> {
        let mut shares = self.shares.borrow().clone();
        shares.sort_by(f64::total_cmp);
        shares
    }
}

impl Ticks {
    fn now() -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let cpu = text.lines().next()?.strip_prefix("cpu")?;
        let fields: Vec<u64> = cpu.split_whitespace().flat_map(str::parse).take(8).collect();
        let all = fields.iter().sum();
        let idle: u64 = fields.iter().skip(3).take(2).sum();
        Some(Self { ours: of_family(), used: all - idle, all })
    }

    /// The share of the machine that others had; none if no time has passed.
    fn by_others_since(self, before: Self) -> Option<f64> {
        let ours = self.ours.saturating_sub(before.ours);
        let used = self.used.saturating_sub(before.used);
        let all = self.all.saturating_sub(before.all);
        (all > 0).then(|| used.saturating_sub(ours) as f64 / all as f64)
    }
}

/// The seconds of processor time that a process has used.
pub(super) fn processor_time(pid: u32) -> Option<f64> {
    Some(Stat::of(pid)?.own as f64 / TICKS)
}

/// The bytes of memory that a process has.
pub(super) fn memory(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// What is known of one process.
struct Stat {
    parent: u32,
    /// Ticks of its own.
    own: u64,
    /// Ticks of its children that have ended.
    ended: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name stands in brackets and may have spaces; the state and the parent follow it.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let parent = u32::try_from(number(1)?).ok()?;
        Some(Self { parent, own: number(11)? + number(12)?, ended: number(13)? + number(14)? })
    }
}

/// The ticks of this process and all below it, those that have ended among them.
fn of_family() -> u64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut all: Vec<_> = ids.filter_map(|id| Some((id, Stat::of(id)?))).collect();
    let mut family = vec![std::process::id()];
    let mut ticks = 0;
    while let Some(next) = family.pop() {
        all.retain(|(id, stat)| {
            if stat.parent == next {
                family.push(*id);
            }
            if *id == next {
                ticks += stat.own + stat.ended;
            }
            *id != next
        });
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_is_passed_over() {
        let text = "7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.own, stat.ended), (3, 30, 70));
    }

    #[test]
    fn what_is_not_ours_is_by_others() {
        let before = Ticks { ours: 100, used: 300, all: 1000 };
        let after = Ticks { ours: 150, used: 370, all: 1200 };
        assert_eq!(after.by_others_since(before), Some(0.1));
        assert_eq!(after.by_others_since(after), None);
    }
}
