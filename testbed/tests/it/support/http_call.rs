//! A call that an HTTP server of a test has received.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufStream},
    net::TcpStream,
};

/// A call that came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

/// Reads the next call of a connection. The names of headers become lower case.
pub(crate) async fn read(stream: &mut BufStream<TcpStream>) -> Result<Call> {
    let (call, body) = read_raw(stream).await?;
    Ok(Call { body: String::from_utf8(body)?, ..call })
}

/// The same with a body that is no text.
pub(crate) async fn read_raw(stream: &mut BufStream<TcpStream>) -> Result<(Call, Vec<u8>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? > 0, "the end");
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines[0].split(' ').nth(1).context("a path")?.to_owned();
    let header = |line: &String| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    };
    let headers: HashMap<_, _> = lines.iter().skip(1).filter_map(header).collect();
    let mut body = vec![0; headers["content-length"].parse()?];
    stream.read_exact(&mut body).await?;
    Ok((Call { path, headers, body: String::new() }, body))
}
