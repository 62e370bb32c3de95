//! The output of work, which is its result: JSON as it is, other text as a string.

use std::borrow::Cow;

use pipeline::contract::{codes, encoding};
use serde_json::value::{RawValue, to_raw_value};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::processor::error::ProcessError;

/// The output so far. Reading stops soon after the limit.
#[derive(Debug)]
pub(super) struct Output {
    written: Vec<u8>,
    /// The longest output in bytes, with the end of its last line.
    limit: usize,
}

impl Output {
    /// No output yet, of a result with at most this many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { written: Vec::new(), limit: limit.saturating_add(1) }
    }

    /// Reads until the end, or until the output is too long. What was read stays when this is dropped.
    pub(super) async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) {
        while !self.is_too_long() && matches!(from.read_buf(&mut self.written).await, Ok(1..)) {}
    }

    /// Takes a part that was read, unless the output is too long already.
    pub(super) fn take(&mut self, part: &[u8]) {
        if !self.is_too_long() {
            self.written.extend_from_slice(part);
        }
    }

    /// Whether more was written than the limit.
    pub(super) fn is_too_long(&self) -> bool {
        self.written.len() > self.limit
    }

    /// The output as text, without a byte order mark. Bytes that are not UTF-8 are replaced.
    pub(super) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(encoding::without_mark(&self.written))
    }

    /// The output as JSON, if it is.
    pub(super) fn json(&self) -> Option<Box<RawValue>> {
        serde_json::from_str(&self.text()).ok()
    }

    /// The result: output that is JSON as it is, `null` if there is none, any other output as a string.
    pub(super) fn into_result(self) -> Result<Box<RawValue>, ProcessError> {
        if let Some(json) = self.json() {
            return Ok(json);
        }
        let text = self.text();
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let result = if text.is_empty() { to_raw_value(&()) } else { to_raw_value(text) };
        Ok(result?)
    }
}

/// The failure of work whose output is longer than the limit. `who` begins the sentence: `the command wrote`.
pub(super) fn too_large(who: &str, limit: usize) -> ProcessError {
    ProcessError::permanent(format!("{who} more than {limit} bytes (RESULT_LIMIT)"))
        .with_code(codes::RESULT_TOO_LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn output(bytes: &[u8], limit: usize) -> Output {
        let mut output = Output::new(limit);
        output.read(&mut &*bytes).await;
        output
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
