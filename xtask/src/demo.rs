//! `cargo xtask demo`: the whole system on this machine, with something to do, for somebody to watch.

mod broker;
mod cast;
mod feed;
mod play;
mod view;

use std::process::ExitCode;

use anyhow::Result;
pub(crate) use broker::Broker;
pub(crate) use cast::Cast;
use clap::Args;
use owo_colors::AnsiColors;
use play::Play;

use crate::{
    cargo, say,
    stop::{self, Stop},
};

/// What the demo is to do.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Send a few requests, show their results, and end
    #[arg(long)]
    once: bool,
}

/// Runs the demo until it is stopped or, with `--once`, until all results are there.
pub(crate) async fn run(options: &Options, stop: &mut Stop) -> Result<ExitCode> {
    let Some(prepared) = stop.or(prepare(options)).await else {
        say::gap();
        say::step("demo", "stopped; nothing is left running");
        return Ok(stop::exit_code());
    };
    let (broker, cast) = prepared?;
    introduce(options, &cast);
    let mut play = Play::new(&broker, cast)?;
    let played = if options.once { play.once(stop).await } else { play.until_stopped(stop).await };
    // Whatever went wrong, those who are still there may finish what they have in hand.
    let drained = stop.or(play.drain()).await.unwrap_or(Ok(()));
    let summary = play.summary();
    drop(play);
    let _ = stop.or(broker.stop()).await;
    played.and(drained)?;
    say::step("demo", format!("{summary}; nothing is left running"));
    Ok(ExitCode::SUCCESS)
}

async fn prepare(options: &Options) -> Result<(Broker, Cast)> {
    say::step("build", "the three programs");
    cargo::build(&[
        "build",
        "--quiet",
        "-p",
        "setup",
        "-p",
        "web-service",
        "-p",
        "processor-service",
    ])
    .await?;
    let broker = Broker::find_or_start().await?;
    // Long enough to kill a worker in the middle of its work; nobody waits for that in the short show.
    let cast = Cast::start(&broker, if options.once { "1s" } else { "3s" }).await?;
    Ok((broker, cast))
}

fn introduce(options: &Options, cast: &Cast) {
    let url = cast.url();
    say::gap();
    say::line("api", AnsiColors::Green, format!("{url}/api/v1/processData"));
    say::line("docs", AnsiColors::Green, format!("{url}/docs"));
    say::line("health", AnsiColors::Green, format!("{url}/health/ready"));
    if !options.once {
        let curl = format!(
            "curl -i {url}/api/v1/processData -H 'Content-Type: application/json' -d '{{\"data\":\"hello\"}}'"
        );
        say::line("try", AnsiColors::Green, curl);
        let kill =
            format!("kill -9 {}", cast.workers.first().map_or(0, |worker| worker.process.pid()));
        say::line(
            "or",
            AnsiColors::Green,
            format!("{kill}  {}", say::faint("worker-1 dies, and its request goes to worker-2")),
        );
        say::line("stop", AnsiColors::Green, "Ctrl-C");
    }
    say::gap();
}
