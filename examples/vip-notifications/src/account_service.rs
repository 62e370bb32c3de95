//! Account service: answers who an account belongs to, and notifies when the account of a VIP was read.

use std::{process::ExitCode, sync::Arc};

use actix_web::{
    HttpResponse,
    error::ErrorInternalServerError,
    get,
    web::{Data, Path, ServiceConfig},
};
use anyhow::Result;
use pipeline::{
    broker::{BackgroundPublisher, Broker},
    contract::Timestamp,
    health::{Part, Readiness},
};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    account_store::{Account, AccountStore},
    http::health,
    notification::{Notification, Notifier},
    program::{self, Program, serve_until_stopped},
    settings::Settings,
};

/// How many notifications may wait for the broker; more are dropped.
const MAX_WAITING: usize = 1000;

/// Runs the program, and gives its exit code.
pub fn run() -> ExitCode {
    let about =
        "Answers who an account belongs to, and notifies when the account of a VIP was read.";
    program::run("account-service", about, serve)
}

async fn serve(program: Program) -> Result<()> {
    let Program { settings, broker, database, http, tasks, shutdown } = program;
    let notifier = broker.background_publisher(MAX_WAITING);
    let state = State {
        accounts: Accounts {
            store: AccountStore::open(&database)?,
            notifier: Box::new(notifier.clone()),
            settings,
        },
        served_by: http.address.to_string(),
        notifier,
        broker: broker.clone(),
    };
    let server = http.serve(state, routes)?;
    serve_until_stopped(server, tasks, broker, shutdown).await
}

/// The accounts, and who is told that one was read.
struct Accounts {
    store: AccountStore,
    notifier: Box<dyn Notifier>,
    settings: watch::Receiver<Settings>,
}

impl Accounts {
    /// Reads an account. If it is a VIP's, this is told without waiting.
    fn read(&self, id: &str) -> rusqlite::Result<Option<Account>> {
        let found = self.store.find(id)?;
        if found.is_some() && self.settings.borrow().is_vip(id) {
            let read_at = Timestamp::now();
            self.notifier.notify(&Notification { account_id: id.to_owned(), read_at });
        }
        Ok(found)
    }
}

struct State {
    accounts: Accounts,
    served_by: String,
    notifier: BackgroundPublisher,
    broker: Arc<Broker>,
}

fn routes(config: &mut ServiceConfig) {
    config.service(get_account).service(get_health);
}

// A read by its key from a local file takes less time than handing it to another thread.
#[get("/accounts/{id}")]
async fn get_account(id: Path<String>, state: Data<State>) -> actix_web::Result<HttpResponse> {
    let found = state.accounts.read(&id).map_err(ErrorInternalServerError)?;
    Ok(match found {
        Some(Account { id, name }) => {
            HttpResponse::Ok().json(json!({ "id": id, "name": name, "servedBy": state.served_by }))
        }
        None => HttpResponse::NotFound().json(json!({ "error": "there is no such account" })),
    })
}

/// Accounts can be read without the broker, until too many notifications wait for it.
#[get("/health")]
async fn get_health(state: Data<State>) -> HttpResponse {
    let [(_, publishing), ..] = state.broker.health();
    let waiting = state.notifier.waiting();
    let detail = format!("{waiting} of {MAX_WAITING} wait; the broker: {}", publishing.detail);
    let part = if waiting < MAX_WAITING { Part::ok(detail) } else { Part::missing(detail) };
    health(&Readiness::of([("notifications", part)]))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps notifications in memory instead of sending them.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<Notification>>>);

    impl Notifier for Recorder {
        fn notify(&self, notification: &Notification) {
            self.0.lock().unwrap().push(notification.clone());
        }
    }

    fn accounts(recorder: &Recorder) -> (Accounts, watch::Sender<Settings>) {
        let settings = json!({
            "brokerUrl": "amqp://127.0.0.1", "port": 0, "logLevel": "info", "vips": ["10000"]
        });
        let (sender, settings) = watch::channel(serde_json::from_value(settings).unwrap());
        let store = AccountStore::open(":memory:".as_ref()).unwrap();
        (Accounts { store, notifier: Box::new(recorder.clone()), settings }, sender)
    }

    #[test]
    fn exactly_one_notification_is_sent_for_the_vip_and_none_for_others() {
        let recorder = Recorder::default();
        let (accounts, _settings) = accounts(&recorder);
        let name = |id| accounts.read(id).unwrap().map(|account| account.name);
        assert_eq!(name("10000").as_deref(), Some("Person_0"));
        assert_eq!(name("10099").as_deref(), Some("Person_99"));
        assert_eq!([name("9999"), name("10100"), name("")], [None, None, None]);
        let sent = recorder.0.lock().unwrap();
        assert_eq!(sent.iter().map(|sent| &*sent.account_id).collect::<Vec<_>>(), ["10000"]);
    }

    #[test]
    fn who_is_a_vip_can_change_while_the_service_runs() {
        let recorder = Recorder::default();
        let (accounts, settings) = accounts(&recorder);
        let refreshed = json!({
            "brokerUrl": "amqp://127.0.0.1", "port": 0, "logLevel": "info", "vips": ["10001"]
        });
        settings.send_replace(serde_json::from_value(refreshed).unwrap());
        accounts.read("10000").unwrap();
        assert!(recorder.0.lock().unwrap().is_empty());
        accounts.read("10001").unwrap();
        assert_eq!(recorder.0.lock().unwrap().len(), 1);
    }
}
