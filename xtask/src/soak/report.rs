//! What the soak tells at its end.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use comfy_table::{Table, presets};
use owo_colors::AnsiColors;

use super::{
    ledger::{Finding, Kind, Ledger},
    plan::MAX_DELIVERIES,
    schedule::{Action, Disturbance},
};
use crate::console;

/// How many findings of each kind are shown; the others are in the file.
const SHOWN: usize = 10;
/// How many characters of a finding are shown.
const SHOWN_LENGTH: usize = 240;

/// The outcome of a run.
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    /// The folder of all logs, if they are worth keeping.
    pub(super) logs: Option<PathBuf>,
    /// The command that does the same again.
    pub(super) again: String,
    lines: Vec<String>,
    disturbances: Vec<[String; 5]>,
}

impl Report {
    pub(super) fn new(
        ledger: &Ledger,
        schedule: &[Disturbance],
        length: Duration,
        settling: Duration,
        again: String,
    ) -> Self {
        let accepted = ledger.accepted_count();
        let kills = schedule.iter().filter(|one| one.action == Action::Kill).count();
        let rate = accepted as f64 / length.as_secs_f64();
        let answers = ledger.answers.iter().map(|(answer, count)| format!("{count} × {answer}"));
        let lines = vec![
            format!("{} disturbances, {kills} of them kill -9", schedule.len()),
            format!("the last look was {} after the load", console::duration(settling)),
            format!(
                "{} requests were parked rightly: their workers were killed {MAX_DELIVERIES} times",
                ledger.poisonous_count()
            ),
            format!(
                "{accepted} requests accepted, {rate:.1}/s; {} callbacks taken",
                ledger.callbacks
            ),
            format!("answers: {}", answers.collect::<Vec<_>>().join(", ")),
        ];
        let findings = ledger.findings();
        Self { findings, logs: None, again, lines, disturbances: counted(schedule) }
    }

    /// Whether every promise was kept.
    pub(super) fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    pub(super) fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["TARGET", "KILL -9", "SIGSTOP", "CLEAN STOP", "CUT OFF"]);
        table.add_rows(&self.disturbances);
        console::blank_line();
        console::print(table);
        console::blank_line();
        self.lines.iter().for_each(|line| console::step("soak", line));
        for kind in [Kind::Lost, Kind::Stuck, Kind::Wrong] {
            self.print_findings(kind);
        }
        if let Some(logs) = &self.logs {
            let logs = logs.display();
            console::step("again", &self.again);
            console::step(
                "logs",
                format!("{logs} (findings.txt, disturbances.log, and one of each program)"),
            );
            console::step("look", format!("grep -h REQUEST_ID {logs}/*-?.log | sort"));
        }
    }

    fn print_findings(&self, kind: Kind) {
        let count = self.findings.iter().filter(|finding| finding.kind == kind).count();
        let colour = if count == 0 { AnsiColors::Green } else { AnsiColors::Red };
        console::line(&kind.to_string(), colour, count);
        let of_kind = self.findings.iter().filter(|finding| finding.kind == kind);
        for finding in of_kind.take(SHOWN) {
            let text: String = finding.to_string().chars().take(SHOWN_LENGTH).collect();
            console::line("", colour, text);
        }
    }
}

/// A row for each target: its name, and how often each action was carried out.
fn counted(schedule: &[Disturbance]) -> Vec<[String; 5]> {
    let mut counts: BTreeMap<String, BTreeMap<Action, u32>> = BTreeMap::new();
    for one in schedule {
        *counts.entry(one.target.to_string()).or_default().entry(one.action).or_default() += 1;
    }
    let row = |(target, counts): (String, BTreeMap<Action, u32>)| {
        let count = |action| counts.get(&action).copied().unwrap_or_default().to_string();
        [
            target,
            count(Action::Kill),
            count(Action::Freeze),
            count(Action::Stop),
            count(Action::Disconnect),
        ]
    };
    counts.into_iter().map(row).collect()
}
