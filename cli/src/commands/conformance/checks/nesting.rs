//! How a worker takes requests that are nested so deeply that many libraries refuse to read them.

use crate::{
    commands::conformance::{
        checks::asked::{Asked, broken, parked, result, result_of},
        report::{Report, Verdict},
        rules::Rule,
        stage::{Arrived, Silence, Stage},
    },
    exit::Failure,
};

/// How many lists stand in each other. Some libraries can't read a thousand; others can read some thousands, and can't
/// write them.
const LEVELS: [usize; 3] = [1000, 5000, 100_000];

/// Sends requests that are hard to read. The worker may fail them, and has to go on.
pub(super) async fn nesting(stage: &mut Stage, report: &mut Report) -> Result<(), Failure> {
    for levels in LEVELS {
        if let Err(silence) = ended(stage, levels).await? {
            let what = format!("publish a result or a failure for {levels} lists in each other");
            report.add(Rule::Nesting, broken(&what, silence))?;
            // The other checks go on without the message.
            return stage.start_over().await;
        }
    }
    let verdict = match result(stage, &Asked::new("\"hello\"")).await? {
        Ok(_) => Verdict::Kept,
        Err(silence) => broken("publish a result for the next request", silence),
    };
    report.add(Rule::Nesting, verdict)
}

/// Publishes a request with so many lists, and waits for its result, or for the request on the failed queue.
async fn ended(stage: &mut Stage, levels: usize) -> Result<Result<Arrived, Silence>, Failure> {
    let asked = Asked::new(&["[".repeat(levels), "]".repeat(levels)].concat());
    stage.publish(asked.properties(stage.kind()), &asked.body).await?;
    let ended = stage
        .until(|_, arrived| result_of(&asked.id, arrived).or_else(|| parked(&asked.body, arrived)));
    Ok(ended.await)
}
