//! What it was measured on.

use std::{fs, io::Write, time::Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::workspace;

use super::{figure::quantile_of, stage::Stage};
use crate::say;

/// How often the disk is tried.
const SYNCS: usize = 50;
const BLOCK: [u8; 4096] = [7; 4096];

/// The machine, and the releases of what ran there.
#[derive(Debug)]
pub(super) struct Machine {
    processors: usize,
    model: Option<String>,
    /// The median time, in seconds, until a block is safe on the disk.
    sync: f64,
    rabbitmq: String,
    postgres: Option<String>,
}

impl Machine {
    pub(super) async fn look(stage: &Stage) -> Result<Self> {
        Ok(Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            model: model(),
            sync: sync_time().context("cannot try the disk")?,
            rabbitmq: stage.rabbitmq().to_owned(),
            postgres: stage.postgres_version().await?,
        })
    }

    /// Says it in a line.
    pub(super) fn tell(&self) {
        let postgres = self.postgres.as_ref().map(|version| format!(", PostgreSQL {version}"));
        let text = format!(
            "{} processors ({}), {:.2} ms for a block to be safe on the disk; RabbitMQ {}{}",
            self.processors,
            self.model.as_deref().unwrap_or("of unknown make"),
            self.sync * 1000.0,
            self.rabbitmq,
            postgres.unwrap_or_default()
        );
        say::step("machine", text);
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "processors": self.processors,
            "model": self.model,
            "syncSeconds": self.sync,
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

/// Where a sync costs nothing, a store costs less than on a real disk.
fn sync_time() -> Result<f64> {
    let dir = workspace::temp_dir("sync-")?;
    let mut file = fs::File::create(dir.path().join("blocks"))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(quantile_of(&times, 0.5))
}
