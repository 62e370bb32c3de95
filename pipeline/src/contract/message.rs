//! Message: exchange, routing key, properties, headers and body.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use uuid::Uuid;

use crate::contract::{
    headers::{self, Headers},
    id::RequestId,
};

/// The media type of our bodies.
pub(crate) const JSON: &str = "application/json";

/// A message ready to be published.
#[derive(Debug, Clone)]
pub struct Message {
    /// The exchange to publish to.
    pub exchange: Cow<'static, str>,
    /// The routing key within the exchange.
    pub routing_key: String,
    /// The AMQP properties and headers.
    pub properties: Properties,
    /// The body's bytes.
    pub body: Vec<u8>,
}

/// The AMQP properties we use. All are optional on messages of others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Properties {
    /// The media type of the body.
    pub content_type: Option<Cow<'static, str>>,
    /// An id of the message; for requests and results, the request's id as text.
    pub message_id: Option<String>,
    /// The request's id as text.
    pub correlation_id: Option<String>,
    /// When the message was made, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// The program that published the message (`app_id`): read from deliveries, and set by the publisher.
    pub app_id: Option<String>,
    /// The property `type`: `request`, `result` or `failed`; an event's name; a control message's type.
    pub kind: Option<Cow<'static, str>>,
    /// Whether the message is written to disk (`delivery_mode` 2).
    pub persistent: bool,
    /// How long the message may wait in a queue (`expiration`); then the broker takes it out.
    pub expiration: Option<Duration>,
    /// The headers.
    pub headers: Headers,
}

impl Message {
    /// A persistent message of any kind for any exchange: the body as JSON, under a new id. On the default
    /// exchange ([`DEFAULT_EXCHANGE`](crate::topology::DEFAULT_EXCHANGE)) the routing key is the queue's name.
    ///
    /// # Panics
    /// If the body can't be written as JSON, as a map whose keys are no strings.
    pub fn json(
        exchange: impl Into<Cow<'static, str>>,
        routing_key: impl Into<String>,
        body: &impl Serialize,
    ) -> Self {
        let properties = Properties {
            content_type: Some(JSON.into()),
            message_id: Some(Uuid::now_v7().to_string()),
            timestamp: Some(seconds_since_1970()),
            persistent: true,
            ..Properties::default()
        };
        Self {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            properties,
            body: serde_json::to_vec(body).expect("the body can be written as JSON"),
        }
    }

    /// This message with the property `type`.
    #[must_use]
    pub fn with_type(mut self, kind: &str) -> Self {
        self.properties.kind = Some(kind.to_owned().into());
        self
    }

    /// This message under an id that the caller has chosen, so that a copy is recognised.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        self.properties.message_id = Some(id.to_owned());
        self
    }

    /// This message with an expiry: after `after` no worker begins it, and the broker may drop it.
    #[must_use]
    pub fn expiring(mut self, after: Duration) -> Self {
        let at = headers::moment(SystemTime::now() + after);
        self.properties.headers.set(headers::EXPIRES_AT, at);
        self.properties.expiration = Some(after);
        self
    }
}

impl Properties {
    /// The properties every request and result of ours has: persistent JSON under the request's id.
    pub fn json(kind: &'static str, id: &RequestId) -> Self {
        Self { persistent: true, ..Self::transient(kind, Some(id)) }
    }

    /// The properties of a message that need not outlive the broker: transient JSON.
    pub fn transient(kind: &'static str, id: Option<&RequestId>) -> Self {
        let id = id.map(|id| id.text().to_owned());
        Self {
            content_type: Some(JSON.into()),
            message_id: id.clone(),
            correlation_id: id,
            timestamp: Some(seconds_since_1970()),
            app_id: None,
            kind: Some(kind.into()),
            persistent: false,
            expiration: None,
            headers: Headers::default(),
        }
    }
}

pub(super) fn seconds_since_1970() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
