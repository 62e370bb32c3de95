//! The broker of a system: the one that the developer has configured, or a private node.

use std::collections::HashMap;

use anyhow::Result;
use pipeline::config::{BrokerConfig, ConfigError, Reader, Source};
use testbed::{
    Program,
    rabbitmq::{Install, Node, NodeOptions, Version},
    workspace,
};

use crate::console;

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
    /// The broker that the environment or the workspace's `.env` names, as the programs would read them; a private node if
    /// there is none.
    pub(crate) async fn configured_or_private() -> Result<Self> {
        let source = Source::of_process_in(&workspace::root(), HashMap::new());
        if let Some(configured) = configured(&source.map_err(ConfigError::from)?)? {
            return Ok(configured);
        }
        let install = find_rabbitmq(Version::Any).await?;
        Self::private(&install, "demo").await
    }

    /// Starts a private node, with its data in a folder of this name.
    pub(crate) async fn private(install: &Install, folder: &str) -> Result<Self> {
        let options = NodeOptions {
            parent: Some(workspace::state_dir()?.join(folder)),
            ..NodeOptions::default()
        };
        let version = install.version();
        let text = format!("starting a private node of RabbitMQ {version}");
        let node = Node::start(install, options);
        let node = console::while_waiting("rabbitmq", &text, node).await?;
        console::step("rabbitmq", format!("RabbitMQ {version} runs at {}", node.address()));
        Ok(Self::Private(Box::new(node)))
    }

    /// Makes a program use this broker.
    pub(super) fn configure(&self, program: Program) -> Program {
        match self {
            Self::Configured { variable, urls } => program.env(variable, urls),
            Self::Private(node) => program.env("AMQP_URL", node.url()),
        }
    }

    /// Stops a private node and removes its data.
    pub(crate) async fn stop(self) {
        if let Self::Private(mut node) = self
            && let Err(error) = node.stop().await
        {
            console::error(&error);
        }
    }
}

/// Finds RabbitMQ on this machine or unpacks it, and prints what it does.
pub(crate) async fn find_rabbitmq(version: Version) -> Result<Install> {
    Install::find_or_unpack(version, &|line| console::step("rabbitmq", line)).await
}

/// The broker that a source names.
fn configured(source: &Source) -> Result<Option<Broker>, ConfigError> {
    let mut reader = Reader::new(source);
    let config = BrokerConfig::read(&mut reader);
    reader.finish()?;
    let named_by = BrokerConfig::VARIABLES.iter().find(|known| known.name == config.named_by);
    let Some((variable, (urls, _))) =
        named_by.and_then(|found| Some((found.name, source.get(found)?)))
    else {
        return Ok(None);
    };
    for address in &config.addresses {
        console::step("rabbitmq", format!("using {variable}: {address}"));
    }
    Ok(Some(Broker::Configured { variable, urls: urls.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_names_no_broker() {
        let named = |source: &Source| match configured(source) {
            Ok(Some(Broker::Configured { variable, .. })) => Some(variable),
            _ => None,
        };
        let hosted = ("CLOUDAMQP_URL", "amqp://b");
        assert_eq!(named(&Source::of(&[("AMQP_URL", " "), hosted])), Some("CLOUDAMQP_URL"));
        assert_eq!(named(&Source::of(&[("AMQP_URL", "amqp://a"), hosted])), Some("AMQP_URL"));
        assert_eq!(named(&Source::of(&[])), None);
    }
}
