//! Progress of a bulk run on standard error: a bar on a terminal, otherwise a line every few seconds.

use std::{
    fmt,
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::output_file::Counts;
use crate::output;

/// How often a line is printed if there is no terminal.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

const BAR: &str = "{bar:30} {human_pos} of {human_len} lines  {pace}  {msg}";

/// The progress. Without a terminal the bar is hidden and only computes the speed.
pub(super) struct Progress {
    bar: ProgressBar,
    terminal: bool,
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
        let style = ProgressStyle::with_template(BAR).expect("the template is valid");
        bar.set_style(style.with_key(
            "pace",
            |state: &ProgressState, text: &mut dyn fmt::Write| {
                // An error would only leave a gap in the bar.
                let _ = text.write_str(&pace(state.per_sec(), state.eta()));
            },
        ));
        let progress = Self { bar, terminal };
        progress.show(done);
        // Lines of an earlier start say nothing about the speed of this one.
        progress.bar.reset_eta();
        progress
    }

    /// The bar, for notices that are printed above it.
    pub(super) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Moves the bar.
    pub(super) fn show(&self, done: Counts) {
        self.bar.set_position(done.written());
        if done.failed > 0 {
            self.bar.set_message(format!("{} failed", done.failed));
        }
    }

    /// Prints a line, if there is no terminal for the bar.
    pub(super) fn report(&self, done: Counts) {
        let bar = &self.bar;
        if self.terminal {
            // The speed that the bar shows falls even while no result comes.
            return bar.tick();
        }
        let (position, lines) = (done.written(), bar.length().unwrap_or_default());
        let (pace, failed) = (pace(bar.per_sec(), bar.eta()), done.failed);
        output::note(format!("{position} of {lines} lines, {pace}, {failed} failed"));
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Lines per second, and the time that the remaining lines take at this speed.
fn pace(speed: f64, left: Duration) -> String {
    match speed {
        ..0.01 => "none lately".to_owned(),
        ..10.0 => format!("{speed:.1}/s, {} left", HumanDuration(left)),
        _ => format!("{speed:.0}/s, {} left", HumanDuration(left)),
    }
}

/// When [`Progress::report`] is due.
pub(super) fn ticks() -> Interval {
    let mut ticks = interval_at(Instant::now() + REPORT_INTERVAL, REPORT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_shows_no_remaining_time() {
        assert_eq!(pace(0.0, Duration::ZERO), "none lately");
        assert_eq!(pace(0.25, Duration::from_secs(30)), "0.2/s, 30 seconds left");
        assert_eq!(pace(118.4, Duration::from_secs(7200)), "118/s, 2 hours left");
    }
}
