//! Progress of a bulk run on standard error: a bar on a terminal, otherwise a line every few seconds.

use std::{
    cell::Cell,
    io::{IsTerminal, stderr},
    time::{Duration, SystemTime},
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{open_lines::OpenLines, output_file::Counts, retries::Outlook};
use crate::output;

/// How often a line is printed if there is no terminal.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How often the bar is drawn again on a terminal.
const DRAW_INTERVAL: Duration = Duration::from_secs(1);
/// Slower than this many lines a second is a standstill.
const MIN_SPEED: f64 = 0.005;

/// On a terminal there is no room for them in the line of the bar.
const OWN_LINE: &str = "\n  ";

const BAR: &str = "{bar:30} {human_pos} of {human_len} lines  {msg}";

/// The progress. Without a terminal the bar is hidden and only computes the speed.
pub(super) struct Progress {
    bar: ProgressBar,
    terminal: bool,
    /// The lines that have ended, also those whose results can't be written yet.
    ended: Cell<Counts>,
    /// When the last of them ended, or the run began.
    last_end: Cell<Instant>,
    /// The lines that have not ended.
    pub(super) open: OpenLines,
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
        let (ended, last_end) = (Cell::new(done), Cell::new(Instant::now()));
        let progress = Self { bar, terminal, ended, last_end, open: OpenLines::default() };
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
        self.open.remove(line);
        let mut ended = self.ended.get();
        ended.add(completed);
        self.ended.set(ended);
        self.last_end.set(Instant::now());
        self.show();
    }

    /// How many lines have ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended.get().lines()
    }

    /// Prints a line, or draws the bar again.
    pub(super) fn tick(&self) {
        match self.terminal {
            true => self.show(),
            false => {
                let (ended, lines) = (self.ended(), self.bar.length().unwrap_or(0));
                output::note(format!("{ended} of {lines} lines, {}", self.message(", ")));
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
        self.bar.set_position(self.ended());
        let working = self.open.working.texts().into_iter();
        let working: String = working.map(|text| format!("{OWN_LINE}{text}")).collect();
        self.bar.set_message(self.message(OWN_LINE) + &working);
    }

    /// What is known beside the count. `before_retries` stands before what is known of the lines that wait.
    fn message(&self, before_retries: &str) -> String {
        let ended = self.ended.get();
        let left = self.bar.length().unwrap_or(0).saturating_sub(ended.lines());
        let outlook = self.open.retries.outlook(SystemTime::now());
        let speed = self.bar.per_sec();
        let parts = [
            Some(pace(speed)),
            time_left(left, speed, self.last_end.get().elapsed(), outlook.as_ref()),
            (ended.failed > 0).then(|| format!("{} failed", ended.failed)),
        ];
        let message = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let retries = outlook.map(|outlook| format!("{before_retries}{}", outlook.text()));
        message + &retries.unwrap_or_default()
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
/// knows how these end. Nothing is told of lines that end at no speed. If none has ended for a time, the others are expected
/// to take as long again: what is known of the speed does not hold for them.
fn time_left(left: u64, speed: f64, idle: Duration, waiting: Option<&Outlook>) -> Option<String> {
    let others = left.saturating_sub(waiting.map_or(0, |outlook| outlook.lines));
    let seconds = match others {
        0 => 0.0,
        _ if speed < MIN_SPEED => return waiting.map(|outlook| at_least(outlook.last)),
        others => others as f64 / speed,
    };
    let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).max(match others {
        0 => Duration::ZERO,
        _ => idle,
    });
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
        let left = |lines, speed, waiting: Option<Outlook>| {
            time_left(lines, speed, Duration::ZERO, waiting.as_ref())
        };
        assert_eq!(left(30, 0.25, None).unwrap(), "about 2 minutes left");
        assert_eq!(left(30, 0.0, None), None, "a standstill");
        assert_eq!(left(0, 5.0, None), None);
        assert_eq!(left(4, 5.0, Some(outlook(4, 600))).unwrap(), "at least 10 minutes left");
        assert_eq!(left(4, 0.0, Some(outlook(1, 600))).unwrap(), "at least 10 minutes left");
        assert_eq!(left(3601, 1.0, Some(outlook(1, 60))).unwrap(), "at least 60 minutes left");
    }

    #[test]
    fn the_time_left_is_no_shorter_than_the_time_in_which_none_has_ended() {
        let left = |lines, idle, waiting: Option<Outlook>| {
            time_left(lines, 2.0, Duration::from_secs(idle), waiting.as_ref())
        };
        assert_eq!(left(20, 1, None).unwrap(), "about 10 seconds left");
        assert_eq!(left(1, 15, None).unwrap(), "about 15 seconds left");
        assert_eq!(left(1, 90, Some(outlook(1, 60))).unwrap(), "at least 60 seconds left");
        assert_eq!(left(0, 90, None), None);
    }

    #[test]
    fn what_waits_for_its_next_attempt_stands_below_the_bar() {
        let progress = Progress::new(2, Counts::default());
        progress.line_ended(1, true);
        assert!(!progress.message(OWN_LINE).contains('\n'));
        let at = humantime::format_rfc3339_millis(SystemTime::now() + Duration::from_secs(600));
        let request = format!(
            r#"{{"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","status":"queued","attempts":1,
                "lastError":"{}","nextAttemptAt":"{at}"}}"#,
            "boom ".repeat(100)
        );
        progress.open.note(2, &serde_json::from_str(&request).unwrap());
        let message = progress.message(OWN_LINE);
        let (first, second) = message.split_once('\n').unwrap();
        assert!(first.chars().count() < 80 && second.chars().count() <= 140, "{message}");
        assert!(second.starts_with("  1 waits for its next attempt in "), "{message}");
        assert!(!progress.message(", ").contains('\n'));
    }
}
