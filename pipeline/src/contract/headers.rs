//! Message headers: names and values, those of Slowlane (`slowlane-*`) and the broker's (`x-*`). All are
//! optional.

use std::{borrow::Cow, time::SystemTime};

use crate::{
    contract::{shortened::shortened, timestamp::Timestamp},
    topology::RequestType,
};

/// Which attempt this is, counted from 1.
pub const ATTEMPT: &str = "slowlane-attempt";
/// Which run this is: 0, and one more for each replay.
pub const RUN: &str = "slowlane-run";
/// The type of the request, see [`RequestType`]; not set for the default one.
pub const TYPE: &str = "slowlane-type";
/// How often the message had been delivered before it was last published.
pub const DELIVERIES: &str = "slowlane-deliveries";
/// How many of the [`DELIVERIES`] before did not end with the death or a hang of their worker: it was asked, and
/// had only lost its connection.
pub const SURVIVED: &str = "slowlane-survived";
/// The [`DELIVERIES`] with which the message was sent to wait for the last answers, before it is given up.
pub const WAITED: &str = "slowlane-waited";
/// On a request: how often it has waited again since no answer of other processes could be heard.
pub const UNHEARD: &str = "slowlane-unheard";
/// In which start of the broker the message was last published, if its queue is a classic one: after a crash of
/// the broker, such queues deliver every message as if it had been delivered before.
pub const BROKER_START: &str = "slowlane-broker-start";
/// How often the broker has delivered the message before. The broker sets it, on quorum queues only.
pub const DELIVERY_COUNT: &str = "x-delivery-count";
/// How often the broker has given the message to a consumer. The broker sets it on quorum queues from 4.3 on, where
/// [`DELIVERY_COUNT`] doesn't count deliveries that were requeued.
pub const ACQUIRED_COUNT: &str = "x-acquired-count";
/// Why the broker dead-lettered the message for the first time: `delivery_limit`, `expired`,
/// `rejected`. For a request that has waited for a retry this is `expired`, in the retry queue.
pub const FIRST_DEATH_REASON: &str = "x-first-death-reason";
/// The queue of the first dead-lettering.
pub const FIRST_DEATH_QUEUE: &str = "x-first-death-queue";
/// Why the broker dead-lettered the message for the last time. Of brokers before 3.13 it is read from [`DEATHS`].
pub const LAST_DEATH_REASON: &str = "x-last-death-reason";
/// The queue of the last dead-lettering.
pub const LAST_DEATH_QUEUE: &str = "x-last-death-queue";
/// All dead-letterings of the message, the latest first.
pub const DEATHS: &str = "x-death";
/// Who did the work: `host:pid/slot`.
pub const WORKER: &str = "slowlane-worker";
/// When the work began, RFC 3339 UTC with milliseconds.
pub const STARTED_AT: &str = "slowlane-started-at";
/// When the work ended, RFC 3339 UTC with milliseconds.
pub const FINISHED_AT: &str = "slowlane-finished-at";
/// After this time no worker begins the work, RFC 3339 UTC with milliseconds.
pub const EXPIRES_AT: &str = "slowlane-expires-at";
/// When the next attempt may begin at the earliest, RFC 3339 UTC with milliseconds.
pub const NOT_BEFORE: &str = "slowlane-not-before";
/// How long the next attempt has to wait at most, in milliseconds, after the delay of the waiting queue that it passes
/// through: a host whose clock is behind must not wait for [`NOT_BEFORE`] again and again.
pub const WAIT: &str = "slowlane-wait";
/// Why a message was published to the failed queue.
pub const REASON: &str = "slowlane-reason";
/// The error message that belongs to [`REASON`].
pub const ERROR: &str = "slowlane-error";
/// The trace this request belongs to, see [`TraceParent`](crate::contract::trace::TraceParent).
pub const TRACEPARENT: &str = "traceparent";

/// All that a message published again carries; see [`Headers::to_publish_again`](Headers::to_publish_again).
pub(super) const KEPT: &[&str] = &[
    ATTEMPT,
    RUN,
    TYPE,
    DELIVERIES,
    SURVIVED,
    WAITED,
    UNHEARD,
    BROKER_START,
    WORKER,
    STARTED_AT,
    FINISHED_AT,
    EXPIRES_AT,
    NOT_BEFORE,
    WAIT,
    REASON,
    ERROR,
    TRACEPARENT,
];

/// The longest text in a header of ours, in bytes. All together stay far below what a frame takes.
pub(super) const MAX_TEXT_BYTES: usize = 2000;
/// The longest error message in a header, in bytes. The 2 KB that commands write last fit, with what is said before.
pub const MAX_ERROR_BYTES: usize = 2500;

/// How long the work took, in milliseconds, by the worker's clock.
pub fn milliseconds(headers: &Headers) -> Option<u64> {
    let time = |name| time(headers, name);
    let took = time(FINISHED_AT)?.duration_since(time(STARTED_AT)?).ok()?;
    u64::try_from(took.as_millis()).ok()
}

/// The time in a header, if it has one.
pub fn time(headers: &Headers, name: &str) -> Option<SystemTime> {
    headers.text(name)?.parse::<Timestamp>().ok().map(Into::into)
}

/// A time as text for a header: RFC 3339 UTC with milliseconds.
pub fn moment(at: SystemTime) -> String {
    Timestamp::from(at).to_string()
}

/// The headers that most messages have. Their names need no memory when they are read.
const USUAL: &[&str] = &[
    ATTEMPT,
    RUN,
    TRACEPARENT,
    DELIVERY_COUNT,
    DELIVERIES,
    WORKER,
    STARTED_AT,
    FINISHED_AT,
    TYPE,
    BROKER_START,
];

/// The headers of a message. They are few: a list is searched sooner than a tree, and takes less memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers(Vec<Header>);

/// A header with its name, in the order of the names.
type Header = (Cow<'static, str>, HeaderValue);

/// A header's value, as far as we read it.
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderValue {
    /// A string.
    Text(String),
    /// Any of AMQP's whole numbers.
    Number(i64),
    /// A type that we don't read: a table, an array, a float.
    Other,
}

impl Headers {
    /// Sets a header, replacing what was there.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<HeaderValue>) {
        let (name, value) = (name.into(), value.into());
        match self.find(&name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name, value)),
        }
    }

    /// Removes a header, if it is there.
    pub fn remove(&mut self, name: &str) {
        if let Ok(at) = self.find(name) {
            self.0.remove(at);
        }
    }

    /// Whether the header is there, whatever its value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.find(name).ok().map(|at| &self.0[at].1)
    }

    /// Where the header is, or else where it belongs.
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_ref().cmp(name))
    }

    /// The header's text, if it is there and is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(HeaderValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The header's number; digits in a string count, since some clients can write only those.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            HeaderValue::Number(number) => Some(*number),
            HeaderValue::Text(text) => text.parse().ok(),
            HeaderValue::Other => None,
        }
    }

    /// The type of the request, as far as the message names one.
    pub fn request_type(&self) -> Option<RequestType> {
        self.text(TYPE)?.parse().ok()
    }

    /// Sets the type of the request. The default one is left out, as it is by programs that know no types.
    pub fn set_request_type(&mut self, request_type: &RequestType) {
        match request_type.is_default() {
            true => self.remove(TYPE),
            false => self.set(TYPE, request_type.as_str()),
        }
    }

    /// All headers with their names, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// The headers a message keeps when we publish it again: ours and the trace. The broker's own
    /// (`x-death`, `x-delivery-count`) would mislead the broker if they were sent back to it, and
    /// others could be so long that nothing could be published at all.
    pub fn to_publish_again(&self) -> Self {
        let mut kept = Self::default();
        for (name, value) in &self.0 {
            let Some(name) = KEPT.iter().find(|kept| *kept == name) else { continue };
            match value {
                HeaderValue::Text(text) => kept.set_short(name, text),
                HeaderValue::Number(number) => kept.set(*name, *number),
                HeaderValue::Other => {}
            }
        }
        kept
    }

    /// Sets a header to a text, cut to 2000 bytes; [`ERROR`] is shortened in its middle, to 2500 bytes.
    pub fn set_short(&mut self, name: &'static str, text: &str) {
        match name {
            ERROR => self.set(name, shortened(text, MAX_ERROR_BYTES).into_owned()),
            _ => self.set(name, &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]),
        }
    }
}

impl<'n> FromIterator<(&'n str, HeaderValue)> for Headers {
    fn from_iter<T: IntoIterator<Item = (&'n str, HeaderValue)>>(iter: T) -> Self {
        let named = |(name, value)| (named(name), value);
        let mut headers: Vec<Header> = iter.into_iter().map(named).collect();
        // Sorted once: other programs may send thousands. Of several with one name the last counts.
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
        headers.dedup_by(|later, earlier| {
            let is_same = later.0 == earlier.0;
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        Self(headers)
    }
}

fn named(name: &str) -> Cow<'static, str> {
    match USUAL.iter().find(|usual| **usual == name) {
        Some(usual) => Cow::Borrowed(usual),
        None => Cow::Owned(name.to_owned()),
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_time_of_the_work_is_the_difference() {
        let began = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let mut headers = Headers::default();
        headers.set(STARTED_AT, moment(began));
        assert_eq!(milliseconds(&headers), None);
        headers.set(FINISHED_AT, moment(began + Duration::from_millis(1502)));
        assert_eq!(milliseconds(&headers), Some(1502));
        assert_eq!(headers.text(STARTED_AT), Some("2023-11-14T22:13:20.123Z"));
    }

    #[test]
    fn headers_are_in_order_and_of_one_name_the_last_counts() {
        let sent = [("b", 1), ("slowlane-run", 2), ("a", 3), ("b", 4), ("b", 5)];
        let headers: Headers =
            sent.map(|(name, number)| (name, number.into())).into_iter().collect();
        let all: Vec<_> = headers.iter().map(|(name, _)| (name, headers.number(name))).collect();
        assert_eq!(all, [("a", Some(3)), ("b", Some(5)), ("slowlane-run", Some(2))]);
        let mut set = Headers::default();
        sent.into_iter().for_each(|(name, number)| set.set(name, number));
        assert_eq!(set, headers);
        set.remove("b");
        assert!(!set.has("b") && set.has("a"));
    }

    #[test]
    fn a_message_published_again_carries_nothing_of_the_brokers() {
        let mut headers = Headers::default();
        headers.set("x-delivery-count", 3);
        headers.set("x-death", HeaderValue::Other);
        headers.set("color", "blue");
        headers.set("slowlane-unheard-of", "x".repeat(100_000));
        headers.set(WORKER, "ü".repeat(100_000));
        headers.set(ATTEMPT, 2);
        headers.set(TRACEPARENT, "00-1-2-00");
        headers.set(ERROR, "x".repeat(100_000) + "at the end");
        let kept = headers.to_publish_again();
        let names: Vec<_> = kept.iter().map(|(name, _)| name).collect();
        assert_eq!(names, [ATTEMPT, ERROR, WORKER, TRACEPARENT]);
        let error = kept.text(ERROR).unwrap();
        assert!(error.ends_with("at the end") && error.len() == MAX_ERROR_BYTES, "{error}");
        assert!(kept.text(WORKER).is_some_and(|text| text.len() == MAX_TEXT_BYTES));
    }
}
