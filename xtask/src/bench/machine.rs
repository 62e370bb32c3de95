//! The machine that is measured on: CPU, disk, and the versions of RabbitMQ and PostgreSQL.

use std::{
    fs,
    io::Write,
    time::{Instant, SystemTime},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::workspace;

use super::{figure::quantile_of, system::System};
use crate::console;

/// How many syncs of the disk are measured.
const SYNC_COUNT: usize = 50;
const BLOCK: [u8; 4096] = [7; 4096];

/// Facts about the machine.
#[derive(Debug)]
pub(super) struct Machine {
    processors: usize,
    model: Option<String>,
    kernel: Option<String>,
    /// The day of the measurement.
    date: String,
    /// The median time of a sync of one block, in seconds.
    sync_seconds: f64,
    rabbitmq: String,
    postgres: Option<String>,
}

impl Machine {
    pub(super) async fn inspect(system: &System) -> Result<Self> {
        Ok(Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            model: model(),
            kernel: kernel(),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string()[..10].to_owned(),
            sync_seconds: measure_sync().context("the disk can't be measured")?,
            rabbitmq: system.rabbitmq_version().to_owned(),
            postgres: system.postgres_version().await?,
        })
    }

    /// Prints a line about the machine.
    pub(super) fn print(&self) {
        console::step("machine", self.line());
    }

    /// A line about the machine.
    pub(super) fn line(&self) -> String {
        let kernel = self.kernel.as_ref().map(|kernel| format!(", Linux {kernel}"));
        let postgres = self.postgres.as_ref().map(|version| format!(", PostgreSQL {version}"));
        format!(
            "{} processors ({}){}, {:.2} ms for a sync of the disk, RabbitMQ {}{}",
            self.processors,
            self.model.as_deref().unwrap_or("unknown model"),
            kernel.unwrap_or_default(),
            self.sync_seconds * 1000.0,
            self.rabbitmq,
            postgres.unwrap_or_default()
        )
    }

    /// The day of the measurement, as `2026-01-31`.
    pub(super) fn date(&self) -> &str {
        &self.date
    }

    pub(super) fn has_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "processors": self.processors,
            "model": self.model,
            "kernel": self.kernel,
            "date": self.date,
            "syncSeconds": self.sync_seconds,
            "rabbitmq": self.rabbitmq,
            "postgres": self.postgres,
        })
    }
}

fn model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kernel() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim().to_owned())
}

/// The median time of a sync. Where it is short, as in memory, stores look faster than on a real disk.
fn measure_sync() -> Result<f64> {
    let dir = workspace::temp_dir("sync-")?;
    let mut file = fs::File::create(dir.path().join("blocks"))?;
    let mut times = Vec::with_capacity(SYNC_COUNT);
    for _ in 0..SYNC_COUNT {
        let start = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(quantile_of(&times, 0.5))
}

#[cfg(test)]
impl Machine {
    /// A machine that does not exist, on this day.
    pub(super) fn made_up(date: &str) -> Self {
        Self {
            processors: 2,
            model: Some("a model".to_owned()),
            kernel: Some("6.1".to_owned()),
            date: date.to_owned(),
            sync_seconds: 0.001,
            rabbitmq: "3.10.8".to_owned(),
            postgres: None,
        }
    }
}
