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
        let mut digits = Uuid::encode_buffer();
        let trace: &str = id.simple().encode_lower(&mut digits);
        Self(["00-", trace, "-", &trace[16..], "-00"].concat())
    }

    /// The same, to be recorded.
    pub fn sampled(&self) -> Self {
        Self(format!("{}01", &self.0[..53]))
    }

    /// Whether who began the trace records it.
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.0[53..55], 16).is_ok_and(|flags| flags & 1 == 1)
    }

    /// The same trace, with another span as the parent of what follows.
    pub fn child(&self, span: u64) -> Self {
        Self(format!("{}{span:016x}{}", &self.0[..36], &self.0[52..]))
    }

    /// The id of the trace, in hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    /// The id of the span that is the parent of what follows.
    pub fn parent_id(&self) -> &str {
        &self.0[36..52]
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
        let given = TraceParent::parse(good).unwrap();
        assert_eq!(given.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((given.parent_id(), given.is_sampled()), ("00f067aa0ba902b7", true));
        let child = given.child(10);
        assert_eq!(child.as_str(), "00-4bf92f3577b34da6a3ce929d0e0e4736-000000000000000a-01");
        let own = TraceParent::for_request(Uuid::now_v7());
        assert!(!own.is_sampled() && own.sampled().is_sampled());
        assert_eq!(TraceParent::parse(own.sampled().as_str()), Some(own.sampled()));
        let own = TraceParent::for_request(Uuid::now_v7());
        assert_eq!(TraceParent::parse(own.as_str()), Some(own));
    }
}
