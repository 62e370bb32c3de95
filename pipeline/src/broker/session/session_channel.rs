//! A channel that its owner may drop on any thread.

use std::ops::Deref;

use amqprs::{channel::Channel, error::Error};
use tokio::runtime::Handle;

/// A channel of a session. The client spawns a task that closes a channel which is dropped, on the runtime of whoever drops
/// it. On another one than the session's, it could end first, at the end of the program, and the client's tasks that it asks
/// panic then.
pub(crate) struct SessionChannel {
    /// None while it is closed or dropped.
    channel: Option<Channel>,
    runtime: Handle,
}

impl SessionChannel {
    /// Has to be called on the session's thread.
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel: Some(channel), runtime: Handle::current() }
    }

    /// Closes the channel.
    ///
    /// # Errors
    /// If the connection is lost.
    pub(crate) async fn close(mut self) -> Result<(), Error> {
        match self.channel.take() {
            Some(channel) => channel.close().await,
            None => Ok(()),
        }
    }
}

impl Deref for SessionChannel {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        self.channel.as_ref().expect("only close takes it, and it takes the whole value")
    }
}

impl Drop for SessionChannel {
    fn drop(&mut self) {
        let _runtime = self.runtime.enter();
        drop(self.channel.take());
    }
}
