//! What the checks share: requests of theirs, and what has come of them.

use std::time::Duration;

use pipeline::{
    contract::Properties,
    topology::{self, RequestType},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    commands::conformance::{
        checks::kept_headers,
        report::Verdict,
        stage::{Arrived, Silence, Stage},
        trace::{Trace, has_id},
    },
    exit::Failure,
};

/// How long a message may take to arrive that was acked before.
pub(super) const ARRIVAL_TIME: Duration = Duration::from_secs(2);

/// A request of the check.
pub(super) struct Asked {
    pub(super) id: Value,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn new(data: &str) -> Self {
        Self::with_id(json!(Uuid::new_v4()), data)
    }

    pub(super) fn with_id(id: Value, data: &str) -> Self {
        let body = format!("{{\"requestId\":{id},\"requestData\":{data}}}").into_bytes();
        Self { id, body }
    }

    pub(super) fn properties(&self, kind: &RequestType) -> Properties {
        let id = self.id.as_str().map(str::to_owned);
        Properties {
            content_type: Some("application/json".into()),
            message_id: id.clone(),
            correlation_id: id,
            kind: Some("request".into()),
            persistent: true,
            headers: kept_headers::of_request(kind),
            ..Properties::default()
        }
    }
}

/// Publishes a request and waits for its result.
pub(super) async fn result(
    stage: &mut Stage,
    asked: &Asked,
) -> Result<Result<Arrived, Silence>, Failure> {
    stage.publish(asked.properties(stage.kind()), &asked.body).await?;
    Ok(stage.until(|_, arrived| result_of(&asked.id, arrived)).await)
}

pub(super) fn broken(what: &str, silence: Silence) -> Verdict {
    Verdict::Broken(format!("it was to {what}, and {}", silence.text()))
}

/// Where and how the delivery of this body was settled, from here on.
pub(super) fn settlement(trace: &Trace, body: &[u8], from: usize) -> Option<(usize, bool)> {
    trace.settled(trace.delivery(body, from)?)
}

pub(super) fn result_of(id: &Value, arrived: &[Arrived]) -> Option<Arrived> {
    let is_it =
        |message: &&Arrived| message.queue == topology::RESULTS && has_id(&message.body, id);
    arrived.iter().find(is_it).cloned()
}

pub(super) fn parked(body: &[u8], arrived: &[Arrived]) -> Option<Arrived> {
    let is_it = |message: &&Arrived| message.queue == topology::FAILED && message.body == body;
    arrived.iter().find(is_it).cloned()
}
