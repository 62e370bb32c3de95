//! Progress of a bulk run on standard error: a bar on a terminal, otherwise a line every few seconds.

use std::{
    cell::Cell,
    io::{IsTerminal, stderr},
    time::{Duration, SystemTime},
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{
    output_file::Counts,
    retries::{Outlook, Retries},
};
use crate::output;

/// How often a line is printed if there is no terminal.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How often the bar is drawn again on a terminal.
const DRAW_INTERVAL: Duration = Duration::from_secs(1);
/// Slower than this many lines a second is a standstill.
const MIN_SPEED: f64 = 0.005;

const BAR: &str = "{bar:30} {human_pos} of {human_len} lines  {msg}";

/// The progress. Without a terminal the bar is hidden and only computes the speed.
pub(super) struct Progress {
    bar: ProgressBar,
    terminal: bool,
    /// The lines that have ended, also those whose results can't be written yet.
    ended: Cell<Counts>,
    /// The lines that wait for their next attempt.
    pub(super) retries: Retries,
}

impl Progress {
    /// The progress of `lines` lines, of which `done` were done by earlier starts.
    pub(super) fn new(lines: u64, done: Counts) -> Self {
        let terminal = stderr().is_terminal();
        let target = match terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(lines), target);
        bar.set_style(ProgressStyle::with_template(BAR).expect("the template is valid"));
        let progress = Self { bar, terminal, ended: Cell::new(done), retries: Retries::default() };
        progress.show();
        // Lines of an earlier start say nothing about the speed of this one.
        progress.bar.reset_eta();
        progress
    }

    /// The bar, for notices that are printed above it.
    pub(super) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Counts a line that has ended.
    pub(super) fn line_ended(&self, line: u64, completed: bool) {
        self.retries.remove(line);
        let mut ended = self.ended.get();
        ended.add(completed);
        self.ended.set(ended);
        self.show();
    }

    /// Prints a line, or draws the bar again.
    pub(super) fn tick(&self) {
        match self.terminal {
            true => self.show(),
            false => {
                let (ended, lines) = (self.ended.get().lines(), self.bar.length().unwrap_or(0));
                output::note(format!("{ended} of {lines} lines, {}", self.message()));
            }
        }
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// When [`Self::tick`] is due.
    pub(super) fn ticks(&self) -> Interval {
        let period = if self.terminal { DRAW_INTERVAL } else { REPORT_INTERVAL };
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    fn show(&self) {
        self.bar.set_position(self.ended.get().lines());
        self.bar.set_message(self.message());
    }

    fn message(&self) -> String {
        let ended = self.ended.get();
        let left = self.bar.length().unwrap_or(0).saturating_sub(ended.lines());
        let outlook = self.retries.outlook(SystemTime::now());
        let speed = self.bar.per_sec();
        let parts = [
            Some(pace(speed)),
            time_left(left, speed, outlook.as_ref()),
            (ended.failed > 0).then(|| format!("{} failed", ended.failed)),
            outlook.map(|outlook| outlook.text()),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// How many lines end in a second or a minute.
fn pace(speed: f64) -> String {
    match speed {
        ..MIN_SPEED => "none ended lately".to_owned(),
        ..1.0 => format!("{:.1}/min", speed * 60.0),
        ..10.0 => format!("{speed:.1}/s"),
        _ => format!("{speed:.0}/s"),
    }
}

/// How long the remaining lines take at this speed. Those that wait for their next attempts begin no earlier, and nobody
/// knows how these end. Nothing is told of lines that end at no speed.
fn time_left(left: u64, speed: f64, waiting: Option<&Outlook>) -> Option<String> {
    let others = left.saturating_sub(waiting.map_or(0, |outlook| outlook.lines));
    let seconds = match others {
        0 => 0.0,
        _ if speed < MIN_SPEED => return waiting.map(|outlook| at_least(outlook.last)),
        others => others as f64 / speed,
    };
    let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    match waiting {
        Some(outlook) => Some(at_least(time.max(outlook.last))),
        None if left == 0 => None,
        None => Some(format!("about {} left", HumanDuration(time))),
    }
}

fn at_least(time: Duration) -> String {
    format!("at least {} left", HumanDuration(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(lines: u64, last: u64) -> Outlook {
        Outlook { lines, last: Duration::from_secs(last), ..Outlook::default() }
    }

    #[test]
    fn a_slow_run_is_counted_by_the_minute() {
        assert_eq!(
            [0.0, 0.05, 2.0, 118.4].map(pace),
            ["none ended lately", "3.0/min", "2.0/s", "118/s"]
        );
    }

    #[test]
    fn the_time_left_is_no_shorter_than_the_pause_before_the_last_attempt() {
        let left =
            |lines, speed, waiting: Option<Outlook>| time_left(lines, speed, waiting.as_ref());
        assert_eq!(left(30, 0.25, None).unwrap(), "about 2 minutes left");
        assert_eq!(left(30, 0.0, None), None, "a standstill");
        assert_eq!(left(0, 5.0, None), None);
        assert_eq!(left(4, 5.0, Some(outlook(4, 600))).unwrap(), "at least 10 minutes left");
        assert_eq!(left(4, 0.0, Some(outlook(1, 600))).unwrap(), "at least 10 minutes left");
        assert_eq!(left(3601, 1.0, Some(outlook(1, 60))).unwrap(), "at least 60 minutes left");
    }
}
