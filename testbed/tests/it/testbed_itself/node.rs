//! Private RabbitMQ nodes: restarts, neighbours, and what an administrator may do.

use anyhow::Result;
use testbed::{
    foreign::{AMQPValue, Foreign, arguments, persistent},
    rabbitmq::{Node, NodeOptions},
    shared_node,
};
use tokio::net::TcpStream;

async fn node(options: NodeOptions) -> Result<Node> {
    Node::start(&shared_node::install().await?, options).await
}

async fn put_away(url: &str, body: &str) -> Result<()> {
    let client = Foreign::connect(url).await?;
    client
        .declare_queue(
            "kept",
            arguments([("x-queue-type", AMQPValue::LongString("quorum".into()))]),
        )
        .await?;
    client.publish("", "kept", persistent(), body.as_bytes()).await
}

async fn take_out(url: &str) -> Result<String> {
    Ok(Foreign::connect(url).await?.next("kept").await?.text())
}

#[tokio::test]
async fn a_node_comes_back_with_its_data_after_a_stop_and_after_a_kill() -> Result<()> {
    let mut node = node(NodeOptions::default()).await?;
    let url = node.url();
    put_away(&url, "before the stop").await?;
    node.stop().await?;
    assert!(
        TcpStream::connect(node.address()).await.is_err(),
        "a stopped node takes no connections"
    );
    node.start_again().await?;
    assert_eq!(take_out(&url).await?, "before the stop");

    put_away(&url, "before the kill").await?;
    node.kill().await?;
    node.start_again().await?;
    assert_eq!(take_out(&url).await?, "before the kill");
    Ok(())
}

#[tokio::test]
async fn a_node_in_a_kept_folder_has_its_data_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kept = || NodeOptions { dir: Some(folder.path().join("kept")), ..NodeOptions::default() };
    let mut first = node(kept()).await?;
    put_away(&first.url(), "before").await?;
    first.stop().await?;
    drop(first);

    let second = node(kept()).await?;
    assert_eq!(take_out(&second.url()).await?, "before");
    Ok(())
}

#[tokio::test]
async fn two_nodes_live_side_by_side_and_go_without_a_trace() -> Result<()> {
    let (one, other) =
        tokio::try_join!(node(NodeOptions::default()), node(NodeOptions::default()))?;
    put_away(&one.url(), "one").await?;
    put_away(&other.url(), "other").await?;
    assert_eq!(take_out(&one.url()).await?, "one");
    assert_eq!(take_out(&other.url()).await?, "other");

    let (address, dir) = (one.address(), one.dir().to_owned());
    drop(one);
    assert!(TcpStream::connect(address).await.is_err(), "a dropped node takes no connections");
    assert!(!dir.exists(), "a dropped node leaves no folder");
    put_away(&other.url(), "still here").await
}

#[tokio::test]
async fn an_administrator_sees_closes_and_limits_connections() -> Result<()> {
    let node = node(NodeOptions { tls: true, ..NodeOptions::default() }).await?;
    node.add_vhost("a/b").await?;
    node.add_user("p%nny", "s@cret:/", "a/b", ["", "", ""]).await?;
    let client = Foreign::connect(&node.url_as("p%nny", "s@cret:/", "a/b")).await?;
    assert!(client.declare_queue("forbidden", arguments([])).await.is_err());

    let names =
        node.connections().await?.into_iter().map(|connection| (connection.user, connection.vhost));
    assert_eq!(names.collect::<Vec<_>>(), [("p%nny".to_owned(), "a/b".to_owned())]);
    node.close_all_connections().await?;
    assert!(node.connections().await?.is_empty());

    let tls = node.tls_url()?;
    let tls = tls.trim_start_matches("amqps://guest:guest@").trim_end_matches("/%2f");
    TcpStream::connect(tls).await.expect("the TLS listener is open");
    assert!(node.ca_file().is_file());
    Ok(())
}
