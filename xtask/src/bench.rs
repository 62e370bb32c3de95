//! `cargo xtask bench`: measures speed and memory, each figure beside what the broker alone does in the same run.

mod accept;
mod busy;
mod cost;
mod drain;
mod growth;
mod latency;
mod memory;
mod peers;
mod results;
mod short;

mod context;
mod document;
mod figure;
mod machine;
mod other_load;
mod process_usage;
mod release_build;
mod report;
mod scale;
mod system;

mod bare_client;
mod http_client;
mod load;
mod load_thread;
mod messages;
mod open_load;
mod web;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tokio::time::timeout;

use self::{
    context::Bench,
    figure::Figure,
    machine::Machine,
    other_load::OtherLoad,
    report::{Measured, Report},
    scale::Scale,
    system::System,
};
use crate::{
    console,
    interrupt::{self, Interrupt},
};

/// Longer than the longest part takes, which fills stores with a million requests.
const PART_TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// Options of the bench.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to measure; without a name everything
    parts: Vec<Part>,

    /// Measure in about two minutes: enough to see that everything works, not to trust a figure
    #[arg(long)]
    quick: bool,

    /// How often everything is measured, in turns; a figure is the median
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..100))]
    rounds: Option<u32>,

    /// Write the figures to a file too, for programs
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the figures into docs/performance.md, in place of those of the run before
    #[arg(long, conflicts_with = "quick")]
    write: bool,

    /// End with 1 if a figure is worse than it should be, or could not be measured
    #[arg(long)]
    check: bool,
}

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// How many requests are accepted in a second
    Accept,
    /// How many jobs that wait are done in a second
    Drain,
    /// How many short jobs are done in a second, by commands and in Rust
    Short,
    /// How fast waiting results are stored
    Results,
    /// How long one request takes from the POST to its result
    Latency,
    /// How long requests take from the POST to the result when many arrive
    Busy,
    /// What a full store costs
    Growth,
    /// How much memory the services take
    Memory,
    /// What very many requests take of memory and disk
    Cost,
    /// How much other ways to do the same accept and do
    Peers,
}

/// Measures release builds. Figures beyond their threshold make it fail only with `--check`.
pub(crate) async fn run(options: &Options, interrupt: &mut Interrupt) -> Result<ExitCode> {
    let Some(built) = interrupt.or(release_build::build()).await else {
        return Ok(interrupt::stopped("bench"));
    };
    built?;
    if !release_build::is_current() {
        return Err(release_build::exec());
    }
    let Some(measured) = interrupt.or(measure(options)).await else {
        return Ok(interrupt::stopped("bench"));
    };
    let report = measured?;
    report.print();
    if let Some(file) = &options.json {
        report.write(file)?;
    }
    if options.write {
        let names: Vec<_> = Part::value_variants().iter().map(|part| part.name()).collect();
        document::write(&report, &options.command(), &names)?;
    }
    let failed = !report.failed.is_empty() || options.check && !report.holds();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measure(options: &Options) -> Result<Report> {
    let scale = Scale::new(options.quick, options.rounds);
    let system = System::start().await?;
    let machine = Machine::inspect(&system).await?;
    machine.print();
    let bench = Bench { system, scale, other_load: OtherLoad::default() };
    let all = Part::value_variants();
    let parts = if options.parts.is_empty() { all } else { &options.parts };
    let (mut measured, mut failed) = (Vec::new(), Vec::new());
    for part in parts {
        let name = part.name();
        match timeout(PART_TIMEOUT, part.measure(&bench)).await.context("took too long").flatten() {
            Ok(figures) => measured.push(Measured { name, figures }),
            // What the other parts find may have taken half an hour.
            Err(error) => {
                console::error(&error.context(format!("{name} was not measured")));
                failed.push(name);
                if let Err(error) = bench.system.purge_after_failure().await {
                    console::error(&error);
                    break;
                }
            }
        }
    }
    bench.system.stop().await;
    Ok(Report {
        machine,
        scale: bench.scale,
        parts: measured,
        failed,
        other_load: bench.other_load,
    })
}

impl Options {
    /// The command that measures the same, without the files it writes to.
    fn command(&self) -> String {
        let parts = self.parts.iter().map(|part| format!(" {}", part.name()));
        let rounds = self.rounds.map(|rounds| format!(" --rounds {rounds}"));
        let parts: String = parts.chain(rounds).collect();
        format!("cargo xtask bench{parts} --write")
    }
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    async fn measure(self, bench: &Bench) -> Result<Vec<Figure>> {
        match self {
            Self::Accept => accept::measure(bench).await,
            Self::Drain => drain::measure(bench).await,
            Self::Short => short::measure(bench).await,
            Self::Results => results::measure(bench).await,
            Self::Latency => latency::measure(bench).await,
            Self::Busy => busy::measure(bench).await,
            Self::Growth => growth::measure(bench).await,
            Self::Memory => memory::measure(bench).await,
            Self::Cost => cost::measure(bench).await,
            Self::Peers => peers::measure(bench).await,
        }
    }
}
