//! The standard output of a command, which is its result.

use pipeline::contract::encoding;
use serde_json::value::{RawValue, to_raw_value};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::processor::error::ProcessError;

/// The output so far. Reading stops soon after the limit.
#[derive(Debug)]
pub(super) struct Stdout {
    written: Vec<u8>,
    /// The longest output in bytes, with the end of its last line.
    limit: usize,
}

impl Stdout {
    /// No output yet, of a result with at most this many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { written: Vec::new(), limit: limit.saturating_add(1) }
    }

    /// Reads until the end, or until the output is too long. What was read stays when this is dropped.
    pub(super) async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) {
        while !self.is_too_long() && matches!(from.read_buf(&mut self.written).await, Ok(1..)) {}
    }

    /// Whether the command wrote more than the limit.
    pub(super) fn is_too_long(&self) -> bool {
        self.written.len() > self.limit
    }

    /// The result, without a byte order mark: output that is JSON as it is, `null` if there is none, any other
    /// output as a string.
    pub(super) fn into_result(self) -> Result<Box<RawValue>, ProcessError> {
        let text = String::from_utf8_lossy(encoding::without_mark(&self.written));
        if let Ok(json) = serde_json::from_str::<Box<RawValue>>(&text) {
            return Ok(json);
        }
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let result = if text.is_empty() { to_raw_value(&()) } else { to_raw_value(text) };
        Ok(result?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn output(bytes: &[u8], limit: usize) -> Stdout {
        let mut stdout = Stdout::new(limit);
        stdout.read(&mut &*bytes).await;
        stdout
    }

    async fn result(bytes: &[u8]) -> String {
        output(bytes, 1000).await.into_result().unwrap().get().to_owned()
    }

    #[tokio::test]
    async fn json_output_is_kept_as_it_is() {
        let json = r#"{ "b":1e400,  "a":12345678901234567890.10, "a":"\u00fc" }"#;
        assert_eq!(result(format!("\n {json} \n\n").as_bytes()).await, json);
        assert_eq!(result(b"true").await, "true");
        assert_eq!(result("\u{feff}{}".as_bytes()).await, "{}", "a byte order mark is skipped");
        let deep = "[".repeat(400) + &"]".repeat(400);
        assert_eq!(result(deep.as_bytes()).await, deep);
    }

    #[tokio::test]
    async fn other_output_is_a_string_without_its_last_line_end() {
        assert_eq!(result(b"hello\nworld\n\n").await, r#""hello\nworld\n""#);
        assert_eq!(result(b"{\"a\":1}{\"b\":2}\n").await, r#""{\"a\":1}{\"b\":2}""#);
        assert_eq!(result(b"NaN").await, r#""NaN""#);
        assert_eq!(result(b"a\xffb\0").await, "\"a\u{fffd}b\\u0000\"");
    }

    #[tokio::test]
    async fn no_output_is_null() {
        assert_eq!(result(b"").await, "null");
        assert_eq!(result(b"\n").await, "null");
    }

    #[tokio::test]
    async fn the_end_of_the_last_line_does_not_count() {
        assert!(!output(b"12345\n", 5).await.is_too_long());
        assert!(output(b"123456\n", 5).await.is_too_long());
        let much = vec![b'x'; 10_000_000];
        assert!(output(&much, 5).await.written.len() < 10_000, "the rest is not read");
    }
}
