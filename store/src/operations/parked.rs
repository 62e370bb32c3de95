//! Parked messages: park, list, look up, delete.

use crate::{
    Store,
    command::{Read, Write},
    error::StoreError,
    model::{
        parked::{DeleteParked, NewParked, ParkedMessage, ParkedQuery},
        sanitize,
        worker_result::Applied,
    },
};

impl Store {
    /// Parks messages of the failed queue, and ends their requests, all in one transaction. The same
    /// message given twice is kept once. Says what became of each message's result; of a message without a
    /// request, whether it is stored or a duplicate.
    ///
    /// # Errors
    /// As [`Self::apply_results`].
    pub async fn park(&self, mut messages: Vec<NewParked>) -> Result<Vec<Applied>, StoreError> {
        messages.iter_mut().for_each(sanitize::parked);
        let bytes = messages.iter().map(|message| message.body.len()).sum();
        let applied = self.write_in_background(bytes, |reply| Write::Park(messages, reply)).await;
        self.callback_due.notify_one();
        applied
    }

    /// Parked messages, each with the first 1000 bytes of its body.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_parked(&self, query: ParkedQuery) -> Result<Vec<ParkedMessage>, StoreError> {
        self.read(|reply| Read::ListParked(query, reply)).await
    }

    /// A parked message with its whole body.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn parked_message(&self, number: i64) -> Result<Option<ParkedMessage>, StoreError> {
        self.read(|reply| Read::GetParked(number, reply)).await
    }

    /// Deletes a parked message that belongs to no request.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be deleted all the same.
    pub async fn delete_parked(&self, number: i64) -> Result<DeleteParked, StoreError> {
        self.write_for_client(|reply| Write::DeleteParked(number, reply)).await
    }
}
