//! Payloads and texts come back as they were stored.

use pipeline::contract::ErrorBody;
use uuid::Uuid;

use super::{
    rows::{all_first, completed, failed, new, retried},
    world::World,
};
use crate::{
    Applied, NewParked, NewRequest, ParkedFilter, ParkedQuery, ResultOutcome, ScheduledRetry,
    WorkerResult,
};

const MIB: usize = 1 << 20;

pub(super) async fn payloads_survive_byte_by_byte(world: World) {
    for payload in [
        r#"{"b":1e400,"a":12345678901234567890.10,"b":2}"#,
        r#""a NUL \u0000 and a lone surrogate \ud800""#,
        "{ \"😀\" :\t[ 1.50 ,null]}\n",
        "null",
    ] {
        let id = Uuid::now_v7();
        let request_data = payload.as_bytes().to_vec();
        world.store.accept(NewRequest { request_data, ..new(id) }).await.unwrap();
        world.store.apply_results(vec![completed(id, payload)]).await.unwrap();
        let data = world.store.origin(id).await.unwrap().data;
        assert_eq!(data.as_deref(), Some(payload.as_bytes()));
        assert_eq!(world.request(id).await.result.as_deref(), Some(payload.as_bytes()));
    }
}

pub(super) async fn a_nul_in_a_text_does_not_lose_the_result(world: World) {
    let id = Uuid::now_v7();
    let failed = failed(id, "mine\0own");
    let worker = Some("host\0:1/😀".to_owned());
    let applied = world.store.apply_results(vec![WorkerResult { worker, ..failed }]).await.unwrap();
    assert!(all_first(&applied));
    let summary = world.request(id).await.summary;
    assert_eq!(summary.error.unwrap().code, "mine\u{fffd}own");
    assert_eq!(summary.worker.as_deref(), Some("host\u{fffd}:1/😀"));
}

/// Workers of others can send errors of any length, and each list of requests reads them.
pub(super) async fn a_very_long_error_is_shortened(world: World) {
    let long = || format!("it begins {} and ends", "ü".repeat(MIB));
    let error = || ErrorBody::new(long(), long());
    let [ended, tried, parked] = std::array::from_fn(|_| Uuid::now_v7());
    let failed = |id| WorkerResult {
        outcome: ResultOutcome::Failed(error()),
        worker: Some(long()),
        ..completed(id, "")
    };
    let retry = ScheduledRetry { error: error(), ..retried(tried, 0, 1, "") };
    world.store.accept(new(tried)).await.unwrap();
    world.store.record_retries(vec![retry]).await.unwrap();
    world.store.apply_results(vec![failed(ended), failed(tried)]).await.unwrap();
    let message = NewParked {
        body: vec![1],
        headers: "{}".to_owned(),
        reason: long(),
        error: long(),
        result: Some(failed(parked)),
    };
    world.store.park(vec![message]).await.unwrap();
    let query = ParkedQuery { filter: ParkedFilter::OfRequest(parked), below: None, limit: 10 };
    let kept = world.store.list_parked(query).await.unwrap();
    assert!(kept[0].error.len() <= ErrorBody::MAX_MESSAGE_BYTES);
    for id in [ended, tried, parked] {
        let summary = world.request(id).await.summary;
        let ErrorBody { code, message } = summary.error.unwrap();
        assert_eq!(code.len(), ErrorBody::MAX_CODE_BYTES);
        assert!(message.len() <= ErrorBody::MAX_MESSAGE_BYTES, "{}", message.len());
        assert!(message.starts_with("it begins ü") && message.ends_with("ü and ends"));
        assert!(summary.worker.unwrap().len() <= 500);
        assert!(summary.last_error.is_none_or(|last| last.len() <= ErrorBody::MAX_MESSAGE_BYTES));
    }
    // The same message again is told from another result by its error.
    let again = world.store.apply_results(vec![failed(ended)]).await.unwrap();
    assert_eq!(again, [Applied::Duplicate]);
}

pub(super) async fn a_batch_of_large_results_is_stored(world: World) {
    let ids: Vec<Uuid> = (0..4).map(|_| Uuid::now_v7()).collect();
    let large = |id: &Uuid| {
        let mut result = vec![b'"'; 15 * MIB];
        result[1..15 * MIB - 1].fill(id.as_bytes()[15] % 26 + b'a');
        WorkerResult { outcome: ResultOutcome::Completed(result.into()), ..completed(*id, "") }
    };
    let batch: Vec<WorkerResult> = ids.iter().map(large).collect();
    assert!(all_first(&world.store.apply_results(batch).await.unwrap()));
    for id in &ids {
        let result = world.request(*id).await.result.unwrap();
        assert!(
            ResultOutcome::Completed(result.into()) == large(id).outcome,
            "the result of {id} is another one"
        );
    }
}
