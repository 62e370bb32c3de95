//! The curl line that submits a request again: its data, and its type.

use pipeline::topology::RequestType;
use serde_json::Value;
use uuid::Uuid;

/// Longer data are fetched from the service by the line itself.
const MAX_INLINE_BYTES: usize = 2000;

/// A line for a POSIX shell. `base` is the address of the service as its reader has it, `data` and `kind` are those of the
/// request.
pub(super) fn line(base: &str, id: Uuid, data: &str, kind: &str) -> String {
    let post = "curl -i -H 'Content-Type: application/json'";
    let (url, end) = (quoted(&format!("{base}/api/v1/processData")), end_of_body(kind));
    if data.len() <= MAX_INLINE_BYTES && !data.contains('\n') {
        return format!("{post} -d {} {url}", quoted(&format!("{{\"data\":{data}{end}")));
    }
    let source = quoted(&format!("{base}/api/v1/requests/{id}/data"));
    let end = quoted(&end);
    format!(
        "{{ printf '{{\"data\":'; curl -sf {source}; printf %s {end}; }} | {post} --data-binary @- {url}"
    )
}

/// What follows the data in the body: the type, unless it is the one that a body without a type has.
fn end_of_body(kind: &str) -> String {
    match kind == RequestType::DEFAULT.as_str() {
        true => "}".to_owned(),
        false => format!(",\"type\":{}}}", Value::from(kind)),
    }
}

/// A text in single quotes, as a shell reads it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_quoted_for_a_shell() {
        let line = line("http://localhost:3000", Uuid::nil(), r#"{"a":"it's $HOME"}"#, "default");
        let expected = r#"curl -i -H 'Content-Type: application/json' -d '{"data":{"a":"it'\''s $HOME"}}' 'http://localhost:3000/api/v1/processData'"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn long_data_are_fetched_by_the_line() {
        let long = format!("\"{}\"", "a".repeat(MAX_INLINE_BYTES));
        for data in [long.as_str(), "[1,\n2]"] {
            let line = line("http://localhost", Uuid::nil(), data, "default");
            let source = format!("'http://localhost/api/v1/requests/{}/data'", Uuid::nil());
            let fetched = format!("{{ printf '{{\"data\":'; curl -sf {source}; printf %s '}}'; }}");
            assert!(line.starts_with(&fetched), "{line}");
            assert!(line.len() < 400, "{line}");
        }
    }

    #[test]
    fn a_request_of_another_type_is_submitted_again_with_its_type() {
        let line = |data| line("http://localhost", Uuid::nil(), data, "video");
        assert!(line("1").contains(r#"-d '{"data":1,"type":"video"}' "#), "{}", line("1"));
        let fetched = line("[1,\n2]");
        assert!(fetched.contains(r#"; printf %s ',"type":"video"}'; }"#), "{fetched}");
    }
}
