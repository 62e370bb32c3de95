//! The lines of the command pool: one of JSON for each job, and one that answers it. Pure decisions.

use std::time::Duration;

use pipeline::{config, contract::Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::processor::{error::ProcessError, job::Job};

/// How much of a line that is no answer is told, in bytes.
const MAX_TOLD_BYTES: usize = 200;

/// What a child is told.
#[derive(Serialize)]
struct Order<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    request_type: &'a str,
    attempt: i64,
    deadline: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

/// What a child answers.
#[derive(Deserialize)]
struct Answer {
    id: String,
    #[serde(default, deserialize_with = "present")]
    result: Option<Box<RawValue>>,
    error: Option<Failure>,
}

/// A line that is no answer.
#[derive(Debug, Error)]
#[error("the command wrote a line that is no answer: {reason}: {line}")]
pub(super) struct NoAnswer {
    reason: String,
    /// The beginning of the line.
    line: String,
}

/// The failure that a child answers with.
#[derive(Deserialize)]
struct Failure {
    message: String,
    code: Option<String>,
    #[serde(default)]
    retry: Retry,
}

/// Whether a failed job is tried again: `true`, or after a delay like `"30s"` or 30.
#[derive(Deserialize)]
#[serde(untagged)]
enum Retry {
    Flag(bool),
    Seconds(u64),
    Delay(String),
}

impl Default for Retry {
    fn default() -> Self {
        Self::Flag(false)
    }
}

/// The line that begins a job.
pub(super) fn order(job: &Job) -> Vec<u8> {
    let order = Order {
        id: job.id.text(),
        request_type: job.request_type.as_str(),
        attempt: job.attempt,
        deadline: job.deadline.into(),
        traceparent: job.traceparent.as_deref(),
    };
    let mut line = serde_json::to_vec(&order).expect("texts and numbers are always JSON");
    line.pop();
    line.extend(b",\"data\":");
    // Outside of strings, where no line can end, white space has no meaning.
    let data = job.input.get().bytes().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        other => other,
    });
    line.extend(data);
    line.extend(b"}\n");
    line
}

/// What a line says about the job with this id.
///
/// # Errors
/// If it is no answer to that job.
pub(super) fn answer(
    line: &[u8],
    id: &str,
) -> Result<Result<Box<RawValue>, ProcessError>, NoAnswer> {
    let text = String::from_utf8_lossy(line);
    let no_answer = |reason: String| {
        let told = text.trim_end();
        NoAnswer { reason, line: told[..told.floor_char_boundary(MAX_TOLD_BYTES)].to_owned() }
    };
    let answer: Answer =
        serde_json::from_str(&text).map_err(|error| no_answer(error.to_string()))?;
    if answer.id != id {
        return Err(no_answer("it answers another request".to_owned()));
    }
    match (answer.result, answer.error) {
        (Some(result), None) => Ok(Ok(result)),
        (None, Some(failure)) => Ok(Err(failure.into())),
        _ => Err(no_answer("it has not just one of result and error".to_owned())),
    }
}

impl From<Failure> for ProcessError {
    fn from(Failure { message, code, retry }: Failure) -> Self {
        let error = match retry {
            Retry::Flag(false) => Self::permanent(message),
            Retry::Flag(true) => Self::transient(message),
            Retry::Seconds(seconds) => Self::transient(message).after(Duration::from_secs(seconds)),
            Retry::Delay(delay) => match config::duration_or_zero(&delay) {
                Ok(delay) => Self::transient(message).after(delay),
                Err(_) => Self::transient(message),
            },
        };
        match code {
            Some(code) => error.with_code(code),
            None => error,
        }
    }
}

/// `null` is a result.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Deserialize::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::processor::error;

    #[test]
    fn an_order_is_one_line_with_the_data_untouched() {
        let data = "{ \"b\":1e400,\r\n  \"a\":12345678901234567890.10, \"a\":\"\\u00fc\\n\" }";
        let mut job = Job::new("me", RawValue::from_string(data.to_owned()).unwrap());
        job.deadline = SystemTime::UNIX_EPOCH;
        let line = String::from_utf8(order(&job)).unwrap();
        let expected = "{\"id\":\"me\",\"type\":\"default\",\"attempt\":1,\"deadline\":\"1970-01-01T00:00:00.000Z\",\"data\":{ \"b\":1e400,    \"a\":\
                        12345678901234567890.10, \"a\":\"\\u00fc\\n\" }}\n";
        assert_eq!(line, expected);
        job.traceparent = Some("00-1".to_owned());
        assert!(String::from_utf8(order(&job)).unwrap().contains(",\"traceparent\":\"00-1\","));
    }

    #[test]
    fn a_result_is_kept_as_it_is() {
        for result in ["null", "1e400", r#"{ "a":12345678901234567890.10 }"#, r#""x""#] {
            let line = format!("{{\"more\":1,\"id\":\"me\",\"result\":{result}}}\r\n");
            assert_eq!(answer(line.as_bytes(), "me").unwrap().unwrap().get(), result);
        }
        let line = b"{\"id\":\"me\",\"result\":\"\xff\"}\n";
        assert_eq!(answer(line, "me").unwrap().unwrap().get(), "\"\u{fffd}\"");
    }

    #[test]
    fn an_error_says_whether_it_may_pass() {
        let failed = |fields: &str| {
            let line = format!(r#"{{"id":"me","error":{{"message":"no"{fields}}}}}"#);
            let error = answer(line.as_bytes(), "me").unwrap().unwrap_err();
            (error.code, error.retry)
        };
        let text = str::to_owned;
        let after = |seconds| error::Retry::After(Duration::from_secs(seconds));
        assert_eq!(failed(""), (text("permanent"), error::Retry::Never));
        assert_eq!(failed(r#","retry":true"#), (text("transient"), error::Retry::Default));
        assert_eq!(failed(r#","retry":"90s""#), (text("transient"), after(90)));
        assert_eq!(failed(r#","retry":7,"code":"busy""#), (text("busy"), after(7)));
        assert_eq!(failed(r#","retry":"soon""#), (text("transient"), error::Retry::Default));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for (line, why) in [
            ("loading the model\n", "expected value at line 1 column 1: loading the model"),
            ("\n", "EOF while parsing"),
            (r#"{"id":"you","result":1}"#, "it answers another request: {"),
            (r#"{"result":1}"#, "missing field `id`"),
            (r#"{"id":"me"}"#, "not just one of result and error"),
            (
                r#"{"id":"me","result":1,"error":{"message":""}}"#,
                "not just one of result and error",
            ),
            (r#"{"id":"me","error":"no"}"#, "invalid type"),
            (r#"{"id":"me","result":1}{"id":"me","result":1}"#, "trailing characters"),
        ] {
            let told = answer(line.as_bytes(), "me").unwrap_err().to_string();
            assert!(told.contains(why), "{line}: {told}");
        }
        assert!(answer("ü".repeat(9000).as_bytes(), "me").unwrap_err().to_string().len() < 400);
    }
}
