//! Replaces NUL characters in texts: PostgreSQL stores none, so in both backends U+FFFD takes their place. And shortens
//! what workers of others send as errors: each list of requests reads them. Payloads are bytes and stay as they are.

use pipeline::contract::{ErrorBody, shortened};

use crate::model::{
    callback::AttemptReport,
    filter::RequestFilter,
    parked::NewParked,
    request::{NewRequest, ScheduledRetry},
    worker_result::{ResultOutcome, WorkerResult},
};

/// The longest name of a worker or reason, in bytes.
const MAX_WORD_BYTES: usize = 500;

pub(crate) fn new_request(request: &mut NewRequest) {
    text(&mut request.kind);
    request.owner.iter_mut().chain(&mut request.trace).for_each(text);
}

pub(crate) fn worker_result(result: &mut WorkerResult) {
    result.worker.iter_mut().for_each(word);
    if let ResultOutcome::Failed(error) = &mut result.outcome {
        error_body(error);
    }
}

pub(crate) fn parked(message: &mut NewParked) {
    text(&mut message.headers);
    limited(&mut message.error, ErrorBody::MAX_MESSAGE_BYTES);
    word(&mut message.reason);
    message.result.iter_mut().for_each(worker_result);
}

pub(crate) fn retry(retry: &mut ScheduledRetry) {
    retry.worker.iter_mut().for_each(word);
    error_body(&mut retry.error);
}

pub(crate) fn attempt_report(report: &mut AttemptReport) {
    report.error.iter_mut().for_each(text);
}

pub(crate) fn filter(filter: &mut RequestFilter) {
    filter.kind.iter_mut().chain(&mut filter.code).for_each(text);
}

fn error_body(error: &mut ErrorBody) {
    [&mut error.code, &mut error.message].into_iter().for_each(text);
    *error = std::mem::replace(error, ErrorBody::new("", "")).shortened();
}

/// A name or a reason, which is long only by mistake.
fn word(word: &mut String) {
    limited(word, MAX_WORD_BYTES);
}

fn limited(long: &mut String, max_bytes: usize) {
    text(long);
    if long.len() > max_bytes {
        *long = shortened(long, max_bytes).into_owned();
    }
}

fn text(text: &mut String) {
    if text.as_bytes().contains(&0) {
        *text = text.replace('\0', "\u{fffd}");
    }
}
