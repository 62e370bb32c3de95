//! A fake web service that gives prepared answers, one connection after the other.

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub(super) struct Fake;

impl Fake {
    /// Gives its URL, and at last the calls as they came. An empty answer is none: it hangs up.
    pub(super) async fn start(
        answers: impl IntoIterator<Item = String> + Send + 'static,
    ) -> Result<(String, JoinHandle<Result<Vec<String>>>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let answers: Vec<_> = answers.into_iter().collect();
        let calls = tokio::spawn(async move {
            let mut calls = Vec::new();
            for answer in answers {
                let (mut client, _) = listener.accept().await?;
                calls.push(read(&mut client).await?);
                client.write_all(answer.as_bytes()).await?;
            }
            Ok(calls)
        });
        Ok((url, calls))
    }
}

/// An answer after which the connection is closed.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    )
}

async fn read(client: &mut TcpStream) -> Result<String> {
    let mut call = Vec::new();
    loop {
        client.read_buf(&mut call).await?;
        let text = String::from_utf8_lossy(&call);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap_or("0").parse().context("a length")?;
        if body.len() >= length {
            return Ok(text.into_owned());
        }
    }
}
