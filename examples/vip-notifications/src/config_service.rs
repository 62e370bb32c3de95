//! Config service: answers the settings of each app in each profile, and tells running apps to load them anew.

use std::{
    fs,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use actix_web::{
    HttpResponse, get, post,
    rt::System,
    web::{self, Data, ServiceConfig},
};
use anyhow::Result;
use clap::Command;
use pipeline::{
    broker::{Broker, BrokerOptions},
    config::{self, BrokerConfig, Logging, Reader, Variable},
    contract::Message,
    health::{Part, Readiness},
    program::{self, Settings},
    shutdown::Shutdown,
    topology::Topology,
};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};
use tracing::info;

use crate::{
    http::{Http, health},
    log_messages::REFRESHED,
    program::serve_until_stopped,
    refresh::{CONFIG_EVENT_BUS, config_event_bus},
};

const NAME: &str = "config-service";
/// How long the caller of a refresh waits at most for the broker's confirm.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

static HTTP_ADDR: Variable = Variable {
    name: "HTTP_ADDR",
    default: Some("127.0.0.1:8888"),
    takes: "an IP address and a port like 127.0.0.1:8888",
    about: "Where the config service listens; port 0 takes a free one.",
    secret: false,
};

static CONFIG_FOLDER: Variable = Variable {
    name: "CONFIG_FOLDER",
    default: Some("config"),
    takes: "the path of a folder",
    about: "The folder with a folder for each app, which has a file PROFILE.yaml for each profile.",
    secret: false,
};

struct Config {
    broker: BrokerConfig,
    address: SocketAddr,
    folder: PathBuf,
    logging: Logging,
}

impl Settings for Config {
    fn variables() -> Vec<&'static Variable> {
        let own: &[&'static Variable] = &[&HTTP_ADDR, &CONFIG_FOLDER];
        [BrokerConfig::VARIABLES, own, Logging::VARIABLES].concat()
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            broker: BrokerConfig::read(reader),
            address: reader.read(&HTTP_ADDR, config::address),
            folder: reader.read(&CONFIG_FOLDER, |path| Ok(path.into())),
            logging: Logging::read(reader),
        }
    }

    fn broker(&self) -> &BrokerConfig {
        &self.broker
    }

    fn logging(&self) -> &Logging {
        &self.logging
    }
}

/// Runs the program, and gives its exit code.
pub fn run() -> ExitCode {
    let about = "Answers the settings of apps, and tells running apps to load them anew.";
    program::run(Command::new(NAME).about(about), |config: Config, _| {
        program::exit_code(System::new().block_on(serve(config)))
    })
}

async fn serve(config: Config) -> Result<()> {
    let shutdown = Shutdown::on_signals()?;
    let broker = Arc::new(Broker::connect(&BrokerOptions {
        program: NAME,
        addresses: config.broker.addresses,
        topology: Topology::of_program([config_event_bus()], []),
    }));
    let http = Http::bind(config.address)?;
    let server = http.serve(State { folder: config.folder, broker: broker.clone() }, routes)?;
    serve_until_stopped(server, JoinSet::new(), broker, shutdown).await
}

struct State {
    folder: PathBuf,
    broker: Arc<Broker>,
}

fn routes(config: &mut ServiceConfig) {
    config.service(get_health).service(get_settings).service(refresh);
}

/// The settings can be read without the broker, so its state is only shown.
#[get("/health")]
async fn get_health(state: Data<State>) -> HttpResponse {
    let [(_, publishing), ..] = state.broker.health();
    let folder = state.folder.display();
    let part = match state.folder.is_dir() {
        true => Part::ok(format!("in {folder}; the broker: {}", publishing.detail)),
        false => Part::missing(format!("there is no folder {folder}")),
    };
    health(&Readiness::of([("settings", part)]))
}

// A small local file is read in less time than handing that to another thread takes.
#[get("/{app}/{profile}")]
async fn get_settings(path: web::Path<(String, String)>, state: Data<State>) -> HttpResponse {
    let (app, profile) = path.into_inner();
    match settings(&state.folder, &app, &profile) {
        Ok(Some(settings)) => HttpResponse::Ok().json(settings),
        Ok(None) => HttpResponse::NotFound().json(json!({ "error": "there are no such settings" })),
        Err(error) => HttpResponse::InternalServerError()
            .json(json!({ "error": format!("{app}/{profile}.yaml: {error:#}") })),
    }
}

/// The settings of an app, from its file; `None` if there is none.
fn settings(folder: &Path, app: &str, profile: &str) -> Result<Option<Value>> {
    if ![app, profile].into_iter().all(is_name) {
        return Ok(None);
    }
    match fs::read_to_string(folder.join(app).join(format!("{profile}.yaml"))) {
        Ok(text) => Ok(Some(serde_saphyr::from_str(&text)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether this is a plain name, which leads to no other folder and matches no pattern.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    !text.is_empty() && text.len() <= 100 && text.chars().all(plain)
}

/// Tells all running instances of an app to load their settings anew. Those that are cut off from the broker do so
/// when they are back.
#[post("/refresh/{app}")]
async fn refresh(app: web::Path<String>, state: Data<State>) -> HttpResponse {
    if !is_name(&app) {
        return HttpResponse::NotFound().json(json!({ "error": "there is no such app" }));
    }
    let message = Message::json(CONFIG_EVENT_BUS, &**app, &json!({ "app": *app }));
    let deadline = Instant::now() + PUBLISH_TIMEOUT;
    match state.broker.publisher().publish_to_subscribers(message, deadline).await {
        Ok(()) => {
            info!(app = *app, "{REFRESHED}");
            HttpResponse::NoContent().finish()
        }
        Err(error) => {
            HttpResponse::ServiceUnavailable().json(json!({ "error": error.to_string() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_of_the_app_and_the_profile() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("app")).unwrap();
        fs::write(folder.path().join("app/dev.yaml"), "port: 8080\nvips: [\"10000\"]\n").unwrap();
        fs::write(folder.path().join("app/bad.yaml"), "port: [8080\n").unwrap();
        fs::write(folder.path().join("secret.yaml"), "a: b\n").unwrap();
        let found = |app, profile| settings(folder.path(), app, profile);
        let expected = json!({ "port": 8080, "vips": ["10000"] });
        assert_eq!(found("app", "dev").unwrap(), Some(expected));
        assert!(found("app", "bad").is_err());
        for (app, profile) in [("app", "test"), ("other", "dev"), ("app", "../secret"), ("", "dev")]
        {
            assert_eq!(found(app, profile).unwrap(), None, "{app}/{profile}");
        }
    }
}
