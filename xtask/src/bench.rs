//! `cargo xtask bench`: measures speed and memory, each figure beside what the broker alone does in the same run.

mod accept;
mod drain;
mod growth;
mod latency;
mod memory;
mod results;

mod context;
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
mod web;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, ValueEnum};

use self::{
    context::Bench, figure::Figure, machine::Machine, other_load::OtherLoad, report::Report,
    scale::Scale, system::System,
};
use crate::interrupt::{self, Interrupt};

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

    /// End with 1 if a figure is worse than it should be
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
    /// How fast waiting results are stored
    Results,
    /// How long one request takes from the POST to its result
    Latency,
    /// What a full store costs
    Growth,
    /// How much memory the web service takes
    Memory,
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
    let failed = options.check && !report.holds();
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
    let mut figures = Vec::new();
    for part in parts {
        figures.extend(part.measure(&bench).await?);
    }
    bench.system.stop().await;
    Ok(Report { machine, scale: bench.scale, figures, other_load: bench.other_load })
}

impl Part {
    async fn measure(self, bench: &Bench) -> Result<Vec<Figure>> {
        match self {
            Self::Accept => accept::measure(bench).await,
            Self::Drain => drain::measure(bench).await,
            Self::Results => results::measure(bench).await,
            Self::Latency => latency::measure(bench).await,
            Self::Growth => growth::measure(bench).await,
            Self::Memory => memory::measure(bench).await,
        }
    }
}
