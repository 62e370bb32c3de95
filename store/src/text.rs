//! Text as both stores can keep it: PostgreSQL takes no NUL in a text, so a replacement character
//! stands for it in both. Payloads are bytes and stay as they are.

use super::{
    callbacks::AttemptReport,
    ending::{ResultOutcome, WorkerResult},
    listing::List,
    parked::Parked,
    request::{NewRequest, Retrying},
};

fn clean(text: &mut String) {
    if text.as_bytes().contains(&0) {
        *text = text.replace('\0', "\u{fffd}");
    }
}

pub(super) fn clean_request(request: &mut NewRequest) {
    clean(&mut request.kind);
    request.owner.iter_mut().chain(&mut request.trace).for_each(clean);
}

pub(super) fn clean_finished(result: &mut WorkerResult) {
    result.worker.iter_mut().for_each(clean);
    if let ResultOutcome::Failed(error) = &mut result.end {
        clean(&mut error.code);
        clean(&mut error.message);
    }
}

pub(super) fn clean_parked(message: &mut Parked) {
    [&mut message.headers, &mut message.reason, &mut message.error].into_iter().for_each(clean);
    message.ends.iter_mut().for_each(clean_finished);
}

pub(super) fn clean_retrying(news: &mut Retrying) {
    clean(&mut news.last_error);
}

pub(super) fn clean_attempted(attempted: &mut AttemptReport) {
    attempted.error.iter_mut().for_each(clean);
}

pub(super) fn clean_list(list: &mut List) {
    list.kind.iter_mut().for_each(clean);
}
