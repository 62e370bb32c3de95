//! Probe: finds out what answers at an address where no AMQP connection could be opened.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

/// How long all questions may take together. Only a DNS lookup has no limit of its own.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long connecting, writing and reading may take, each, for each of the questions.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The most bytes of an answer that are looked at.
const MAX_ANSWER_BYTES: usize = 64;

/// The header of AMQP 0-9-1.
const AMQP: &[u8] = b"AMQP\0\0\x09\x01";
/// PostgreSQL's question whether the server takes TLS, which is answered by one letter.
const POSTGRES_TLS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const HTTP: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// The beginning of a TLS connection: the smallest `ClientHello` there is, in a record of 45 bytes. Servers that speak TLS
/// refuse it with an alert, since it offers nothing of today.
const TLS: &[u8] = b"\x16\x03\x01\0\x2d\x01\0\0\x29\x03\x03\
    0123456789abcdef0123456789abcdef\0\0\x02\0\x2f\x01\0";

/// What answers at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// A broker that speaks AMQP 0-9-1 without TLS.
    Amqp,
    /// A broker that speaks another version of AMQP.
    OtherAmqp,
    /// Something that speaks TLS.
    Tls,
    /// An HTTP server.
    Http,
    /// A PostgreSQL server.
    Postgres,
    /// Something else, which says this.
    Other(String),
    /// Something takes the connection and says nothing.
    Silence,
    /// Nothing takes the connection.
    Nothing,
}

/// Asks what answers there. Takes a few seconds, also while nothing answers, and [`TOTAL_TIMEOUT`] at most.
pub(super) async fn answer(host: &str, port: u16) -> Answer {
    let host = host.to_owned();
    on_own_thread(TOTAL_TIMEOUT, move || ask(&host, port)).await
}

/// Gets the answer on a thread that nothing waits for: a DNS lookup can't be cancelled, and a runtime that is dropped
/// would wait for it, so that the program would end too late.
async fn on_own_thread(limit: Duration, ask: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    let (reply, answer) = oneshot::channel();
    let run = move || drop(reply.send(ask()));
    // If there is no thread for it, the sender is dropped with the closure.
    let _started_or_not = thread::Builder::new().name("probe".to_owned()).spawn(run);
    timeout(limit, answer).await.ok().and_then(Result::ok).unwrap_or(Answer::Nothing)
}

/// Puts one question after the other, each on a connection of its own, until one is answered. A broker answers the first.
fn ask(host: &str, port: u16) -> Answer {
    let mut is_there = false;
    for question in [AMQP, TLS, POSTGRES_TLS, HTTP] {
        let Some(reply) = reply(host, port, question) else { break };
        is_there = true;
        let is_to_postgres = question == POSTGRES_TLS;
        if let Some(answer) = recognise(&reply, is_to_postgres) {
            return answer;
        }
    }
    if is_there { Answer::Silence } else { Answer::Nothing }
}

/// The beginning of the reply to a question, which may be empty. None if nothing takes the connection.
fn reply(host: &str, port: u16, question: &[u8]) -> Option<Vec<u8>> {
    let mut addresses = (host, port).to_socket_addrs().ok()?;
    let mut stream =
        addresses.find_map(|address| TcpStream::connect_timeout(&address, TIMEOUT).ok())?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(TIMEOUT)).ok()?;
    let mut reply = vec![0; MAX_ANSWER_BYTES];
    let read = stream.write_all(question).and_then(|()| stream.read(&mut reply));
    reply.truncate(read.unwrap_or(0));
    Some(reply)
}

/// What gives this reply; none if it is empty.
fn recognise(reply: &[u8], is_to_postgres: bool) -> Option<Answer> {
    Some(match reply {
        [] => return None,
        // A frame with a method on channel 0: it begins the connection.
        [1, 0, 0, ..] => Answer::Amqp,
        [b'A', b'M', b'Q', b'P', ..] => Answer::OtherAmqp,
        // A handshake message, or an alert.
        [0x15 | 0x16, 3, ..] => Answer::Tls,
        [b'H', b'T', b'T', b'P', b'/', ..] => Answer::Http,
        [b'S' | b'N'] if is_to_postgres => Answer::Postgres,
        // Web servers that take the first bytes for an old version of HTTP answer with a page alone.
        _ if reply.trim_ascii_start().starts_with(b"<") => Answer::Http,
        _ => Answer::Other(printable(reply)),
    })
}

/// The beginning of a reply, as far as it is text.
fn printable(reply: &[u8]) -> String {
    let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let text: Vec<u8> = reply.iter().copied().filter(is_text).take(40).collect();
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, sync::mpsc};

    use tokio::runtime::Builder;

    use super::*;

    /// What a server answers to a question.
    type Reply = fn(&[u8]) -> &'static [u8];

    /// A server that answers each connection as `reply` says, after it has read the question.
    fn server(reply: Reply) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut question = [0; 64];
                let read = stream.read(&mut question).unwrap_or(0);
                let _ = stream.write_all(reply(&question[..read]));
            }
        });
        port
    }

    #[test]
    fn servers_are_told_apart_by_what_they_answer() {
        let cases: [(Reply, Answer); 7] = [
            (|_| b"\x01\0\0\0\0\x02\0", Answer::Amqp),
            (|_| b"AMQP\0\x01\0\0", Answer::OtherAmqp),
            (|_| b"HTTP/1.1 400 Bad Request\r\n", Answer::Http),
            (
                |question| if question == TLS { b"\x15\x03\x01\0\x02\x02\x28" } else { b"" },
                Answer::Tls,
            ),
            (|question| if question == POSTGRES_TLS { b"N" } else { b"" }, Answer::Postgres),
            (|_| b"SSH-2.0-OpenSSH_9.2\r\n", Answer::Other("SSH-2.0-OpenSSH_9.2".to_owned())),
            (|_| b"", Answer::Silence),
        ];
        for (reply, expected) in cases {
            assert_eq!(ask("127.0.0.1", server(reply)), expected);
        }
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert_eq!(ask("127.0.0.1", closed), Answer::Nothing);
    }

    #[test]
    fn a_question_that_hangs_is_given_up_and_holds_up_no_end_of_the_program() {
        let (hang, hanging) = mpsc::channel::<()>();
        let ask = move || {
            let _never = hanging.recv();
            Answer::Amqp
        };
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let answer = runtime.block_on(on_own_thread(Duration::ZERO, ask));
        assert_eq!(answer, Answer::Nothing);
        drop(runtime);
        drop(hang);
    }
}
