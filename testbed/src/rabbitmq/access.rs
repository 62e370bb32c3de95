//! Addresses of a node and the environment of its tools; can be handed to another process.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::{process, tls};

/// Where a node is and how it is administered. It does not keep the node running.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Access {
    pub(super) bin: PathBuf,
    pub(super) erlang: PathBuf,
    pub(super) version: String,
    pub(super) dir: PathBuf,
    pub(super) name: String,
    pub(super) amqp_port: u16,
    pub(super) tls_port: Option<u16>,
    pub(super) management_port: Option<u16>,
    pub(super) dist_port: u16,
    pub(super) epmd_port: u16,
    pub(super) ctl_port: u16,
}

/// Command-line tools listen for the node's answer, each on a port of its own from a range of this length.
pub(super) const CTL_PORTS: u16 = 4;

impl Access {
    /// The node's version, as `3.10.8`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The folder of its data, logs and cookie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `127.0.0.1:port` of its plain AMQP listener.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.amqp_port)
    }

    /// The URL of the default vhost `/` for the user `guest`.
    pub fn url(&self) -> String {
        self.url_for("/")
    }

    /// The URL of a vhost for the user `guest`.
    pub fn url_for(&self, vhost: &str) -> String {
        self.url_as("guest", "guest", vhost)
    }

    /// The URL of a vhost for any user.
    pub fn url_as(&self, user: &str, password: &str, vhost: &str) -> String {
        format!(
            "amqp://{}:{}@{}/{}",
            encoded(user),
            encoded(password),
            self.address(),
            encoded(vhost)
        )
    }

    /// `127.0.0.1:port` of its TLS listener; fails for a node without [`super::NodeOptions::tls`].
    pub fn tls_address(&self) -> Result<String> {
        let port = self.tls_port.context("the node was started without TLS")?;
        Ok(format!("127.0.0.1:{port}"))
    }

    /// The URL of the default vhost over TLS; fails for a node without [`super::NodeOptions::tls`].
    pub fn tls_url(&self) -> Result<String> {
        let port = self.tls_port.context("the node was started without TLS")?;
        Ok(format!("amqps://guest:guest@localhost:{port}/%2f"))
    }

    /// The certificate of the authority that vouches for the TLS listener.
    pub fn ca_file(&self) -> PathBuf {
        tls::Files::in_dir(&self.tls_dir()).ca
    }

    /// The address of the management API; none for a node without [`super::NodeOptions::management`].
    pub fn management_url(&self) -> Option<String> {
        self.management_port.map(|port| format!("http://127.0.0.1:{port}"))
    }

    pub(super) fn tls_dir(&self) -> PathBuf {
        self.dir.join("tls")
    }

    /// The environment of the node and of its tools: everything is inside `dir`, everything listens on 127.0.0.1.
    pub(super) fn env(&self) -> Vec<(OsString, OsString)> {
        let local = "-kernel inet_dist_use_interface {127,0,0,1}";
        let dir = |part: &str| self.dir.join(part).into_os_string();
        let text = OsString::from;
        let env: [(&str, OsString); 19] = [
            ("PATH", process::path_with(&self.erlang)),
            // Every Erlang with a name starts epmd in passing, as a daemon that nobody would end. Ours runs already.
            ("ERL_FLAGS", text("-start_epmd false".into())),
            ("HOME", dir("")),
            ("LC_ALL", text("C.UTF-8".into())),
            ("ERL_EPMD_ADDRESS", text("127.0.0.1".into())),
            ("ERL_EPMD_PORT", text(self.epmd_port.to_string())),
            ("ERL_CRASH_DUMP", dir("log/erl_crash.dump")),
            ("RABBITMQ_CONF_ENV_FILE", text("/dev/null".into())),
            ("RABBITMQ_NODENAME", text(self.name.clone())),
            ("RABBITMQ_DIST_PORT", text(self.dist_port.to_string())),
            ("RABBITMQ_CONFIG_FILE", dir("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", dir("advanced.config")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", dir("enabled_plugins")),
            ("RABBITMQ_MNESIA_BASE", dir("data")),
            ("RABBITMQ_LOG_BASE", dir("log")),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", text(local.into())),
            ("RABBITMQ_CTL_ERL_ARGS", text(local.into())),
            ("RABBITMQ_CTL_DIST_PORT_MIN", text(self.ctl_port.to_string())),
            ("RABBITMQ_CTL_DIST_PORT_MAX", text((self.ctl_port + CTL_PORTS - 1).to_string())),
        ];
        env.into_iter().map(|(key, value)| (key.into(), value)).collect()
    }
}

fn encoded(text: &str) -> String {
    // The customary spelling of the default vhost is `%2f`.
    if text == "/" {
        "%2f".to_owned()
    } else {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }
}
