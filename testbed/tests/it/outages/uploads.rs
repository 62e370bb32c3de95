//! Clients that send half a request and stop.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::process::WAIT_TIMEOUT;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::stack::{Stack, Web};

/// A client that sends this and nothing more.
async fn half(web: &Web, text: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(web.base.trim_start_matches("http://")).await?;
    socket.write_all(text.as_bytes()).await?;
    Ok(socket)
}

fn head(path: &str, media_type: &str) -> String {
    format!(
        "POST /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n\
         Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
    )
}

#[tokio::test]
async fn a_client_that_sends_half_a_request_does_not_hold_up_a_stop() -> Result<()> {
    let single = head("processData", "application/json");
    let batch = head("processData/batch", "application/x-ndjson");
    for (text, is_answered) in [
        (single.as_str(), true),
        (batch.as_str(), true),
        ("POST /api/v1/processData HTTP/1.1\r\nHost: local", false),
        ("", false),
    ] {
        let stack = Stack::fresh().await?;
        let web = stack.web().await?;
        let mut socket = half(&web, text).await?;
        if is_answered {
            let expected = "HTTP/1.1 100 Continue\r\n\r\n";
            let mut head = vec![0; expected.len()];
            timeout(WAIT_TIMEOUT, socket.read_exact(&mut head)).await.context("no 100")??;
            ensure!(head == expected.as_bytes(), "{}", String::from_utf8_lossy(&head));
            socket.write_all(b"{\"data\":").await?;
        }
        let began = Instant::now();
        web.program.terminate();
        let mut answer = String::new();
        let read = socket.read_to_string(&mut answer);
        let read = timeout(WAIT_TIMEOUT, read).await.context("no end")?;
        let code = web.program.wait().await?;
        ensure!(code.success(), "{code}");
        ensure!(began.elapsed() < Duration::from_secs(12), "{text}: {:?}", began.elapsed());
        if is_answered {
            read?;
            ensure!(
                answer.starts_with("HTTP/1.1 503") && answer.contains("\"unavailable\""),
                "{answer}"
            );
            ensure!(answer.to_lowercase().contains("retry-after"), "{answer}");
        }
    }
    Ok(())
}
