//! DNS for webhooks: resolves names and refuses those that lead to addresses which may not be called.
//!
//! The HTTP client connects only to the addresses that come out of here, so a name that resolves to
//! something else a moment later does no harm.

use std::{io, net::SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::webhooks::target::AllowedTargets;

/// Resolves names.
pub(crate) trait Lookup: Clone + Send + Sync + 'static {
    /// All addresses of a name; their ports mean nothing.
    fn addresses(&self, name: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The resolver of the operating system.
#[derive(Clone)]
pub(crate) struct SystemResolver;

impl Lookup for SystemResolver {
    async fn addresses(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.collect())
    }
}

/// Resolves only names all of whose addresses are allowed.
pub(crate) struct CheckedResolver<L> {
    pub(crate) lookup: L,
    pub(crate) allowed: AllowedTargets,
}

/// A name that resolves to an address which may not be called. The message does not tell which one: that
/// could reveal something of our network.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to an address that is not public")]
pub(crate) struct NotPublicError;

impl<L: Lookup> Resolve for CheckedResolver<L> {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, allowed) = (self.lookup.clone(), self.allowed);
        Box::pin(async move {
            let addresses = lookup.addresses(name.as_str()).await?;
            // One such address is enough to refuse the name: otherwise it would depend on chance which
            // address is called.
            if !addresses.iter().all(|address| allowed.allows_ip(address.ip())) {
                return Err(NotPublicError.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
