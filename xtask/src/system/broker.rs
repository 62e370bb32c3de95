//! The broker of a system: the one that the developer has configured, or a private node.

use std::{
    borrow::Cow,
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use pipeline::config::{BrokerConfig, ConfigError, Origin, Reader, Source};
use testbed::{
    rabbitmq::{Install, Node, NodeOptions, Version},
    workspace,
};

use crate::console;

/// Which RabbitMQ a command uses.
#[derive(Debug, Args)]
pub(crate) struct BrokerOptions {
    /// Use a RabbitMQ that is unpacked under .slowlane/, even if one is installed or AMQP_URL is set
    #[arg(long)]
    unpacked_rabbitmq: bool,
}

impl BrokerOptions {
    /// The broker that the developer has configured, unless an unpacked one is wanted. The `.env` of the source is in
    /// `folder`.
    pub(crate) fn configured(&self, source: &Source, folder: &Path) -> Result<Option<Broker>> {
        Ok(if self.unpacked_rabbitmq { None } else { configured(source, folder)? })
    }

    /// The RabbitMQ that a private node is to run.
    pub(crate) async fn install(&self) -> Result<Install> {
        if self.unpacked_rabbitmq {
            return Install::unpack(Version::Any, &say).await;
        }
        find_rabbitmq(Version::Any).await
    }
}

/// A broker that programs can use.
pub(crate) enum Broker {
    /// The developer's own.
    Configured {
        /// The variable that names it.
        variable: &'static str,
        /// The variable's value, which may hold passwords.
        urls: String,
    },
    /// A private node, which ends with this program.
    Private(Box<Node>),
}

impl Broker {
    /// Starts a private node, with its data in a temporary folder inside this one of `.slowlane/`.
    pub(crate) async fn private(install: &Install, folder: &str) -> Result<Self> {
        let parent = Some(workspace::state_dir()?.join(folder));
        Self::start(install, NodeOptions { parent, ..NodeOptions::default() }).await
    }

    /// Starts a private node with the data that is in this folder, which is kept.
    pub(crate) async fn kept(install: &Install, folder: PathBuf) -> Result<Self> {
        let dir = Some(folder.clone());
        let started = Self::start(install, NodeOptions { dir, ..NodeOptions::default() }).await;
        started.with_context(|| {
            format!(
                "if it was killed at its first start, delete {} and try again",
                folder.display()
            )
        })
    }

    async fn start(install: &Install, options: NodeOptions) -> Result<Self> {
        let version = install.version();
        let text = format!("starting a private node of RabbitMQ {version}");
        let node = Node::start(install, options);
        let node = console::while_waiting("rabbitmq", &text, node).await?;
        console::step("rabbitmq", format!("RabbitMQ {version} runs at {}", node.address()));
        Ok(Self::Private(Box::new(node)))
    }

    /// The variable that makes a program use this broker, and its value, which may hold passwords.
    pub(crate) fn variable(&self) -> (&'static str, String) {
        match self {
            Self::Configured { variable, urls } => (variable, urls.clone()),
            Self::Private(node) => ("AMQP_URL", node.url()),
        }
    }

    /// Stops a private node, and removes its data unless they are kept.
    pub(crate) async fn stop(self) {
        if let Self::Private(mut node) = self
            && let Err(error) = node.stop().await
        {
            console::error(&error);
        }
    }
}

/// The environment and the `.env` of a folder, as programs that run there read them.
pub(crate) fn settings_in(folder: &Path) -> Result<Source> {
    let source = Source::of_process_in(folder, HashMap::new());
    Ok(source.map_err(ConfigError::from)?)
}

/// Finds RabbitMQ on this machine or unpacks it, and prints what it does.
pub(crate) async fn find_rabbitmq(version: Version) -> Result<Install> {
    Install::find_or_unpack(version, &say).await
}

fn say(line: &str) {
    console::step("rabbitmq", line);
}

/// The broker that a source names.
fn configured(source: &Source, folder: &Path) -> Result<Option<Broker>> {
    let mut reader = Reader::new(source);
    let config = BrokerConfig::read(&mut reader);
    reader.finish()?;
    let named_by = BrokerConfig::VARIABLES.iter().find(|known| known.name == config.named_by);
    let Some((variable, (urls, origin))) =
        named_by.and_then(|found| Some((found.name, source.get(found)?)))
    else {
        return Ok(None);
    };
    for address in &config.addresses {
        console::step("rabbitmq", format!("using {variable}: {address}"));
    }
    let folder = match origin {
        Origin::File => std::path::absolute(folder)?,
        Origin::Flag | Origin::Environment => std::env::current_dir()?,
    };
    let urls = urls.split(',').map(|url| with_absolute_file(url, &folder));
    Ok(Some(Broker::Configured { variable, urls: urls.collect::<Vec<_>>().join(",") }))
}

/// A broker's URL whose CA file is found from any folder: some programs run in one of their own.
fn with_absolute_file(url: &str, folder: &Path) -> String {
    let Ok(mut parsed) = reqwest::Url::parse(url.trim()) else { return url.to_owned() };
    if parsed.query().is_none() {
        return url.to_owned();
    }
    let absolute = |(name, value): (Cow<'_, str>, Cow<'_, str>)| match &*name {
        "cacertfile" => (name.into_owned(), folder.join(&*value).display().to_string()),
        _ => (name.into_owned(), value.into_owned()),
    };
    let pairs: Vec<_> = parsed.query_pairs().map(absolute).collect();
    parsed.query_pairs_mut().clear().extend_pairs(pairs);
    parsed.into()
}

#[cfg(test)]
mod tests {
    use pipeline::broker::Address;

    use super::*;

    #[test]
    fn an_empty_variable_names_no_broker() {
        let named = |source: &Source| match configured(source, Path::new("")) {
            Ok(Some(Broker::Configured { variable, .. })) => Some(variable),
            _ => None,
        };
        let hosted = ("CLOUDAMQP_URL", "amqp://b");
        assert_eq!(named(&Source::of(&[("AMQP_URL", " "), hosted])), Some("CLOUDAMQP_URL"));
        assert_eq!(named(&Source::of(&[("AMQP_URL", "amqp://a"), hosted])), Some("AMQP_URL"));
        assert_eq!(named(&Source::of(&[])), None);
    }

    #[test]
    fn a_ca_file_beside_the_settings_is_found_from_any_folder() {
        let file = |url: &str| {
            let url = with_absolute_file(url, Path::new("/my project"));
            let address = Address::parse(&url).unwrap();
            assert_eq!((address.password(), address.heartbeat), ("p/@", 20));
            address.ca_file
        };
        let url = "amqps://u:p%2F%40@h/v?heartbeat=20&cacertfile=";
        assert_eq!(file(&format!("{url}certs/a%20b.pem")).unwrap(), "/my project/certs/a b.pem");
        assert_eq!(file(&format!(" {url}/etc/ca.pem")).unwrap(), "/etc/ca.pem");
        assert_eq!(file("amqps://u:p%2F%40@h/v?heartbeat=20"), None);
        assert_eq!(with_absolute_file("amqp://h", Path::new("/")), "amqp://h");
    }
}
