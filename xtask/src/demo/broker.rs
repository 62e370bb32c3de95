//! The demo's broker: the developer's own if one is set up, else a private node.

use anyhow::Result;
use testbed::{
    Program,
    rabbitmq::{Install, Node, NodeOptions, Version},
    workspace,
};

use crate::{environment, say};

/// Where the requests wait.
pub(crate) enum Broker {
    /// The developer's own, and the variable that names it.
    Own { variable: &'static str, url: String },
    /// A private node, which ends with the demo.
    Private(Box<Node>),
}

impl Broker {
    pub(super) async fn find_or_start() -> Result<Self> {
        if let Some((variable, url)) = environment::broker() {
            say::step(
                "rabbitmq",
                format!("using {variable}: {}", environment::without_secrets(&url)),
            );
            return Ok(Self::Own { variable, url });
        }
        let install =
            Install::find_or_unpack(Version::Any, &|line| say::step("rabbitmq", line)).await?;
        Self::private(&install, "demo").await
    }

    /// Starts a private node, with its data in a folder of this name.
    pub(crate) async fn private(install: &Install, folder: &str) -> Result<Self> {
        let options = NodeOptions {
            parent: Some(workspace::state_dir()?.join(folder)),
            ..NodeOptions::default()
        };
        let text = format!("starting a private node of RabbitMQ {}", install.version());
        let node = say::waiting("rabbitmq", &text, Node::start(install, options)).await?;
        say::step("rabbitmq", format!("RabbitMQ {} runs at {}", install.version(), node.address()));
        Ok(Self::Private(Box::new(node)))
    }

    /// Tells a program where the broker is.
    pub(super) fn tell(&self, program: Program) -> Program {
        match self {
            Self::Own { variable, url } => program.env(variable, url),
            Self::Private(node) => program.env("AMQP_URL", node.url()),
        }
    }

    /// Stops a private node and removes its data.
    pub(crate) async fn stop(self) {
        if let Self::Private(mut node) = self
            && let Err(error) = node.stop().await
        {
            say::failure(&error);
        }
    }
}
