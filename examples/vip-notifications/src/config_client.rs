//! Client of the config service: loads the settings of an app, as often as it takes.

use std::time::Duration;

use anyhow::{Context, Result};
use pipeline::backoff::Backoff;
use tokio::time::sleep;
use tracing::{debug, warn};
use url::Url;

use crate::settings::Settings;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Loads the settings of one app in one profile.
pub(crate) struct ConfigClient {
    http: reqwest::Client,
    url: Url,
}

impl ConfigClient {
    /// A client for this app and profile of the config service at `base`.
    pub(crate) fn new(base: &Url, app: &str, profile: &str) -> reqwest::Result<Self> {
        // The HTTP library has no TLS provider of its own. It is installed already if this fails.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().tls_certs_only([]);
        let mut url = base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend([app, profile]);
        }
        Ok(Self { http: http.build()?, url })
    }

    /// Loads the settings, and tries again until the config service has them.
    pub(crate) async fn load_until_there(&self) -> Settings {
        let (mut backoff, mut warned) = (Backoff::connecting(), false);
        loop {
            match self.load().await {
                Ok(settings) => return settings,
                Err(error) if warned => debug!("still no settings: {error:#}"),
                Err(error) => warn!("no settings yet, retrying: {error:#}"),
            }
            warned = true;
            sleep(backoff.next_pause()).await;
        }
    }

    async fn load(&self) -> Result<Settings> {
        let answer = self.http.get(self.url.clone()).send().await?.error_for_status()?;
        let settings: Settings = answer.json().await.context("the settings of this app")?;
        settings.brokers()?;
        Ok(settings)
    }
}
