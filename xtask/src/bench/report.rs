//! The report of a bench run: a table for people, JSON for programs.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use owo_colors::AnsiColors;
use serde_json::json;

use super::{
    figure::{Figure, Threshold, Unit, median},
    machine::Machine,
    other_load::{BUSY_SHARE, OtherLoad},
    scale::Scale,
};
use crate::console;

/// All figures of a run, and facts about the run.
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) scale: Scale,
    pub(super) parts: Vec<Measured>,
    /// The names of the measurements that failed.
    pub(super) failed: Vec<String>,
    pub(super) other_load: OtherLoad,
}

/// The figures of a measurement.
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) figures: Vec<Figure>,
}

impl Report {
    pub(super) fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["FIGURE", "MEASURED", "FLOOR", "RATIO", "THRESHOLD", ""]);
        table.add_rows(self.figures().map(row));
        console::blank_line();
        console::print(table);
        console::blank_line();
        for (figure, text) in self.figures().filter_map(|figure| Some((figure, notes(figure)?))) {
            console::line(
                "",
                AnsiColors::Cyan,
                console::dimmed(format!("{}: {text}", figure.name)),
            );
        }
        self.warn();
    }

    fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.parts.iter().flat_map(|part| &part.figures)
    }

    fn warn(&self) {
        for name in &self.failed {
            console::line("failed", AnsiColors::Red, format!("{name} was not measured"));
        }
        for name in self.left_out() {
            let text = format!("{name} was not measured: it can't be had here, see above");
            console::line("warning", AnsiColors::Yellow, text);
        }
        if self.scale.quick {
            let text = "a quick run shows that everything works; its figures are imprecise";
            console::line("warning", AnsiColors::Yellow, text);
        }
        let shares = self.other_load.shares();
        let busy = shares.iter().filter(|share| **share > BUSY_SHARE).count();
        if let (Some(most), true) = (shares.last(), busy > 0) {
            let text = format!(
                "other programs used the CPU during {busy} of {} measurements, up to {:.0} % of it: \
                 figures and ratios are imprecise",
                shares.len(),
                most * 100.0
            );
            console::line("warning", AnsiColors::Yellow, text);
        }
        for figure in self.figures().filter(|figure| figure.holds() == Some(false)) {
            console::line("worse", AnsiColors::Red, format!("{} does not hold", figure.name));
        }
    }

    /// Whether everything was measured, and all figures keep their thresholds.
    pub(super) fn holds(&self) -> bool {
        self.failed.is_empty()
            && self.left_out().next().is_none()
            && self.figures().all(|figure| figure.holds() != Some(false))
    }

    /// What was not measured since it can't be had on this machine.
    fn left_out(&self) -> impl Iterator<Item = &str> {
        let postgres = (!self.machine.has_postgres()).then_some("PostgreSQL");
        let parts = self.parts.iter().filter(|part| part.figures.is_empty());
        postgres.into_iter().chain(parts.map(|part| part.name.as_str()))
    }

    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let shares = self.other_load.shares();
        let report = json!({
            "machine": self.machine.json(),
            "quick": self.scale.quick,
            "rounds": self.scale.rounds,
            "shareOfOthers": { "median": median(shares.iter().copied()), "most": shares.last() },
            "failed": self.failed,
            "figures": self.figures().map(Figure::json).collect::<Vec<_>>(),
        });
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

fn row(figure: &Figure) -> [String; 6] {
    let floor = figure.floor().map(|floor| figure.unit.show(floor));
    let holds = match figure.holds() {
        Some(true) => "ok",
        Some(false) => "WORSE",
        None => "",
    };
    [
        figure.name.clone(),
        figure.unit.show(figure.value()),
        floor.unwrap_or_default(),
        spread(figure),
        threshold(figure),
        holds.to_owned(),
    ]
}

/// The ratio, with the lowest and the highest of all rounds; without a floor, the range of the value.
fn spread(figure: &Figure) -> String {
    let show = |ratio: f64| format!("{ratio:.2}");
    let Some(ratio) = figure.ratio() else {
        let values: Vec<f64> = figure.samples.iter().map(|sample| sample.value).collect();
        let range = range(&values, |value| figure.unit.show(value));
        return if range.is_empty() { range } else { format!("({range})") };
    };
    let range = range(&figure.ratios(), show);
    if range.is_empty() { show(ratio) } else { format!("{} ({range})", show(ratio)) }
}

/// The lowest and the highest value; empty for less than two.
pub(super) fn range(values: &[f64], show: impl Fn(f64) -> String) -> String {
    if values.len() < 2 {
        return String::new();
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} to {}", show(low), show(high))
}

/// The threshold for people.
pub(super) fn threshold(figure: &Figure) -> String {
    let show = |worst: f64| match figure.unit {
        Unit::Bytes | Unit::Seconds if figure.floor().is_none() => figure.unit.show(worst),
        _ => format!("{worst:.2}"),
    };
    match figure.threshold {
        None => String::new(),
        Some(Threshold::AtLeast(worst)) => format!("≥ {}", show(worst)),
        Some(Threshold::AtMost(worst)) => format!("≤ {}", show(worst)),
    }
}

/// The medians of the figure's notes, if it has any.
fn notes(figure: &Figure) -> Option<String> {
    let all = figure.notes.iter();
    let texts = all.map(|(name, numbers)| format!("{name} {:.1}", median(numbers.iter().copied())));
    let text = texts.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}
