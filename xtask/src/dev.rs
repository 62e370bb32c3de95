//! `cargo xtask dev`: runs a broker, the services and the user's own worker until Ctrl-C, and keeps the data.

mod folder;
mod session;
mod watch;
mod work;

use std::{
    env,
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use owo_colors::AnsiColors;
use pipeline::config::{Source, variables};
use testbed::rabbitmq::Install;

use self::{
    folder::DataFolder,
    session::Session,
    watch::Changes,
    work::{Work, WorkOptions},
};
use crate::{
    console, environment,
    interrupt::{self, Interrupt},
    system::{
        broker::{Broker, BrokerOptions, settings_in},
        launch::Launch,
        programs::Programs,
    },
};

/// Options of `dev`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    work: WorkOptions,

    /// Restart the worker when a file changes that --command or --worker names
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    broker: BrokerOptions,

    /// Where the data of the broker, the requests and the logs are kept [default: .slowlane/dev]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

/// What runs, and the broker that it runs on.
struct Prepared {
    broker: Broker,
    session: Session,
    /// Locked as long as this lives.
    folder: DataFolder,
}

/// Runs the system until it is interrupted.
pub(crate) async fn run(options: &Options, interrupt: &mut Interrupt) -> Result<ExitCode> {
    let Some(prepared) = interrupt.or(prepare(options)).await else {
        return Ok(interrupt::stopped("dev"));
    };
    let Prepared { broker, mut session, folder } = prepared?;
    print_usage(&broker, &session, &folder);
    let ended = session.run_until(interrupt).await;
    console::blank_line();
    // A second signal ends the wait, and what still runs is killed.
    let drained = interrupt.or(session.drain()).await.unwrap_or(Ok(()));
    drop(session);
    let _ = interrupt.or(broker.stop()).await;
    ended.and(drained)?;
    let kept = folder.path().display();
    console::step("dev", format!("nothing is left running; the data is kept in {kept}"));
    Ok(ExitCode::SUCCESS)
}

async fn prepare(options: &Options) -> Result<Prepared> {
    let here = env::current_dir().context("the current folder is gone")?;
    let settings = settings_in(&here)?;
    let work = Work::of(&options.work, &settings, &here)?;
    let changes = match options.watch {
        true => Changes::of(work.files(&here)?)?,
        false => Changes::none(),
    };
    let address = http_address(&settings)?;
    let mut folder = DataFolder::lock(options.data.as_deref())?;
    let broker = broker(options, &settings, &here, &mut folder).await?;
    let launch = launch(&broker, &settings, &folder, here);
    let database = format!("sqlite:{}", folder.inside("slowlane.db").display());
    let web = launch.program("web-service").env("DATABASE_URL", database);
    let programs = Programs::start(&launch, web.env("HTTP_ADDR", address), Vec::new()).await?;
    let session = Session::start(programs, launch, work, changes);
    Ok(Prepared { broker, session, folder })
}

/// The configured broker, or a private one. Each release has its own data: a release can't read those of a later one.
async fn broker(
    options: &Options,
    settings: &Source,
    here: &Path,
    folder: &mut DataFolder,
) -> Result<Broker> {
    if let Some(configured) = options.broker.configured(settings, here)? {
        folder.enter("configured-broker")?;
        return Ok(configured);
    }
    let install = options.broker.install().await?;
    folder.enter(&format!("rabbitmq-{}", series(&install)))?;
    Broker::kept(&install, folder.inside("rabbitmq")).await
}

/// `3.10` of `3.10.8`.
fn series(install: &Install) -> &str {
    let version = install.version();
    version.match_indices('.').nth(1).map_or(version, |(end, _)| &version[..end])
}

/// The programs have the user's settings, but for the store, and run where the user is: there the command's files are.
fn launch(broker: &Broker, settings: &Source, folder: &DataFolder, here: PathBuf) -> Launch {
    if settings.get(&variables::DATABASE_URL).is_some() {
        let text = "DATABASE_URL is not used: the requests are kept with the other data";
        console::step("store", text);
    }
    Launch::on(broker).in_folder(here, environment::for_programs(), folder.inside("logs"))
}

/// The address that the web service is to have; fails if somebody else has it.
fn http_address(settings: &Source) -> Result<String> {
    let usual = variables::HTTP_ADDR.default.unwrap_or_default();
    let address = settings.get(&variables::HTTP_ADDR).map_or(usual, |(address, _)| address);
    // What is no address is reported by the web service.
    if let Ok(parsed) = address.parse::<SocketAddr>()
        && let Err(error) = TcpListener::bind(parsed)
        && error.kind() == ErrorKind::AddrInUse
    {
        let other = SocketAddr::new(parsed.ip(), parsed.port().wrapping_add(1).max(1024));
        bail!(
            "{address} is in use, perhaps by another web service. Stop that, or choose another address: \
             HTTP_ADDR={other} cargo xtask dev ..."
        );
    }
    Ok(address.to_owned())
}

fn print_usage(broker: &Broker, session: &Session, folder: &DataFolder) {
    let line = |part, text: String| console::line(part, AnsiColors::Green, text);
    let url = session.url();
    console::blank_line();
    line("page", format!("{url}/"));
    line("api", format!("{url}/api/v1/processData"));
    line("docs", format!("{url}/docs"));
    line(
        "try",
        format!(
            "curl -i {url}/api/v1/processData -H 'Content-Type: application/json' -d '{{\"data\":\"hello\"}}'"
        ),
    );
    if session.has_own_work() {
        line("", console::dimmed("with data that your work takes, in place of \"hello\""));
    }
    match broker {
        Broker::Private(node) => {
            let use_of_it = "for more workers; a second web service waits until this one ends";
            line("broker", format!("AMQP_URL={}  {}", node.url(), console::dimmed(use_of_it)));
        }
        Broker::Configured { variable, .. } => line("broker", format!("the one of {variable}")),
    }
    line("logs", shown(&folder.inside("logs")));
    line("stop", format!("Ctrl-C  {}", console::dimmed("the data is kept for the next time")));
    console::blank_line();
}

/// A path as short as the user can type it.
fn shown(path: &Path) -> String {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}
