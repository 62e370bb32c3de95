//! Publishes messages whose headers are given as raw bytes: what no client library would send.

use anyhow::{Context, Result, bail, ensure};
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The class and method of an AMQP 0-9-1 method frame, as in the specification's section 1.
type Method = (u16, u16);

const START: Method = (10, 10);
const START_OK: Method = (10, 11);
const TUNE: Method = (10, 30);
const TUNE_OK: Method = (10, 31);
const OPEN: Method = (10, 40);
const OPEN_OK: Method = (10, 41);
const CHANNEL_OPEN: Method = (20, 10);
const CHANNEL_OPEN_OK: Method = (20, 11);
const PUBLISH: Method = (60, 40);
const ACK: Method = (60, 80);
const CONFIRM_SELECT: Method = (85, 10);
const CONFIRM_SELECT_OK: Method = (85, 11);

const METHOD_FRAME: u8 = 1;
const HEADER_FRAME: u8 = 2;
const BODY_FRAME: u8 = 3;
const FRAME_END: u8 = 0xce;
/// The property flags for headers and for the delivery mode, in that order.
const HEADERS_AND_DELIVERY_MODE: u16 = 0x3000;
const PERSISTENT: u8 = 2;

/// A connection with one channel in confirm mode.
pub struct RawPublisher {
    stream: TcpStream,
}

impl RawPublisher {
    /// Connects to `amqp://user:password@host:port/vhost`.
    ///
    /// # Errors
    /// If the broker can't be reached or refuses the login.
    pub async fn connect(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("amqp://").context("an amqp:// URL")?;
        let (login, rest) = rest.split_once('@').context("a user in the URL")?;
        let (user, password) = login.split_once(':').context("a password in the URL")?;
        let (host, vhost) = rest.split_once('/').unwrap_or((rest, "%2f"));
        let vhost = percent_decode_str(vhost).decode_utf8()?;
        let mut raw = Self { stream: TcpStream::connect(host).await? };
        raw.stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        raw.wait_for(START).await?;
        let plain = format!("\0{user}\0{password}");
        let login = [&long(b""), &short("PLAIN"), &long(plain.as_bytes()), &short("en_US")];
        raw.call(0, START_OK, &login.map(Vec::as_slice).concat()).await?;
        let tune = raw.wait_for(TUNE).await?;
        // The broker's limits as they are, and no heartbeats.
        raw.call(0, TUNE_OK, &[&tune[..6], &[0, 0]].concat()).await?;
        raw.call(0, OPEN, &[short(&vhost), short(""), vec![0]].concat()).await?;
        raw.wait_for(OPEN_OK).await?;
        raw.call(1, CHANNEL_OPEN, &short("")).await?;
        raw.wait_for(CHANNEL_OPEN_OK).await?;
        raw.call(1, CONFIRM_SELECT, &[0]).await?;
        raw.wait_for(CONFIRM_SELECT_OK).await?;
        Ok(raw)
    }

    /// Publishes a persistent message and waits for its confirm. `headers` are the bytes of the table's
    /// entries, without its length.
    ///
    /// # Errors
    /// If the broker closes the channel or the connection.
    pub async fn publish(
        &mut self,
        exchange: &str,
        key: &str,
        headers: &[u8],
        body: &[u8],
    ) -> Result<()> {
        let target = [vec![0, 0], short(exchange), short(key), vec![0]].concat();
        self.call(1, PUBLISH, &target).await?;
        let mut properties = vec![0, 60, 0, 0];
        properties.extend((body.len() as u64).to_be_bytes());
        properties.extend(HEADERS_AND_DELIVERY_MODE.to_be_bytes());
        properties.extend(long(headers));
        properties.push(PERSISTENT);
        self.frame(HEADER_FRAME, 1, &properties).await?;
        self.frame(BODY_FRAME, 1, body).await?;
        self.wait_for(ACK).await.map(drop)
    }

    async fn call(&mut self, channel: u16, method: Method, arguments: &[u8]) -> Result<()> {
        let payload =
            [&method.0.to_be_bytes()[..], &method.1.to_be_bytes()[..], arguments].concat();
        self.frame(METHOD_FRAME, channel, &payload).await
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Result<()> {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend(u32::try_from(payload.len())?.to_be_bytes());
        frame.extend(payload);
        frame.push(FRAME_END);
        Ok(self.stream.write_all(&frame).await?)
    }

    /// Waits for a method and gives its arguments.
    async fn wait_for(&mut self, wanted: Method) -> Result<Vec<u8>> {
        loop {
            let (kind, payload) = self.next_frame().await?;
            if kind != METHOD_FRAME {
                continue;
            }
            ensure!(payload.len() >= 4, "a method frame of {} bytes", payload.len());
            let method = (
                u16::from_be_bytes([payload[0], payload[1]]),
                u16::from_be_bytes([payload[2], payload[3]]),
            );
            match method {
                _ if method == wanted => return Ok(payload[4..].to_vec()),
                (10, 50) | (20, 40) => {
                    bail!("the broker closed it: {}", String::from_utf8_lossy(&payload[4..]))
                }
                _ => {}
            }
        }
    }

    async fn next_frame(&mut self) -> Result<(u8, Vec<u8>)> {
        let kind = self.stream.read_u8().await?;
        let _channel = self.stream.read_u16().await?;
        let length = self.stream.read_u32().await?;
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await?;
        ensure!(self.stream.read_u8().await? == FRAME_END, "the frame has no end");
        Ok((kind, payload))
    }
}

/// The entries of a table that holds a text under this name, whatever its bytes.
pub fn text_header(name: &str, text: &[u8]) -> Vec<u8> {
    [short(name), vec![b'S'], long(text)].concat()
}

/// The entries of a table with tables in it, one in the other; seven bytes a level.
pub fn nested_tables(levels: u32) -> Vec<u8> {
    let level = |inside: u32| [&b"\x01aF"[..], &(7 * inside).to_be_bytes()].concat();
    (0..levels).rev().flat_map(level).collect()
}

/// The entries of a table with arrays in it, one in the other; five bytes a level.
pub fn nested_arrays(levels: u32) -> Vec<u8> {
    let level = |inside: u32| [&b"A"[..], &(5 * inside).to_be_bytes()].concat();
    [short("a"), (0..levels).rev().flat_map(level).collect()].concat()
}

fn short(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("short strings have at most 255 bytes");
    [&[length], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("long strings have at most 4 GiB");
    [&length.to_be_bytes()[..], bytes].concat()
}
