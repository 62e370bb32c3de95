//! The header `Idempotency-Key`: what makes several calls one request.

use actix_web::HttpRequest;

use crate::api::http::problem::Problem;
use store::IdempotencyKeyHash;

/// How long a key may be.
const LONGEST: usize = 255;

/// The key of a call, if it has one.
pub(crate) fn of(request: &HttpRequest) -> Result<Option<&str>, Problem> {
    let mut values = request.headers().get_all("idempotency-key");
    let (Some(value), None) = (values.next(), values.next()) else {
        return match request.headers().contains_key("idempotency-key") {
            true => Err(Problem::wrong_key("Send one Idempotency-Key, not several.")),
            false => Ok(None),
        };
    };
    let key = value.to_str().unwrap_or_default();
    check(key).map(|()| Some(key))
}

/// Whether a text can be a key.
pub(crate) fn check(key: &str) -> Result<(), Problem> {
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    match key.len() {
        1..=LONGEST if visible => Ok(()),
        _ => Err(Problem::wrong_key(format!(
            "An idempotency key has 1 to {LONGEST} visible ASCII characters."
        ))),
    }
}

/// What a key is stored as.
pub(crate) fn name(key: &str) -> IdempotencyKeyHash {
    IdempotencyKeyHash::new(None, key)
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
