//! The simulated processor, for trying things out: waits, then appends `-processed`.

use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::sleep;

use crate::processor::{Processor, error::ProcessError, job::Job};

/// Waits, then appends `-processed` to the data.
#[derive(Debug, Clone)]
pub struct Simulate {
    delay: Duration,
}

impl Simulate {
    /// A processor that waits this long.
    pub fn new(delay: Duration) -> Self {
        Self { delay }
    }
}

impl Processor for Simulate {
    type Input = Box<RawValue>;
    type Output = Box<RawValue>;

    async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
        sleep(self.delay).await;
        Ok(RawValue::from_string(processed(job.input.get()))?)
    }
}

/// Appends to a string. Other JSON becomes a string first: the JSON text without white space.
fn processed(json: &str) -> String {
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) => format!("\"{inside}-processed\""),
        None => serde_json::Value::String(format!("{}-processed", compact(json))).to_string(),
    }
}

/// Leaves out the white space between the tokens and changes nothing else: numbers keep their digits, objects the
/// order of their keys.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        if in_string {
            in_string = escaped || *c != '"';
            escaped = !escaped && *c == '\\';
            return true;
        }
        in_string = *c == '"';
        !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_gets_the_suffix_inside_its_quotes() {
        assert_eq!(processed(r#""hello""#), r#""hello-processed""#);
        assert_eq!(processed(r#""ü\u0000\"""#), r#""ü\u0000\"-processed""#);
        assert_eq!(processed(r#""""#), r#""-processed""#);
    }

    #[test]
    fn other_json_is_written_compactly_first() {
        assert_eq!(processed("42"), r#""42-processed""#);
        assert_eq!(processed("null"), r#""null-processed""#);
        let json = "{ \"b\" : [1e400,\n 12345678901234567890.10], \"a\": \"x \\\" y\" }";
        let compact = r#"{"b":[1e400,12345678901234567890.10],"a":"x \" y"}-processed"#;
        let expected = serde_json::Value::String(compact.to_owned()).to_string();
        assert_eq!(processed(json), expected);
    }
}
