//! The port in the broker's URL belongs to something else: every program says to what, and what to write instead.

use anyhow::{Context, Result, ensure};
use testbed::{
    Program, postgres,
    program::Running,
    rabbitmq::{Node, NodeOptions},
    shared_node,
};

use crate::support::stack::{Stack, Web};

/// All programs that connect to a broker say this of it.
async fn is_said(url: &str, said: &str) -> Result<()> {
    let (status, text) = Program::new("setup").env("AMQP_URL", url).start()?.ended().await?;
    ensure!(status.code() == Some(3) && text.contains(said), "setup: {status} {text}");
    ensure!(!text.contains("password") && !text.contains("host name"), "setup guesses: {text}");
    let stack = Stack { url: url.to_owned() };
    let web = Web::start_without_broker(stack.program("web-service")).await?;
    web.not_publishing(said).await?;
    web.not_ready("broker.consume", said).await?;
    let processor = stack.program("processor-service").start()?;
    tokio::try_join!(is_logged(&web.program, said), is_logged(&processor, said))?;
    Ok(())
}

/// In the JSON log, where quotes are escaped.
async fn is_logged(program: &Running, said: &str) -> Result<()> {
    let said = |line: &str| line.contains(said).then_some(());
    program.wait_for("what answers at the port", said).await
}

#[tokio::test]
async fn the_port_of_an_http_server_is_not_taken_for_a_wrong_password() -> Result<()> {
    let stack = Stack { url: format!("amqp://127.0.0.1:{}", testbed::ports::free()?) };
    let http = Web::start_without_broker(stack.program("web-service")).await?;
    let address = http.base.strip_prefix("http://").context("an address")?;
    let said = format!("{address} is not RabbitMQ's port for AMQP: an HTTP server answers there");
    for scheme in ["amqp", "amqps"] {
        is_said(&format!("{scheme}://{address}"), &said).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_port_of_postgresql_is_named() -> Result<()> {
    let (access, name) = postgres::database().await;
    let url = access.url(&name);
    let address = url.rsplit('@').next().and_then(|rest| rest.split('/').next());
    let address = address.context("an address")?;
    let said = format!("{address} is not RabbitMQ's port for AMQP: a PostgreSQL server answers");
    is_said(&format!("amqp://{address}"), &said).await
}

#[tokio::test]
async fn a_scheme_that_does_not_fit_the_port_is_named_with_the_one_that_does() -> Result<()> {
    let plain = shared_node::vhost().await.address();
    is_said(&format!("amqps://{plain}"), "write amqp:// instead of amqps://").await?;
    let options = NodeOptions { tls: true, ..NodeOptions::default() };
    let node = Node::start(&shared_node::install().await?, options).await?;
    let tls = node.tls_address()?;
    is_said(&format!("amqp://{tls}"), "write amqps:// instead of amqp://").await
}
