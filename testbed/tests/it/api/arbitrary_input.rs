//! Random bytes and requests over HTTP: a clear answer, never a 5xx or a panic.

use anyhow::{Context, Result, ensure};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use reqwest::Method;
use serde_json::Value;
use testbed::workspace;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::stack::{Stack, Web};

/// How many calls are made.
const CALLS: usize = 2000;
/// How many are in flight at once.
const CONCURRENT_CALLS: usize = 16;

/// A call that somebody might make.
#[derive(Debug, Clone)]
struct Call {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

fn calls(paths: impl Strategy<Value = String>) -> impl Strategy<Value = Call> {
    let method = select(vec!["GET", "POST", "POST", "POST", "HEAD", "DELETE", "PUT", "OPTIONS"]);
    (method, paths, vec(header(), 0..4), bodies()).prop_map(|(method, path, headers, body)| Call {
        method,
        path,
        headers,
        body,
    })
}

/// Pages, and how their addresses and those of the API go on.
const PAGES: [&str; 10] = [
    "/",
    "/requests",
    "/requests/{id}",
    "/submit",
    "/live",
    "/failed",
    "/workers",
    "/docs",
    "/openapi.json",
    "/health/live",
];

/// All paths of the API and the pages: of a request that is stored, and of one that is not.
fn known_paths(stored: &str) -> Result<Vec<String>> {
    let description = std::fs::read_to_string(workspace::root().join("docs/openapi.json"))?;
    let description: Value = serde_json::from_str(&description)?;
    let described = description["paths"].as_object().context("paths")?.keys().map(String::as_str);
    let paths: Vec<&str> = described.chain(PAGES).collect();
    let with = |id: &str| -> Vec<String> {
        let path = |path: &&str| {
            path.replace("{id}", id)
                .replace("{number}", "1")
                .replace("{group}", "1f")
                .replace("{run}", id)
        };
        paths.iter().map(path).collect()
    };
    Ok([with(stored), with("01890000-0000-7000-8000-000000000000"), with("%00")].concat())
}

fn paths(known: Vec<String>) -> impl Strategy<Value = String> {
    let known = select(known);
    let query =
        "(\\?(status|limit|cursor|type|x)=[!-~]{0,20}(&(status|limit|cursor)=[a-z0-9%]{0,20})?)?";
    let posts = select(vec!["/api/v1/processData", "/api/v1/processData/batch"]);
    prop_oneof![
        5 => posts.prop_map(str::to_owned),
        6 => (known, query).prop_map(|(path, query)| format!("{path}{query}")),
        1 => "/api/v1/requests/[!-~&&[^?#/]]{0,60}",
        1 => "/[!-~&&[^#]]{0,60}",
    ]
}

fn header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let types = select(vec![
        "application/json",
        "application/json; charset=utf-8",
        "application/x-ndjson",
        "text/plain",
        "",
    ]);
    let name = select(vec![
        "Idempotency-Key",
        "Prefer",
        "If-None-Match",
        "traceparent",
        "Content-Encoding",
        "Accept",
        "Expect",
    ]);
    prop_oneof![
        types.prop_map(|text| ("Content-Type", text.as_bytes().to_vec())),
        (name, vec(prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..40)),
        // Nobody is to wait here.
        "wait=-?[0a-z\"; ]{0,6}".prop_map(|text| ("Prefer", text.into_bytes())),
    ]
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let json = prop_oneof![
        r#"\{"data":("[^"\\]{0,20}"|-?[0-9]{1,30}(\.[0-9]{1,5})?(e[0-9]{1,4})?|null|true|\[\]|\{\})\}"#,
        r#"\{"(data|x|expiresIn|idempotencyKey)":[ -~]{0,30}(,"data":1)?\}"#,
        "[\\[\\]{}\",:0-9a-z\\\\]{0,60}",
    ];
    let lines = vec(json.clone(), 0..6).prop_map(|lines| lines.join("\n"));
    let deep = (1..20_000_usize).prop_map(|deep| format!("{{\"data\":{}", "[".repeat(deep)));
    prop_oneof![
        4 => json.prop_map(String::into_bytes),
        2 => lines.prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..400),
        1 => deep.prop_map(String::into_bytes),
        1 => Just(Vec::new()),
    ]
}

/// The same calls in every run, so that what fails once fails again.
fn some_calls(stored: &str) -> Result<Vec<Call>> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = calls(paths(known_paths(stored)?));
    let call = |_| strategy.new_tree(&mut runner).map(|tree| tree.current());
    let calls: Result<_, _> = (0..CALLS).map(call).collect();
    calls.map_err(|reason| anyhow::anyhow!("no call can be made: {reason}"))
}

async fn make(client: reqwest::Client, base: String, call: Call) -> Result<()> {
    let method = Method::from_bytes(call.method.as_bytes())?;
    let mut request = client.request(method, format!("{base}{}", call.path));
    for (name, value) in &call.headers {
        request = request.header(*name, value.as_slice());
    }
    // What our own client refuses to send is for the test with raw bytes.
    let Ok(request) = request.body(call.body.clone()).build() else { return Ok(()) };
    let answer = client.execute(request).await.with_context(|| format!("no answer to {call:?}"))?;
    let (status, kind) = (answer.status(), content_type(&answer).unwrap_or_default());
    if kind.starts_with("text/event-stream") {
        // It goes on until the client leaves.
        ensure!(status.is_success(), "{status} for {call:?}");
        return Ok(());
    }
    let body = answer.bytes().await?;
    ensure!(!status.is_server_error(), "{status} for {call:?}: {body:?}");
    // Pages tell people, the API tells programs.
    let is_page = !call.path.starts_with("/api/") && kind == "text/html; charset=utf-8";
    let is_clear = is_page || kind == "application/problem+json" || call.method == "HEAD";
    ensure!(!status.is_client_error() || is_clear, "{status} for {call:?}: {body:?}");
    Ok(())
}

fn content_type(answer: &reqwest::Response) -> Option<String> {
    Some(answer.headers().get("content-type")?.to_str().ok()?.to_owned())
}

/// It still does its work, and nothing panicked.
async fn is_well(web: &Web) -> Result<()> {
    let id = web.accepted("after all that".into()).await?;
    assert_eq!(web.ended(&id).await?["processingResults"], "after all that-processed");
    let panic = web.program.lines().into_iter().find(|line| line.contains("panicked"));
    assert_eq!(panic, None);
    web.ready().await
}

#[tokio::test]
async fn any_call_gets_a_clear_answer() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(4, "1ms"))?;
    let stored = web.accepted("stored".into()).await?;
    let mut calls = some_calls(&stored)?.into_iter();
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < CONCURRENT_CALLS
            && let Some(call) = calls.next()
        {
            under_way.spawn(make(web.client.clone(), web.base.clone(), call));
        }
        let Some(made) = under_way.join_next().await else { break };
        made??;
    }
    is_well(&web).await
}

#[tokio::test]
async fn bytes_that_are_no_http_at_all_harm_nobody() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, _processor) = tokio::try_join!(stack.web(), stack.processor(1, "1ms"))?;
    let address = web.base.trim_start_matches("http://");
    let post =
        b"POST /api/v1/processData HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let with = |rest: &[u8]| [post.as_slice(), rest].concat();
    let says = [
        b"\0\xff\x16\x03\x01".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET ".repeat(50_000),
        with(b"Content-Length: -1\r\n\r\n"),
        with(b"Content-Length: 99999999999999999999\r\n\r\n"),
        with(b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}"),
        with(b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        with(b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        with(b"Content-Length: 100\r\n\r\n{\"data\""),
        with(&b"X: y\r\n".repeat(20_000)),
    ];
    for bytes in says {
        let mut socket = TcpStream::connect(address).await?;
        // It may close before it has heard it all.
        let _said_or_closed = socket.write_all(&bytes).await;
        let _half_closed = socket.shutdown().await;
        let mut answer = Vec::new();
        let _answered_or_closed = socket.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
    }
    is_well(&web).await
}
