//! Receivers of callbacks that hang delay no callbacks to others.

use anyhow::{Result, ensure};
use pipeline::log_messages::CALLBACK_FAILED;
use serde_json::json;
use testbed::process::json_message;

use super::{accepted, callback, calling, receiver::Receiver, stack};
use crate::support::stack::Web;

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else() -> Result<()> {
    let (stack, receiver) = (stack().await?, Receiver::start().await?);
    let web = Web::start(calling(&stack)).await?;
    let _processor = stack.processor(2, "1ms").await?;
    let mut hanging = Vec::new();
    for _ in 0..6 {
        hanging.push(accepted(&web, &receiver.elsewhere("/hang")).await?);
    }
    receiver.calls("/hang", 4).await?;
    for n in 0..8 {
        accepted(&web, &receiver.url(&format!("/ok/{n}"))).await?;
    }
    for n in 0..8 {
        receiver.calls(&format!("/ok/{n}"), 1).await?;
    }
    assert_eq!(receiver.count("/hang"), 4, "so many to one host at a time");
    // The first four time out; then it is the turn of the others.
    let reason = json!("no answer within 15 s");
    let timed_out =
        |line: &str| json_message(line, CALLBACK_FAILED).filter(|f| f["reason"] == reason);
    web.program.wait_for("an attempt that timed out", timed_out).await?;
    receiver.calls("/hang", 5).await?;
    receiver.let_go();
    for id in &hanging {
        callback(&web, id, "delivered").await?;
    }
    Ok(())
}

#[tokio::test]
async fn many_receivers_that_hang_hold_up_nobody_else() -> Result<()> {
    let (stack, receiver) = (stack().await?, Receiver::on_hosts(9).await?);
    let web = Web::start(calling(&stack)).await?;
    let _processor = stack.processor(4, "1ms").await?;
    for host in 2..=9 {
        for n in 0..10 {
            accepted(&web, &receiver.at(host, &format!("/hang/{n}"))).await?;
        }
    }
    receiver.count_to("/hang", 32).await?;
    // Now it is known who hangs. Of those, 16 are tried at a time, and the rest of the room stays free.
    receiver.count_to("/hang", 48).await?;
    for n in 0..8 {
        accepted(&web, &receiver.url(&format!("/ok/{n}"))).await?;
    }
    receiver.count_to("/ok", 8).await?;
    let timed_out = |line: &&String| line.contains("no answer within 15 s");
    let timed_out = web.program.lines().iter().filter(timed_out).count();
    ensure!(timed_out <= 32, "{timed_out}: some of the 16 had to make room");
    assert_eq!(receiver.count("/hang"), 48);
    receiver.let_go();
    Ok(())
}
