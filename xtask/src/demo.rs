//! `cargo xtask demo`: runs the whole system on this machine and shows the way of each request.

mod session;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use owo_colors::AnsiColors;
use testbed::workspace;

use self::session::Session;
use crate::{
    console,
    interrupt::{self, Interrupt},
    system::{
        broker::{Broker, BrokerOptions, settings_in},
        launch::Launch,
        programs::{Programs, usual_or_any_address},
    },
};

/// The names of the workers on the console.
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];

/// Options of the demo.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Send a few requests, show their results, and end
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    broker: BrokerOptions,
}

/// Runs the demo until it is interrupted or, with `--once`, until all results have come.
pub(crate) async fn run(options: &Options, interrupt: &mut Interrupt) -> Result<ExitCode> {
    let Some(prepared) = interrupt.or(prepare(options)).await else {
        return Ok(interrupt::stopped("demo"));
    };
    let (broker, mut session) = prepared?;
    print_urls(options, &session);
    let ended = match options.once {
        true => session.send_a_few(interrupt).await,
        false => session.run_until(interrupt).await,
    };
    // Also after an error the programs finish the requests in flight.
    let drained = interrupt.or(session.drain()).await.unwrap_or(Ok(()));
    let summary = session.summary(matches!(broker, Broker::Private(_)));
    drop(session);
    let _ = interrupt.or(broker.stop()).await;
    ended.and(drained)?;
    console::step("demo", format!("{summary}; nothing is left running"));
    Ok(ExitCode::SUCCESS)
}

async fn prepare(options: &Options) -> Result<(Broker, Session)> {
    let root = workspace::root();
    let settings = settings_in(&root)?;
    let broker = match options.broker.configured(&settings, &root)? {
        Some(configured) => configured,
        None => Broker::private(&options.broker.install().await?, "demo").await?,
    };
    // Long enough for a user to kill a worker in the middle of its work.
    let delay = if options.once { "1s" } else { "3s" };
    let launch = match broker {
        Broker::Configured { .. } => Launch::on(&broker).with_queues_of(&settings),
        Broker::Private(_) => Launch::on(&broker),
    };
    let web = launch.program("web-service").env("HTTP_ADDR", usual_or_any_address());
    let workers = WORKERS.map(|name| (name, session::worker(&launch, delay)));
    let programs = Programs::start(&launch, web, workers.into()).await?;
    Ok((broker, Session::new(launch, delay, programs)?))
}

fn print_urls(options: &Options, session: &Session) {
    let url = session.url();
    console::blank_line();
    console::line("page", AnsiColors::Green, format!("{url}/"));
    console::line("api", AnsiColors::Green, format!("{url}/api/v1/processData"));
    console::line("docs", AnsiColors::Green, format!("{url}/docs"));
    console::line("health", AnsiColors::Green, format!("{url}/health/ready"));
    if !options.once {
        let curl = format!(
            "curl -i {url}/api/v1/processData -H 'Content-Type: application/json' -d '{{\"data\":\"hello\"}}'"
        );
        console::line("try", AnsiColors::Green, curl);
        let pid = session.pid(WORKERS[0]);
        let effect = console::dimmed("worker-1 dies, and its request goes to worker-2");
        console::line("or", AnsiColors::Green, format!("kill -9 {pid}  {effect}"));
        console::line("stop", AnsiColors::Green, "Ctrl-C");
    }
    console::blank_line();
}
