//! Health listener: `GET /health/live`, `/health/ready` and `/metrics` of a processor, at `PROCESSOR_HTTP_ADDR`, and
//! `POST /progress/{token}` for the work on a request.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{App, HttpResponse, HttpServer, dev::ServerHandle, web};
use anyhow::Context;
use pipeline::{
    broker::Broker,
    health::{Part, Readiness},
    log_messages::LISTENING,
    metrics::CONTENT_TYPE,
};
use serde_json::json;
use tokio::{runtime::Handle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    metrics::Metrics,
    processor::progress_urls::{self, ProgressUrls},
    worker::{host_faults::HostFaults, in_flight::InFlight},
};

/// How long the workers' runtime may take to begin a task. Then it does not turn any more.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest report of progress.
const MAX_REPORT_BYTES: usize = 16 << 10;

/// Tells why jobs can only wait at present, if they can't do more.
pub(crate) type Blocked = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What the listener tells of.
#[derive(Clone)]
pub(crate) struct Observed {
    pub(crate) broker: Arc<Broker>,
    pub(crate) in_flight: InFlight,
    pub(crate) metrics: Metrics,
    pub(crate) host_faults: HostFaults,
    pub(crate) blocked: Blocked,
    pub(crate) progress_urls: ProgressUrls,
    /// Cancelled when no new job is to start.
    pub(crate) drain: CancellationToken,
}

/// Binds the address, and logs it.
///
/// # Errors
/// If the address can't be bound.
pub(crate) fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("can't listen on PROCESSOR_HTTP_ADDR={address}"))?;
    let address = listener.local_addr()?;
    info!(%address, paths = "/health/live, /health/ready, /metrics", "{LISTENING}");
    Ok(listener)
}

/// Begins to answer. Needs the workers' Tokio runtime, which `/health/live` tells of; the answers come from a thread of
/// their own.
///
/// # Errors
/// If the listener can't be used.
pub(crate) fn serve(listener: TcpListener, observed: Observed) -> anyhow::Result<ServerHandle> {
    let (observed, workers) = (web::Data::new(observed), web::Data::new(Handle::current()));
    let app = move || {
        App::new()
            .app_data(observed.clone())
            .app_data(workers.clone())
            .route("/health/live", web::get().to(live))
            .route("/health/ready", web::get().to(ready))
            .route("/metrics", web::get().to(metrics))
            .service(
                web::resource(format!("{}/{{token}}", progress_urls::PATH))
                    .app_data(web::PayloadConfig::new(MAX_REPORT_BYTES))
                    .route(web::post().to(progress)),
            )
    };
    let server = HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok(handle)
}

/// 200 while the workers' runtime turns.
async fn live(workers: web::Data<Handle>) -> HttpResponse {
    let turned = timeout(TURN_TIMEOUT, workers.spawn(async {})).await;
    match turned {
        Ok(Ok(())) => HttpResponse::Ok().json(json!({ "status": "live" })),
        _ => HttpResponse::ServiceUnavailable().json(json!({ "status": "stuck" })),
    }
}

/// 200 while requests are received, or 503 with the parts that are missing.
async fn ready(observed: web::Data<Observed>) -> HttpResponse {
    let readiness = observed.readiness();
    match readiness.is_ready() {
        true => HttpResponse::Ok().json(readiness),
        false => HttpResponse::ServiceUnavailable().json(readiness),
    }
}

async fn metrics(observed: web::Data<Observed>) -> HttpResponse {
    observed.broker.update_metrics();
    let is_faulty = observed.host_faults.present().is_some();
    let is_blocked = (observed.blocked)().is_some();
    let in_progress = |of: &_| observed.in_flight.started_of(of);
    let text = observed.metrics.text(in_progress, is_faulty, is_blocked);
    HttpResponse::Ok().content_type(CONTENT_TYPE).body(text)
}

/// 204 when a job's report is taken, 404 when the job has ended, 422 when it reports nothing.
async fn progress(
    observed: web::Data<Observed>,
    token: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    let Some(reporter) = observed.progress_urls.reporter(&token) else {
        return HttpResponse::NotFound().json(json!({ "error": "there is no such job any more" }));
    };
    if reporter.report_json(&body) {
        return HttpResponse::NoContent().finish();
    }
    let error = "takes {\"progress\": a number from 0 to 1, \"message\": a text}";
    HttpResponse::UnprocessableEntity().json(json!({ "error": error }))
}

impl Observed {
    fn readiness(&self) -> Readiness {
        let jobs = self.in_flight.started();
        let workers = if self.drain.is_cancelled() {
            Part::missing(format!("stopping; jobs in progress: {jobs}"))
        } else if let Some(reason) = self.host_faults.present() {
            Part::missing(format!("work can't begin on this host, no request is taken: {reason}"))
        } else if let Some(reason) = (self.blocked)() {
            Part::missing(format!("jobs wait: {reason}"))
        } else {
            Part::ok(format!("jobs in progress: {jobs}"))
        };
        Readiness::of(self.broker.health().into_iter().chain([("workers", workers)]))
    }
}
