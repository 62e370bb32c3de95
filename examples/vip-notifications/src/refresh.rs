//! Refresh: every running instance of an app loads its settings anew when the config service says so.

use pipeline::{
    broker::{ExclusiveConsumer, Received},
    telemetry::LogFilter,
    topology::{Exchange, ExchangeKind, ExclusiveQueue},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{config_client::ConfigClient, settings::Settings};

/// The durable topic exchange on which the config service tells apps to load their settings anew. The routing key
/// is the app's name.
pub(crate) const CONFIG_EVENT_BUS: &str = "config_event_bus";

/// The exchange as data.
pub(crate) fn config_event_bus() -> Exchange {
    Exchange::new(CONFIG_EVENT_BUS, ExchangeKind::Topic)
}

/// The queue of one running instance of an app.
pub(crate) fn refresh_queue(app: &str) -> ExclusiveQueue {
    ExclusiveQueue::new(app).bound_to(CONFIG_EVENT_BUS, app)
}

/// Loads the settings anew at each refresh until `stop`. Broker and port stay those of the start.
pub(crate) async fn follow_refreshes(
    client: ConfigClient,
    mut refreshes: ExclusiveConsumer,
    log: LogFilter,
    settings: watch::Sender<Settings>,
    stop: CancellationToken,
) {
    while let Some(Some(received)) = stop.run_until_cancelled(refreshes.next()).await {
        // After a new subscription too: a refresh may have been missed before.
        if let Received::Delivery(delivery) = received {
            delivery.ack();
        }
        let Some(loaded) = stop.run_until_cancelled(client.load_until_there()).await else { break };
        match loaded.apply(&log) {
            Ok(()) => drop(settings.send_replace(loaded)),
            Err(error) => warn!("the new settings are not used: {error}"),
        }
    }
    refreshes.close().await;
}
