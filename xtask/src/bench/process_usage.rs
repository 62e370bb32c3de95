//! CPU time and memory of processes, from `/proc`. On other systems than Linux nothing is known.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use testbed::program::Running;
use tokio::time::sleep;

/// `USER_HZ`: the ticks per second in which Linux counts CPU time, on every machine that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory is read in this interval until it no longer changes.
const MEMORY_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Memory that still changes after this time is taken as it is.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The seconds of CPU time that a process has used.
pub(super) fn cpu_time(pid: u32) -> Option<f64> {
    Some(Stat::of(pid)?.own_ticks as f64 / TICKS_PER_SECOND)
}

/// The resident memory of a process, in bytes.
pub(super) fn memory(pid: u32) -> Option<f64> {
    memory_line(pid, "VmRSS:")
}

/// The part of it that is not of files, the program's own among them.
pub(super) fn anonymous_memory(pid: u32) -> Option<f64> {
    memory_line(pid, "RssAnon:")
}

fn memory_line(pid: u32, name: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// The resident memory of a program in bytes, once it no longer changes.
pub(super) async fn settled_memory(program: &Running) -> Result<f64> {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let mut last = f64::NAN;
    loop {
        sleep(MEMORY_POLL_INTERVAL).await;
        let now = memory(program.pid());
        let now = now.context("this system does not show the memory of a process")?;
        if now == last || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}

/// The ticks of this process and its descendants, including those that have ended.
pub(super) fn own_family_ticks() -> u64 {
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
                ticks += stat.own_ticks + stat.ended_children_ticks;
            }
            *id != next
        });
    }
    ticks
}

/// The fields of `/proc/PID/stat` that are used here.
struct Stat {
    parent: u32,
    own_ticks: u64,
    ended_children_ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The process's name is in brackets and may have spaces and brackets; the state and the parent follow it.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            own_ticks: number(11)? + number(12)?,
            ended_children_ticks: number(13)? + number(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_spaces_and_brackets() {
        let text = "7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.own_ticks, stat.ended_children_ticks), (3, 30, 70));
    }
}
