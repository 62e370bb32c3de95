//! A worker with a name, a version, and settings of its own: converts amounts by the rates in the file `RATES`, which is in
//! the folder `RATES_FOLDER` or else in the current one.

use std::{collections::HashMap, io, path::PathBuf, process::ExitCode};

use anyhow::Context;
use processor_service::{Job, ProcessError, Processor, Program, Start};
use serde::{Deserialize, Serialize};

/// The `data` of a request: `{"amount": 20, "currency": "USD"}`.
#[derive(Deserialize)]
struct Amount {
    amount: f64,
    currency: String,
}

/// Its result: `{"euros": 25}`.
#[derive(Serialize)]
struct Euros {
    euros: f64,
}

/// Why there are no rates. `?` makes of it a failure that may pass.
#[derive(Debug, thiserror::Error)]
enum NoRates {
    #[error("the rates can't be read")]
    Unreadable(#[from] io::Error),
    #[error("the rates are not JSON")]
    Malformed(#[from] serde_json::Error),
}

struct Convert {
    rates: PathBuf,
}

impl Convert {
    async fn build(start: Start) -> anyhow::Result<Self> {
        let file: PathBuf = start.required_setting("RATES")?;
        let folder: Option<PathBuf> = start.setting("RATES_FOLDER")?;
        let folder = tokio::fs::canonicalize(folder.unwrap_or_else(|| ".".into())).await;
        Ok(Self { rates: folder.context("no folder of rates")?.join(file) })
    }

    async fn rates(&self) -> Result<HashMap<String, f64>, NoRates> {
        let text = tokio::fs::read_to_string(&self.rates).await?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Processor for Convert {
    type Input = Amount;
    type Output = Euros;

    async fn process(&self, job: Job<Amount>) -> Result<Euros, ProcessError> {
        let Amount { amount, currency } = job.input;
        let rates = self.rates().await?;
        match rates.get(&currency) {
            Some(rate) => Ok(Euros { euros: amount * rate }),
            None => Err(ProcessError::permanent(format!("no rate for {currency}"))),
        }
    }
}

fn main() -> ExitCode {
    Program::new("convert", "2.5.0").about("Converts amounts into euros.").run_with(Convert::build)
}
