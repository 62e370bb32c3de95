//! Reading bodies: of the right kind, not too long, in time.

use std::time::Duration;

use actix_web::{
    HttpMessage, HttpRequest,
    web::{Bytes, Payload},
};
use tokio::time::timeout;

use crate::api::http::problem::Problem;

/// How long a client may take to send its body.
const TIME: Duration = Duration::from_secs(30);

/// A body of one of these media types, of `limit` bytes at most.
pub(crate) async fn read(
    request: &HttpRequest,
    payload: Payload,
    media: &'static [&'static str],
    limit: usize,
) -> Result<Bytes, Problem> {
    let given = request.content_type();
    if !media.iter().any(|known| given.eq_ignore_ascii_case(known)) {
        return Err(Problem::unsupported_media_type(media[0]));
    }
    let announced = request.headers().get("content-length").and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<u64>().ok()).is_some_and(|n| n > limit as u64) {
        return Err(Problem::too_large(limit));
    }
    match timeout(TIME, payload.to_bytes_limited(limit)).await {
        Err(_) => Err(Problem::too_slow(TIME)),
        Ok(Err(_)) => Err(Problem::too_large(limit)),
        Ok(Ok(body)) => body.map_err(|error| Problem::unreadable(error.to_string())),
    }
}
