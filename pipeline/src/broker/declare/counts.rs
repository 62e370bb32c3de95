//! Counting what a queue holds. A broker that could not count says zero, so not every zero is taken for one.

use std::time::Duration;

use amqprs::channel::{BasicQosArguments, QueueDeclareArguments};
use tokio::{sync::oneshot, time::Instant};

use super::Declarer;
use crate::{broker::error::AskError, health::QueueCounts};

/// A quorum queue has 250 ms to tell RabbitMQ its numbers (3.10 to 4.x, `rabbit_quorum_queue:stat`). After that the answer
/// is the same as that of an empty queue without consumers. A little less, since round trips vary.
const TIME_TO_COUNT: Duration = Duration::from_millis(200);
/// How often a queue is asked that could not tell its numbers in time.
const ATTEMPTS: usize = 2;
/// How often the way to the broker and back is measured then.
const ROUND_TRIPS: usize = 3;

impl Declarer {
    /// How many messages wait in a queue, and how many consumers it has (passive declare). Messages that consumers hold
    /// don't count.
    ///
    /// # Errors
    /// If there is no such queue, the broker refuses to tell, can't count because the queue does not answer, or is lost.
    pub async fn queue_counts(&mut self, queue: &str) -> Result<QueueCounts, AskError> {
        let mut shortest = Duration::MAX;
        for _ in 0..ATTEMPTS {
            let asked = Instant::now();
            let counts = self.count(queue).await?;
            let took = asked.elapsed();
            if !is_doubtful(counts, took, Duration::ZERO) {
                return Ok(counts);
            }
            for _ in 0..ROUND_TRIPS {
                // The shortest: others may be slow by chance.
                shortest = shortest.min(self.round_trip().await?);
            }
            if !is_doubtful(counts, took, shortest) {
                return Ok(counts);
            }
        }
        Err(AskError::NotCounted)
    }

    async fn count(&mut self, queue: &str) -> Result<QueueCounts, AskError> {
        let mut arguments = QueueDeclareArguments::new(queue);
        arguments.passive(true);
        let (reply, counts) = oneshot::channel();
        self.ask(async move |channel| {
            let found = channel.queue_declare(arguments).await?;
            let (_, waiting, consumers) = found.unwrap_or_default();
            // The caller may have stopped waiting.
            let _ = reply.send(QueueCounts { waiting, consumers });
            Ok(())
        })
        .await?;
        counts.await.map_err(|_| AskError::Lost)
    }

    /// How long the broker takes for a question that it asks no queue.
    async fn round_trip(&mut self) -> Result<Duration, AskError> {
        let asked = Instant::now();
        let harmless = BasicQosArguments::new(0, 1, false);
        self.ask(async move |channel| channel.basic_qos(harmless).await).await?;
        Ok(asked.elapsed())
    }
}

/// Whether these zeros took so much longer than the way there and back that the queue may not have answered.
fn is_doubtful(counts: QueueCounts, took: Duration, round_trip: Duration) -> bool {
    let QueueCounts { waiting, consumers } = counts;
    waiting == 0 && consumers == 0 && took.saturating_sub(round_trip) >= TIME_TO_COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_is_doubted_if_the_queue_had_the_time_not_to_answer() {
        let (none, consumed) =
            (QueueCounts { waiting: 0, consumers: 0 }, QueueCounts { waiting: 0, consumers: 1 });
        let millis = Duration::from_millis;
        assert!(is_doubtful(none, millis(251), millis(1)));
        assert!(is_doubtful(none, millis(700), millis(400)));
        assert!(!is_doubtful(none, millis(400), millis(390)), "the broker is far away");
        assert!(!is_doubtful(none, millis(9), millis(0)));
        assert!(!is_doubtful(consumed, millis(900), millis(1)));
        assert!(!is_doubtful(QueueCounts { waiting: 1, consumers: 0 }, millis(900), millis(1)));
    }
}
