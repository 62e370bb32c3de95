//! The fault proxy: each fault does what it says, and nothing else.

use std::time::Duration;

use anyhow::Result;
use testbed::Proxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// A server that sends everything back.
async fn echo() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = socket.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    Ok(address)
}

async fn said_back(socket: &mut TcpStream, text: &str) -> Result<String> {
    socket.write_all(text.as_bytes()).await?;
    let mut back = vec![0; text.len()];
    socket.read_exact(&mut back).await?;
    Ok(String::from_utf8(back)?)
}

#[tokio::test]
async fn a_stalled_proxy_passes_nothing_and_loses_nothing() -> Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut socket = TcpStream::connect(proxy.address()).await?;
    assert_eq!(said_back(&mut socket, "hello").await?, "hello");

    proxy.stall();
    // Only time can show that nothing comes.
    assert!(timeout(Duration::from_millis(200), said_back(&mut socket, "frozen")).await.is_err());
    proxy.resume();
    let mut back = [0; 6];
    socket.read_exact(&mut back).await?;
    assert_eq!(&back, b"frozen");
    Ok(())
}

#[tokio::test]
async fn a_stalled_proxy_lets_the_senders_socket_fill_up() -> Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut socket = TcpStream::connect(proxy.address()).await?;
    assert_eq!(said_back(&mut socket, "hello").await?, "hello");
    proxy.stall();
    let flood = vec![0; 64 << 20];
    assert!(timeout(Duration::from_millis(500), socket.write_all(&flood)).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_muted_client_still_hears() -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = Proxy::start(server.local_addr()?.to_string()).await?;
    let mut client = TcpStream::connect(proxy.address()).await?;
    let (mut server, _) = server.accept().await?;
    proxy.mute();
    server.write_all(b"hello").await?;
    let mut heard = [0; 5];
    client.read_exact(&mut heard).await?;
    client.write_all(b"hello?").await?;
    // Only time can show that nothing comes.
    assert!(timeout(Duration::from_millis(200), server.read(&mut heard)).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_cut_closes_connections_and_welcomes_new_ones() -> Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut socket = TcpStream::connect(proxy.address()).await?;
    assert_eq!(said_back(&mut socket, "hello").await?, "hello");
    proxy.cut();
    assert!(said_back(&mut socket, "anyone?").await.is_err());
    let mut again = TcpStream::connect(proxy.address()).await?;
    assert_eq!(said_back(&mut again, "hello").await?, "hello");
    Ok(())
}

#[tokio::test]
async fn a_refusing_proxy_has_no_listener_until_it_accepts_again() -> Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    proxy.refuse().await?;
    assert!(TcpStream::connect(proxy.address()).await.is_err());
    proxy.accept().await?;
    let mut socket = TcpStream::connect(proxy.address()).await?;
    assert_eq!(said_back(&mut socket, "hello").await?, "hello");
    Ok(())
}

#[tokio::test]
async fn the_next_connection_can_be_cut_in_the_middle_of_a_sentence() -> Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    proxy.cut_after(7);
    let mut socket = TcpStream::connect(proxy.address()).await?;
    assert_eq!(said_back(&mut socket, "hello").await?, "hello");
    assert!(said_back(&mut socket, "world").await.is_err());
    let mut next = TcpStream::connect(proxy.address()).await?;
    assert_eq!(said_back(&mut next, "a longer sentence").await?, "a longer sentence");
    Ok(())
}

#[tokio::test]
async fn only_host_and_port_of_a_url_become_the_proxys() -> Result<()> {
    let proxy = Proxy::start("127.0.0.1:1").await?;
    let address = proxy.address();
    assert_eq!(
        proxy.url("amqp://guest:guest@127.0.0.1:5672/%2f"),
        format!("amqp://guest:guest@{address}/%2f")
    );
    assert_eq!(proxy.url("http://127.0.0.1:3000"), format!("http://{address}"));
    Ok(())
}
