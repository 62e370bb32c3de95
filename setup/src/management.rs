//! The management API of the broker: tells which bindings there are, which AMQP has no way to read.

use std::{fs, time::Duration};

use pipeline::{broker::Address, root_cause::root_cause, topology::Binding};
use reqwest::{Certificate, Client, StatusCode, redirect};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

/// How long a connection and an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The bindings of a virtual host.
#[derive(Debug, Deserialize)]
pub(crate) struct Bindings(Vec<Listed>);

/// A binding as `GET /api/bindings/VHOST` lists it.
#[derive(Debug, Deserialize)]
struct Listed {
    source: String,
    destination: String,
    destination_type: String,
    routing_key: String,
}

#[derive(Debug, Deserialize)]
struct Overview {
    cluster_name: Option<String>,
}

impl Bindings {
    /// Whether the queue has this binding.
    pub(crate) fn has(&self, queue: &str, binding: &Binding) -> bool {
        self.0.iter().any(|listed| {
            listed.destination_type == "queue"
                && listed.destination == queue
                && listed.source == binding.exchange
                && listed.routing_key == binding.routing_key
        })
    }
}

/// Reads the bindings in the virtual host of `address` from the management API at `named`, else where it usually is.
/// `cluster` is the name of the broker's cluster, if it is known: another broker may answer there.
///
/// # Errors
/// Why they can't be read, as text.
pub(crate) async fn read(
    address: &Address,
    named: Option<&Url>,
    cluster: Option<&str>,
) -> Result<Bindings, String> {
    let mut reasons = Vec::new();
    for base in named.map_or_else(|| usual(address), |base| vec![base.clone()]) {
        match ask(&client(&base, address)?, &base, address, cluster).await {
            Ok(bindings) => return Ok(bindings),
            Err(why) => reasons.push(format!("{base} {why}")),
        }
    }
    Err(match reasons.is_empty() {
        true => "name the management API with --management-url".to_owned(),
        false => reasons.join("; "),
    })
}

/// Where the management API usually is. Beside a broker on a port of its own another broker's may be there.
fn usual(address: &Address) -> Vec<Url> {
    let host = match address.host.contains(':') {
        true => format!("[{}]", address.host),
        false => address.host.clone(),
    };
    let bases = match (address.tls, address.port) {
        (false, 5672) => vec![format!("http://{host}:15672")],
        // Hosted brokers have it on the usual port of HTTPS.
        (true, 5671) => vec![format!("https://{host}"), format!("https://{host}:15671")],
        _ => Vec::new(),
    };
    bases.iter().filter_map(|base| base.parse().ok()).collect()
}

fn client(base: &Url, address: &Address) -> Result<Client, String> {
    // It fails if a provider is installed already, which is the same one: the project uses no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("slowlane-setup/", env!("CARGO_PKG_VERSION")))
        .timeout(TIMEOUT)
        // A proxy would get the broker's password.
        .no_proxy()
        .redirect(redirect::Policy::none());
    if let Some(file) = &address.ca_file {
        let pem = fs::read(file).map_err(|error| format!("can't read {file}: {error}"))?;
        let certificates =
            Certificate::from_pem_bundle(&pem).map_err(|error| root_cause(&error).to_string())?;
        builder = builder.tls_certs_only(certificates);
    } else if base.scheme() == "http" {
        // Plain HTTP works on a machine without certificates of authorities too.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| root_cause(&error).to_string())
}

async fn ask(
    client: &Client,
    base: &Url,
    address: &Address,
    cluster: Option<&str>,
) -> Result<Bindings, String> {
    let overview: Overview = get(client, base, &["overview"], address).await?;
    match (cluster, overview.cluster_name) {
        (Some(own), Some(other)) if own != other => {
            Err(format!("is the management API of another broker ({other})"))
        }
        _ => get(client, base, &["bindings", &address.vhost], address).await,
    }
}

async fn get<T: DeserializeOwned>(
    client: &Client,
    base: &Url,
    path: &[&str],
    address: &Address,
) -> Result<T, String> {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("api").extend(path);
    }
    let user = &address.user;
    let response = client.get(url).basic_auth(user, Some(address.password())).send().await;
    let response = response.map_err(|error| format!("does not answer: {}", root_cause(&error)))?;
    match response.status() {
        StatusCode::OK => {
            let read = response.json().await;
            read.map_err(|error| format!("is no management API: {}", root_cause(&error)))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(format!(
            "refuses the user {user}: give it the tag management, beside those that it has (rabbitmqctl list_users), which \
             this replaces: rabbitmqctl set_user_tags '{user}' management"
        )),
        status => Err(format!("answers {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_on_its_usual_port_has_its_management_api_where_it_usually_is() {
        let bases = |url| {
            let bases = usual(&Address::parse(url).unwrap());
            bases.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(bases("amqp://u:p@h/v"), ["http://h:15672/"]);
        assert_eq!(bases("amqp://[::1]"), ["http://[::1]:15672/"]);
        assert_eq!(
            bases("amqps://h.cloudamqp.com/v"),
            ["https://h.cloudamqp.com/", "https://h.cloudamqp.com:15671/"]
        );
        assert!(bases("amqp://h:5673").is_empty());
    }

    #[test]
    fn a_binding_is_one_of_this_queue_with_this_exchange_and_key() {
        let json = r#"[{"source":"e","destination":"q","destination_type":"queue","routing_key":"k","arguments":{}}]"#;
        let bindings: Bindings = serde_json::from_str(json).unwrap();
        assert!(bindings.has("q", &Binding::new("e", "k")));
        for (queue, exchange, key) in [("r", "e", "k"), ("q", "f", "k"), ("q", "e", "l")] {
            assert!(!bindings.has(queue, &Binding::new(exchange, key)));
        }
    }
}
