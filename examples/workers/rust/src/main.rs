//! A worker in Rust: takes requests from RabbitMQ one by one, and publishes their results.

use std::{
    env,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::{sleep, timeout};

const DEFAULT_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";
/// How long the broker may take. A connection that is lost at the wrong moment may not tell.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const KEPT_HEADERS: [&str; 4] =
    ["slowlane-attempt", "slowlane-run", "slowlane-type", "traceparent"];
/// In characters. All headers of a message have to fit into a frame, 128 KiB, or the broker closes the connection.
const MAX_ERROR_LENGTH: usize = 2000;

/// The data as they came: big numbers and the order of keys stay.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, rename = "requestId")]
    id: &'a RawValue,
    #[serde(borrow, rename = "requestData")]
    data: &'a RawValue,
}

/// Your work. It may take long, and after a crash it is done again with the same `requestId`. An error is
/// a failure that no further attempt would mend.
async fn work(data: &RawValue) -> Result<Box<RawValue>> {
    ensure!(data.get() != "\"refuse\"", "this data can't be processed");
    Ok(data.to_owned())
}

#[tokio::main]
async fn main() {
    loop {
        if let Err(error) = run().await {
            eprintln!("connecting again: {error:#}");
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Works until the connection is lost.
async fn run() -> Result<()> {
    let url = env::var("AMQP_URL").unwrap_or_else(|_| DEFAULT_URL.to_owned());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let queue = "processing.requests".into();
    let mut requests = channel.basic_consume(queue, "".into(), options, arguments).await?;
    while let Some(request) = requests.next().await {
        let request = request?;
        process(&channel, &request).await?;
        // Last: whatever happens before, the broker delivers the request again.
        timeout(ANSWER_TIMEOUT, request.ack(BasicAckOptions::default())).await??;
    }
    bail!("the broker has ended the subscription")
}

async fn process(channel: &Channel, request: &Delivery) -> Result<()> {
    let Request { id, data } = match parse(&request.data) {
        Ok(parsed) => parsed,
        Err(error) => return publish_failed(channel, request, "malformed", &error).await,
    };
    let result = match expired(request) {
        Some(error) => Err(("expired", error)),
        None => work(data).await.map_err(|error| ("permanent", error)),
    };
    let result = match result {
        Ok(result) => format!("{{\"requestId\":{id},\"processingResults\":{result}}}"),
        Err((code, error)) => {
            publish_failed(channel, request, code, &error).await?;
            let error = json!({"code": code, "message": error.to_string()});
            format!("{{\"requestId\":{id},\"error\":{error}}}")
        }
    };
    publish(channel, "result", request, result.as_bytes(), &[]).await
}

/// The error of a request that has expired. One that is redelivered may have begun in time, and the broker itself takes a
/// message with an expiration out of the queue: it has a single clock.
fn expired(request: &Delivery) -> Option<anyhow::Error> {
    if request.redelivered || request.properties.expiration().is_some() {
        return None;
    }
    let headers = request.properties.headers().as_ref()?;
    let Some(AMQPValue::LongString(at)) = headers.inner().get("slowlane-expires-at") else {
        return None;
    };
    let at = at.to_string();
    // What is no time does not count.
    let is_over = humantime::parse_rfc3339(&at).is_ok_and(|time| time <= SystemTime::now());
    is_over.then(|| anyhow!("not started by {at}"))
}

fn parse(body: &[u8]) -> Result<Request<'_>> {
    let text = str::from_utf8(body)?.trim_start_matches('\u{feff}');
    let request: Request<'_> = serde_json::from_str(text).context("not a request")?;
    let is_id = |first: char| first == '"' || first == '-' || first.is_ascii_digit();
    ensure!(request.id.get().starts_with(is_id), "requestId is neither a text nor a number");
    Ok(request)
}

async fn publish_failed(
    channel: &Channel,
    request: &Delivery,
    code: &str,
    error: &anyhow::Error,
) -> Result<()> {
    let message: String = format!("{error:#}").chars().take(MAX_ERROR_LENGTH).collect();
    let more = [("slowlane-reason", code), ("slowlane-error", &message)];
    publish(channel, "failed", request, &request.data, &more).await
}

/// Publishes to the exchange `processing`, and returns when the broker has the message in a queue.
async fn publish(
    channel: &Channel,
    routing_key: &str,
    request: &Delivery,
    body: &[u8],
    more: &[(&str, &str)],
) -> Result<()> {
    let mut headers = FieldTable::default();
    let given = request.properties.headers().as_ref().map(FieldTable::inner);
    for name in KEPT_HEADERS {
        if let Some(value) = given.and_then(|given| given.get(name)) {
            headers.insert(name.into(), value.clone());
        }
    }
    for (name, text) in more {
        headers.insert((*name).into(), AMQPValue::LongString((*text).into()));
    }
    let mut properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_type(routing_key.into())
        .with_headers(headers);
    if let Some(id) = request.properties.message_id() {
        properties = properties.with_message_id(id.clone()).with_correlation_id(id.clone());
    }
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let published =
        channel.basic_publish("processing".into(), routing_key.into(), options, body, properties);
    let confirmed = timeout(ANSWER_TIMEOUT, async { published.await?.await }).await;
    match confirmed.context("the broker has not confirmed the message in time")?? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => bail!("no queue takes messages with the key {routing_key}"),
        refused => bail!("the broker has not taken the message: {refused:?}"),
    }
}
