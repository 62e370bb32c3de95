//! One connection through the proxy: copies bytes both ways, as the rules allow.

use std::{borrow::Cow, io, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use super::{confirms::without_first_confirm, rules::Rules};

/// Connects `client` to the target and pumps until either side closes or the connection is cut.
pub(super) async fn connect(client: TcpStream, target: String, rules: Arc<watch::Sender<Rules>>) {
    let (mut limit, mut cuts) = (None, 0);
    rules.send_if_modified(|rules| {
        (limit, cuts) = (rules.next_limit.take(), rules.cuts);
        false
    });
    let mut watched = rules.subscribe();
    tokio::select! {
        _ = watched.wait_for(|rules| rules.cuts != cuts) => {}
        _ = pump_both(client, &target, &rules, limit) => {}
    }
}

async fn pump_both(
    client: TcpStream,
    target: &str,
    rules: &watch::Sender<Rules>,
    limit: Option<u64>,
) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Either direction's end must not end the other: a peer that has said all may still listen. Only errors do.
    tokio::try_join!(
        pump(Side::Client, from_client, to_server, rules, limit),
        pump(Side::Server, from_server, to_client, rules, None),
    )?;
    Ok(())
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Client,
    Server,
}

async fn pump(
    side: Side,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    faults: &watch::Sender<Rules>,
    limit: Option<u64>,
) -> io::Result<()> {
    let mut rules = faults.subscribe();
    let mut left = limit.unwrap_or(u64::MAX);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        pass(side, &mut rules).await?;
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            changed = rules.changed() => { changed.map_err(io::Error::other)?; continue }
        };
        if read == 0 {
            return to.shutdown().await;
        }
        let allowed = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        let delay = pass(side, &mut rules).await?;
        tokio::time::sleep(delay).await;
        match side {
            Side::Client => to.write_all(&buffer[..allowed]).await?,
            Side::Server => to.write_all(&swallow(&buffer[..allowed], faults)).await?,
        }
        left -= allowed as u64;
        if left == 0 {
            return Err(io::Error::other("the limit of this connection is reached"));
        }
    }
}

/// These bytes without the confirm that is to be swallowed, if there is one.
fn swallow<'b>(bytes: &'b [u8], faults: &watch::Sender<Rules>) -> Cow<'b, [u8]> {
    if faults.borrow().confirms_to_swallow == 0 {
        return bytes.into();
    }
    let Some(rest) = without_first_confirm(bytes) else { return bytes.into() };
    faults.send_modify(|rules| {
        rules.confirms_to_swallow = rules.confirms_to_swallow.saturating_sub(1)
    });
    rest.into()
}

/// Waits while nothing of this side may pass, then gives the delay of the moment.
async fn pass(side: Side, rules: &mut watch::Receiver<Rules>) -> io::Result<std::time::Duration> {
    let open = |rules: &Rules| {
        let held = match side {
            Side::Client => rules.muted,
            Side::Server => rules.holding,
        };
        !rules.stalled && !held
    };
    Ok(rules.wait_for(open).await.map_err(io::Error::other)?.delay)
}
