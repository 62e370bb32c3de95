//! The same at full size: more than a gigabyte waits, results are of any length, and all batches are as long as a batch may be.

use anyhow::Result;

use super::{MIB, post_batches, take_results_that_wait};

#[tokio::test]
async fn three_hundred_results_of_4_mib_that_wait_take_less_than_300_mib() -> Result<()> {
    take_results_that_wait(300, 4 * MIB).await
}

#[tokio::test]
async fn seven_hundred_results_of_which_eight_do_not_fill_a_batch_take_less_than_300_mib()
-> Result<()> {
    take_results_that_wait(700, MIB * 9 / 10).await
}

#[tokio::test]
async fn results_that_are_just_short_enough_to_be_sent_ahead_take_less_than_300_mib() -> Result<()>
{
    take_results_that_wait(1500, 120 << 10).await
}

#[tokio::test]
async fn forty_batches_of_16_mib_at_once_take_less_than_300_mib() -> Result<()> {
    post_batches(40, 16).await
}
