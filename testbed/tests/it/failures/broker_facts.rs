//! What RabbitMQ itself does on the release under test: delivery counts, expiry, dead letters.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{
    Proxy,
    foreign::{AMQPValue, FieldTable, Foreign, Message, NackOptions, RejectOptions, arguments},
    rabbitmq::Access,
    shared_node,
};

/// How a message goes back to its queue.
#[derive(Debug, Clone, Copy)]
enum Back {
    Nack,
    Reject,
    ClosedChannel,
    LostConnection,
}

const WAYS: [Back; 4] = [Back::Nack, Back::Reject, Back::ClosedChannel, Back::LostConnection];

fn of_kind(kind: &str) -> FieldTable {
    arguments([("x-queue-type", AMQPValue::LongString(kind.into()))])
}

/// Whether the release counts what a consumer gives back by its own wish: those before 4.3 do.
fn nacks_count(node: &Access) -> bool {
    let mut parts = node.version().split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) < (Some(4), Some(3))
}

/// The message as it is delivered again after it went back in this way.
async fn delivered_again(url: &str, proxy: &Proxy, kind: &str, back: Back) -> Result<Message> {
    let queue = format!("{kind}-{back:?}");
    let foreign = Foreign::connect(url).await?;
    foreign.declare_queue(&queue, of_kind(kind)).await?;
    foreign.publish("", &queue, testbed::foreign::Properties::default(), b"x").await?;
    let worker = Foreign::connect(&proxy.url(url)).await?;
    let first = worker.consume(&queue, 1).await?.next_unacked().await?;
    ensure!(!first.redelivered, "it is new");
    let mut heir = foreign.consume(&queue, 1).await?;
    match back {
        Back::Nack => {
            let requeue = NackOptions { requeue: true, ..NackOptions::default() };
            first.nack(requeue).await?;
            worker.close_channel().await?;
        }
        Back::Reject => {
            first.reject(RejectOptions { requeue: true }).await?;
            worker.close_channel().await?;
        }
        Back::ClosedChannel => worker.close_channel().await?,
        Back::LostConnection => proxy.cut(),
    }
    heir.next().await
}

#[tokio::test]
async fn quorum_queues_count_what_comes_back_and_classic_queues_only_mark_it() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = Proxy::start(vhost.address()).await?;
    for back in WAYS {
        let wish = matches!(back, Back::Nack | Back::Reject);
        let counted = (!wish || nacks_count(&vhost)).then(|| "1".to_owned());
        let again = delivered_again(&vhost.url, &proxy, "quorum", back).await?;
        assert_eq!(again.header("x-delivery-count"), counted, "{back:?}");
        ensure!(again.redelivered || !nacks_count(&vhost), "{back:?}");
        // Releases that don't count each return tell of it in another header.
        let acquired = again.header("x-acquired-count").is_some();
        assert_eq!(acquired, !nacks_count(&vhost), "{back:?}");

        let again = delivered_again(&vhost.url, &proxy, "classic", back).await?;
        ensure!(again.redelivered, "{back:?}");
        assert_eq!(again.header("x-delivery-count"), None, "{back:?}");
    }
    Ok(())
}

/// How long a queue may be unused here.
const QUEUE_EXPIRY: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_declaration_keeps_an_unused_queue_alive() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let policy = format!("{{\"expires\":{}}}", QUEUE_EXPIRY.as_millis());
    vhost.set_policy(&vhost.name, "^expiring", &policy).await?;
    let foreign = Foreign::connect(&vhost.url).await?;
    let name = |kind: &str, how: &str| format!("expiring.{kind}.{how}");
    for kind in ["quorum", "classic"] {
        for how in ["left", "looked-at", "declared"] {
            foreign.declare_queue(&name(kind, how), of_kind(kind)).await?;
        }
    }
    // Time is what is tested.
    for _ in 0..4 * QUEUE_EXPIRY.as_secs() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for kind in ["quorum", "classic"] {
            let _depth = foreign.depth(&name(kind, "looked-at")).await;
            foreign.declare_queue(&name(kind, "declared"), of_kind(kind)).await.context(kind)?;
        }
    }
    // A passive declaration, which only looks, is enough for classic queues.
    for (kind, how, alive) in [
        ("quorum", "left", false),
        ("quorum", "looked-at", false),
        ("quorum", "declared", true),
        ("classic", "left", false),
        ("classic", "looked-at", true),
        ("classic", "declared", true),
    ] {
        assert_eq!(foreign.depth(&name(kind, how)).await.is_ok(), alive, "{kind} {how}");
    }
    Ok(())
}
