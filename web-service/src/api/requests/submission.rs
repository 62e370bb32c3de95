//! Submissions as JSON: the body of a single request, and a line of a batch.

use std::{borrow::Cow, time::Duration};

use pipeline::{
    config,
    contract::{TraceParent, encoding},
    spans::{Kind, Span},
    topology::RequestType,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    api::{
        http::{idempotency_key, json_body, problem::Problem, problem_type::ProblemType},
        requests::{rejected, submission_rules::SubmissionRules},
    },
    dispatch::{
        known_type::known_type,
        submission::{IdempotencyKey, Submission},
    },
};
use store::IdempotencyKeyHash;

/// The longest `expiresIn`. RabbitMQ limits the milliseconds of an expiration.
const MAX_EXPIRES_IN: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// A new request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = NewRequest)]
pub(crate) struct SubmissionBody<'a> {
    /// The input of the work: any JSON. It reaches the worker unchanged.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    data: &'a RawValue,
    /// Its type, which chooses the queue and the processors that work on it: one of the service's `TYPES`.
    #[serde(borrow, default, rename = "type")]
    #[schema(value_type = Option<String>, default = "default", max_length = 40, pattern = "^[a-z0-9-]+$")]
    kind: Option<Cow<'a, str>>,
    /// A request whose work has not begun by then ends as `failed` with the code `expired`: a number
    /// with a unit, 28d at most.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "10m")]
    expires_in: Option<Cow<'a, str>>,
    /// Where a signed POST is sent when the request has ended: an `https` address, public unless the
    /// service allows others.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2000)]
    callback_url: Option<Cow<'a, str>>,
}

/// A new request, as a line of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = NewRequestLine)]
pub(crate) struct BatchLine<'a> {
    /// The input of the work: any JSON. It reaches the worker unchanged.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    data: &'a RawValue,
    /// As in a single request.
    #[serde(borrow, default, rename = "type")]
    #[schema(value_type = Option<String>, default = "default", max_length = 40, pattern = "^[a-z0-9-]+$")]
    kind: Option<Cow<'a, str>>,
    /// As in a single request.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "10m")]
    expires_in: Option<Cow<'a, str>>,
    /// As in a single request.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2000)]
    callback_url: Option<Cow<'a, str>>,
    /// As the header `Idempotency-Key` of a single request: 1 to 255 visible ASCII characters.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: Option<Cow<'a, str>>,
}

impl<'a> SubmissionBody<'a> {
    /// The submission that a body asks for, with the key of the call's header.
    pub(crate) fn submission(
        body: &'a [u8],
        key: Option<&'a str>,
        trace: Option<TraceParent>,
        rules: &SubmissionRules,
    ) -> Result<Submission<'a>, Problem> {
        let Self { data, kind, expires_in, callback_url } = parse(body)?;
        let idempotency_key = key.map(Cow::Borrowed);
        let line = BatchLine { data, kind, expires_in, callback_url, idempotency_key };
        line.into_submission(body, trace, rules)
    }
}

impl<'a> BatchLine<'a> {
    /// The submission that a line asks for.
    pub(crate) fn submission(
        line: &'a [u8],
        trace: Option<TraceParent>,
        rules: &SubmissionRules,
    ) -> Result<Submission<'a>, Problem> {
        parse::<Self>(line)?.into_submission(line, trace, rules)
    }

    /// `raw` is the text that the idempotency key stands for.
    fn into_submission(
        self,
        raw: &[u8],
        trace: Option<TraceParent>,
        rules: &SubmissionRules,
    ) -> Result<Submission<'a>, Problem> {
        let id = Uuid::now_v7();
        let (trace, span) = traced(trace, id);
        let key = self.idempotency_key.as_deref().map(idempotency_key::check).transpose()?;
        let kind = self.kind.as_deref().unwrap_or(RequestType::DEFAULT.as_str());
        let request_type =
            known_type(&rules.types, kind).map_err(|unknown| rejected::unknown_type(&unknown))?;
        let callback = self.callback_url.map(|url| rules.callbacks.target(&url)).transpose();
        Ok(Submission {
            id,
            request_type,
            data: self.data,
            trace,
            span,
            expires_in: self.expires_in.as_deref().map(expires_in).transpose()?,
            callback: callback
                .map_err(|error| Problem::new(ProblemType::CallbackRefused, error.to_string()))?,
            key: key.map(|key| IdempotencyKey {
                hash: IdempotencyKeyHash::new(None, key),
                body_digest: Sha256::digest(encoding::without_mark(raw)).into(),
            }),
        })
    }
}

/// The trace of a request, and the span of its submission if that is recorded: below what the caller says, or else the first.
fn traced(caller: Option<TraceParent>, id: Uuid) -> (TraceParent, Option<Span>) {
    let span = match &caller {
        Some(caller) => Span::child(caller, "submit", Kind::Server),
        None => Span::root(id, "submit", Kind::Server),
    };
    let span = span.map(|span| span.with("slowlane.request_id", id.to_string()));
    let trace = span.as_ref().map(|span| span.context().clone()).or(caller);
    (trace.unwrap_or_else(|| TraceParent::for_request(id)), span)
}

fn expires_in(text: &str) -> Result<Duration, Problem> {
    match config::duration(text) {
        Ok(duration) if duration <= MAX_EXPIRES_IN => Ok(duration),
        _ => Err(Problem::wrong_shape(
            "expiresIn is a number with a unit, 28d at most: \"200ms\", \"5s\", \"25m\", \"7d\".",
        )),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    json_body::parse(body, "send {\"data\": ...}")
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use pipeline::topology::RequestTypes;

    use super::*;
    use crate::webhooks::{callback_policy::CallbackPolicy, target::AllowedTargets};

    const POLICY: CallbackPolicy =
        CallbackPolicy { can_sign: true, allowed: AllowedTargets::PublicHttps };

    fn rules() -> SubmissionRules {
        SubmissionRules { callbacks: POLICY, types: RequestTypes::default() }
    }

    fn status(body: &str) -> u16 {
        match SubmissionBody::submission(body.as_bytes(), None, None, &rules()) {
            Ok(_) => 202,
            Err(problem) => problem.status_code().as_u16(),
        }
    }

    #[test]
    fn any_json_is_data() {
        for data in ["null", "1e400", "\"\\u0000\"", "{}", "[1, 2]", "12345678901234567890.10"] {
            let body = format!("{{ \"data\" : {data} }}");
            let submission =
                SubmissionBody::submission(body.as_bytes(), None, None, &rules()).unwrap();
            assert_eq!(submission.data.get(), data);
        }
    }

    #[test]
    fn not_json_is_400_and_another_shape_is_422() {
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
    fn a_type_that_is_not_served_is_422_and_named_with_those_that_are() {
        let types = ["default", "video"].map(|name| name.parse().unwrap());
        let rules = SubmissionRules { types: RequestTypes::new(types).unwrap(), ..rules() };
        let of = |fields: &str| {
            let body = format!("{{\"data\":1{fields}}}");
            let line =
                BatchLine::submission(body.as_bytes(), None, &rules).map(|it| it.request_type);
            let alone = SubmissionBody::submission(body.as_bytes(), None, None, &rules);
            assert_eq!(line.is_ok(), alone.is_ok());
            alone.map(|it| it.request_type.to_string())
        };
        assert_eq!(of("").unwrap(), "default");
        assert_eq!(of(",\"type\":null").unwrap(), "default");
        assert_eq!(of(",\"type\":\"video\"").unwrap(), "video");
        for name in ["audio", "", "VIDEO", "#"] {
            let problem = of(&format!(",\"type\":\"{name}\"")).unwrap_err();
            assert_eq!(problem.status_code().as_u16(), 422);
            assert!(problem.to_string().contains("the types are: default, video"), "{problem}");
        }
        assert_eq!(of(",\"type\":1").unwrap_err().status_code().as_u16(), 422);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_another_encoding_is_named() {
        let (plain, marked) = ("{\"data\":\"ü\"}", "\u{feff}{\"data\":\"ü\"}");
        let submission = |body| SubmissionBody::submission(body, Some("key"), None, &rules());
        let (plain, marked) = (submission(plain.as_bytes()), submission(marked.as_bytes()));
        let (plain, marked) = (plain.unwrap(), marked.unwrap());
        assert_eq!(marked.data.get(), "\"ü\"");
        let digest = |submission: Submission<'_>| submission.key.unwrap().body_digest;
        assert_eq!(digest(marked), digest(plain), "it is the same call");
        let utf16: Vec<u8> = "{\"data\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (body, name) in [(utf16.as_slice(), "UTF-16"), (b"{\"data\":\"\xfc\"}", "Latin-1")] {
            let problem = submission(body).unwrap_err();
            assert_eq!(problem.status_code().as_u16(), 400);
            assert!(problem.to_string().contains(name), "{problem}");
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
        let name = |line: &str| {
            BatchLine::submission(line.as_bytes(), None, &rules()).unwrap().key.unwrap().hash
        };
        assert_eq!(name(&one), name(&same));
        assert_ne!(name(&one), name(&other));
        for bad in ["", " ", "a b", "\u{fc}", &"x".repeat(256)] {
            assert!(BatchLine::submission(key(bad).as_bytes(), None, &rules()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_callback_url_is_checked() {
        let callback = |url: &str, policy: &CallbackPolicy| {
            let policy = &SubmissionRules { callbacks: policy.clone(), ..rules() };
            let body = format!("{{\"data\":1,\"callbackUrl\":{url}}}");
            let line =
                BatchLine::submission(body.as_bytes(), None, policy).map(|parsed| parsed.callback);
            let alone = SubmissionBody::submission(body.as_bytes(), None, None, policy)
                .map(|parsed| parsed.callback);
            assert_eq!(line.is_ok(), alone.is_ok());
            alone.map_err(|problem| (problem.status_code().as_u16(), problem.to_string()))
        };
        let target = callback("\"https://example.com/a\"", &POLICY).unwrap().unwrap();
        assert_eq!(
            (target.url.as_str(), target.host.as_str()),
            ("https://example.com/a", "example.com")
        );
        assert_eq!(callback("null", &POLICY), Ok(None));
        assert_eq!(callback("\"https://127.0.0.1/\"", &POLICY).unwrap_err().0, 422);
        assert_eq!(callback("5", &POLICY).unwrap_err().0, 422);
        let unsigned = CallbackPolicy { can_sign: false, ..POLICY };
        let (status, error) = callback("\"https://example.com/a\"", &unsigned).unwrap_err();
        assert!(status == 422 && error.contains("set WEBHOOK_SECRET"), "{error}");
    }
}
