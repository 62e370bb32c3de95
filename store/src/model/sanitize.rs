//! Replaces NUL characters in texts: PostgreSQL stores none, so in both backends U+FFFD takes their place.
//! Payloads are bytes and stay as they are.

use crate::model::{
    callback::AttemptReport,
    filter::RequestFilter,
    parked::NewParked,
    request::{NewRequest, ScheduledRetry},
    worker_result::{ResultOutcome, WorkerResult},
};

pub(crate) fn new_request(request: &mut NewRequest) {
    text(&mut request.kind);
    request.owner.iter_mut().chain(&mut request.trace).for_each(text);
}

pub(crate) fn worker_result(result: &mut WorkerResult) {
    result.worker.iter_mut().for_each(text);
    if let ResultOutcome::Failed(error) = &mut result.outcome {
        text(&mut error.code);
        text(&mut error.message);
    }
}

pub(crate) fn parked(message: &mut NewParked) {
    [&mut message.headers, &mut message.reason, &mut message.error].into_iter().for_each(text);
    message.result.iter_mut().for_each(worker_result);
}

pub(crate) fn retry(retry: &mut ScheduledRetry) {
    retry.worker.iter_mut().for_each(text);
    [&mut retry.error.code, &mut retry.error.message].into_iter().for_each(text);
}

pub(crate) fn attempt_report(report: &mut AttemptReport) {
    report.error.iter_mut().for_each(text);
}

pub(crate) fn filter(filter: &mut RequestFilter) {
    filter.kind.iter_mut().chain(&mut filter.code).for_each(text);
}

fn text(text: &mut String) {
    if text.as_bytes().contains(&0) {
        *text = text.replace('\0', "\u{fffd}");
    }
}
