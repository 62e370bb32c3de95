//! The call that looks for what is wrong.

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{client::Client, error::CallError};

/// How long an examination may take: while a broker does not answer, each connection is waited for.
const DOCTOR_TIMEOUT: Duration = Duration::from_secs(120);

/// A response: its JSON as it came, and the fields that are shown.
#[derive(Debug)]
pub(crate) struct Told<T> {
    json: Box<RawValue>,
    pub(crate) details: T,
}

/// What an examination found.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Diagnosis {
    pub(crate) findings: Vec<Finding>,
    pub(crate) unseen: Vec<NotSeen>,
    pub(crate) passed: Vec<Passed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Finding {
    pub(crate) check: String,
    pub(crate) detail: String,
    pub(crate) mend: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NotSeen {
    pub(crate) check: String,
    pub(crate) detail: String,
    pub(crate) see: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Passed {
    pub(crate) check: String,
    pub(crate) detail: String,
}

impl<T> Told<T> {
    /// The JSON as it came.
    pub(crate) fn json(&self) -> &str {
        self.json.get()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Told<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let details = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { json, details })
    }
}

impl Client {
    /// What is wrong.
    pub(crate) async fn doctor(&self) -> Result<Told<Diagnosis>, CallError> {
        let url = self.url(&["doctor"]);
        self.with_retries(async || {
            self.send_for_json(self.request(Method::GET, url.clone()), DOCTOR_TIMEOUT).await
        })
        .await
    }
}
