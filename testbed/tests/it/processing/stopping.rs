//! SIGTERM during work: exit code 0, nothing lost, in bounded time.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pipeline::log_messages;
use testbed::{Signal, foreign::persistent, program::Running, shared_node};

use crate::support::{
    load::Load,
    stack::{REQUESTS, Stack, Web},
    wait::{holds, settles},
};

async fn stops_cleanly(program: &Running) -> Result<()> {
    let (status, text) = program.ended().await?;
    ensure!(status.success() && text.contains("\"stopped\""), "{status}: {text}");
    Ok(())
}

#[tokio::test]
async fn a_processor_finishes_its_job_and_takes_no_other() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, processor) = tokio::try_join!(stack.web(), stack.processor(1, "1s"))?;
    let ids = [web.accepted("first".into()).await?, web.accepted("second".into()).await?];
    processor.wait_for_message(log_messages::STARTED).await?;
    processor.terminate();
    stops_cleanly(&processor).await?;
    web.result(&ids[0]).await?;
    assert_eq!(stack.foreign().await?.depth(REQUESTS).await?.messages, 1, "the other one waits");
    Ok(())
}

#[tokio::test]
async fn a_processor_hands_back_what_it_cannot_finish_in_time() -> Result<()> {
    let stack = Stack::fresh().await?;
    let program = stack.program("processor-service").env("DRAIN_TIMEOUT", "200ms");
    let (web, slow) = tokio::try_join!(stack.web(), stack.start_processor(program, 2, "1h"))?;
    let ids = [web.accepted(1.into()).await?, web.accepted(2.into()).await?];
    for id in &ids {
        slow.wait_for_text(id).await?;
    }
    let began = Instant::now();
    slow.terminate();
    stops_cleanly(&slow).await?;
    ensure!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    let _heir = stack.processor(1, "1ms").await?;
    web.results(ids).await
}

#[tokio::test]
async fn a_second_signal_hands_back_at_once() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (web, slow) = tokio::try_join!(stack.web(), stack.processor(1, "1h"))?;
    let id = web.accepted(1.into()).await?;
    slow.wait_for_message(log_messages::STARTED).await?;
    slow.signal(Signal::INT);
    slow.wait_for_message(log_messages::STOPPING).await?;
    slow.terminate();
    stops_cleanly(&slow).await?;
    let _heir = stack.processor(1, "1ms").await?;
    web.result(&id).await?;
    Ok(())
}

#[tokio::test]
async fn a_web_service_under_load_answers_all_it_has_taken() -> Result<()> {
    let stack = Stack::fresh().await?;
    let (first, _processor) = tokio::try_join!(stack.web(), stack.processor(4, "1ms"))?;
    let load = Load::start(&first, 8, 100);
    load.accepts(100).await?;
    first.program.terminate();
    stops_cleanly(&first.program).await?;
    let seen = load.stop_refused(Duration::from_secs(5)).await?;
    // What the first had not logged yet, the second receives.
    let second = stack.web().await?;
    let logged = first.logged_results();
    second.results(seen.accepted.into_iter().filter(|id| !logged.contains(id))).await
}

#[tokio::test]
async fn services_stop_also_while_the_broker_is_away() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = testbed::Proxy::start(vhost.address()).await?;
    let stack = Stack::on(&proxy.url(&vhost.url)).await?;
    let program = stack.program("processor-service").env("DRAIN_TIMEOUT", "1s");
    let (web, processor) =
        tokio::try_join!(stack.web(), stack.start_processor(program, 1, "100ms"))?;
    web.accepted(1.into()).await?;
    processor.wait_for_message(log_messages::STARTED).await?;
    proxy.refuse().await?;
    proxy.cut();
    processor.wait_for_message(log_messages::DISCONNECTED).await?;
    for program in [&processor, &web.program] {
        program.terminate();
        stops_cleanly(program).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_that_does_not_answer_holds_up_no_stop() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let proxy = testbed::Proxy::start(vhost.address()).await?;
    let stack = Stack::on(&proxy.url(&vhost.url)).await?;
    let program = || stack.program("processor-service").env("DRAIN_TIMEOUT", "1s");
    let (web, idle, busy) = tokio::try_join!(
        Web::start(stack.program("web-service").env("DRAIN_TIMEOUT", "1s")),
        stack.start_processor(program(), 2, "1h"),
        stack.start_processor(program(), 1, "1h"),
    )?;
    for n in 0..3 {
        web.accepted(n.into()).await?;
    }
    busy.wait_for_message(log_messages::STARTED).await?;
    proxy.stall();
    let began = Instant::now();
    for program in [&web.program, &idle, &busy] {
        program.terminate();
    }
    for program in [&web.program, &idle, &busy] {
        stops_cleanly(program).await?;
    }
    // Less than the heartbeats need, which is what an unbounded stop would wait for.
    ensure!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    Ok(())
}

/// Longer than a broker usually takes to confirm, and shorter than a processor waits.
const SLOW_CONFIRM: Duration = Duration::from_millis(1250);

#[tokio::test]
async fn a_hand_back_whose_confirm_takes_over_a_second_leaves_one_message() -> Result<()> {
    let vhost = shared_node::vhost().await;
    let stack = Stack::of_kind("classic", &vhost.url).await?;
    let foreign = stack.foreign().await?;
    let request = br#"{"requestId":"slow","requestData":{"hang":true}}"#;
    foreign.publish("processing", "request", persistent(), request).await?;
    let dead = stack.foreign().await?;
    dead.consume(REQUESTS, 1).await?.next_unacked().await?;
    drop(dead);
    // A redelivery from a classic queue is published again, so the channel for that is open at the stop.
    let proxy = testbed::Proxy::start(vhost.address()).await?;
    let program = Stack { url: proxy.url(&vhost.url) }.faulty(1).env("DRAIN_TIMEOUT", "0");
    let processor = program.start()?;
    processor.wait_for_message(log_messages::STARTED).await?;
    proxy.hold_answers();
    processor.terminate();
    holds(&foreign, REQUESTS, |messages| messages == 1).await?;
    tokio::time::sleep(SLOW_CONFIRM).await;
    proxy.resume();
    stops_cleanly(&processor).await?;
    settles("its connections are gone", async || {
        let open = vhost.connections().await?;
        Ok(open.iter().filter(|open| open.vhost == vhost.name).count() == 1)
    })
    .await?;
    assert_eq!(foreign.depth(REQUESTS).await?.messages, 1, "there is no twin");
    Ok(())
}
