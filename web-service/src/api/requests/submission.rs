//! What a client posts: alone, or as a line of a batch.

use std::{borrow::Cow, time::Duration};

use pipeline::{config, contract::TraceParent};
use serde::Deserialize;
use serde_json::{error::Category, value::RawValue};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::http::{idempotency_key, problem::Problem};
use crate::{
    dispatch::submission::{IdempotencyKey, Submission},
    webhooks::callback_policy::CallbackPolicy,
};

/// The longest time that a request may wait: what a broker takes in milliseconds has an end.
const LONGEST_WAIT: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// Work to be done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = NewRequest)]
pub(crate) struct Posted<'a> {
    /// Any JSON. It reaches the worker untouched.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    data: &'a RawValue,
    /// A request whose work has not begun by then ends as `failed` with the code `expired`: a number
    /// with a unit, 28d at most.
    #[serde(borrow, default)]
    #[schema(value_type = String, example = "10m")]
    expires_in: Option<Cow<'a, str>>,
    /// Where the end of the request is told, by a signed POST: an `https` address, public unless the
    /// service says otherwise.
    #[serde(borrow, default)]
    #[schema(value_type = String, format = "uri", max_length = 2000)]
    callback_url: Option<Cow<'a, str>>,
}

/// Work to be done, as a line of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = NewRequestLine)]
pub(crate) struct Line<'a> {
    /// Any JSON. It reaches the worker untouched.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    data: &'a RawValue,
    /// As in a single request.
    #[serde(borrow, default)]
    #[schema(value_type = String, example = "10m")]
    expires_in: Option<Cow<'a, str>>,
    /// As in a single request.
    #[serde(borrow, default)]
    #[schema(value_type = String, format = "uri", max_length = 2000)]
    callback_url: Option<Cow<'a, str>>,
    /// As the header `Idempotency-Key` of a single request: 1 to 255 visible ASCII characters.
    #[serde(borrow, default)]
    #[schema(value_type = String, min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: Option<Cow<'a, str>>,
}

impl<'a> Posted<'a> {
    /// The request that a body asks for.
    pub(crate) fn wish(
        body: &'a [u8],
        key: Option<&str>,
        trace: Option<TraceParent>,
        policy: &CallbackPolicy,
    ) -> Result<Submission<'a>, Problem> {
        let Self { data, expires_in, callback_url } = parse(body)?;
        let wish = wish(body, data, expires_in.as_deref(), key, trace)?;
        calling(wish, callback_url.as_deref(), policy)
    }
}

impl<'a> Line<'a> {
    /// The request that a line asks for.
    pub(crate) fn wish(
        line: &'a [u8],
        trace: Option<TraceParent>,
        policy: &CallbackPolicy,
    ) -> Result<Submission<'a>, Problem> {
        let Self { data, expires_in, callback_url, idempotency_key } = parse(line)?;
        if let Some(key) = &idempotency_key {
            idempotency_key::check(key)?;
        }
        let wish = wish(line, data, expires_in.as_deref(), idempotency_key.as_deref(), trace)?;
        calling(wish, callback_url.as_deref(), policy)
    }
}

fn wish<'a>(
    body: &[u8],
    data: &'a RawValue,
    expires_in: Option<&str>,
    key: Option<&str>,
    trace: Option<TraceParent>,
) -> Result<Submission<'a>, Problem> {
    let id = Uuid::now_v7();
    let trace = trace.unwrap_or_else(|| TraceParent::for_request(id));
    let expires_in = expires_in.map(duration).transpose()?;
    let digest = || Sha256::digest(body).into();
    let key = key.map(|key| IdempotencyKey { name: idempotency_key::name(key), digest: digest() });
    Ok(Submission { id, data, trace, expires_in, callback: None, key })
}

/// The same request, whose end is to be told there.
fn calling<'a>(
    wish: Submission<'a>,
    url: Option<&str>,
    policy: &CallbackPolicy,
) -> Result<Submission<'a>, Problem> {
    let callback = url.map(|url| policy.target(url)).transpose();
    let callback = callback.map_err(|error| Problem::callback_refused(error.to_string()))?;
    Ok(Submission { callback, ..wish })
}

fn duration(text: &str) -> Result<Duration, Problem> {
    match config::duration(text) {
        Ok(duration) if duration <= LONGEST_WAIT => Ok(duration),
        _ => Err(Problem::wrong_shape(
            "expiresIn is a number with a unit, 28d at most: \"200ms\", \"5s\", \"25m\", \"7d\".",
        )),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let shape = "send {\"data\": ...}";
    if !matches!(body.trim_ascii_start().first(), None | Some(b'{'))
        && serde_json::from_slice::<&RawValue>(body).is_ok()
    {
        return Err(Problem::wrong_shape(format!("The body is not an object; {shape}.")));
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => Problem::wrong_shape(format!("{error}; {shape}.")),
        Category::Syntax | Category::Eof | Category::Io => Problem::not_json(format!("{error}.")),
    })
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;

    use super::*;
    use crate::webhooks::target::AllowedTargets;

    const POLICY: CallbackPolicy =
        CallbackPolicy { can_sign: true, allowed: AllowedTargets::PublicHttps };

    fn status(body: &str) -> u16 {
        match Posted::wish(body.as_bytes(), None, None, &POLICY) {
            Ok(_) => 202,
            Err(problem) => problem.status_code().as_u16(),
        }
    }

    #[test]
    fn any_json_is_data() {
        for data in ["null", "1e400", "\"\\u0000\"", "{}", "[1, 2]", "12345678901234567890.10"] {
            let body = format!("{{ \"data\" : {data} }}");
            let wish = Posted::wish(body.as_bytes(), None, None, &POLICY).unwrap();
            assert_eq!(wish.data.get(), data);
        }
    }

    #[test]
    fn what_is_not_json_is_told_from_what_has_another_shape() {
        for body in ["", "{", "nonsense", "{\"data\":1}x", "{\"data\":\u{1}}"] {
            assert_eq!(status(body), 400, "{body}");
        }
        for body in [
            "[]",
            "1",
            "{}",
            "{\"data\":1,\"color\":2}",
            "{\"data\":1,\"data\":2}",
            "[1]",
            "{\"data\":1,\"idempotencyKey\":\"k\"}",
        ] {
            assert_eq!(status(body), 422, "{body}");
        }
    }

    #[test]
    fn a_request_can_expire_at_a_time_that_the_broker_can_count() {
        for good in ["200ms", "5s", "25m", "28d"] {
            assert_eq!(status(&format!("{{\"data\":1,\"expiresIn\":\"{good}\"}}")), 202, "{good}");
        }
        assert_eq!(status("{\"data\":1,\"expiresIn\":null}"), 202);
        for bad in ["\"\"", "\"0s\"", "\"29d\"", "\"soon\"", "5", "\"-5s\""] {
            assert_eq!(status(&format!("{{\"data\":1,\"expiresIn\":{bad}}}")), 422, "{bad}");
        }
    }

    #[test]
    fn a_line_may_have_a_key() {
        let key = |key: &str| format!("{{\"data\":1,\"idempotencyKey\":\"{key}\"}}");
        let (one, same, other) = (key("a"), key("a"), key("b"));
        let name =
            |line: &str| Line::wish(line.as_bytes(), None, &POLICY).unwrap().key.unwrap().name;
        assert_eq!(name(&one), name(&same));
        assert_ne!(name(&one), name(&other));
        for bad in ["", " ", "a b", "\u{fc}", &"x".repeat(256)] {
            assert!(Line::wish(key(bad).as_bytes(), None, &POLICY).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_callback_goes_only_where_it_may() {
        let wish = |url: &str, policy: &CallbackPolicy| {
            let body = format!("{{\"data\":1,\"callbackUrl\":{url}}}");
            let line = Line::wish(body.as_bytes(), None, policy).map(|wish| wish.callback);
            let alone = Posted::wish(body.as_bytes(), None, None, policy).map(|wish| wish.callback);
            assert_eq!(line.is_ok(), alone.is_ok());
            alone.map_err(|problem| (problem.status_code().as_u16(), problem.to_string()))
        };
        let target = wish("\"https://example.com/a\"", &POLICY).unwrap().unwrap();
        assert_eq!(
            (target.url.as_str(), target.host.as_str()),
            ("https://example.com/a", "example.com")
        );
        assert_eq!(wish("null", &POLICY), Ok(None));
        assert_eq!(wish("\"https://127.0.0.1/\"", &POLICY).unwrap_err().0, 422);
        assert_eq!(wish("5", &POLICY).unwrap_err().0, 422);
        let unsigned = CallbackPolicy { can_sign: false, ..POLICY };
        let (status, said) = wish("\"https://example.com/a\"", &unsigned).unwrap_err();
        assert!(status == 422 && said.contains("set WEBHOOK_SECRET"), "{said}");
    }
}
