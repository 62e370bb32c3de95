//! Trace: the W3C `traceparent` of a request, its result and their log lines.

use uuid::Uuid;

/// A W3C `traceparent` value, which ties what the programs log and send to one trace.
///
/// See <https://www.w3.org/TR/trace-context/#traceparent-header>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(String);

impl TraceParent {
    /// Takes over a caller's value, if it is well formed.
    pub fn parse(value: &str) -> Option<Self> {
        let parts: Vec<&str> = value.split('-').collect();
        let [version, trace, parent, flags] = parts[..] else { return None };
        let hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let zero = |part: &str| part.bytes().all(|b| b == b'0');
        let well_formed = hex(version, 2)
            && version != "ff"
            && (hex(trace, 32) && !zero(trace))
            && (hex(parent, 16) && !zero(parent))
            && hex(flags, 2);
        well_formed.then(|| Self(value.to_owned()))
    }

    /// A new trace for a request nobody traces yet. The trace's id is the request's, so that the
    /// one can be found by the other.
    pub fn for_request(id: Uuid) -> Self {
        let trace = id.simple().to_string();
        Self(format!("00-{trace}-{}-00", &trace[16..]))
    }

    /// The value as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_values_are_taken_over() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(TraceParent::parse(good).is_some());
        assert!(TraceParent::parse(&good.to_uppercase()).is_none());
        assert!(
            TraceParent::parse("00-00000000000000000000000000000000-00f067aa0ba902b7-01").is_none()
        );
        assert!(TraceParent::parse("").is_none());
        let own = TraceParent::for_request(Uuid::now_v7());
        assert_eq!(TraceParent::parse(own.as_str()), Some(own));
    }
}
