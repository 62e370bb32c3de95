//! Body memory: a bound, common to all calls, on the bytes of request bodies that are in hand.

use std::{ops::Deref, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which memory is counted.
const UNIT_BYTES: usize = 1024;
/// A longer body is large.
const MAX_SMALL_BYTES: usize = 64 << 10;
/// What all small bodies may have together: they have their own share, so that batches don't keep out single requests.
const SMALL_BODIES_BYTES: usize = 8 << 20;
/// What all large bodies may have together. A request has several copies of its data until it is recorded.
const LARGE_BODIES_BYTES: usize = 32 << 20;

/// The memory for request bodies. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct BodyMemory {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// There is no memory left.
#[derive(Debug)]
pub(crate) struct NoMemory;

/// A request body, or what has come of it. Its memory is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    memory: BodyMemory,
    held: Option<OwnedSemaphorePermit>,
}

impl Default for BodyMemory {
    fn default() -> Self {
        let share = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT_BYTES));
        Self { small: share(SMALL_BODIES_BYTES), large: share(LARGE_BODIES_BYTES) }
    }
}

impl BodyMemory {
    /// The longest body for which there is ever memory.
    pub(crate) const MAX_BODY_BYTES: usize = LARGE_BODIES_BYTES;

    /// A body of which nothing has come.
    pub(crate) fn body(&self) -> Body {
        Body { bytes: Vec::new(), memory: self.clone(), held: None }
    }
}

impl Body {
    /// Adds what has come.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), NoMemory> {
        let length = self.bytes.len() + bytes.len();
        let is_large = length > MAX_SMALL_BYTES;
        if is_large && self.bytes.len() <= MAX_SMALL_BYTES {
            self.held = None;
        }
        let share = if is_large { &self.memory.large } else { &self.memory.small };
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(length.div_ceil(UNIT_BYTES) - held).map_err(|_| NoMemory)?;
        let more = share.clone().try_acquire_many_owned(more).map_err(|_| NoMemory)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_have_a_bound_and_leave_room_for_small_ones() {
        let memory = BodyMemory::default();
        let piece = vec![0; MAX_SMALL_BYTES];
        let mut bodies: Vec<Body> = (0..4).map(|_| memory.body()).collect();
        let mut pieces = 0;
        while bodies.iter_mut().all(|body| body.push(&piece).is_ok()) {
            pieces += bodies.len();
        }
        assert_eq!(pieces * piece.len(), LARGE_BODIES_BYTES);
        assert!(memory.body().push(&piece).is_ok());
        bodies.pop();
        assert!(bodies[0].push(&piece).is_ok(), "what was dropped is free again");
        drop(bodies);
        assert_eq!(memory.large.available_permits() * UNIT_BYTES, LARGE_BODIES_BYTES);
        assert_eq!(memory.small.available_permits() * UNIT_BYTES, SMALL_BODIES_BYTES);
    }

    #[test]
    fn the_longest_body_fits_if_it_is_alone() {
        let mut body = BodyMemory::default().body();
        assert!(body.push(&vec![0; BodyMemory::MAX_BODY_BYTES]).is_ok());
        assert!(body.push(&[0]).is_err());
    }

    #[test]
    fn many_small_bodies_have_a_bound() {
        let memory = BodyMemory::default();
        let body = || {
            let mut body = memory.body();
            body.push(b"{\"data\":1}").map(|()| body)
        };
        let held: Vec<Body> =
            (0..SMALL_BODIES_BYTES / UNIT_BYTES).map(|_| body().unwrap()).collect();
        assert!(body().is_err());
        drop(held);
        assert!(body().is_ok());
    }
}
