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
    pub(super) figures: Vec<Figure>,
    pub(super) other_load: OtherLoad,
}

impl Report {
    pub(super) fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["FIGURE", "MEASURED", "FLOOR", "RATIO", "THRESHOLD", ""]);
        table.add_rows(self.figures.iter().map(row));
        console::blank_line();
        console::print(table);
        console::blank_line();
        for (figure, text) in
            self.figures.iter().filter_map(|figure| Some((figure, notes(figure)?)))
        {
            console::line(
                "",
                AnsiColors::Cyan,
                console::dimmed(format!("{}: {text}", figure.name)),
            );
        }
        self.warn();
    }

    fn warn(&self) {
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
        for figure in self.figures.iter().filter(|figure| figure.holds() == Some(false)) {
            console::line("worse", AnsiColors::Red, format!("{} does not hold", figure.name));
        }
    }

    /// Whether all figures keep their thresholds.
    pub(super) fn holds(&self) -> bool {
        self.figures.iter().all(|figure| figure.holds() != Some(false))
    }

    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let shares = self.other_load.shares();
        let report = json!({
            "machine": self.machine.json(),
            "quick": self.scale.quick,
            "rounds": self.scale.rounds,
            "shareOfOthers": { "median": median(shares.iter().copied()), "most": shares.last() },
            "figures": self.figures.iter().map(Figure::json).collect::<Vec<_>>(),
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
    let ratios = figure.ratios();
    let values = figure.samples.iter().map(|sample| sample.value);
    let (values, show): (Vec<f64>, &dyn Fn(f64) -> String) = if ratios.is_empty() {
        (values.collect(), &|value| figure.unit.show(value))
    } else {
        (ratios, &|ratio| format!("{ratio:.2}"))
    };
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let middle =
        if figure.floor().is_some() { show(median(values.into_iter())) } else { String::new() };
    if figure.samples.len() < 2 {
        middle
    } else {
        format!("{middle} ({} to {})", show(low), show(high))
    }
}

fn threshold(figure: &Figure) -> String {
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
