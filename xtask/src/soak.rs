//! `cargo xtask soak`: a steady load while programs are killed, frozen, stopped and cut off at random; at the end every
//! promise is looked at.

mod api;
mod disturb;
mod in_flight;
mod ledger;
mod load;
mod plan;
mod random;
mod receiver;
mod report;
mod schedule;
mod settle;
mod shared_ledger;
mod stage;

use std::{fs, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use testbed::workspace;
use tokio::time::Instant;

use self::{
    api::Api, disturb::Timeline, plan::Plan, receiver::Receiver, report::Report, schedule::Group,
    shared_ledger::SharedLedger, stage::Stage,
};
use crate::{
    cargo, console,
    interrupt::{self, Interrupt},
};

/// How long, and what is disturbed.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long the load lasts; the wait for the last results comes on top
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,

    /// What the load and the disturbances follow from; without it a new one each time
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// What is disturbed; without a name nothing
    #[arg(long, value_name = "WHAT", value_delimiter = ',', num_args = 0.., default_values_t = Group::value_variants().to_vec())]
    kill: Vec<Group>,
}

/// Runs a soak; ends with 1 if a promise was broken.
pub(crate) async fn run(options: &Options, interrupt: &mut Interrupt) -> Result<ExitCode> {
    let soak = Soak {
        seed: options.seed.unwrap_or_else(random::new_seed),
        length: Duration::from_secs(60 * options.minutes),
        groups: options.kill.clone(),
    };
    let prepared = async {
        build().await?;
        soak.run().await
    };
    let Some(clean) = interrupt.or(prepared).await else {
        return Ok(interrupt::stopped("soak"));
    };
    Ok(if clean? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A minute of it with everything disturbed, for `cargo xtask test --all`. Tells whether every promise was kept.
pub(crate) async fn minute() -> Result<bool> {
    let groups = Group::value_variants().to_vec();
    Soak { seed: 1, length: Duration::from_secs(60), groups }.run().await
}

/// Builds the programs beside this one, with the same profile.
async fn build() -> Result<()> {
    console::step("build", "setup, web-service and the example processor `faulty`");
    let mut args = vec!["build", "--bins", "--example", "faulty"];
    if !cfg!(debug_assertions) {
        args.push("--release");
    }
    cargo::build(&args).await
}

/// What a run follows from.
struct Soak {
    seed: u64,
    length: Duration,
    groups: Vec<Group>,
}

impl Soak {
    /// Does all of it, and tells whether every promise was kept.
    async fn run(&self) -> Result<bool> {
        console::step("soak", self.command());
        let logs = workspace::temp_dir_in(&stage::folder()?, "run-")?;
        let ledger = SharedLedger::default();
        let report = self.report(logs.path(), &ledger).await;
        let clean = report.as_ref().is_ok_and(Report::is_clean);
        let kept = if clean { None } else { Some(logs.keep()) };
        if let Some(folder) = &kept {
            write_findings(folder, &ledger)?;
        }
        let mut report = report.with_context(|| match &kept {
            Some(folder) => format!("{} could not go on; see {}", self.command(), folder.display()),
            None => self.command(),
        })?;
        report.logs = kept;
        report.print();
        Ok(clean)
    }

    async fn report(&self, logs: &Path, ledger: &SharedLedger) -> Result<Report> {
        let mut stage = Stage::build(logs, ledger).await?;
        let receiver = Receiver::start(ledger.clone()).await?;
        let api = Arc::new(Api::new(stage.urls(), receiver.url.clone(), self.seed)?);
        settle::ready(&api, ledger).await;
        let schedule = schedule::schedule(self.seed, &self.groups, self.length);

        let start = Instant::now();
        let load =
            load::run(Plan::new(self.seed, self.length), start, Arc::clone(&api), ledger.clone());
        let end = start + self.length;
        let timeline = Timeline { start, end, file: logs.join("disturbances.log") };
        let disturbed = disturb::run(&mut stage, &schedule, &timeline);
        let (calls, ()) = tokio::try_join!(async { Ok(load.await) }, disturbed)?;

        let settled = settle::wait(&api, ledger, &stage, calls);
        console::while_waiting("soak", "waiting for the last results and callbacks", settled)
            .await?;
        let settling = end.elapsed();
        settle::ready(&api, ledger).await;
        settle::compare(&api, ledger).await?;
        stage.stop_services().await?;
        settle::look_at_queues(ledger, &stage.broker).await?;
        let report = Report::new(&ledger.lock(), &schedule, self.length, settling, self.command());
        // What is left ends as it is dropped.
        let _ = stage.broker.stop().await;
        Ok(report)
    }

    /// The command that does the same again.
    fn command(&self) -> String {
        let groups: Vec<_> = self.groups.iter().map(ToString::to_string).collect();
        let minutes = self.length.as_secs() / 60;
        format!(
            "cargo xtask soak --minutes {minutes} --seed {} --kill {}",
            self.seed,
            groups.join(",")
        )
    }
}

/// All findings, one a line, beside the logs.
fn write_findings(folder: &Path, ledger: &SharedLedger) -> Result<()> {
    let lines = ledger.lock().findings().into_iter().map(|one| format!("{}  {one}\n", one.kind));
    let file = folder.join("findings.txt");
    fs::write(&file, lines.collect::<String>())
        .with_context(|| format!("cannot write {}", file.display()))
}
