//! The services of the example on one broker, with their ports, settings and databases.

use std::{collections::BTreeSet, fs, time::Instant};

use anyhow::{Result, ensure};
use pipeline::log_messages::{CONSUMING, LISTENING};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Program, http, ports, process::WAIT_TIMEOUT, program::Running};
use tokio::time::Duration;

use crate::support::wait::settles;

/// The services that take their settings from the config service.
pub(super) const APPS: [&str; 2] = ["account-service", "vip-service"];
/// Far less than a caller would wait for a broker.
const FAST: Duration = Duration::from_secs(5);

/// The services on one broker, with their ports, settings and databases.
pub(super) struct World {
    pub(super) broker_url: String,
    pub(super) config_port: u16,
    pub(super) account_port: u16,
    pub(super) folder: TempDir,
    pub(super) client: reqwest::Client,
}

impl World {
    pub(super) fn new(broker_url: &str) -> Result<Self> {
        let world = Self {
            broker_url: broker_url.to_owned(),
            config_port: ports::free()?,
            account_port: ports::free()?,
            folder: TempDir::with_prefix("slowlane-vip-")?,
            client: http::builder().timeout(WAIT_TIMEOUT).build()?,
        };
        world.write_settings("info", &["10000"])?;
        Ok(world)
    }

    pub(super) fn write_settings(&self, log_level: &str, vips: &[&str]) -> Result<()> {
        for (app, port) in APPS.into_iter().zip([self.account_port, 0]) {
            let settings = json!({
                "brokerUrl": self.broker_url, "port": port, "logLevel": log_level, "vips": vips
            });
            let folder = self.folder.path().join("config").join(app);
            fs::create_dir_all(&folder)?;
            // Each JSON text is YAML.
            fs::write(folder.join("test.yaml"), settings.to_string())?;
        }
        Ok(())
    }

    pub(super) fn program(&self, name: &str) -> Program {
        let program = Program::new(name).current_dir(self.folder.path()).env("LOG_FORMAT", "json");
        let config_url = format!("http://127.0.0.1:{}", self.config_port);
        match name {
            "config-service" => program
                .env("AMQP_URL", &self.broker_url)
                .env("HTTP_ADDR", format!("127.0.0.1:{}", self.config_port)),
            _ => program.arg("--profile").arg("test").arg("--config-url").arg(config_url),
        }
    }

    pub(super) async fn config(&self) -> Result<Running> {
        let config = self.program("config-service").start()?;
        config.wait_for_message(LISTENING).await?;
        Ok(config)
    }

    pub(super) async fn account(&self) -> Result<Running> {
        let account = self.program("account-service").start()?;
        account.wait_for_message(LISTENING).await?;
        Ok(account)
    }

    pub(super) async fn vip(&self) -> Result<Running> {
        let vip = self.program("vip-service").start()?;
        vip.wait_for_message(CONSUMING).await?;
        Ok(vip)
    }

    /// What the account service answers, at once whatever the broker does.
    pub(super) async fn read(&self, id: &str) -> Result<(u16, Value)> {
        let url = format!("http://127.0.0.1:{}/accounts/{id}", self.account_port);
        let began = Instant::now();
        let answer = self.client.get(url).send().await?;
        let (status, body) = (answer.status().as_u16(), answer.json().await?);
        ensure!(began.elapsed() < FAST, "reading {id} took {:?}", began.elapsed());
        Ok((status, body))
    }

    pub(super) async fn read_all(&self, ids: impl IntoIterator<Item = u32>) -> Result<()> {
        for id in ids {
            let (status, body) = self.read(&id.to_string()).await?;
            ensure!(status == 200, "{id}: {status} {body}");
        }
        Ok(())
    }

    pub(super) async fn health(&self, port: u16) -> Result<(u16, Value)> {
        let answer = self.client.get(format!("http://127.0.0.1:{port}/health")).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Waits until so many notifications wait for the broker.
    pub(super) async fn waiting(&self, count: usize) -> Result<()> {
        let wanted = format!("{count} of 1000 wait");
        settles(&wanted, async || {
            let (_, health) = self.health(self.account_port).await?;
            let detail = health["parts"]["notifications"]["detail"].as_str();
            Ok(detail.is_some_and(|detail| detail.starts_with(&wanted)))
        })
        .await
    }

    pub(super) async fn refresh(&self) -> Result<()> {
        for app in APPS {
            let url = format!("http://127.0.0.1:{}/refresh/{app}", self.config_port);
            settles(&format!("{app} is told"), async || {
                Ok(self.client.post(&url).send().await?.status() == 204)
            })
            .await?;
        }
        Ok(())
    }

    /// The accounts that have got an offer, once a day each by the table's key.
    pub(super) fn offers(&self) -> Result<BTreeSet<u32>> {
        let offers = rusqlite::Connection::open(self.folder.path().join("vip-service.db"))?;
        offers.busy_timeout(Duration::from_secs(10))?;
        let mut query = offers.prepare("SELECT account_id FROM offers")?;
        let ids = query.query_map([], |row| row.get::<_, String>(0))?;
        ids.map(|id| Ok(id?.parse()?)).collect()
    }
}
