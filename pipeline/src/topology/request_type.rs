//! Types of requests: each has a queue of its own, so that fast work never waits behind slow work.
//!
//! The type `default` has the plain names: the queue `processing.requests` and the routing key `request`.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::topology::names::{KEY_REQUEST, REQUESTS};

/// The name of [`RequestType::DEFAULT`].
const DEFAULT: &str = "default";
/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 40;

/// The type of a request: 1 to 40 of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestType(Option<Arc<str>>);

/// A name that no type can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a type has 1 to 40 of a-z, 0-9 and -")]
pub struct InvalidRequestType;

impl RequestType {
    /// The type of a request that names none.
    pub const DEFAULT: Self = Self(None);

    /// Its name.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(DEFAULT)
    }

    /// Whether it is the type of a request that names none.
    pub fn is_default(&self) -> bool {
        self.0.is_none()
    }

    /// The queue in which requests of this type wait for a worker.
    pub fn queue(&self) -> String {
        self.named(REQUESTS)
    }

    /// The routing key of requests of this type.
    pub fn routing_key(&self) -> String {
        self.named(KEY_REQUEST)
    }

    /// The type of the requests in a queue; none if it is no queue of requests.
    pub fn of_queue(queue: &str) -> Option<Self> {
        Self::after(REQUESTS, queue)
    }

    /// The type of the requests with a routing key; none if it is not theirs.
    pub fn of_routing_key(key: &str) -> Option<Self> {
        Self::after(KEY_REQUEST, key)
    }

    fn named(&self, plain: &str) -> String {
        match &self.0 {
            None => plain.to_owned(),
            Some(name) => format!("{plain}.{name}"),
        }
    }

    fn after(plain: &str, name: &str) -> Option<Self> {
        match name.strip_prefix(plain)? {
            "" => Some(Self::DEFAULT),
            // The type of the plain names is not spelled out.
            rest => rest.strip_prefix('.')?.parse().ok().filter(|it: &Self| !it.is_default()),
        }
    }
}

impl FromStr for RequestType {
    type Err = InvalidRequestType;

    fn from_str(name: &str) -> Result<Self, InvalidRequestType> {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match name {
            DEFAULT => Ok(Self::DEFAULT),
            _ if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_good) => {
                Ok(Self(Some(name.into())))
            }
            _ => Err(InvalidRequestType),
        }
    }
}

impl fmt::Display for RequestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for RequestType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A name that no type can have is read as the default one: messages of others are taken as they come.
impl<'de> Deserialize<'de> for RequestType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(value.as_str().and_then(|name| name.parse().ok()).unwrap_or_default())
    }
}

/// Some types, one at least, each once. Clones share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTypes(Arc<[RequestType]>);

impl RequestTypes {
    /// These types in their order; `None` if there are none. A type that comes again is left out.
    pub fn new(types: impl IntoIterator<Item = RequestType>) -> Option<Self> {
        let mut distinct: Vec<RequestType> = Vec::new();
        for request_type in types {
            if !distinct.contains(&request_type) {
                distinct.push(request_type);
            }
        }
        (!distinct.is_empty()).then(|| Self(distinct.into()))
    }

    /// Whether a type is among them.
    pub fn contains(&self, request_type: &RequestType) -> bool {
        self.0.contains(request_type)
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &RequestType> {
        self.0.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The only one, if there is one alone.
    pub fn only(&self) -> Option<&RequestType> {
        match &*self.0 {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The first of them.
    pub fn first(&self) -> &RequestType {
        &self.0[0]
    }
}

/// The type of requests that name none, alone.
impl Default for RequestTypes {
    fn default() -> Self {
        Self(Arc::new([RequestType::DEFAULT]))
    }
}

impl fmt::Display for RequestTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, request_type) in self.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{request_type}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_type_has_the_plain_names() {
        let plain: RequestType = "default".parse().unwrap();
        assert_eq!(plain, RequestType::DEFAULT);
        assert_eq!(
            (plain.queue(), plain.routing_key()),
            (REQUESTS.to_owned(), KEY_REQUEST.to_owned())
        );
        let video: RequestType = "video-4k".parse().unwrap();
        assert_eq!(video.queue(), "processing.requests.video-4k");
        assert_eq!(video.routing_key(), "request.video-4k");
        for request_type in [plain, video] {
            assert_eq!(RequestType::of_queue(&request_type.queue()), Some(request_type.clone()));
            let key = request_type.routing_key();
            assert_eq!(RequestType::of_routing_key(&key), Some(request_type));
        }
        for other in ["", "requests", "request.", "request.A", "requestx", "request.default"] {
            assert_eq!(RequestType::of_routing_key(other), None, "{other}");
        }
    }

    #[test]
    fn a_name_is_made_of_few_letters() {
        let longest = "x".repeat(MAX_NAME_BYTES);
        for good in ["a", "0", "-", &longest] {
            assert!(good.parse::<RequestType>().is_ok(), "{good}");
        }
        let too_long = "x".repeat(MAX_NAME_BYTES + 1);
        for bad in ["", "A", "a.b", "a_b", "ä", "a b", "#", &too_long] {
            assert!(bad.parse::<RequestType>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_type_that_comes_again_is_one() {
        let types = ["a", "default", "a"].map(|name| name.parse().unwrap());
        assert_eq!(RequestTypes::new(types).unwrap().to_string(), "a, default");
        assert_eq!(RequestTypes::new([]), None);
    }
}
