//! The same at full size: more than a gigabyte waits, and all batches are as long as a batch may be.

use anyhow::Result;

use super::{post_batches, take_results_that_wait};

#[tokio::test]
async fn three_hundred_results_of_4_mib_that_wait_take_less_than_300_mib() -> Result<()> {
    take_results_that_wait(300).await
}

#[tokio::test]
async fn forty_batches_of_16_mib_at_once_take_less_than_300_mib() -> Result<()> {
    post_batches(40, 16).await
}
