//! The connections to the broker: whether another one can be opened, to the same cluster, encrypted, with usable limits.

use pipeline::broker::{Address, Declarer, OpenError, Tuning};
use tokio::net::lookup_host;

use crate::{
    doctor::diagnosis::{Check, Verdict},
    webhooks::public_address::is_public,
};

/// The code of the check whether a connection can be opened.
const CONNECTION: &str = "connection";
/// RabbitMQ needs frames of 8 KiB for large headers; its default is 128 KiB.
const MIN_FRAME_BYTES: u32 = 8192;
/// A processor with a few workers needs as many.
const MIN_CHANNELS: u16 = 16;

/// What became of opening connections.
pub(super) struct Opened {
    pub(super) checks: Vec<Check>,
    /// The connection to the first broker that took one.
    pub(super) declarer: Option<Declarer>,
}

/// Opens a connection to each address, as another program would.
pub(super) async fn open(addresses: &[Address]) -> Opened {
    let (mut checks, mut open) = (Vec::new(), Vec::new());
    for address in addresses {
        match Declarer::connect(address, "doctor").await {
            Ok(declarer) => open.push((address.host_and_port(), declarer)),
            Err(error) => {
                let detail = format!("Another connection can't be opened: {error}");
                checks
                    .push(Check::new(CONNECTION, Verdict::finding(detail, mend(&error, address))));
            }
        }
    }
    if checks.is_empty() {
        let fine = Verdict::Fine(format!("{} can be opened", open.len()));
        checks.push(Check::new(CONNECTION, fine));
    }
    if addresses.len() > 1 {
        let named =
            |(host, declarer): &(String, Declarer)| (host.clone(), declarer.tuning().cluster_name);
        checks.push(clusters(&open.iter().map(named).collect::<Vec<_>>()));
    }
    let mut open = open.into_iter().map(|(_, declarer)| declarer);
    let declarer = open.next();
    for other in open {
        other.close().await;
    }
    Opened { checks, declarer }
}

fn mend(error: &OpenError, address: &Address) -> String {
    let (user, vhost) = (&address.user, &address.vhost);
    match error {
        OpenError::Unreachable(_) => "start RabbitMQ there, or correct AMQP_URL".to_owned(),
        OpenError::WrongPort(_) | OpenError::Tls(_) => {
            "correct the scheme and the port in AMQP_URL".to_owned()
        }
        OpenError::Credentials(_) => format!("rabbitmqctl change_password '{user}', or AMQP_URL"),
        OpenError::Vhost(reason) if reason.contains("limit") => {
            format!("rabbitmqctl set_vhost_limits --vhost '{vhost}' '{{\"max-connections\": -1}}'")
        }
        OpenError::Vhost(_) => format!(
            "rabbitmqctl add_vhost '{vhost}'; \
             rabbitmqctl set_permissions --vhost '{vhost}' '{user}' '.*' '.*' '.*'"
        ),
    }
}

/// Whether all addresses are of one cluster, as they name it.
fn clusters(named: &[(String, Option<String>)]) -> Check {
    let names: Vec<_> = named.iter().filter_map(|(_, name)| name.as_ref()).collect();
    let verdict = if names.windows(2).any(|pair| pair[0] != pair[1]) {
        let list =
            named.iter().filter_map(|(host, name)| Some(format!("{host} is {}", name.as_ref()?)));
        let detail = format!(
            "AMQP_URL names brokers of different clusters, and a message in one is not in the other: {}",
            list.collect::<Vec<_>>().join(", ")
        );
        Verdict::finding(detail, "name only nodes of one cluster in AMQP_URL")
    } else {
        Verdict::Fine("the brokers are of one cluster".to_owned())
    };
    Check::new("cluster", verdict)
}

/// Whether the limits that were agreed on for a connection are usable.
pub(super) fn tuning(tuning: &Tuning) -> Check {
    let Tuning { heartbeat, frame_max, channel_max, .. } = *tuning;
    let verdict = if heartbeat == 0 {
        Verdict::finding(
            "The broker turns heartbeats off, so a dead connection is noticed after minutes",
            "heartbeat = 60 in rabbitmq.conf",
        )
    } else if (1..MIN_FRAME_BYTES).contains(&frame_max) {
        let detail = format!("Frames have {frame_max} bytes at most: too few for long headers");
        Verdict::finding(detail, "frame_max = 131072 in rabbitmq.conf")
    } else if (1..MIN_CHANNELS).contains(&channel_max) {
        let detail = format!(
            "A connection has {channel_max} channels at most, and a processor needs one for each worker and 2 more"
        );
        Verdict::finding(detail, "channel_max = 2047 in rabbitmq.conf")
    } else {
        Verdict::Fine(format!(
            "heartbeat {heartbeat} s, frames of {frame_max} bytes, {channel_max} channels"
        ))
    };
    Check::new("tuning", verdict)
}

/// Whether passwords and data go unencrypted over the internet.
pub(super) async fn plaintext(addresses: &[Address]) -> Vec<Check> {
    let mut checks = Vec::new();
    for address in addresses.iter().filter(|address| !address.tls) {
        let host = (address.host.as_str(), address.port);
        let Ok(mut found) = lookup_host(host).await else { continue };
        if found.any(|at| is_public(at.ip())) {
            let detail = format!(
                "The password and all data go unencrypted to {}, a public address",
                address.host_and_port()
            );
            let mend = "use amqps:// in AMQP_URL, with the port of TLS (5671)";
            checks.push(Check::new("plaintext", Verdict::finding(detail, mend)));
        }
    }
    if checks.is_empty() {
        let fine = "no unencrypted connection leads to a public address";
        checks.push(Check::new("plaintext", Verdict::Fine(fine.to_owned())));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_finding(check: &Check) -> bool {
        matches!(check.verdict, Verdict::Finding { .. })
    }

    #[test]
    fn brokers_of_different_clusters_are_found() {
        let named = |name: &str| ("a:5672".to_owned(), Some(name.to_owned()));
        assert!(is_finding(&clusters(&[named("rabbit@a"), named("rabbit@b")])));
        assert!(!is_finding(&clusters(&[named("rabbit@a"), named("rabbit@a")])));
        let silent = ("b:5672".to_owned(), None);
        assert!(!is_finding(&clusters(&[named("rabbit@a"), silent])));
    }

    #[test]
    fn limits_that_are_too_low_are_found() {
        let of = |heartbeat, frame_max, channel_max| {
            is_finding(&tuning(&Tuning { heartbeat, frame_max, channel_max, cluster_name: None }))
        };
        assert!(!of(10, 131_072, 2047));
        assert!(!of(10, 0, 0), "no limit");
        assert!(of(0, 131_072, 2047) && of(10, 4096, 2047) && of(10, 131_072, 4));
    }

    #[tokio::test]
    async fn an_unencrypted_connection_over_the_internet_is_found() {
        let checked = async |url: &str| {
            let checks = plaintext(&[Address::parse(url).unwrap()]).await;
            checks.iter().any(is_finding)
        };
        assert!(checked("amqp://u:p@8.8.8.8").await);
        assert!(!checked("amqps://u:p@8.8.8.8").await);
        assert!(!checked("amqp://u:p@10.0.0.1").await && !checked("amqp://u:p@127.0.0.1").await);
    }
}
