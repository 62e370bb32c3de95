//! VIP service: receives notifications that a VIP's account was read, and makes an offer once per account and day.

use std::{process::ExitCode, sync::Arc};

use actix_web::{
    HttpResponse, get,
    web::{Data, ServiceConfig},
};
use anyhow::Result;
use pipeline::{
    backoff::Backoff,
    broker::{Broker, Consume, Consumer, Delivery},
    health::Readiness,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    http::health,
    log_messages::{NOTIFIED, OFFER_MADE},
    notification::{Notification, VIP_QUEUE},
    offer_store::OfferStore,
    program::{self, Program, serve_until_stopped},
    settings::Settings,
};

/// How many notifications one instance holds at a time. Each is short work, and the broker delivers in turn to all
/// instances that have room.
const PREFETCH: u16 = 10;

/// Runs the program, and gives its exit code.
pub fn run() -> ExitCode {
    let about =
        "Receives notifications that a VIP's account was read, and makes an offer once a day.";
    program::run("vip-service", about, serve)
}

async fn serve(program: Program) -> Result<()> {
    let Program { settings, broker, database, http, mut tasks, shutdown } = program;
    let offers = Offers { store: OfferStore::open(&database)?, settings };
    let consumer = broker.consume(Consume::queue(VIP_QUEUE, PREFETCH, "notifications"));
    tasks.spawn(offers.receive(consumer, shutdown.drain.clone()));
    let server = http.serve(State { broker: broker.clone() }, routes)?;
    serve_until_stopped(server, tasks, broker, shutdown).await
}

struct Offers {
    store: OfferStore,
    settings: watch::Receiver<Settings>,
}

impl Offers {
    /// Handles notifications until `stop`.
    async fn receive(mut self, mut consumer: Consumer, stop: CancellationToken) {
        while let Some(Some(delivery)) = stop.run_until_cancelled(consumer.next()).await {
            // If the program stops in the middle, the delivery is dropped, which requeues it.
            stop.run_until_cancelled(self.handle(delivery)).await;
        }
        consumer.close().await;
    }

    /// Handles one notification and acks it. While the store fails, it is tried again: meanwhile the broker delivers
    /// the others to other instances.
    async fn handle(&mut self, delivery: Delivery) {
        let notification: Notification = match serde_json::from_slice(&delivery.body) {
            Ok(notification) => notification,
            Err(error) => {
                warn!("dropped a message that is no notification: {error}");
                return delivery.ack();
            }
        };
        let Notification { account_id, read_at } = &notification;
        let redelivered = delivery.redelivered;
        info!(accountId = account_id, readAt = %read_at, redelivered, "{NOTIFIED}");
        let mut backoff = Backoff::storing();
        while let Err(error) = self.offer(&notification) {
            warn!(accountId = account_id, "can't record an offer, retrying: {error}");
            sleep(backoff.next_pause()).await;
        }
        // Only now: if the program dies before this, the notification comes again, and the offer is not repeated.
        delivery.ack();
    }

    fn offer(&mut self, notification: &Notification) -> rusqlite::Result<()> {
        let Notification { account_id, read_at } = notification;
        if !self.settings.borrow().is_vip(account_id) {
            return Ok(());
        }
        // The day of the reading, in UTC: a notification that comes again after midnight is still of that day.
        let read_at = read_at.to_string();
        let day = read_at.split('T').next().unwrap_or_default();
        if self.store.make_offer(account_id, day)? {
            info!(accountId = account_id, day, "{OFFER_MADE}");
        }
        Ok(())
    }
}

struct State {
    broker: Arc<Broker>,
}

fn routes(config: &mut ServiceConfig) {
    config.service(get_health);
}

#[get("/health")]
async fn get_health(state: Data<State>) -> HttpResponse {
    health(&Readiness::of(state.broker.health()))
}
