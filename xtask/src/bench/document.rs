//! Writes the figures of a run into `docs/performance.md`, between two comments. What the run did not measure stays as it
//! was, with the run it is from.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use testbed::workspace;

use super::{
    figure::Figure,
    report::{Measured, Report, range, threshold},
};

const DOCUMENT: &str = "docs/performance.md";
const BEGIN: &str = "<!-- The following is written by `cargo xtask bench --write`. -->";
const END: &str = "<!-- The end of what is written by `cargo xtask bench --write`. -->";
const HEADING: &str = "### ";
/// Begins the line that names the run of a section from before.
const EARLIER: &str = "From an earlier run: ";
const COLUMNS: [&str; 7] = [
    "figure",
    "measured",
    "lowest to highest",
    "beside it",
    "ratio",
    "lowest to highest",
    "threshold",
];
const NOT_MEASURED: &str = "Not measured here: data larger than 200 bytes, TLS, several web services or processors, a broker of \
    several nodes, a network between the machines, classic queues, and load for longer than some seconds. \
    Clients, services, broker and databases share one machine, so each has less of it than it would have alone. \
    Workers are measured from their start, those of the peers, too.";

/// The figures in the document: a line about the run, and a section for each measurement, by name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Written {
    run: String,
    sections: BTreeMap<String, String>,
}

/// Writes the report's figures into the document. `command` is what was typed, `all` are the names of all measurements.
pub(super) fn write(report: &Report, command: &str, all: &[String]) -> Result<()> {
    let path = workspace::root().join(DOCUMENT);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let text = replaced(&text, report, command, all)?;
    fs::write(&path, text).with_context(|| format!("cannot write {DOCUMENT}"))
}

/// The document with the figures of the report.
fn replaced(document: &str, report: &Report, command: &str, all: &[String]) -> Result<String> {
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (between, after) = rest.split_once(END)?;
        Some((before, between, after))
    });
    let (before, between, after) =
        parts.with_context(|| format!("{DOCUMENT} has no place for the figures"))?;
    let figures = render(&Written::parse(between), report, command, all);
    Ok(format!("{before}{BEGIN}\n\n{figures}\n{END}{after}"))
}

impl Written {
    fn parse(text: &str) -> Self {
        let heading = format!("\n{HEADING}");
        let mut parts = text.split(&heading);
        let run = parts.next().unwrap_or_default().trim().to_owned();
        let sections = parts.filter_map(|part| {
            let (name, body) = part.split_once('\n')?;
            Some((name.trim_matches('`').to_owned(), body.trim().to_owned()))
        });
        Self { run, sections: sections.collect() }
    }

    /// A section with the run that it is from.
    fn kept(&self, name: &str) -> Option<String> {
        let body = self.sections.get(name)?;
        let from = if body.starts_with(EARLIER) || self.run.is_empty() {
            String::new()
        } else {
            format!("{EARLIER}{}\n\n", self.run)
        };
        Some(format!("{from}{body}"))
    }
}

fn render(before: &Written, report: &Report, command: &str, all: &[String]) -> String {
    let mut text = format!("{}\n", run(report, command));
    let mut missing = Vec::new();
    for name in all {
        let measured = report.parts.iter().find(|part| part.name == *name);
        let measured = measured.filter(|part| !part.figures.is_empty()).map(table);
        match measured.or_else(|| before.kept(name)) {
            Some(section) => text += &format!("\n{HEADING}`{name}`\n\n{section}\n"),
            None => missing.push(format!("`{name}`")),
        }
    }
    text += &format!("\n{HEADING}What was not measured\n\n{NOT_MEASURED}");
    if !report.machine.has_postgres() {
        text += " There was no PostgreSQL.";
    }
    if !missing.is_empty() {
        text += &format!(" The run did not measure {}.", missing.join(", "));
    }
    text + "\n"
}

/// When, how and where it was measured.
fn run(report: &Report, command: &str) -> String {
    let rounds = match report.scale.rounds {
        1 => "one round".to_owned(),
        rounds => format!("{rounds} rounds"),
    };
    let others = report
        .other_load
        .shares()
        .last()
        .map(|most| format!(" Other programs used at most {:.0} % of the CPU.", most * 100.0));
    format!(
        "{}, `{command}`, {rounds}: {}.{}",
        report.machine.date(),
        report.machine.line(),
        others.unwrap_or_default()
    )
}

fn table(measured: &Measured) -> String {
    let rule = COLUMNS.map(|_| "---");
    let rows = measured.figures.iter().map(row);
    let rows = [COLUMNS.map(str::to_owned), rule.map(str::to_owned)].into_iter().chain(rows);
    rows.map(|row| format!("| {} |", row.join(" | "))).collect::<Vec<_>>().join("\n")
}

fn row(figure: &Figure) -> [String; 7] {
    let show = |value: f64| figure.unit.show(value);
    let values: Vec<f64> = figure.samples.iter().map(|sample| sample.value).collect();
    let ratios = figure.ratios();
    [
        figure.name.clone(),
        show(figure.value()),
        range(&values, show),
        figure.floor().map(show).unwrap_or_default(),
        figure.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        range(&ratios, |ratio| format!("{ratio:.2}")),
        marked_threshold(figure),
    ]
}

/// The threshold, and whether the figure is worse.
fn marked_threshold(figure: &Figure) -> String {
    match figure.holds() {
        Some(false) => format!("{}, **missed**", threshold(figure)),
        _ => threshold(figure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        figure::{Threshold, Unit},
        machine::Machine,
        other_load::OtherLoad,
        scale::Scale,
    };

    const DOCUMENT: &str = "# Performance\n\n<!-- The following is written by `cargo xtask bench --write`. -->\n\
        <!-- The end of what is written by `cargo xtask bench --write`. -->\n\nThe end.\n";

    fn names() -> Vec<String> {
        ["accept", "drain", "peers"].map(str::to_owned).into()
    }

    /// A report about these measurements, with one figure of this value each.
    fn report(date: &str, names: &[&str], value: f64) -> Report {
        let part = |name: &&str| {
            let threshold = Some(Threshold::AtLeast(0.5));
            let mut figure = Figure::new(format!("{name}, SQLite"), Unit::PerSecond, threshold);
            figure.add(value, 2.0 * value);
            figure.add(value + 100.0, 4.0 * value);
            figure.add(value + 200.0, value + 200.0);
            let mut bytes = Figure::new("memory", Unit::Bytes, None);
            bytes.add_without_floor(600.0);
            Measured { name: (*name).to_owned(), figures: vec![figure, bytes] }
        };
        Report {
            machine: Machine::made_up(date),
            scale: Scale::new(false, None),
            parts: names.iter().map(part).collect(),
            failed: Vec::new(),
            other_load: OtherLoad::default(),
        }
    }

    #[test]
    fn the_document_shows_the_figures_with_their_spread_and_the_run() -> Result<()> {
        let report = report("2026-01-02", &["accept", "drain"], 1000.0);
        let text = replaced(DOCUMENT, &report, "cargo xtask bench --write", &names())?;
        let row = "| accept, SQLite | 1100 /s | 1000 /s to 1200 /s | 2000 /s | 0.50 | 0.28 to 1.00 | ≥ 0.50 |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| memory | 600 B |  |  |  |  |  |"), "{text}");
        let run =
            "2026-01-02, `cargo xtask bench --write`, 5 rounds: 2 processors (a model), Linux 6.1";
        assert!(text.contains(run), "{text}");
        assert!(text.starts_with("# Performance\n") && text.ends_with("-->\n\nThe end.\n"));
        assert!(text.contains("The run did not measure `peers`."), "{text}");
        Ok(())
    }

    #[test]
    fn the_document_marks_the_figures_that_miss_their_thresholds() {
        let figure = |ratio| {
            let mut figure = Figure::new("drain", Unit::PerSecond, Some(Threshold::AtLeast(0.5)));
            figure.add(ratio, 1.0);
            row(&figure)[6].clone()
        };
        assert_eq!(figure(0.6), "≥ 0.50");
        assert_eq!(figure(0.4), "≥ 0.50, **missed**");
    }

    #[test]
    fn a_second_run_replaces_what_it_measured_and_keeps_the_rest_with_its_run() -> Result<()> {
        let first = report("2026-01-02", &["accept", "drain"], 1000.0);
        let text = replaced(DOCUMENT, &first, "cargo xtask bench --write", &names())?;
        let second = report("2026-02-03", &["drain", "peers"], 3000.0);
        let text = replaced(&text, &second, "cargo xtask bench drain peers --write", &names())?;
        let (accept, others) = text.split_once("### `drain`").context("there is no drain")?;
        assert!(accept.contains("From an earlier run: 2026-01-02"), "{text}");
        assert!(accept.contains("| accept, SQLite | 1100 /s |"), "{text}");
        assert!(others.contains("| drain, SQLite | 3100 /s |") && !others.contains("1100 /s"));
        assert!(!others.contains("earlier run") && !others.contains("did not measure"), "{text}");
        assert_eq!(text.matches("What was not measured").count(), 1);
        let again = replaced(&text, &second, "cargo xtask bench drain peers --write", &names())?;
        assert_eq!(again, text, "the run of a kept section is named once");
        Ok(())
    }

    #[test]
    fn a_document_without_a_place_for_figures_stays_as_it_is() {
        let report = report("2026-01-02", &["accept"], 1000.0);
        assert!(replaced("# Performance\n", &report, "cargo xtask bench", &names()).is_err());
    }

    #[test]
    fn the_document_has_a_place_for_figures() -> Result<()> {
        let text = fs::read_to_string(workspace::root().join(super::DOCUMENT))?;
        assert!(text.contains(BEGIN) && text.contains(END));
        Ok(())
    }
}
