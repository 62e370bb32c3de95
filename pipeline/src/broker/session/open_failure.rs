//! Open failure: why a connection could not be opened, for people.
//!
//! The client's error often has only the last thing that went wrong, such as a closed socket. So what answers at the
//! address is looked at once more, without the client.

use std::time::Duration;

use crate::broker::{
    address::Address,
    error::OpenError,
    session::probe::{self, Answer},
};

/// A broker refuses a password by closing the socket after a pause of some seconds. It sends a reason
/// only to clients with the capability `authentication_failure_close`, which this one doesn't have.
const MIN_REFUSAL_TIME: Duration = Duration::from_secs(1);

/// What errors say when nothing took the connection: there is nothing to look at.
const NOT_CONNECTED: &[&str] =
    &["refused", "lookup address", "unreachable", "No route to host", "timed out"];
/// What errors say when the other side has ended the connection.
const CLOSED: &[&str] = &["reset by peer", "peer shutdown", "Broken pipe", "interrupted", "eof"];

/// Explains why a connection to this address could not be opened. `error` is what the client says, after this time.
pub(super) async fn explain(error: &str, address: &Address, took: Duration) -> OpenError {
    if let Some(refusal) = refusal(error, address) {
        return refusal;
    }
    let answer = match says(error, NOT_CONNECTED) {
        true => Answer::Nothing,
        false => probe::answer(&address.host, address.port).await,
    };
    judge(&answer, error, address, took)
}

/// What the broker or its certificate says, if that is the reason.
fn refusal(error: &str, address: &Address) -> Option<OpenError> {
    let Address { user, vhost, .. } = address;
    let at = address.host_and_port();
    if says(error, &["530", "NOT_ALLOWED", "not_allowed"]) {
        let reason = broker_text(error);
        return Some(OpenError::Vhost(format!(
            "RabbitMQ at {at} refused the virtual host {vhost} to {user}: {reason}"
        )));
    }
    if says(error, &["403", "ACCESS_REFUSED"]) {
        return Some(OpenError::Credentials(format!(
            "RabbitMQ at {at} refused the user {user} or the password"
        )));
    }
    says(error, &["certificate", "dnsname"])
        .then(|| OpenError::Tls(format!("TLS with RabbitMQ at {at} failed: {}", os_text(error))))
}

/// Decides by what answers at the address.
fn judge(answer: &Answer, error: &str, address: &Address, took: Duration) -> OpenError {
    let (at, reason) = (address.host_and_port(), os_text(error));
    let closed = says(error, CLOSED);
    let is_none = |what: &str| {
        OpenError::WrongPort(format!(
            "{at} is not RabbitMQ's port for AMQP: {what}. The usual port is 5672 with amqp://, and 5671 with amqps://"
        ))
    };
    match (answer, address.tls) {
        (Answer::Http, _) => is_none("an HTTP server answers there"),
        (Answer::Postgres, _) => is_none("a PostgreSQL server answers there"),
        (Answer::OtherAmqp, _) => is_none("what answers there speaks another version of AMQP"),
        (Answer::Other(text), _) => is_none(&format!("what answers there says {text:?}")),
        (Answer::Amqp, true) => OpenError::WrongPort(format!(
            "RabbitMQ at {at} speaks AMQP without TLS on this port: write amqp:// instead of amqps://, or give its port \
             for TLS (usually 5671)"
        )),
        (Answer::Tls, false) => OpenError::WrongPort(format!(
            "{at} speaks TLS: write amqps:// instead of amqp://, or give RabbitMQ's port without TLS (usually 5672)"
        )),
        (Answer::Amqp, false) | (Answer::Tls, true) if closed && took > MIN_REFUSAL_TIME => {
            OpenError::Credentials(format!(
                "RabbitMQ at {at} closed the connection during login; most likely the user or the password is wrong"
            ))
        }
        (Answer::Silence, _) if closed => OpenError::Unreachable(format!(
            "RabbitMQ at {at} can't be reached: the connection is closed there before AMQP begins ({reason})"
        )),
        _ => OpenError::Unreachable(format!("RabbitMQ at {at} can't be reached: {reason}")),
    }
}

fn says(error: &str, words: &[&str]) -> bool {
    words.iter().any(|word| error.contains(word))
}

/// The error of the operating system or of TLS within the client's error message.
fn os_text(error: &str) -> &str {
    let text = error.rsplit("network io error: ").next().unwrap_or(error);
    text.trim_start_matches("AMQP network error: ")
}

/// The broker's reply text within the client's error message.
fn broker_text(text: &str) -> &str {
    let from = text.find("NOT_ALLOWED").unwrap_or(0);
    let text = &text[from..];
    &text[..text.find('"').unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: &str = "AMQP network error: peer shutdown";
    const LATE: Duration = Duration::from_secs(3);

    fn judged(url: &str, answer: &Answer, error: &str, took: Duration) -> OpenError {
        judge(answer, error, &Address::parse(url).unwrap(), took)
    }

    #[test]
    fn a_port_of_something_else_is_not_taken_for_a_wrong_password() {
        for (answer, said) in [
            (Answer::Http, "an HTTP server"),
            (Answer::Postgres, "a PostgreSQL server"),
            (Answer::OtherAmqp, "another version"),
            (Answer::Other("SSH-2.0".to_owned()), "\"SSH-2.0\""),
        ] {
            for url in ["amqp://h:15672", "amqps://h:15672"] {
                let error = judged(url, &answer, CLOSED, LATE);
                assert!(matches!(error, OpenError::WrongPort(_)) && error.needs_operator());
                let text = error.to_string();
                assert!(text.starts_with("h:15672 is not") && text.contains(said), "{text}");
            }
        }
    }

    #[test]
    fn the_scheme_that_fits_the_port_is_named() {
        let plain = judged("amqps://h:5672", &Answer::Amqp, "InvalidContentType", LATE).to_string();
        assert!(plain.contains("write amqp:// instead of amqps://"), "{plain}");
        let tls = judged("amqp://h:5671", &Answer::Tls, CLOSED, LATE).to_string();
        assert!(tls.contains("write amqps:// instead of amqp://"), "{tls}");
    }

    #[test]
    fn only_a_broker_that_closes_late_may_have_refused_the_password() {
        for (url, answer) in [("amqp://h", Answer::Amqp), ("amqps://h", Answer::Tls)] {
            let late = judged(url, &answer, CLOSED, LATE);
            assert!(matches!(late, OpenError::Credentials(_)), "{late}");
            let early = judged(url, &answer, CLOSED, Duration::ZERO);
            assert!(matches!(early, OpenError::Unreachable(_)), "{early}");
        }
        let silent = judged("amqp://h", &Answer::Silence, CLOSED, LATE);
        assert!(matches!(silent, OpenError::Unreachable(_)), "{silent}");
    }

    #[test]
    fn the_error_of_the_operating_system_is_kept() {
        let error = "AMQP network error: network io error: Connection refused (os error 111)";
        let text = judged("amqp://[::1]", &Answer::Nothing, error, LATE).to_string();
        let expected = "RabbitMQ at [::1]:5672 can't be reached: Connection refused (os error 111)";
        assert_eq!(text, expected);
    }
}
