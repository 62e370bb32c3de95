//! What went over a worker's connections, in order, and what follows from it.

use bytes::{Bytes, BytesMut};
use pipeline::topology::RequestType;
use serde::Deserialize;
use serde_json::Value;

use super::frames::{Content, Method};

/// Something that was seen on a channel.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Each connection has a number.
    pub(super) connection: usize,
    pub(super) channel: u16,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    ConfirmSelect,
    Qos {
        prefetch: u16,
    },
    Consume {
        queue: String,
        is_acked_by_hand: bool,
    },
    Delivered {
        tag: u64,
        redelivered: bool,
        body: Bytes,
    },
    /// The worker's ack, nack or reject.
    Settled {
        tag: u64,
        multiple: bool,
        is_ack: bool,
    },
    Published {
        exchange: String,
        routing_key: String,
        is_mandatory: bool,
        body: Bytes,
    },
    /// The broker's ack or nack, when it was passed on to the worker.
    Confirmed {
        tag: u64,
        multiple: bool,
    },
}

/// Who sent a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Worker,
    Broker,
}

/// Joins the frames of one direction of one channel to what was seen.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    message: Option<(Method, u64, BytesMut)>,
}

impl Assembler {
    /// Takes the next frame of the channel.
    pub(super) fn add(&mut self, sender: Sender, content: Content) -> Option<What> {
        match content {
            Content::Method(method @ (Method::Publish { .. } | Method::Deliver { .. })) => {
                self.message = Some((method, u64::MAX, BytesMut::new()));
            }
            Content::Method(method) => return without_body(sender, method),
            Content::Header(length) => self.message.as_mut()?.1 = length,
            Content::Body(part) => self.message.as_mut()?.2.extend_from_slice(&part),
            Content::Other => {}
        }
        let is_whole = |(_, length, body): &(_, u64, BytesMut)| body.len() as u64 >= *length;
        let (method, _, body) = self.message.take_if(|message| is_whole(message))?;
        with_body(method, body.freeze())
    }
}

fn with_body(method: Method, body: Bytes) -> Option<What> {
    match method {
        Method::Publish { exchange, routing_key, is_mandatory } => {
            Some(What::Published { exchange, routing_key, is_mandatory, body })
        }
        Method::Deliver { tag, redelivered } => Some(What::Delivered { tag, redelivered, body }),
        _ => None,
    }
}

fn without_body(sender: Sender, method: Method) -> Option<What> {
    Some(match (sender, method) {
        (_, Method::ConfirmSelect) => What::ConfirmSelect,
        (_, Method::Qos { prefetch }) => What::Qos { prefetch },
        (_, Method::Consume { queue, is_acked_by_hand }) => {
            What::Consume { queue, is_acked_by_hand }
        }
        (Sender::Worker, Method::Ack { tag, multiple }) => {
            What::Settled { tag, multiple, is_ack: true }
        }
        (Sender::Worker, Method::Nack { tag, multiple }) => {
            What::Settled { tag, multiple, is_ack: false }
        }
        (Sender::Worker, Method::Reject { tag }) => {
            What::Settled { tag, multiple: false, is_ack: false }
        }
        (Sender::Broker, Method::Ack { tag, multiple } | Method::Nack { tag, multiple }) => {
            What::Confirmed { tag, multiple }
        }
        _ => return None,
    })
}

/// All that was seen so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace(pub(super) Vec<Seen>);

impl Trace {
    /// The first subscription to the queue of requests.
    pub(super) fn subscription(&self) -> Option<&Seen> {
        self.0.iter().find(|seen| is_subscription(&seen.what))
    }

    /// Where this body was delivered, from here on.
    pub(super) fn delivery(&self, body: &[u8], from: usize) -> Option<usize> {
        self.position(from, |what| matches!(what, What::Delivered { body: its, .. } if its == body))
    }

    /// How often this body was delivered.
    pub(super) fn deliveries(&self, body: &[u8]) -> usize {
        let is_it =
            |seen: &&Seen| matches!(&seen.what, What::Delivered { body: its, .. } if its == body);
        self.0.iter().filter(is_it).count()
    }

    /// Where a message for this request was published under this key, from here on.
    pub(super) fn published(&self, id: &Value, key: &str, from: usize) -> Option<usize> {
        self.position(from, |what| match what {
            What::Published { routing_key, body, .. } => routing_key == key && has_id(body, id),
            _ => false,
        })
    }

    /// Where the delivery that stands here was settled, and whether by an ack.
    pub(super) fn settled(&self, delivery: usize) -> Option<(usize, bool)> {
        let at = &self.0[delivery];
        let What::Delivered { tag: wanted, .. } = at.what else { return None };
        let later =
            self.0.iter().enumerate().skip(delivery + 1).filter(|(_, seen)| seen.is_beside(at));
        later.into_iter().find_map(|(number, seen)| match seen.what {
            What::Settled { tag, multiple, is_ack } if covers(tag, multiple, wanted) => {
                Some((number, is_ack))
            }
            _ => None,
        })
    }

    /// Where the confirm of the message that was published here reached the worker.
    pub(super) fn confirmed(&self, published: usize) -> Option<usize> {
        let at = &self.0[published];
        let wanted = self.delivery_tag(published)?;
        let later =
            self.0.iter().enumerate().skip(published + 1).filter(|(_, seen)| seen.is_beside(at));
        later.into_iter().find_map(|(number, seen)| match seen.what {
            What::Confirmed { tag, multiple } if covers(tag, multiple, wanted) => Some(number),
            _ => None,
        })
    }

    /// Whether the message that stands here was published on a channel in confirm mode.
    pub(super) fn has_confirms(&self, published: usize) -> bool {
        self.delivery_tag(published).is_some()
    }

    /// Under which number the broker confirms the message that was published here; none without `confirm.select`.
    fn delivery_tag(&self, published: usize) -> Option<u64> {
        let at = &self.0[published];
        let before = self.0[..=published].iter().filter(|seen| seen.is_beside(at));
        let mut tag = None;
        for seen in before {
            match seen.what {
                What::ConfirmSelect => tag = tag.or(Some(0)),
                What::Published { .. } => tag = tag.map(|tag| tag + 1),
                _ => {}
            }
        }
        tag
    }

    /// The most requests that a consumer had in hand at the same time, on any channel.
    pub(super) fn most_in_hand(&self) -> usize {
        let subscriptions = self.0.iter().filter(|seen| is_subscription(&seen.what));
        subscriptions.map(|channel| self.most_in_hand_on(channel)).max().unwrap_or(0)
    }

    fn most_in_hand_on(&self, channel: &Seen) -> usize {
        let (mut in_hand, mut most, mut consumers) = (Vec::new(), 0, 0);
        for seen in self.0.iter().filter(|seen| seen.is_beside(channel)) {
            match seen.what {
                What::Consume { .. } => consumers += 1,
                What::Delivered { tag, .. } => in_hand.push(tag),
                What::Settled { tag, multiple, .. } => {
                    in_hand.retain(|had| !covers(tag, multiple, *had));
                }
                _ => {}
            }
            most = most.max(in_hand.len().div_ceil(consumers.max(1)));
        }
        most
    }

    fn position(&self, from: usize, is_it: impl Fn(&What) -> bool) -> Option<usize> {
        let found = self.0.iter().skip(from).position(|seen| is_it(&seen.what));
        found.map(|position| from + position)
    }
}

impl Seen {
    fn is_beside(&self, other: &Self) -> bool {
        (self.connection, self.channel) == (other.connection, other.channel)
    }
}

fn is_subscription(what: &What) -> bool {
    matches!(what, What::Consume { queue, .. } if RequestType::of_queue(queue).is_some())
}

fn covers(tag: u64, multiple: bool, wanted: u64) -> bool {
    tag == wanted || multiple && (tag > wanted || tag == 0)
}

/// The part of a body that tells its request. The rest may be nested too deeply for a [`Value`].
#[derive(Deserialize)]
struct Identified {
    #[serde(rename = "requestId")]
    id: Value,
}

/// Whether a body is of this request.
pub(super) fn has_id(body: &[u8], id: &Value) -> bool {
    serde_json::from_slice::<Identified>(body).is_ok_and(|body| body.id == *id)
}

#[cfg(test)]
mod tests {
    use pipeline::topology::REQUESTS;
    use serde_json::json;

    use super::*;

    fn seen(channel: u16, what: What) -> Seen {
        Seen { connection: 0, channel, what }
    }

    fn delivered(tag: u64, body: &'static str) -> What {
        What::Delivered { tag, redelivered: false, body: Bytes::from_static(body.as_bytes()) }
    }

    fn published(body: &'static str) -> What {
        let (exchange, routing_key) = ("processing".to_owned(), "result".to_owned());
        let body = Bytes::from_static(body.as_bytes());
        What::Published { exchange, routing_key, is_mandatory: true, body }
    }

    fn consume() -> What {
        What::Consume { queue: REQUESTS.to_owned(), is_acked_by_hand: true }
    }

    fn settled(tag: u64, multiple: bool) -> What {
        What::Settled { tag, multiple, is_ack: true }
    }

    #[test]
    fn an_ack_and_a_confirm_belong_to_their_channel() {
        let trace = Trace(vec![
            seen(1, consume()),
            seen(2, What::ConfirmSelect),
            seen(1, delivered(1, "one")),
            seen(2, published(r#"{"requestId":"a"}"#)),
            seen(1, What::Confirmed { tag: 1, multiple: false }),
            seen(2, settled(1, false)),
            seen(2, What::Confirmed { tag: 1, multiple: false }),
            seen(1, settled(1, false)),
        ]);
        let delivery = trace.delivery(b"one", 0).unwrap();
        let result = trace.published(&json!("a"), "result", delivery).unwrap();
        assert_eq!((delivery, result), (2, 3));
        assert_eq!(trace.confirmed(result), Some(6));
        assert_eq!(trace.settled(delivery), Some((7, true)));
        assert_eq!(trace.published(&json!("b"), "result", 0), None);
    }

    #[test]
    fn a_body_has_its_id_whatever_else_is_in_it() {
        let deep = ["[".repeat(1000), "]".repeat(1000)].concat();
        for data in ["1e400", &deep] {
            let body = format!("{{\"requestData\":{data},\"requestId\":\"a\"}}");
            assert!(has_id(body.as_bytes(), &json!("a")), "{body}");
        }
    }

    #[test]
    fn what_is_published_without_confirms_is_never_confirmed() {
        let trace = Trace(vec![
            seen(1, published(r#"{"requestId":"a"}"#)),
            seen(1, What::Confirmed { tag: 1, multiple: false }),
        ]);
        assert_eq!(trace.confirmed(0), None);
    }

    #[test]
    fn what_is_in_hand_is_counted_for_each_consumer() {
        let one = vec![seen(1, consume()), seen(1, delivered(1, "a")), seen(1, delivered(2, "b"))];
        assert_eq!(Trace(one.clone()).most_in_hand(), 2);
        let two_consumers = [vec![seen(1, consume())], one.clone()].concat();
        assert_eq!(Trace(two_consumers).most_in_hand(), 1);
        let settled_together = [one, vec![seen(1, settled(2, true)), seen(1, delivered(3, "c"))]];
        assert_eq!(Trace(settled_together.concat()).most_in_hand(), 2);
    }

    #[test]
    fn a_message_in_several_frames_is_seen_when_it_is_whole() {
        let mut assembler = Assembler::default();
        let deliver = Content::Method(Method::Deliver { tag: 7, redelivered: true });
        assert_eq!(assembler.add(Sender::Broker, deliver.clone()), None);
        assert_eq!(assembler.add(Sender::Broker, Content::Header(4)), None);
        assert_eq!(assembler.add(Sender::Broker, Content::Body("ab".into())), None);
        let whole = What::Delivered { tag: 7, redelivered: true, body: "abcd".into() };
        assert_eq!(assembler.add(Sender::Broker, Content::Body("cd".into())), Some(whole));
        assert_eq!(assembler.add(Sender::Broker, deliver), None);
        let empty = What::Delivered { tag: 7, redelivered: true, body: Bytes::new() };
        assert_eq!(assembler.add(Sender::Broker, Content::Header(0)), Some(empty));
    }
}
