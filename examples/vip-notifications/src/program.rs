//! What the account service and the VIP service have in common: from the command line to the last confirm.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use actix_web::{dev::Server, rt::System};
use anyhow::{Result, bail};
use clap::Command;
use pipeline::{
    broker::{Broker, BrokerOptions},
    config::{self, Arguments, ParseError, Reader, Variable, variables},
    program::exit_code,
    shutdown::Shutdown,
    stderr,
    telemetry::{self, LogFilter},
    topology::Topology,
};
use tokio::{sync::watch, task::JoinSet};
use url::Url;

use crate::{
    config_client::ConfigClient,
    http::Http,
    notification::vip_queue,
    refresh::{config_event_bus, follow_refreshes, refresh_queue},
    settings::Settings,
};

/// How long the broker may take at the end to confirm the last messages.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(3);

static PROFILE: Variable = Variable {
    name: "PROFILE",
    default: Some("dev"),
    takes: "a name like dev or test",
    about: "Which settings of this program to load from the config service.",
    secret: false,
};

static CONFIG_URL: Variable = Variable {
    name: "CONFIG_URL",
    default: Some("http://127.0.0.1:8888/"),
    takes: "an http:// URL like http://127.0.0.1:8888/",
    about: "Where the config service is.",
    secret: false,
};

static DATABASE: Variable = Variable {
    name: "DATABASE",
    default: None,
    takes: "the path of a file",
    about: "The program's own database; NAME.db in the current folder if it is not set.",
    secret: false,
};

/// A program that has its settings and connects to the broker.
pub(crate) struct Program {
    /// The settings as they are now; a refresh changes VIPs and the log level.
    pub(crate) settings: watch::Receiver<Settings>,
    /// The connections to the broker.
    pub(crate) broker: Arc<Broker>,
    /// The file for the program's own data.
    pub(crate) database: PathBuf,
    /// The bound HTTP server.
    pub(crate) http: Http,
    /// The background work, which ends after `shutdown.drain`.
    pub(crate) tasks: JoinSet<()>,
    /// The request to stop.
    pub(crate) shutdown: Shutdown,
}

/// Runs a program from its command line to its end: loads the settings, which may take until the config service is
/// there, connects to the broker, and calls `serve`.
pub(crate) fn run(
    name: &'static str,
    about: &'static str,
    serve: impl AsyncFnOnce(Program) -> Result<()>,
) -> ExitCode {
    let code = match Options::read(name, about) {
        // All on one thread, but for the connections to the broker and the HTTP worker.
        Ok(options) => exit_code(System::new().block_on(async {
            let shutdown = Shutdown::on_signals()?;
            let starting = Program::start(options, &shutdown);
            match shutdown.drain.run_until_cancelled(starting).await {
                Some(program) => serve(program?).await,
                None => Ok(()),
            }
        })),
        Err(code) => code,
    };
    stderr::flush();
    code
}

/// The command line.
struct Options {
    name: &'static str,
    client: ConfigClient,
    database: PathBuf,
    log: LogFilter,
}

impl Options {
    /// Reads the command line and starts to log.
    fn read(name: &'static str, about: &'static str) -> Result<Self, ExitCode> {
        let variables = [&PROFILE, &CONFIG_URL, &DATABASE, &variables::LOG_FORMAT];
        let Arguments { source, .. } =
            config::command_line(Command::new(name).about(about), &variables)?;
        let mut reader = Reader::new(&source);
        let text = |value: &str| Ok(value.to_owned());
        let profile = reader.read(&PROFILE, text);
        let base = reader.read(&CONFIG_URL, plain_http_url);
        let database = reader.read_optional(&DATABASE, text);
        let format = reader.read(&variables::LOG_FORMAT, config::log_format);
        let client = ConfigClient::new(&base, name, &profile);
        let client = client.map_err(|error| reader.problem(format!("CONFIG_URL: {error}")));
        reader.finish().map_err(|error| error.exit(name))?;
        let database = database.unwrap_or_else(|| format!("{name}.db")).into();
        let log = telemetry::start("info", format);
        client.map(|client| Self { name, client, database, log }).map_err(|()| ExitCode::FAILURE)
    }
}

/// A URL without TLS: the client has no certificates of authorities.
fn plain_http_url(value: &str) -> Result<Url, ParseError> {
    config::http_url(value)
        .and_then(|url| if url.scheme() == "http" { Ok(url) } else { Err(ParseError::default()) })
}

impl Program {
    async fn start(options: Options, shutdown: &Shutdown) -> Result<Self> {
        let Options { name, client, database, log } = options;
        let loaded = client.load_until_there().await;
        loaded.apply(&log)?;
        let broker = Arc::new(Broker::connect(&BrokerOptions {
            program: name,
            addresses: loaded.brokers()?,
            topology: Topology::of_program([config_event_bus()], [vip_queue()]),
        }));
        let http = Http::bind(([127, 0, 0, 1], loaded.port).into())?;
        let (sender, settings) = watch::channel(loaded);
        let refreshes = broker.consume_exclusively(refresh_queue(name), name);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_refreshes(client, refreshes, log, sender, shutdown.drain.clone()));
        Ok(Self { settings, broker, database, http, tasks, shutdown: shutdown.clone() })
    }
}

/// Serves until the program is told to stop; then finishes what is in flight and closes the connections to the
/// broker, so that it sees a proper close and no lost connection.
///
/// # Errors
/// If the HTTP server or a background task ends by itself.
pub(crate) async fn serve_until_stopped(
    server: Server,
    mut tasks: JoinSet<()>,
    broker: Arc<Broker>,
    shutdown: Shutdown,
) -> Result<()> {
    let http = server.handle();
    let mut serving = tokio::spawn(server);
    tokio::select! {
        // First, or a task that ends because it was told to would look like one that failed.
        biased;
        () = shutdown.drain.cancelled() => {}
        ended = &mut serving => return Ok(ended??),
        Some(ended) = tasks.join_next() => bail!("a background task ended by itself: {ended:?}"),
    }
    let closing = async {
        http.stop(true).await;
        while tasks.join_next().await.is_some() {}
        broker.close(CONFIRM_TIMEOUT).await;
    };
    let _closed_or_stopped_at_once = shutdown.now.run_until_cancelled(closing).await;
    Ok(())
}
