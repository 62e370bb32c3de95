//! Answers to commands, which wait for the commit.

use crate::{command::Reply, error::StoreError};

/// Sends the answer to a command, if the commit succeeded, and else the error of the commit.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

/// Keeps the answer to a command until the commit.
pub(super) fn later<T: 'static>(
    answers: &mut Vec<Answer>,
    reply: Reply<T>,
    answer: rusqlite::Result<T>,
) -> rusqlite::Result<()> {
    later_if_taken(answers, reply, answer.map(Ok))
}

/// The same for a command whose data the database may refuse.
pub(super) fn later_if_taken<T: 'static>(
    answers: &mut Vec<Answer>,
    reply: Reply<T>,
    answer: rusqlite::Result<Result<T, StoreError>>,
) -> rusqlite::Result<()> {
    // Without an answer there is no commit, and its error is sent instead.
    let (answer, outcome) = match answer {
        Ok(answer) => (answer, Ok(())),
        Err(error) => (Err(StoreError::Unavailable(error.to_string())), Err(error)),
    };
    answers.push(Box::new(move |committed| reply.send(committed.and(answer))));
    outcome
}
