//! Bare AMQP: what the broker does for the client we use, with nothing of ours around it. `cargo xtask bench` takes it as
//! the floor beside which it shows what the programs do.
//!
//! `bare ADDRESS publish WINDOW WARM_UP TIME` publishes requests with that many unconfirmed, for milliseconds;
//! `bare ADDRESS drain COUNT PREFETCH` publishes results and then consumes them; `bare ADDRESS round-trips COUNT` sends
//! requests one by one to a worker that answers each; `bare ADDRESS work COUNT WORKERS` publishes requests, and then answers them
//! with that many workers and consumes the results. Each says what came of it as one line of JSON.

mod messages;
mod publisher;

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use amqprs::{
    channel::{
        BasicAckArguments, BasicConsumeArguments, BasicQosArguments, Channel, ConsumerMessage,
    },
    connection::{Connection, OpenConnectionArguments},
};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinSet};

use self::publisher::Publisher;

const REQUESTS: &str = "processing.requests";
const RESULTS: &str = "processing.results";
const LOGIN: &str = "guest";
/// How many results may be unconfirmed that are published only to be consumed.
const WINDOW: usize = 512;
/// The prefetch of the consumer of the results of workers, as the web service has it.
const RESULTS_PREFETCH: u16 = 500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let said = match words[..] {
        [address, "publish", window, warm_up, time] => {
            publish(address, number(window)?, number(warm_up)?, number(time)?).await?
        }
        [address, "drain", count, prefetch] => {
            drain(address, number(count)?, number(prefetch)?).await?
        }
        [address, "work", count, workers] => {
            work_off(address, number(count)?, number(workers)?).await?
        }
        [address, "round-trips", count] => round_trips(address, number(count)?).await?,
        _ => bail!("see the first lines of this program's source"),
    };
    println!("{said}");
    Ok(())
}

async fn publish(address: &str, window: usize, warm_up: u64, time: u64) -> Result<Value> {
    let connection = connect(address).await?;
    let mut publisher = Publisher::open(&connection).await?;
    let from = Instant::now() + Duration::from_millis(warm_up);
    let to = from + Duration::from_millis(time);
    let (mut first, mut last) = (None, (from, 0));
    let next = |confirmed: usize| {
        let now = Instant::now();
        if now >= from {
            first.get_or_insert((now, confirmed));
            last = (now, confirmed);
        }
        (now < to).then(messages::request)
    };
    publisher.flood(window, next).await?;
    let (began, before) = first.context("the time was too short")?;
    let (ended, all) = last;
    let per_second = (all - before) as f64 / (ended - began).as_secs_f64();
    Ok(json!({ "perSecond": per_second, "all": all }))
}

async fn drain(address: &str, count: usize, prefetch: u16) -> Result<Value> {
    let connection = connect(address).await?;
    let mut left = count;
    let next = |_| {
        left = left.checked_sub(1)?;
        Some(messages::result())
    };
    Publisher::open(&connection).await?.flood(WINDOW, next).await?;
    let channel = connection.open_channel(None).await?;
    let mut results = consume(&channel, RESULTS, prefetch).await?;
    let (mut batch, mut first, mut drained) = (Vec::new(), None, 0);
    while drained < count {
        drained += results.recv_many(&mut batch, prefetch.into()).await;
        first.get_or_insert_with(Instant::now);
        let last = batch.drain(..).next_back().context("the connection was lost")?;
        ack(&channel, &last).await?;
    }
    Ok(json!({ "seconds": first.map(|first| first.elapsed().as_secs_f64()) }))
}

async fn work_off(address: &str, count: usize, workers: usize) -> Result<Value> {
    let connection = connect(address).await?;
    let mut left = count;
    let next = |_| {
        left = left.checked_sub(1)?;
        Some(messages::request())
    };
    Publisher::open(&connection).await?.flood(WINDOW, next).await?;
    let channel = connection.open_channel(None).await?;
    let mut results = consume(&channel, RESULTS, RESULTS_PREFETCH).await?;
    let working = connect(address).await?;
    let mut workers: JoinSet<_> = (0..workers).map(|_| work(working.clone())).collect();
    let (mut batch, mut first, mut done) = (Vec::new(), None, 0);
    while done < count {
        done += tokio::select! {
            received = results.recv_many(&mut batch, RESULTS_PREFETCH.into()) => received,
            Some(ended) = workers.join_next() => bail!("a worker has ended: {ended:?}"),
        };
        first.get_or_insert_with(Instant::now);
        let last = batch.drain(..).next_back().context("the connection was lost")?;
        ack(&channel, &last).await?;
    }
    Ok(json!({ "seconds": first.map(|first| first.elapsed().as_secs_f64()) }))
}

async fn round_trips(address: &str, count: usize) -> Result<Value> {
    let mut working = tokio::spawn(work(connect(address).await?));
    let connection = connect(address).await?;
    let mut publisher = Publisher::open(&connection).await?;
    let channel = connection.open_channel(None).await?;
    let mut results = consume(&channel, RESULTS, 100).await?;
    let mut seconds = Vec::new();
    while seconds.len() < count {
        let began = Instant::now();
        // The result may be there before the confirm; an answer needs both.
        publisher.publish(messages::request()).await?;
        let (confirmed, result) = tokio::join!(publisher.confirms(), async {
            tokio::select! {
                result = results.recv() => result,
                _ = &mut working => None,
            }
        });
        confirmed?;
        let result = result.context("the worker has ended, or the connection was lost")?;
        seconds.push(began.elapsed().as_secs_f64());
        ack(&channel, &result).await?;
    }
    Ok(json!({ "seconds": seconds }))
}

/// Answers each request with a result, one at a time.
async fn work(connection: Connection) -> Result<()> {
    let mut publisher = Publisher::open(&connection).await?;
    let channel = connection.open_channel(None).await?;
    let mut requests = consume(&channel, REQUESTS, 1).await?;
    loop {
        let request = requests.recv().await.context("the connection was lost")?;
        publisher.publish(messages::result()).await?;
        publisher.confirms().await?;
        ack(&channel, &request).await?;
    }
}

async fn connect(address: &str) -> Result<Connection> {
    let (host, port) = address.rsplit_once(':').context("an address is host:port")?;
    let arguments = OpenConnectionArguments::new(host, number(port)?, LOGIN, LOGIN);
    Ok(Connection::open(&arguments).await?)
}

async fn consume(
    channel: &Channel,
    queue: &str,
    prefetch: u16,
) -> Result<UnboundedReceiver<ConsumerMessage>> {
    channel.basic_qos(BasicQosArguments::new(0, prefetch, false)).await?;
    let mut arguments = BasicConsumeArguments::new(queue, "");
    let (_, messages) = channel.basic_consume_rx(arguments.manual_ack(true).finish()).await?;
    Ok(messages)
}

/// Acks a message and all before it.
async fn ack(channel: &Channel, message: &ConsumerMessage) -> Result<()> {
    let tag = message.deliver.as_ref().context("a message without a tag")?.delivery_tag();
    Ok(channel.basic_ack(BasicAckArguments::new(tag, true)).await?)
}

fn number<T: FromStr>(text: &str) -> Result<T> {
    text.parse().ok().with_context(|| format!("{text} is no number that could be meant here"))
}
