//! A message apart from what it means: properties, headers, body.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::{RequestId, headers};

/// A message ready to be published: where to, what it says of itself, and its body.
#[derive(Debug, Clone)]
pub struct Message {
    /// The exchange to publish to.
    pub exchange: Cow<'static, str>,
    /// The routing key within the exchange.
    pub routing_key: String,
    /// What the message says of itself.
    pub properties: Properties,
    /// The body's bytes.
    pub body: Vec<u8>,
}

/// The AMQP properties we use. All are optional on messages of others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Properties {
    /// The media type of the body.
    pub content_type: Option<String>,
    /// The request's id as text.
    pub message_id: Option<String>,
    /// The request's id as text.
    pub correlation_id: Option<String>,
    /// When the message was made, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// The program that published the message (`app_id`): read from deliveries, and set by the publisher.
    pub app_id: Option<String>,
    /// `request`, `result` or `failed`; an event's name; a control message's type.
    pub kind: Option<String>,
    /// Whether the message is written to disk (`delivery_mode` 2).
    pub persistent: bool,
    /// How long the message may wait in a queue (`expiration`); then the broker takes it out.
    pub expiration: Option<Duration>,
    /// Named values beside the body.
    pub headers: Headers,
}

impl Message {
    /// This message, not to be begun with after a while.
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
    pub fn json(kind: &str, id: &RequestId) -> Self {
        Self { persistent: true, ..Self::transient(kind, Some(id)) }
    }

    /// The properties of a message that need not outlive the broker: transient JSON.
    pub fn transient(kind: &str, id: Option<&RequestId>) -> Self {
        let id = id.map(|id| id.text().to_owned());
        Self {
            content_type: Some("application/json".to_owned()),
            message_id: id.clone(),
            correlation_id: id,
            timestamp: Some(seconds_since_1970()),
            app_id: None,
            kind: Some(kind.to_owned()),
            persistent: false,
            expiration: None,
            headers: Headers::default(),
        }
    }
}

pub(super) fn seconds_since_1970() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// The headers of a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers(BTreeMap<String, HeaderValue>);

/// A header's value, as far as we look at it.
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderValue {
    /// A string.
    Text(String),
    /// Any of AMQP's whole numbers.
    Number(i64),
    /// Something we never write and only pass by: a table, an array, a float.
    Other,
}

impl Headers {
    /// Sets a header, replacing what was there.
    pub fn set(&mut self, name: &str, value: impl Into<HeaderValue>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Takes a header away, if it is there.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Whether the header is there, whatever its value.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The header's text, if it is there and is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(HeaderValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The header's number; digits in a string count, since some clients can write only those.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.0.get(name)? {
            HeaderValue::Number(number) => Some(*number),
            HeaderValue::Text(text) => text.parse().ok(),
            HeaderValue::Other => None,
        }
    }

    /// All headers with their names, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The headers a message keeps when we publish it again: ours and the trace. The broker's own
    /// (`x-death`, `x-delivery-count`) would mislead the broker if they were sent back to it, and
    /// others could be so long that nothing could be published at all.
    pub fn to_publish_again(&self) -> Self {
        let mut kept = Self::default();
        for (name, value) in &self.0 {
            let known = headers::KEPT.contains(&name.as_str());
            match value {
                HeaderValue::Text(text) if known => kept.set_short(name, text),
                HeaderValue::Number(number) if known => kept.set(name, *number),
                _ => {}
            }
        }
        kept
    }

    /// Sets a header to a text, or to its beginning if it is very long.
    pub fn set_short(&mut self, name: &str, text: &str) {
        self.set(name, &text[..text.floor_char_boundary(headers::LONGEST)]);
    }
}

impl FromIterator<(String, HeaderValue)> for Headers {
    fn from_iter<T: IntoIterator<Item = (String, HeaderValue)>>(iter: T) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for HeaderValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_published_again_carries_nothing_of_the_brokers() {
        let mut headers = Headers::default();
        headers.set("x-delivery-count", 3);
        headers.set("x-death", HeaderValue::Other);
        headers.set("color", "blue");
        headers.set("slowlane-unheard-of", "x".repeat(100_000));
        headers.set(headers::WORKER, "ü".repeat(100_000));
        headers.set(headers::ATTEMPT, 2);
        headers.set(headers::TRACEPARENT, "00-1-2-00");
        let kept = headers.to_publish_again();
        let names: Vec<_> = kept.iter().map(|(name, _)| name).collect();
        assert_eq!(names, [headers::ATTEMPT, headers::WORKER, headers::TRACEPARENT]);
        assert!(kept.text(headers::WORKER).is_some_and(|text| text.len() == headers::LONGEST));
    }
}
