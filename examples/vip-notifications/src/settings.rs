//! Settings: what the config service answers to an app.

use anyhow::{Context, Result, anyhow};
use pipeline::{broker::Address, config, telemetry::LogFilter};
use serde::Deserialize;
use tracing::info;

use crate::log_messages::SETTINGS_LOADED;

/// The settings of an app. There is no `Debug`: the URL may hold a password.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    broker_url: String,
    /// The port of the HTTP server on 127.0.0.1; 0 takes a free one.
    pub(crate) port: u16,
    log_level: String,
    /// The ids of the accounts that belong to VIPs.
    vips: Vec<String>,
}

impl Settings {
    /// The brokers to try in turn.
    pub(crate) fn brokers(&self) -> Result<Vec<Address>> {
        let read = config::addresses(&self.broker_url);
        read.map_err(|error| anyhow!("brokerUrl: {}", error.detail.unwrap_or_default()))
    }

    /// Whether this account belongs to a VIP.
    pub(crate) fn is_vip(&self, account_id: &str) -> bool {
        self.vips.iter().any(|vip| vip == account_id)
    }

    /// Sets the log level and logs what has been loaded.
    pub(crate) fn apply(&self, log: &LogFilter) -> Result<()> {
        log.set(&self.log_level).ok().context("logLevel takes a level like info or debug")?;
        info!(logLevel = self.log_level, vips = self.vips.join(","), "{SETTINGS_LOADED}");
        Ok(())
    }
}
