//! Request bodies: media type, size limit and timeout.

use std::{
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use actix_web::{HttpMessage, HttpRequest, http::header, web::Payload};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::http::{
    body_memory::{Body, BodyMemory, NoMemory},
    problem::Problem,
    problem_type::ProblemType,
};

/// How long a client may take to send its body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may still take when the service stops.
const STOPPING_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Which bodies a handler accepts.
pub(crate) struct BodyRules {
    /// The accepted media types, of which errors name the first.
    pub(crate) media_types: &'static [&'static str],
    /// The size limit in bytes.
    pub(crate) max_bytes: usize,
    /// Makes the error for a longer body, which names the limit of so many bytes.
    pub(crate) too_large: fn(max_bytes: usize) -> Problem,
}

/// Reads a body into `memory`. `drain` is cancelled when the service stops.
///
/// # Errors
/// 415, 413, 408, 400 if the body ends too early, or 503 if there is no memory or no time for it.
pub(crate) async fn read(
    request: &HttpRequest,
    payload: Payload,
    rules: &BodyRules,
    memory: &BodyMemory,
    drain: &CancellationToken,
) -> Result<Body, Problem> {
    let BodyRules { media_types, max_bytes, too_large } = *rules;
    let media_type = request.content_type();
    if !media_types.iter().any(|accepted| media_type.eq_ignore_ascii_case(accepted)) {
        let detail = format!("Send the body with Content-Type: {}.", media_types[0]);
        return Err(Problem::new(ProblemType::UnsupportedMediaType, detail));
    }
    if !is_plain(request) {
        return Err(Problem::content_coding());
    }
    if content_length(request).is_some_and(|length| length > max_bytes as u64) {
        return Err(too_large(max_bytes));
    }
    let mut reading = pin!(collect(payload, rules, memory.body()));
    match soon(reading.as_mut()).await {
        Some(read) => read,
        None => Box::pin(in_time(reading, drain)).await,
    }
}

/// What a future ends with, if it has when it is polled a second time, at once. The HTTP library hands over what has come of a
/// body after it has polled the call for the first time; so most bodies need no timer.
async fn soon<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut was_polled = false;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if mem::replace(&mut was_polled, true) => Poll::Ready(None),
        Poll::Pending => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// A body that does not take too long.
async fn in_time(
    reading: Pin<&mut impl Future<Output = Result<Body, Problem>>>,
    drain: &CancellationToken,
) -> Result<Body, Problem> {
    let is_stopping = async {
        drain.cancelled().await;
        sleep(STOPPING_READ_TIMEOUT).await;
    };
    tokio::select! {
        body = timeout(READ_TIMEOUT, reading) => {
            body.unwrap_or_else(|_| {
                let detail = format!("The body did not arrive within {} s.", READ_TIMEOUT.as_secs());
                Err(Problem::new(ProblemType::TooSlow, detail))
            })
        }
        () = is_stopping => {
            Err(Problem::unavailable("Nothing was sent: the service stops, and the body had not arrived."))
        }
    }
}

async fn collect(mut payload: Payload, rules: &BodyRules, mut body: Body) -> Result<Body, Problem> {
    while let Some(bytes) = payload.next().await {
        let bytes = bytes.map_err(|_| {
            let detail = "The body ended too early, or its transfer coding is malformed.";
            Problem::new(ProblemType::Unreadable, detail)
        })?;
        if body.len() + bytes.len() > rules.max_bytes {
            return Err((rules.too_large)(rules.max_bytes));
        }
        body.push(&bytes).map_err(|NoMemory| {
            Problem::unavailable(
                "Nothing was sent: the bodies of other calls take all the memory that there is for them. Try again.",
            )
        })?;
    }
    Ok(body)
}

/// Whether the body has no content coding. `identity` is none, though nobody should send it.
fn is_plain(request: &HttpRequest) -> bool {
    let codings = request.headers().get_all(header::CONTENT_ENCODING);
    let mut codings = codings.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.all(|coding| {
        let coding = coding.trim_ascii();
        coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
    })
}

fn content_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[tokio::test]
    async fn what_has_come_by_the_second_poll_comes_soon() {
        for (pending, expected) in [(0, Some(())), (1, Some(())), (2, None)] {
            let mut left = pending;
            let future = poll_fn(|_| match left {
                0 => Poll::Ready(()),
                _ => {
                    left -= 1;
                    Poll::Pending
                }
            });
            assert_eq!(soon(pin!(future)).await, expected, "{pending}");
        }
    }

    #[test]
    fn a_body_with_a_content_coding_is_not_plain() {
        let plain = |codings: &[&'static str]| {
            let append = |request: TestRequest, coding: &&'static str| {
                request.append_header((header::CONTENT_ENCODING, *coding))
            };
            is_plain(&codings.iter().fold(TestRequest::post(), append).to_http_request())
        };
        for good in [&[][..], &["identity"], &["Identity , identity"], &[""]] {
            assert!(plain(good), "{good:?}");
        }
        for bad in
            [&["gzip"][..], &["x-gzip"], &["identity, gzip"], &["identity", "br"], &["nonsense"]]
        {
            assert!(!plain(bad), "{bad:?}");
        }
    }
}
