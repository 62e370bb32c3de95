//! The machine that is measured on: CPU, disk, and the versions of RabbitMQ and PostgreSQL.

use std::{fs, io::Write, time::Instant};

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
            sync_seconds: measure_sync().context("the disk can't be measured")?,
            rabbitmq: system.rabbitmq_version().to_owned(),
            postgres: system.postgres_version().await?,
        })
    }

    /// Prints a line about the machine.
    pub(super) fn print(&self) {
        let postgres = self.postgres.as_ref().map(|version| format!(", PostgreSQL {version}"));
        let text = format!(
            "{} processors ({}), {:.2} ms for a sync of the disk; RabbitMQ {}{}",
            self.processors,
            self.model.as_deref().unwrap_or("unknown model"),
            self.sync_seconds * 1000.0,
            self.rabbitmq,
            postgres.unwrap_or_default()
        );
        console::step("machine", text);
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "processors": self.processors,
            "model": self.model,
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
