//! Failures of `setup`: the exit code, the reason, and what to do about it.

use std::process::ExitCode;

use pipeline::{
    broker::{Address, AskError, OpenError},
    stderr,
};

/// The reply codes that tell of the object. All others, such as 320 (CONNECTION_FORCED, while the broker stops), tell of
/// the broker.
const ACCESS_REFUSED: u16 = 403;
const RESOURCE_LOCKED: u16 = 405;
const PRECONDITION_FAILED: u16 = 406;
const NOT_IMPLEMENTED: u16 = 540;
const INTERNAL_ERROR: u16 = 541;

/// Why `setup` failed. Each kind has its own exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No broker answers.
    Unreachable(String),
    /// The broker was lost or failed while it was asked for something. It may be able to do it soon.
    Interrupted(String),
    /// The broker refuses the user, the password or the virtual host.
    Refused(String),
    /// The user lacks a permission.
    Permission(String),
    /// Something exists with other arguments, or the broker refuses the kind of queue.
    Conflict(String),
}

impl Failure {
    /// What a failed login means and what to do about it.
    pub(crate) fn of_open(error: &OpenError) -> Self {
        match error {
            OpenError::Unreachable(_) => Self::Unreachable(format!(
                "{error}\nStart the broker, or put its URL into AMQP_URL (or CLOUDAMQP_URL) in .env."
            )),
            OpenError::WrongPort(_) => Self::Unreachable(format!(
                "{error}.\nCorrect the broker's URL (AMQP_URL or CLOUDAMQP_URL)."
            )),
            OpenError::Tls(_) => Self::Unreachable(format!(
                "{error}\nCheck the host name; a private CA goes into the URL: amqps://...?cacertfile=ca.pem."
            )),
            OpenError::Credentials(_) => Self::Refused(format!(
                "{error}\nCheck user and password in the URL; characters like @ / : # must be percent-encoded."
            )),
            OpenError::Vhost(_) => Self::Refused(format!(
                "{error}\nCheck the part of the URL after the host, create the virtual host (rabbitmqctl add_vhost NAME), \
                 or give the user access to it (rabbitmqctl set_permissions -p NAME USER '.*' '.*' '.*')."
            )),
        }
    }

    /// What a failed declaration of `what` means and what to do about it.
    pub(crate) fn of_ask(what: &str, address: &Address, error: &AskError) -> Self {
        let Address { vhost, user, .. } = address;
        match error {
            AskError::Refused { code: ACCESS_REFUSED, .. } => Self::Permission(format!(
                "{what}: {error}\nGive the user the right to it. This replaces the permissions that the user has in the virtual host: \
                 see them with rabbitmqctl list_user_permissions '{user}', and keep what else it needs in the patterns.\n\
                 rabbitmqctl set_permissions -p '{vhost}' '{user}' '^processing.*' '^processing.*' '^processing.*'"
            )),
            AskError::Refused { code, text } if tells_of_object(*code, text) => {
                Self::Conflict(format!(
                    "{what}: {error}\nIf it was made with other settings, set QUEUE_TYPE (quorum or classic) and ACK_TIMEOUT \
                     as they were then. Or, once it is empty, stop all web services and processors, which would declare it \
                     again with the defaults, delete it, and run setup again."
                ))
            }
            AskError::Lost
            | AskError::NotCounted
            | AskError::NoChannelLeft { .. }
            | AskError::Refused { .. } => Self::Interrupted(format!("{what}: {error}")),
        }
    }

    /// Prints the reason to standard error, and returns the exit code.
    pub(crate) fn exit(&self) -> ExitCode {
        let (code, text) = self.told();
        stderr::print(&format!("setup: {text}"));
        ExitCode::from(code)
    }

    /// The exit code, the reason, and what to do about it.
    fn told(&self) -> (u8, String) {
        match self {
            Self::Unreachable(text) => (3, text.clone()),
            Self::Interrupted(text) => (3, format!("{text}\nRun setup again.")),
            Self::Refused(text) => (4, text.clone()),
            Self::Permission(text) => (5, text.clone()),
            Self::Conflict(text) => (6, text.clone()),
        }
    }
}

/// Whether a refusal tells of the object, and not of the broker.
fn tells_of_object(code: u16, text: &str) -> bool {
    match code {
        RESOURCE_LOCKED | PRECONDITION_FAILED | NOT_IMPLEMENTED => true,
        // A kind of queue that a broker after an upgrade does not take before the feature is enabled.
        INTERNAL_ERROR => text.contains("feature flag"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_stops_or_fails_is_no_conflict() {
        let address = Address::parse("amqp://127.0.0.1").unwrap();
        let refused = |code| AskError::Refused { code, text: "no".to_owned() };
        let of = |error| Failure::of_ask("queue a", &address, &error);
        for error in [AskError::Lost, refused(320), refused(404), refused(506), refused(541)] {
            let failure = of(error);
            let Failure::Interrupted(_) = &failure else { panic!("{failure:?}") };
            let (code, text) = failure.told();
            assert_eq!(code, 3, "{text}");
            assert!(text.contains("Run setup again") && !text.contains("delete"), "{text}");
        }
        for code in [405, 406, 540] {
            assert!(matches!(of(refused(code)), Failure::Conflict(_)), "{code}");
        }
        assert!(matches!(of(refused(403)), Failure::Permission(_)));
        let text = "INTERNAL_ERROR - the corresponding feature flag is disabled".to_owned();
        assert!(matches!(of(AskError::Refused { code: 541, text }), Failure::Conflict(_)));
    }
}
