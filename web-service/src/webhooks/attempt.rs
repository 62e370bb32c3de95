//! One attempt at a callback: reads the request, sends the webhook, records the outcome in the store.

use std::{sync::Arc, time::Duration};

use pipeline::{
    contract::{Timestamp, TraceParent},
    log_messages::{CALLBACK_DELIVERED, CALLBACK_FAILED},
    spans::{self, Kind, Span},
};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::{
    metrics::Metrics,
    views::request::RequestView,
    webhooks::{
        retry_schedule,
        sender::{WebhookOutcome, WebhookRequest, WebhookSender},
    },
};
use store::{AttemptOutcome, AttemptReport, Found, LeasedCallback, Record, Store, StoreError};

/// How long a leased callback belongs to this web service: longer than an attempt takes, but not much.
pub(crate) const LEASE_DURATION: Duration = Duration::from_secs(30);

/// The body of a webhook.
#[derive(Serialize)]
struct Body<'v> {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Timestamp,
    data: &'v RequestView,
}

/// Makes an attempt and records its outcome. Returns how long the receiver took; none if nothing was sent. Without a sender,
/// the attempt fails.
pub(crate) async fn run(
    store: Store,
    sender: Option<Arc<WebhookSender>>,
    metrics: Metrics,
    leased: LeasedCallback,
) -> Option<Duration> {
    let mut took = None;
    let (outcome, error) = match webhook(&store, &leased).await {
        Err(error) => {
            // The callback is due again when its lease is over.
            debug!(requestId = %leased.id, "callback waits for the store: {error}");
            return None;
        }
        Ok(None) => (AttemptOutcome::Dropped, None),
        Ok(Some(webhook)) => {
            let (began, mut span) = (Instant::now(), span(&store, &leased).await);
            let can_send = sender.is_some();
            let sent = send(sender, webhook).await;
            if let (Some(span), WebhookOutcome::Failed { reason, .. }) = (&mut span, &sent) {
                span.fail(reason.clone());
            }
            drop(span);
            took = can_send.then(|| began.elapsed());
            let outcome = attempt_outcome(&sent, leased.attempt, leased.age);
            metrics.callback(name(&sent));
            log(&leased, &sent, &outcome);
            (outcome, error(sent))
        }
    };
    let report = AttemptReport { id: leased.id, lease: leased.lease, outcome, error };
    // After the lease the callback belongs to whoever leases it next.
    let _ = timeout(LEASE_DURATION, record(&store, report)).await;
    took
}

/// The span of an attempt, if its trace is recorded.
async fn span(store: &Store, leased: &LeasedCallback) -> Option<Span> {
    if !spans::are_sent() {
        return None;
    }
    let trace = TraceParent::parse(&store.origin(leased.id).await.ok()?.trace?)?;
    let span = Span::child(&trace, "callback", Kind::Client)?;
    let span = span.with("slowlane.request_id", leased.id.to_string());
    Some(span.with("server.address", leased.host.clone()))
}

async fn send(sender: Option<Arc<WebhookSender>>, webhook: WebhookRequest) -> WebhookOutcome {
    match sender {
        Some(sender) => sender.send(webhook).await,
        None => WebhookOutcome::failed("WEBHOOK_SECRET is not set".to_owned()),
    }
}

/// The webhook of a callback; none if there is nothing to tell any more.
async fn webhook(
    store: &Store,
    leased: &LeasedCallback,
) -> Result<Option<WebhookRequest>, StoreError> {
    let Found::Record(request) = store.get(leased.id).await? else { return Ok(None) };
    let Some(callback) = request.summary.callback.clone() else { return Ok(None) };
    // After a replay, the end of the new run gets a webhook of its own.
    if !request.summary.status.is_final() || request.summary.run != leased.run {
        return Ok(None);
    }
    let status = request.summary.status.as_str();
    let id = format!("{}-{}-{status}", leased.id, leased.run);
    let body = body(*request, leased.ended_at);
    Ok(Some(WebhookRequest { url: callback.url, id, body }))
}

fn body(request: Record, ended_at: Timestamp) -> String {
    let kind = format!("request.{}", request.summary.status.as_str());
    let data = &RequestView::from(request).without_callback();
    serde_json::to_string(&Body { kind, timestamp: ended_at, data })
        .expect("texts, numbers and checked JSON are always JSON")
}

/// What becomes of a callback of this age after an attempt with this outcome.
fn attempt_outcome(outcome: &WebhookOutcome, attempt: u32, age: Duration) -> AttemptOutcome {
    match outcome {
        WebhookOutcome::Delivered(_) => AttemptOutcome::Delivered,
        WebhookOutcome::Gone => AttemptOutcome::GivenUp,
        WebhookOutcome::Failed { retry_after, .. } => {
            match retry_schedule::pause(attempt, age, *retry_after) {
                Some(pause) => AttemptOutcome::RetryAfter(pause),
                None => AttemptOutcome::GivenUp,
            }
        }
    }
}

/// The outcome as metrics name it.
fn name(outcome: &WebhookOutcome) -> &'static str {
    match outcome {
        WebhookOutcome::Delivered(_) => "delivered",
        WebhookOutcome::Gone => "gone",
        WebhookOutcome::Failed { .. } => "failed",
    }
}

fn error(outcome: WebhookOutcome) -> Option<String> {
    match outcome {
        WebhookOutcome::Delivered(_) => None,
        WebhookOutcome::Gone => {
            Some("the receiver answered 410 (Gone): no further attempts".to_owned())
        }
        WebhookOutcome::Failed { reason, .. } => Some(reason),
    }
}

fn log(leased: &LeasedCallback, sent: &WebhookOutcome, outcome: &AttemptOutcome) {
    let LeasedCallback { id, host, attempt, .. } = leased;
    let given_up = *outcome == AttemptOutcome::GivenUp;
    match sent {
        WebhookOutcome::Delivered(status) => {
            info!(requestId = %id, host, attempt, status = status.as_u16(), "{CALLBACK_DELIVERED}");
        }
        WebhookOutcome::Gone => {
            warn!(requestId = %id, host, attempt, status = 410, given_up, "callback refused");
        }
        WebhookOutcome::Failed { status, reason, .. } => {
            let status = status.map(|status| status.as_u16());
            warn!(requestId = %id, host, attempt, status, reason, given_up, "{CALLBACK_FAILED}");
        }
    }
}

/// Records the outcome of an attempt, as soon as the store is there.
async fn record(store: &Store, report: AttemptReport) {
    while let Err(StoreError::Unavailable(_)) = store.record_attempt(report.clone()).await {
        store.until_up().await;
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn a_failed_callback_is_tried_again_until_it_is_given_up() {
        let new = Duration::ZERO;
        let delivered = WebhookOutcome::Delivered(StatusCode::OK);
        assert_eq!(attempt_outcome(&delivered, 1, new), AttemptOutcome::Delivered);
        assert_eq!(attempt_outcome(&WebhookOutcome::Gone, 1, new), AttemptOutcome::GivenUp);
        let failed = WebhookOutcome::failed("no".to_owned());
        let first = attempt_outcome(&failed, 1, new);
        assert!(
            matches!(first, AttemptOutcome::RetryAfter(pause) if (1000..=2000).contains(&pause.as_millis()))
        );
        assert_eq!(attempt_outcome(&failed, 35, new), AttemptOutcome::GivenUp);
        let old = retry_schedule::MAX_AGE * 2;
        assert_eq!(attempt_outcome(&failed, 2, old), AttemptOutcome::GivenUp);
        assert_eq!(attempt_outcome(&delivered, 2, old), AttemptOutcome::Delivered);
        let retry_after = Some(Duration::from_secs(30));
        let busy = WebhookOutcome::Failed { status: None, reason: String::new(), retry_after };
        assert_eq!(
            attempt_outcome(&busy, 1, new),
            AttemptOutcome::RetryAfter(Duration::from_secs(30))
        );
    }
}
