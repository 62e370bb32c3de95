//! The `Idempotency-Key` header.

use actix_web::HttpRequest;

use crate::api::http::{problem::Problem, problem_type::ProblemType};

/// The header that carries the key.
const HEADER: &str = "idempotency-key";
/// The longest key.
const MAX_KEY_BYTES: usize = 255;

/// The key of a call, if it has one.
pub(crate) fn of(request: &HttpRequest) -> Result<Option<&str>, Problem> {
    let mut values = request.headers().get_all(HEADER);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => check(value.to_str().unwrap_or_default()).map(Some),
        (Some(_), Some(_)) => {
            Err(Problem::new(ProblemType::WrongKey, "Send one Idempotency-Key, not several."))
        }
    }
}

/// Refuses a key in the header of a batch: it would protect none of its lines.
pub(crate) fn none_of_a_batch(request: &HttpRequest) -> Result<(), Problem> {
    if !request.headers().contains_key(HEADER) {
        return Ok(());
    }
    let detail = "A batch has no Idempotency-Key: give each line its \"idempotencyKey\".";
    Err(Problem::new(ProblemType::WrongKey, detail))
}

/// Returns a text that is a valid key.
pub(crate) fn check(key: &str) -> Result<&str, Problem> {
    let is_visible_ascii = key.bytes().all(|byte| byte.is_ascii_graphic());
    match key.len() {
        1..=MAX_KEY_BYTES if is_visible_ascii => Ok(key),
        _ => {
            let detail =
                format!("An idempotency key has 1 to {MAX_KEY_BYTES} visible ASCII characters.");
            Err(Problem::new(ProblemType::WrongKey, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_call_has_one_key_or_none() {
        assert_eq!(of(&TestRequest::get().to_http_request()).unwrap(), None);
        let with = |key: &'static str| TestRequest::get().insert_header(("Idempotency-Key", key));
        assert_eq!(of(&with("a-1!").to_http_request()).unwrap(), Some("a-1!"));
        assert!(of(&with("a b").to_http_request()).is_err());
        assert!(of(&with("").to_http_request()).is_err());
        let two = with("a").append_header(("Idempotency-Key", "b"));
        assert!(of(&two.to_http_request()).is_err());
    }
}
