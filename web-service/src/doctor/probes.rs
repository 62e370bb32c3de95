//! Probes: messages that nobody receives, to see what the broker does with them.

use std::time::Duration;

use pipeline::{
    broker::{PublishError, Publisher},
    contract::Message,
    topology::{EVENTS, EXCHANGE},
};
use serde_json::json;
use tokio::time::Instant;

use crate::doctor::diagnosis::{Check, Verdict};

/// A routing key that no queue is bound with.
const KEY: &str = "doctor.probe";
/// How long the broker may take to confirm a message: much longer than it needs.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take to return one.
const RETURN_TIMEOUT: Duration = Duration::from_secs(1);

/// Publishes a message to nobody, and one that has to be returned.
pub(super) async fn check(publisher: &Publisher) -> Vec<Check> {
    let message = |exchange: &'static str| Message::json(exchange, KEY, &json!({}));
    let deadline = Instant::now() + CONFIRM_TIMEOUT;
    let confirmed = publisher.publish_to_subscribers(message(EVENTS), deadline).await;
    let is_confirmed = confirmed.is_ok();
    let mut checks = vec![Check::new("confirms", confirms(confirmed))];
    if is_confirmed {
        let deadline = Instant::now() + RETURN_TIMEOUT;
        let returned = publisher.publish(message(EXCHANGE), deadline).await;
        checks.push(Check::new("alternate-exchange", returns(returned)));
    }
    checks
}

fn confirms(confirmed: Result<(), PublishError>) -> Verdict {
    match confirmed {
        Ok(()) => Verdict::Fine("the broker confirms messages".to_owned()),
        Err(PublishError::Refused(reason)) => Verdict::finding(
            format!("The user may not publish: {reason}"),
            "rabbitmqctl list_user_permissions USER; add these patterns to those that it has, which are replaced: \
             rabbitmqctl set_permissions --vhost VHOST USER '^processing.*' '^processing.*' '^processing.*'",
        ),
        Err(error) => Verdict::finding(
            format!(
                "The broker confirms no message within 2 s: {error}. Is it short of memory or disk space?"
            ),
            "rabbitmqctl status shows alarms; free memory or disk space",
        ),
    }
}

fn returns(returned: Result<(), PublishError>) -> Verdict {
    match returned {
        Err(PublishError::Unroutable(_)) => {
            Verdict::Fine("the broker returns what it can't route".to_owned())
        }
        Ok(()) => Verdict::finding(
            format!(
                "A message to {EXCHANGE} that no queue takes was not returned: an alternate exchange takes it, so the loss of a \
                 binding would not be noticed"
            ),
            "remove alternate-exchange: rabbitmqctl list_policies --vhost VHOST; rabbitmqctl clear_policy --vhost VHOST NAME",
        ),
        Err(error) => Verdict::unseen(
            format!("Whether an alternate exchange takes what can't be routed: {error}"),
            "rabbitmqctl list_exchanges --vhost VHOST name arguments policy",
        ),
    }
}
