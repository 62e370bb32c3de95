//! The chart of the overview: how many requests were accepted, have ended and have failed over time, as SVG and as a table.

use std::time::Duration;

use maud::{Markup, html};
use pipeline::contract::Timestamp;

use crate::{
    api::stats::BucketView,
    dashboard::format::{number, of, time_on_axis},
};

/// The drawing, in its own units; it is stretched to the width of the page.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 170.0;
/// How many times stand below it.
const LABELS: usize = 5;

/// A bar of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bar {
    /// Where it begins.
    pub(super) at: Timestamp,
    pub(super) accepted: u64,
    pub(super) completed: u64,
    pub(super) cancelled: u64,
    pub(super) failed: u64,
}

impl From<&BucketView> for Bar {
    fn from(bucket: &BucketView) -> Self {
        let &BucketView { at, accepted, completed, cancelled, failed, retried: _ } = bucket;
        Self { at, accepted, completed, cancelled, failed }
    }
}

/// The chart of these bars, each of which lasts `step`, which is `words`.
pub(super) fn markup(bars: &[Bar], step: Duration, words: &str) -> Markup {
    let highest = highest(bars);
    html! {
        div.chart {
            p.legend {
                span.accepted { "accepted" } span.ended { "completed or cancelled" } span.failed { "failed" }
            }
            p.top-value.num { "highest: " (number(bars.iter().map(top).max().unwrap_or(0))) " in " (words) }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
                @for line in 1..4 {
                    @let y = HEIGHT * f64::from(line) / 4.0;
                    line.grid x1="0" x2=(WIDTH) y1=(y) y2=(y) {}
                }
                @for (index, bar) in bars.iter().enumerate() { (drawn(bar, index, bars.len(), highest, step)) }
                polyline.accepted points=(points(bars, highest)) {}
            }
            div.labels aria-hidden="true" {
                @for at in labels(bars) { (time_on_axis(at)) }
            }
            (table(bars))
        }
    }
}

/// What the bar is high.
fn top(bar: &Bar) -> u64 {
    bar.accepted.max(bar.completed + bar.cancelled + bar.failed)
}

fn highest(bars: &[Bar]) -> f64 {
    float(bars.iter().map(top).max().unwrap_or(0).max(1))
}

#[expect(clippy::cast_precision_loss, reason = "a pixel more or less")]
fn float(number: u64) -> f64 {
    number as f64
}

fn width(count: usize) -> f64 {
    WIDTH / float(count.max(1) as u64)
}

/// A bar leads to the requests that were accepted in its time.
fn drawn(bar: &Bar, index: usize, count: usize, highest: f64, step: Duration) -> Markup {
    let (x, wide) = (float(index as u64) * width(count), width(count) * 0.8);
    let ended = bar.completed + bar.cancelled;
    let [ended, failed] = [ended, bar.failed].map(|it| HEIGHT * float(it) / highest);
    let rect = |class: &str, y: f64, high: f64| {
        html! {
            @if high > 0.0 {
                rect class=(class) x=(format!("{x:.1}")) width=(format!("{wide:.1}")) y=(format!("{y:.1}")) height=(format!("{:.1}", high.max(1.0))) {}
            }
        }
    };
    let address = format!("requests?acceptedAfter={}&acceptedBefore={}", bar.at, bar.at + step);
    html! {
        a href=(address) tabindex="-1" data-key=(bar.at) {
            rect.hit x=(format!("{x:.1}")) y="0" width=(format!("{:.1}", width(count))) height=(HEIGHT) {
                title { (words(bar)) }
            }
            (rect("ended", HEIGHT - ended, ended))
            (rect("failed", HEIGHT - ended - failed, failed))
        }
    }
}

fn words(bar: &Bar) -> String {
    format!(
        "{} accepted, {} completed, {} cancelled, {} failed",
        number(bar.accepted),
        number(bar.completed),
        number(bar.cancelled),
        number(bar.failed)
    )
}

/// The line of what was accepted.
fn points(bars: &[Bar], highest: f64) -> String {
    let wide = width(bars.len());
    let point = |(index, bar): (usize, &Bar)| {
        let x = (float(index as u64) + 0.4) * wide;
        format!("{x:.1},{:.1}", HEIGHT - (HEIGHT - 1.0) * float(bar.accepted) / highest)
    };
    bars.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

/// Some times, as far apart as can be.
fn labels(bars: &[Bar]) -> Vec<Timestamp> {
    let last = bars.len().saturating_sub(1);
    (0..LABELS).filter_map(|label| Some(bars.get(last * label / (LABELS - 1))?.at)).collect()
}

/// What the chart says, in a sentence.
fn summary(bars: &[Bar]) -> String {
    let sum = |count: fn(&Bar) -> u64| bars.iter().map(count).sum::<u64>();
    let (accepted, completed) = (sum(|bar| bar.accepted), sum(|bar| bar.completed));
    let (cancelled, failed) = (sum(|bar| bar.cancelled), sum(|bar| bar.failed));
    format!(
        "{} accepted, {} completed, {} cancelled, {} failed",
        of(accepted, "request", "requests"),
        number(completed),
        number(cancelled),
        number(failed)
    )
}

/// The numbers, for those who can't see the drawing.
fn table(bars: &[Bar]) -> Markup {
    html! {
        div.hidden { table {
            caption { "Over time: " (summary(bars)) }
            thead { tr { th { "From" } th { "Accepted" } th { "Completed" } th { "Cancelled" } th { "Failed" } } }
            tbody { @for bar in bars.iter().filter(|bar| top(bar) > 0) {
                tr { td { (time_on_axis(bar.at)) } td { (bar.accepted) } td { (bar.completed) } td { (bar.cancelled) } td { (bar.failed) } }
            } }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(60);

    fn bars(counts: &[(u64, u64, u64)]) -> Vec<Bar> {
        let mut at = Timestamp::from_millis(1_700_000_000_000);
        let bar = |(accepted, completed, failed): &(u64, u64, u64)| {
            at = at + STEP;
            Bar { at, accepted: *accepted, completed: *completed, cancelled: 0, failed: *failed }
        };
        counts.iter().map(bar).collect()
    }

    #[test]
    fn a_chart_of_nothing_is_empty_and_no_number_is_infinite() {
        for bars in [bars(&[]), bars(&[(0, 0, 0); 60])] {
            let html = markup(&bars, STEP, "a minute").into_string();
            assert!(
                !html.contains("NaN")
                    && !html.contains("inf")
                    && !html.contains("class=\"ended\" "),
                "{html}"
            );
        }
    }

    #[test]
    fn failures_stand_on_what_was_completed_and_the_highest_bar_fills_the_height() {
        let html = markup(&bars(&[(10, 3, 1), (0, 0, 0)]), STEP, "a minute").into_string();
        assert!(
            html.contains(
                "<rect class=\"ended\" x=\"0.0\" width=\"400.0\" y=\"119.0\" height=\"51.0\">"
            ),
            "{html}"
        );
        assert!(
            html.contains(
                "<rect class=\"failed\" x=\"0.0\" width=\"400.0\" y=\"102.0\" height=\"17.0\">"
            ),
            "{html}"
        );
        assert!(html.contains("points=\"200.0,1.0 700.0,170.0\""), "{html}");
    }

    #[test]
    fn a_chart_says_what_it_shows() {
        assert_eq!(
            summary(&bars(&[(1000, 2, 3), (1, 1, 0)])),
            "1,001 requests accepted, 3 completed, 0 cancelled, 3 failed"
        );
        assert_eq!(labels(&bars(&[(0, 0, 0); 60])).len(), LABELS);
    }
}
