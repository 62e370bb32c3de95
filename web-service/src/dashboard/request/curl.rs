//! The curl line that submits the data of a request again.

use uuid::Uuid;

/// Longer data are fetched from the service by the line itself.
const MAX_INLINE_BYTES: usize = 2000;

/// A line for a POSIX shell. `base` is the address of the service as its reader has it.
pub(super) fn line(base: &str, id: Uuid, data: Option<&str>) -> String {
    let post = "curl -i -H 'Content-Type: application/json'";
    let url = format!("{base}/api/v1/processData");
    match data {
        Some(data) if data.len() <= MAX_INLINE_BYTES && !data.contains('\n') => {
            format!("{post} -d {} {}", quoted(&format!("{{\"data\":{data}}}")), quoted(&url))
        }
        _ => {
            let source = quoted(&format!("{base}/api/v1/requests/{id}/data"));
            format!(
                "{{ printf '{{\"data\":'; curl -sf {source}; printf '}}'; }} | {post} --data-binary @- {}",
                quoted(&url)
            )
        }
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
        let line = line("http://localhost:3000", Uuid::nil(), Some(r#"{"a":"it's $HOME"}"#));
        let expected = r#"curl -i -H 'Content-Type: application/json' -d '{"data":{"a":"it'\''s $HOME"}}' 'http://localhost:3000/api/v1/processData'"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn long_data_are_fetched_by_the_line() {
        let long = format!("\"{}\"", "a".repeat(MAX_INLINE_BYTES));
        for data in [Some(long.as_str()), None] {
            let line = line("http://localhost", Uuid::nil(), data);
            assert!(
                line.contains(&format!(
                    "curl -sf 'http://localhost/api/v1/requests/{}/data'",
                    Uuid::nil()
                )),
                "{line}"
            );
            assert!(line.len() < 400, "{line}");
        }
    }
}
