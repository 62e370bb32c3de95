//! Spans: what the programs do for a request, sent to an OpenTelemetry collector (OTLP over HTTP, as protobuf).
//!
//! A span is put together by who does the work, and handed to the SDK's exporter when it ends. There is no span without
//! `OTEL_EXPORTER_OTLP_ENDPOINT`, and none for a request whose caller says that its trace is not recorded.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue, Value,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor},
};
use tracing::warn;
use url::Url;
use uuid::Uuid;

use crate::contract::TraceParent;

/// How long the end of a program waits for the collector.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// What the SDK reads from the environment itself and may hold keys of the collector.
pub const SECRET_VARIABLES: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"];

static EXPORTER: OnceLock<Exporter> = OnceLock::new();

struct Exporter {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

/// What a program does in a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It answers a call.
    Server,
    /// It handles a message.
    Consumer,
    /// It makes a call.
    Client,
}

/// A part of the work on a request. It ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    context: TraceParent,
    parent: Option<TraceParent>,
    name: &'static str,
    kind: Kind,
    started: SystemTime,
    attributes: Vec<KeyValue>,
    error: Option<String>,
}

/// Sends the spans of this program to the collector at `endpoint` from now on. Must not be called on a runtime.
///
/// # Errors
/// If the endpoint can't be used.
pub fn start(endpoint: &Url, program: &str) -> Result<(), ExporterBuildError> {
    // An error means that it is installed already: all parts of the program use the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let traces = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
    let mut processor =
        BatchSpanProcessor::builder(exporter.with_endpoint(traces).build()?).build();
    let resource = Resource::builder().with_service_name(format!("slowlane-{program}"));
    processor.set_resource(&resource.build());
    let scope = InstrumentationScope::builder("slowlane").with_version(env!("CARGO_PKG_VERSION"));
    let _started_before = EXPORTER.set(Exporter { processor, scope: scope.build() });
    Ok(())
}

/// Sends what is left, before the program ends.
pub fn flush() {
    if let Some(exporter) = EXPORTER.get()
        && let Err(error) = exporter.processor.shutdown_with_timeout(FLUSH_TIMEOUT)
    {
        warn!("the last spans were not sent: {error}");
    }
}

/// Whether spans are sent.
pub fn are_sent() -> bool {
    EXPORTER.get().is_some()
}

impl Span {
    /// The first span of a request whose caller traces nothing. Its trace has the id of the request.
    pub fn root(id: Uuid, name: &'static str, kind: Kind) -> Option<Self> {
        are_sent().then(|| Self::new(TraceParent::for_request(id).sampled(), None, name, kind))
    }

    /// A span below another one. None if that is not recorded.
    pub fn child(parent: &TraceParent, name: &'static str, kind: Kind) -> Option<Self> {
        (are_sent() && parent.is_sampled()).then(|| {
            let (_, id) = Uuid::now_v7().as_u64_pair();
            Self::new(parent.child(id), Some(parent.clone()), name, kind)
        })
    }

    fn new(
        context: TraceParent,
        parent: Option<TraceParent>,
        name: &'static str,
        kind: Kind,
    ) -> Self {
        let (attributes, error) = (Vec::new(), None);
        Self { context, parent, name, kind, started: SystemTime::now(), attributes, error }
    }

    /// The same with an earlier beginning.
    pub fn since(mut self, started: SystemTime) -> Self {
        self.started = started;
        self
    }

    /// The same with what it is about.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Adds what it is about.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(name, value));
    }

    /// Notes that the work has failed.
    pub fn fail(&mut self, error: impl Into<String>) {
        self.error = Some(error.into());
    }

    /// What a span below this one names as its parent.
    pub fn context(&self) -> &TraceParent {
        &self.context
    }

    fn data(&mut self, scope: InstrumentationScope) -> SpanData {
        let kind = match self.kind {
            Kind::Server => SpanKind::Server,
            Kind::Consumer => SpanKind::Consumer,
            Kind::Client => SpanKind::Client,
        };
        let status = match self.error.take() {
            Some(error) => Status::error(error),
            None => Status::Unset,
        };
        let flags = TraceFlags::SAMPLED;
        let (trace, id) = (trace_id(&self.context), span_id(&self.context));
        SpanData {
            span_context: SpanContext::new(trace, id, flags, false, TraceState::default()),
            parent_span_id: self.parent.as_ref().map_or(SpanId::INVALID, span_id),
            parent_span_is_remote: self.parent.is_some(),
            span_kind: kind,
            name: self.name.into(),
            start_time: self.started,
            end_time: SystemTime::now().max(self.started),
            attributes: std::mem::take(&mut self.attributes),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: scope,
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(exporter) = EXPORTER.get() {
            exporter.processor.on_end(self.data(exporter.scope.clone()));
        }
    }
}

fn trace_id(context: &TraceParent) -> TraceId {
    TraceId::from_hex(context.trace_id()).unwrap_or(TraceId::INVALID)
}

fn span_id(context: &TraceParent) -> SpanId {
    SpanId::from_hex(context.parent_id()).unwrap_or(SpanId::INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_collector_there_are_no_spans() {
        let id = Uuid::now_v7();
        assert!(Span::root(id, "submit", Kind::Server).is_none());
        let parent = TraceParent::for_request(id).sampled();
        assert!(Span::child(&parent, "job", Kind::Consumer).is_none());
    }

    #[test]
    fn a_span_has_the_ids_of_its_trace_and_of_its_parent() {
        let parent = TraceParent::for_request(Uuid::now_v7()).sampled();
        let context = parent.child(7);
        let mut span = Span::new(context, Some(parent.clone()), "job", Kind::Consumer);
        span.fail("no");
        let data = span.data(InstrumentationScope::default());
        assert_eq!(data.span_context.trace_id(), trace_id(&parent));
        assert_eq!(
            (data.parent_span_id, data.span_context.span_id()),
            (span_id(&parent), 7.into())
        );
        assert_eq!(data.status, Status::error("no"));
        assert!(data.span_context.is_sampled() && data.span_context.is_valid());
    }
}
