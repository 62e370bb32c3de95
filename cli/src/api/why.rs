//! The call that tells why a request has not ended.

use reqwest::Method;
use serde::Deserialize;
use uuid::Uuid;

use super::{client::Client, diagnosis::Told, error::CallError};

/// Why a request is where it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WhyDetails {
    pub(crate) reasons: Vec<Reason>,
    pub(crate) begins: Option<Begins>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reason {
    pub(crate) text: String,
}

/// When the work may begin.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Begins {
    pub(crate) at: String,
    pub(crate) is_estimate: bool,
}

impl Client {
    /// Why a request has not ended, or how it has.
    pub(crate) async fn why(&self, id: Uuid) -> Result<Told<WhyDetails>, CallError> {
        self.call(Method::GET, self.url(&["requests", &id.to_string(), "why"])).await
    }
}
