//! `cargo xtask demo`: runs the whole system on this machine and shows the way of each request.

mod display;
mod log_events;
mod session;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use owo_colors::AnsiColors;

use self::session::Session;
use crate::{
    cargo, console,
    interrupt::{self, Interrupt},
    system::{broker::Broker, programs::Programs},
};

/// Options of the demo.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Send a few requests, show their results, and end
    #[arg(long)]
    once: bool,
}

/// Runs the demo until it is interrupted or, with `--once`, until all results have come.
pub(crate) async fn run(options: &Options, interrupt: &mut Interrupt) -> Result<ExitCode> {
    let Some(prepared) = interrupt.or(prepare(options)).await else {
        return Ok(interrupt::stopped("demo"));
    };
    let (broker, programs) = prepared?;
    print_urls(options, &programs);
    let mut session = Session::new(&broker, programs)?;
    let ended = match options.once {
        true => session.send_a_few(interrupt).await,
        false => session.run_until(interrupt).await,
    };
    // Also after an error the programs finish the requests in flight.
    let drained = interrupt.or(session.drain()).await.unwrap_or(Ok(()));
    let summary = session.summary();
    drop(session);
    let _ = interrupt.or(broker.stop()).await;
    ended.and(drained)?;
    console::step("demo", format!("{summary}; nothing is left running"));
    Ok(ExitCode::SUCCESS)
}

async fn prepare(options: &Options) -> Result<(Broker, Programs)> {
    console::step("build", "the three programs");
    let build = ["build", "--quiet", "-p", "setup", "-p", "web-service", "-p", "processor-service"];
    cargo::build(&build).await?;
    let broker = Broker::configured_or_private().await?;
    // Long enough for a user to kill a worker in the middle of its work.
    let delay = if options.once { "1s" } else { "3s" };
    let programs = Programs::start(&broker, delay).await?;
    Ok((broker, programs))
}

fn print_urls(options: &Options, programs: &Programs) {
    let url = programs.url();
    console::blank_line();
    console::line("api", AnsiColors::Green, format!("{url}/api/v1/processData"));
    console::line("docs", AnsiColors::Green, format!("{url}/docs"));
    console::line("health", AnsiColors::Green, format!("{url}/health/ready"));
    if !options.once {
        let curl = format!(
            "curl -i {url}/api/v1/processData -H 'Content-Type: application/json' -d '{{\"data\":\"hello\"}}'"
        );
        console::line("try", AnsiColors::Green, curl);
        let pid = programs.workers.first().map_or(0, |worker| worker.process.pid());
        let effect = console::dimmed("worker-1 dies, and its request goes to worker-2");
        console::line("or", AnsiColors::Green, format!("kill -9 {pid}  {effect}"));
        console::line("stop", AnsiColors::Green, "Ctrl-C");
    }
    console::blank_line();
}
