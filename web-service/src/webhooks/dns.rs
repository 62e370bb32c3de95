//! From a name to addresses that may be called. The client connects to what comes out of here and to
//! nothing else, so that a name which leads elsewhere a moment later leads nowhere.

use std::{io, net::SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::webhooks::target::Reach;

/// Who knows the addresses of names.
pub(crate) trait Names: Clone + Send + Sync + 'static {
    /// All addresses of a name; the ports mean nothing.
    fn addresses(&self, name: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// This machine, as it is set up.
#[derive(Clone)]
pub(crate) struct System;

impl Names for System {
    async fn addresses(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.collect())
    }
}

/// Lets only such addresses through as may be called.
pub(crate) struct Checked<N> {
    pub(crate) names: N,
    pub(crate) reach: Reach,
}

/// A name that leads where nobody may call. Where that is stays with us: it may tell of our network.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to an address that is not public")]
pub(crate) struct NotPublic;

impl<N: Names> Resolve for Checked<N> {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, reach) = (self.names.clone(), self.reach);
        Box::pin(async move {
            let addresses = names.addresses(name.as_str()).await?;
            // One bad address spoils all: with two at hand it would be chance which is called.
            if !addresses.iter().all(|address| reach.takes_ip(address.ip())) {
                return Err(NotPublic.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
