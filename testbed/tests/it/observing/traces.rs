//! Traces: one request is one trace, from the call to the callback, in a collector of the test.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as AnyValue,
    trace::v1::Span,
};
use prost::Message;
use serde_json::json;
use testbed::{Program, process::WAIT_TIMEOUT};
use tokio::{
    io::{AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::support::{
    database::Database,
    endpoint::{Endpoint, Reply},
    http_call::read_raw,
    stack::{Stack, Web, consuming},
};

const SECRET: &str = "whsec_c2xvd2xhbmUgdGVzdHMgd2l0aCB0aGlzIHNlY3JldA==";

/// A span, with the service that has sent it.
#[derive(Debug, Clone)]
struct Received {
    service: String,
    span: Span,
}

/// An OpenTelemetry collector that keeps what it gets.
struct Collector {
    url: String,
    spans: Arc<watch::Sender<Vec<Received>>>,
    _listening: JoinSet<()>,
}

impl Collector {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let spans = Arc::new(watch::Sender::new(Vec::new()));
        let (kept, mut listening) = (spans.clone(), JoinSet::new());
        listening.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(collect(stream, kept.clone()));
            }
        });
        Ok(Self { url, spans, _listening: listening })
    }

    /// The spans, once there are so many.
    async fn spans(&self, count: usize) -> Result<Vec<Received>> {
        let mut spans = self.spans.subscribe();
        let come = timeout(WAIT_TIMEOUT, spans.wait_for(|spans| spans.len() >= count)).await;
        let seen = || format!("not {count} spans: {:?}", self.spans.borrow());
        Ok(come.with_context(seen)??.clone())
    }

    fn told(&self, program: Program) -> Program {
        program.env("OTEL_EXPORTER_OTLP_ENDPOINT", &self.url).env("OTEL_BSP_SCHEDULE_DELAY", "200")
    }
}

async fn collect(stream: TcpStream, kept: Arc<watch::Sender<Vec<Received>>>) -> Result<()> {
    let mut stream = BufStream::new(stream);
    loop {
        let (call, body) = read_raw(&mut stream).await?;
        ensure!(call.path == "/v1/traces", "{}", call.path);
        let sent = ExportTraceServiceRequest::decode(body.as_slice())?;
        kept.send_modify(|kept| kept.extend(received(sent)));
        let answer =
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
    }
}

fn received(sent: ExportTraceServiceRequest) -> Vec<Received> {
    let mut all = Vec::new();
    for part in sent.resource_spans {
        let attributes = part.resource.map(|resource| resource.attributes).unwrap_or_default();
        let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
        let service = name.and_then(|name| name.value?.value);
        let service = match service {
            Some(AnyValue::StringValue(name)) => name,
            other => format!("{other:?}"),
        };
        let spans = part.scope_spans.into_iter().flat_map(|scope| scope.spans);
        all.extend(spans.map(|span| Received { service: service.clone(), span }));
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each span by its name: of which service, and the name of the span above it.
fn tree(spans: &[Received]) -> BTreeMap<String, (String, Option<String>)> {
    let name_of =
        |id: &[u8]| spans.iter().find(|it| it.span.span_id == id).map(|it| it.span.name.clone());
    let of = |it: &Received| (it.service.clone(), name_of(&it.span.parent_span_id));
    spans.iter().map(|it| (it.span.name.clone(), of(it))).collect()
}

#[tokio::test]
async fn a_request_is_one_trace_from_the_call_to_the_callback() -> Result<()> {
    for database in Database::both().await? {
        let (stack, collector) = (Stack::fresh().await?, Collector::start().await?);
        let receiver = Endpoint::start(|_, _| Reply::json("{}")).await?;
        let web = collector.told(database.program(&stack)).env("WEBHOOK_SECRET", SECRET);
        let web = Web::start(web.env("CALLBACK_ALLOW_PRIVATE", "true")).await?;
        let command = "sh -c 'cat > /dev/null; echo \"\\\"$TRACEPARENT\\\"\"'";
        let processor = stack.program("processor-service").env("PROCESSOR", "command");
        let processor = collector.told(processor.env("PROCESSOR_COMMAND", command)).start()?;
        consuming(&processor, 1).await?;

        let body = json!({"data": 1, "callbackUrl": receiver.url()}).to_string();
        let answer: serde_json::Value = web.post_body(body).await?.json().await?;
        let id = answer["requestId"].as_str().context("an id")?.to_owned();
        let request = web.ended(&id).await?;
        let spans = collector.spans(4).await?;
        let trace = id.replace('-', "");
        for received in &spans {
            assert_eq!(hex(&received.span.trace_id), trace, "{received:?}");
        }
        let (web_service, processor) =
            ("slowlane-web-service".to_owned(), "slowlane-processor-service".to_owned());
        let below = Some("submit".to_owned());
        let expected = BTreeMap::from([
            ("submit".to_owned(), (web_service.clone(), None)),
            ("job".to_owned(), (processor, below.clone())),
            ("store result".to_owned(), (web_service.clone(), below.clone())),
            ("callback".to_owned(), (web_service, below)),
        ]);
        assert_eq!(tree(&spans), expected);
        let job = spans.iter().find(|it| it.span.name == "job").context("a job")?;
        let seen_by_command = format!("00-{trace}-{}-01", hex(&job.span.span_id));
        assert_eq!(request["processingResults"], seen_by_command);

        // A caller's trace goes on, if it is recorded.
        let url = format!("{}/api/v1/processData", web.base);
        let not_recorded = "4bf92f3577b34da6a3ce929d0e0e4735";
        for (trace, flags, more) in
            [(not_recorded, "00", 0), ("4bf92f3577b34da6a3ce929d0e0e4736", "01", 3)]
        {
            let caller = format!("00-{trace}-00f067aa0ba902b7-{flags}");
            let post = web.client.post(&url).header("traceparent", caller);
            let answer: serde_json::Value =
                post.json(&json!({"data": 1})).send().await?.json().await?;
            web.ended(answer["requestId"].as_str().context("an id")?).await?;
            let spans = collector.spans(4 + more).await?;
            let traces = spans[4..].iter().map(|it| hex(&it.span.trace_id));
            ensure!(traces.clone().all(|found| found == trace), "of {trace}: {spans:?}");
            assert_eq!(traces.count(), more);
            let submit = spans[4..].iter().find(|it| it.span.name == "submit");
            let parent = submit.map(|it| hex(&it.span.parent_span_id));
            assert_eq!(parent.as_deref(), (more > 0).then_some("00f067aa0ba902b7"));
        }
    }
    Ok(())
}
