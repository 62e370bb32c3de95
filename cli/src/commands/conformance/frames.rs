//! Frames of AMQP 0-9-1: splits a stream of bytes into them, and reads the methods that the contract speaks of.
//!
//! The source of all numbers is the specification's `amqp0-9-1.xml`, and RabbitMQ's extensions `confirm.select` and
//! `basic.nack`.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::Decoder;

/// Type (1), channel (2) and length (4).
const HEADER_BYTES: usize = 7;
const FRAME_END: u8 = 0xCE;
/// What a client sends before its first frame: `AMQP` and the version.
const PROTOCOL_HEADER_BYTES: usize = 8;
const PROTOCOL: &[u8] = b"AMQP";
const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const CONTENT_BODY: u8 = 3;
/// More than any broker agrees to.
const MAX_FRAME_BYTES: usize = 64 << 20;

/// A frame, or the protocol header, with all its bytes.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// What is passed on.
    pub(super) bytes: Bytes,
}

/// What a frame says, as far as the contract speaks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Method(Method),
    /// The properties of a message, with the length of its body.
    Header(u64),
    Body(Bytes),
    Other,
}

/// A method that the contract speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Method {
    ConfirmSelect,
    Qos { prefetch: u16 },
    Consume { queue: String, is_acked_by_hand: bool },
    Publish { exchange: String, routing_key: String, is_mandatory: bool },
    Deliver { tag: u64, redelivered: bool },
    Ack { tag: u64, multiple: bool },
    Nack { tag: u64, multiple: bool },
    Reject { tag: u64 },
}

/// Splits a stream into frames.
#[derive(Debug, Default)]
pub(super) struct Frames;

impl Decoder for Frames {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Frame>> {
        let length = match frame_length(bytes) {
            Some(length) if length > MAX_FRAME_BYTES => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no frame of AMQP 0-9-1"));
            }
            Some(length) if bytes.len() >= length => length,
            _ => return Ok(None),
        };
        Ok(Some(Frame { bytes: bytes.split_to(length).freeze() }))
    }
}

/// How long the first frame is, when enough of it has come to know.
fn frame_length(bytes: &BytesMut) -> Option<usize> {
    if bytes.len() >= PROTOCOL.len() && bytes.starts_with(PROTOCOL) {
        return Some(PROTOCOL_HEADER_BYTES);
    }
    let length = bytes.get(3..HEADER_BYTES)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    Some(HEADER_BYTES + length + 1)
}

impl Frame {
    /// The channel; none of the protocol header.
    pub(super) fn channel(&self) -> Option<u16> {
        let is_frame = self.bytes.last() == Some(&FRAME_END) && self.bytes.len() > HEADER_BYTES;
        is_frame.then(|| u16::from_be_bytes([self.bytes[1], self.bytes[2]]))
    }

    /// What it says.
    pub(super) fn content(&self) -> Content {
        if self.channel().is_none() {
            return Content::Other;
        }
        let payload = self.bytes.slice(HEADER_BYTES..self.bytes.len() - 1);
        match self.bytes[0] {
            METHOD => method(payload).map_or(Content::Other, Content::Method),
            CONTENT_HEADER => body_length(payload).map_or(Content::Other, Content::Header),
            CONTENT_BODY => Content::Body(payload),
            _ => Content::Other,
        }
    }
}

fn body_length(mut payload: Bytes) -> Option<u64> {
    let _class_and_weight = payload.try_get_u32().ok()?;
    payload.try_get_u64().ok()
}

fn method(mut payload: Bytes) -> Option<Method> {
    let payload = &mut payload;
    let id = (payload.try_get_u16().ok()?, payload.try_get_u16().ok()?);
    Some(match id {
        (60, 10) => {
            let _size = payload.try_get_u32().ok()?;
            Method::Qos { prefetch: payload.try_get_u16().ok()? }
        }
        (60, 20) => {
            let _reserved = payload.try_get_u16().ok()?;
            let (queue, _consumer) = (short_text(payload)?, short_text(payload)?);
            Method::Consume { queue, is_acked_by_hand: !bit(payload, 1)? }
        }
        (60, 40) => {
            let _reserved = payload.try_get_u16().ok()?;
            let (exchange, routing_key) = (short_text(payload)?, short_text(payload)?);
            Method::Publish { exchange, routing_key, is_mandatory: bit(payload, 0)? }
        }
        (60, 60) => {
            let _consumer = short_text(payload)?;
            Method::Deliver { tag: payload.try_get_u64().ok()?, redelivered: bit(payload, 0)? }
        }
        (60, 80) => Method::Ack { tag: payload.try_get_u64().ok()?, multiple: bit(payload, 0)? },
        (60, 90) => Method::Reject { tag: payload.try_get_u64().ok()? },
        (60, 120) => Method::Nack { tag: payload.try_get_u64().ok()?, multiple: bit(payload, 0)? },
        (85, 10) => Method::ConfirmSelect,
        _ => return None,
    })
}

fn short_text(payload: &mut Bytes) -> Option<String> {
    let length = usize::from(payload.try_get_u8().ok()?);
    let text = (payload.len() >= length).then(|| payload.split_to(length))?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// One of the bits that share the next byte.
fn bit(payload: &mut Bytes, number: u8) -> Option<bool> {
    Some(payload.chunk().first()? & (1 << number) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&[kind, 0, 3], &length[..], payload, &[FRAME_END]].concat()
    }

    #[test]
    fn a_stream_is_split_into_frames_wherever_it_is_cut() {
        let publish = [&[0, 60, 0, 40, 0, 0, 2][..], b"ex", &[3], b"key", &[1]].concat();
        let header = [&[0, 60, 0, 0][..], &5_u64.to_be_bytes(), &[0, 0]].concat();
        let frames = [
            frame(METHOD, &publish),
            frame(CONTENT_HEADER, &header),
            frame(CONTENT_BODY, b"hello"),
        ];
        let stream = [&b"AMQP\0\0\x09\x01"[..], &frames.concat()].concat();
        let (mut read, mut seen) = (BytesMut::new(), Vec::new());
        for byte in stream {
            read.extend_from_slice(&[byte]);
            seen.extend(Frames.decode(&mut read).unwrap());
        }
        let contents: Vec<_> = seen.iter().map(Frame::content).collect();
        let published = Method::Publish {
            exchange: "ex".to_owned(),
            routing_key: "key".to_owned(),
            is_mandatory: true,
        };
        let expected = [
            Content::Other,
            Content::Method(published),
            Content::Header(5),
            Content::Body(Bytes::from_static(b"hello")),
        ];
        assert_eq!(contents, expected);
        assert_eq!(
            seen.iter().map(Frame::channel).collect::<Vec<_>>(),
            [None, Some(3), Some(3), Some(3)]
        );
    }

    #[test]
    fn consuming_without_acks_is_seen() {
        let consume =
            |flags| [&[0, 60, 0, 20, 0, 0, 1][..], b"q", &[1], b"c", &[flags], &[0; 4]].concat();
        for (flags, by_hand) in [(0, true), (0b10, false), (0b101, true)] {
            let expected = Method::Consume { queue: "q".to_owned(), is_acked_by_hand: by_hand };
            assert_eq!(method(consume(flags).into()), Some(expected));
        }
        let cut_short = Bytes::from_static(&[0, 60, 0, 20, 0, 0, 9, b'q']);
        assert_eq!(method(cut_short), None);
    }
}
