//! `cargo xtask bench`: how fast the system is, each figure beside what the broker alone does in the same run.

mod accept;
mod apart;
mod bare;
mod client;
mod figure;
mod growth;
mod latency;
mod load;
mod machine;
mod memory;
mod messages;
mod release;
mod report;
mod results;
mod scale;
mod stage;
mod usage;
mod web;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, ValueEnum};

use self::{figure::Figure, machine::Machine, report::Report, scale::Scale, stage::Stage};
use crate::{
    say,
    stop::{self, Stop},
};

/// What to measure, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to measure; without a name everything
    parts: Vec<Part>,

    /// Measure in about a minute: enough to see that everything works, not to trust a figure
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

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// How many requests are accepted in a second
    Accept,
    /// How fast waiting results are stored
    Results,
    /// How long one request takes from the POST to its result
    Latency,
    /// What a full store costs
    Growth,
    /// How much memory the web service takes
    Memory,
}

/// What all measurements need.
struct Bench {
    stage: Stage,
    scale: Scale,
    usage: usage::Log,
}

/// Measures with release builds; the figures decide how it ends only under `--check`.
pub(crate) async fn run(options: &Options, stop: &mut Stop) -> Result<ExitCode> {
    let Some(built) = stop.or(release::build()).await else { return Ok(stopped()) };
    built?;
    if !release::is_this() {
        return Err(release::become_it());
    }
    let Some(measured) = stop.or(measure(options)).await else { return Ok(stopped()) };
    let report = measured?;
    report.print();
    if let Some(file) = &options.json {
        report.write(file)?;
    }
    let fails = options.check && !report.holds();
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn stopped() -> ExitCode {
    say::gap();
    say::step("bench", "stopped; nothing is left running");
    stop::exit_code()
}

async fn measure(options: &Options) -> Result<Report> {
    let scale = Scale::new(options.quick, options.rounds);
    let stage = Stage::build().await?;
    let machine = Machine::look(&stage).await?;
    machine.tell();
    let bench = Bench { stage, scale, usage: usage::Log::default() };
    let all = Part::value_variants();
    let parts = if options.parts.is_empty() { all } else { &options.parts };
    let mut figures = Vec::new();
    for part in parts {
        figures.extend(bench.part(*part).await?);
    }
    bench.stage.strike().await;
    Ok(Report { machine, scale: bench.scale, figures, usage: bench.usage })
}

impl Bench {
    async fn part(&self, part: Part) -> Result<Vec<Figure>> {
        match part {
            Part::Accept => accept::measure(self).await,
            Part::Results => results::measure(self).await,
            Part::Latency => latency::measure(self).await,
            Part::Growth => growth::measure(self).await,
            Part::Memory => memory::measure(self).await,
        }
    }

    /// The rounds of a part, each announced.
    fn rounds(&self, what: &str) -> impl Iterator<Item = u32> {
        let count = self.scale.rounds;
        (1..=count)
            .inspect(move |round| say::step("bench", format!("{what}, round {round} of {count}")))
    }
}
