//! `slowlane failed`: list, show, replay and discard what has failed.

use anyhow::{Context, Result, ensure};
use pipeline::log_messages;
use serde_json::{Value, json};
use testbed::{
    foreign::{Foreign, Properties, RejectOptions},
    process::{Signal, json_message},
};
use uuid::Uuid;

use super::fake::{self, Fake};
use crate::support::{
    database::Database,
    foreign_worker::fail,
    slowlane::{CliOutput, UNKNOWN, run_slowlane, slowlane},
    stack::{REQUESTS, Stack, Web},
    wait::{holds, settles},
};

/// How many fail at once.
const FAILED_REQUESTS: usize = 300;

impl Web {
    async fn discard(&self, id: &str) -> Result<(u16, Value)> {
        let url = format!("{}/api/v1/requests/{id}/discard", self.base);
        let answer = self.client.post(url).send().await?;
        let (status, text) = (answer.status().as_u16(), answer.text().await?);
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// The numbers of the messages that a query finds.
    async fn messages(&self, query: &str) -> Result<Vec<i64>> {
        let page: Value = self.get(&format!("/api/v1/parked?{query}")).await?.json().await?;
        let items = page["items"].as_array().with_context(|| page.to_string())?;
        items.iter().map(|item| item["number"].as_i64().context("a number")).collect()
    }

    /// Waits until so many messages were parked.
    async fn parked(&self, count: usize) -> Result<()> {
        let mut seen = 0;
        let parked = |line: &str| {
            seen += usize::from(json_message(line, log_messages::PARKED).is_some());
            (seen == count).then_some(())
        };
        self.program.wait_for("parked messages", parked).await
    }
}

impl CliOutput {
    /// What a program reads on standard output, where that has several lines.
    fn document(&self) -> Result<Value> {
        let from = self.text.lines().skip_while(|line| !line.starts_with('{'));
        let json: Vec<_> = from.filter(|line| !line.starts_with("slowlane:")).collect();
        serde_json::from_str(&json.join("\n")).with_context(|| self.text.clone())
    }

    /// One of the arrays in it.
    fn listed(&self, of: &str) -> Result<Vec<Value>> {
        Ok(self.document()?[of].as_array().context("a list")?.clone())
    }
}

/// Has a request rejected by a worker, which leaves its message behind.
async fn rejected(web: &Web, foreign: &Foreign, data: &str) -> Result<String> {
    let id = web.accepted(data.into()).await?;
    let delivery = foreign.consume(REQUESTS, 1).await?.next_unacked().await?;
    delivery.reject(RejectOptions { requeue: false }).await?;
    ensure!(web.ended(&id).await?["status"] == "failed");
    Ok(id)
}

/// Of a request that was rejected, one that a worker gave up, and two messages of nobody.
async fn filters_leave_out_the_rest(base: &str) -> Result<()> {
    for (filter, requests, messages) in [
        (["--code", "teapot"], 1, 0),
        (["--code", "permanent"], 1, 2),
        (["--type", "default"], 2, 0),
        (["--type", "video"], 0, 0),
        (["--since", "1h"], 2, 2),
        (["--after", "2099-01-01T00:00:00Z"], 0, 0),
        (["--before", "1h"], 0, 0),
        (["--limit", "1"], 1, 1),
    ] {
        let words = ["failed", "list", "--output", "json", filter[0], filter[1]];
        let said = run_slowlane(base, &words).await?;
        let found = (said.listed("requests")?.len(), said.listed("messages")?.len());
        assert_eq!(found, (requests, messages), "{filter:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_has_failed_is_listed_and_shown_with_all_that_is_known() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        let kept = rejected(&web, &foreign, "precious").await?;
        let teapot = web.failed(&foreign, "tea".into()).await?;
        let waits = web.accepted("waits".into()).await?;
        for nonsense in [&b"no JSON"[..], b"\xff\xfe"] {
            foreign.publish("processing", "failed", Properties::default(), nonsense).await?;
        }
        web.parked(3).await?;
        let base = web.base.as_str();
        let said = run_slowlane(base, &["failed", "list"]).await?;
        assert_eq!(said.code, Some(0), "{}", said.text);
        for text in [&kept, &teapot, "no coffee in run 0 (teapot)", "(permanent)", "no request"] {
            ensure!(said.text.contains(text), "{text}: {}", said.text);
        }
        ensure!(!said.text.contains(&waits), "{}", said.text);

        let said = run_slowlane(base, &["failed", "list", "--output", "json"]).await?;
        let ids: Vec<_> =
            said.listed("requests")?.iter().map(|one| one["requestId"].clone()).collect();
        assert_eq!(ids, [json!(teapot), json!(kept)]);
        let messages = said.listed("messages")?;
        assert_eq!(
            (&messages[0]["base64"], &messages[1]["text"]),
            (&json!("//4="), &json!("no JSON"))
        );
        filters_leave_out_the_rest(base).await?;

        let said = run_slowlane(base, &["failed", "show", &kept]).await?;
        let body = format!("body        {{\"requestId\":\"{kept}\",\"requestData\":\"precious\"}}");
        ensure!(said.code == Some(0) && said.has_line(&body), "{}", said.text);
        ensure!(
            said.has_line("status      failed") && said.has_line("run         0"),
            "{}",
            said.text
        );
        let said = run_slowlane(base, &["failed", "show", &kept, "--output", "json"]).await?;
        let shown = said.json()?;
        assert_eq!(shown["request"], web.request(&kept).await?);
        assert_eq!(shown["messages"][0]["requestId"], *kept);
        let number = web.messages("").await?[1].to_string();
        let said = run_slowlane(base, &["failed", "show", &number]).await?;
        ensure!(said.has_line("body        no JSON"), "{}", said.text);
    }
    Ok(())
}

#[tokio::test]
async fn one_is_done_again_another_let_go_of_and_each_end_has_its_code() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let foreign = stack.foreign().await?;
    let mended = rejected(&web, &foreign, "mended").await?;
    let useless = rejected(&web, &foreign, "useless").await?;
    let other = rejected(&web, &foreign, "other").await?;
    foreign.publish("processing", "failed", Properties::default(), b"no JSON").await?;
    web.parked(4).await?;
    let message = web.messages("").await?[0].to_string();
    let unknown = Uuid::now_v7().to_string();
    let base = web.base.as_str();
    for (words, text) in [
        (vec!["failed", "replay", &mended, "--dry-run"], "1 would be replayed"),
        (vec!["failed", "discard", "--all", "--dry-run"], "3 would be discarded"),
        (vec!["failed", "discard", "--messages", "--dry-run"], "1 would be discarded"),
    ] {
        let said = run_slowlane(base, &words).await?;
        ensure!(said.code == Some(0) && said.text.contains(text), "{}", said.text);
    }
    assert_eq!(web.list("status=failed").await?["items"].as_array().map(Vec::len), Some(3));
    for (words, code, text) in [
        (vec!["failed", "replay"], 2, "--all"),
        (vec!["failed", "discard"], 2, "--all"),
        (vec!["failed", "discard", "--all"], 2, "add --yes"),
        (vec!["failed", "discard", "--messages"], 2, "add --yes"),
        (vec!["failed", "replay", &message], 2, "can't be replayed"),
        (vec!["failed", "replay", &unknown], 6, "There is no request"),
        (vec!["failed", "discard", "99999"], 6, "no parked message"),
        (vec!["failed", "show", "nonsense"], 6, "UUID"),
        (vec!["replay", &unknown], 6, "There is no request"),
        (vec!["replay"], 2, "the id is missing"),
        (vec!["cancel", &unknown], 6, "There is no request"),
        (vec!["cancel", &useless], 1, "it is failed"),
        (vec!["failed", "discard", &useless], 0, "1 discarded"),
        (vec!["failed", "discard", &useless], 6, "discarded"),
        (vec!["failed", "discard", &useless, &other], 1, "1 discarded, 1 not"),
        (vec!["failed", "discard", &message], 0, "1 discarded"),
        (vec!["replay", &mended], 0, "is queued again"),
        (vec!["failed", "replay", &mended], 1, "is not replayed: The request is queued"),
        (vec!["replay", &mended], 1, "The request is queued"),
    ] {
        let said = run_slowlane(base, &words).await?;
        assert_eq!(said.code, Some(code), "{words:?}: {}", said.text);
        ensure!(said.text.contains(text), "{words:?}: {}", said.text);
    }
    assert_eq!(web.ask(&useless, 0).await?.status(), 410);
    assert_eq!(web.messages("").await?, [0; 0]);
    assert_eq!(web.messages(&format!("request={useless}")).await?, [0; 0]);
    let _processor = stack.processor(1, "1ms").await?;
    assert_eq!(web.ended(&mended).await?["processingResults"], "mended-processed");
    Ok(())
}

#[tokio::test]
async fn a_request_is_cancelled_or_replayed_by_its_id() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let foreign = stack.foreign().await?;
    let id = web.failed(&foreign, "a".into()).await?;
    let unwanted = web.accepted("b".into()).await?;
    let base = web.base.as_str();
    let said = run_slowlane(base, &["cancel", &unwanted, "--output", "json"]).await?;
    assert_eq!((said.code, &said.json()?["status"]), (Some(0), &json!("cancelled")));
    let again = run_slowlane(base, &["cancel", &unwanted]).await?;
    ensure!(again.code == Some(0) && again.text.contains("is cancelled"), "{}", again.text);
    assert_eq!(run_slowlane(base, &["get", &unwanted]).await?.code, Some(4));
    foreign.next(REQUESTS).await?;
    let words = ["replay", "--wait", &id];
    let replayed = run_slowlane(base, &words);
    let done_meanwhile = async {
        holds(&foreign, REQUESTS, |messages| messages == 1).await?;
        stack.processor(1, "1ms").await
    };
    let (said, _processor) = tokio::try_join!(replayed, done_meanwhile)?;
    ensure!(said.code == Some(0) && said.has_line("a-processed"), "{}", said.text);
    Ok(())
}

#[tokio::test]
async fn many_are_done_again_at_once_and_many_let_go_of() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = Database::postgres().await.web(&stack).await?;
    let foreign = stack.foreign().await?;
    let fail_many = async |times: i32| -> Result<Vec<String>> {
        let lines: Vec<_> =
            (0..FAILED_REQUESTS).map(|n| json!({ "data": n.to_string() }).to_string()).collect();
        let url = format!("{}/api/v1/processData/batch", web.base);
        let post = web.client.post(url).header("content-type", "application/x-ndjson");
        let answer = post.body(lines.join("\n")).send().await?.text().await?;
        let mut ids = Vec::new();
        for line in answer.lines() {
            let line: Value = serde_json::from_str(line)?;
            ids.push(line["requestId"].as_str().context("an id")?.to_owned());
        }
        foreign.purge(REQUESTS).await?;
        for id in &ids {
            fail(&foreign, id, times).await?;
        }
        web.results(ids.iter().cloned()).await?;
        Ok(ids)
    };
    let base = web.base.as_str();
    let ids = fail_many(0).await?;
    let said = run_slowlane(base, &["failed", "replay", "--all", "--output", "json"]).await?;
    let sum = json!({"chosen": FAILED_REQUESTS, "done": FAILED_REQUESTS, "refused": 0, "deed": "replayed"});
    assert_eq!((said.code, said.json()?), (Some(0), sum));
    let said = run_slowlane(base, &["failed", "replay", "--all"]).await?;
    ensure!(said.code == Some(0) && said.text.contains("0 replayed"), "{}", said.text);
    holds(&foreign, REQUESTS, |messages| messages as usize == FAILED_REQUESTS).await?;
    let processor = stack.processor(8, "1ms").await?;
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(web.ended(id).await?["processingResults"], format!("{n}-processed"));
    }
    processor.kill();
    processor.wait().await?;

    let ids = fail_many(0).await?;
    let words = ["failed", "discard", "--code", "teapot", "--since", "1h"];
    let said = run_slowlane(base, &words).await?;
    ensure!(said.code == Some(0) && said.text.contains("300 discarded"), "{}", said.text);
    for id in ids.iter().step_by(50) {
        assert_eq!(web.ask(id, 0).await?.status(), 410);
    }
    settles("nothing has failed any more", async || {
        Ok(web.list("status=failed").await?["items"] == json!([]))
    })
    .await
}

#[tokio::test]
async fn only_what_has_failed_and_was_told_is_let_go_of() -> Result<()> {
    let stack = Stack::fresh().await?;
    let secret = "whsec_c2xvd2xhbmUgdGVzdHMgd2l0aCB0aGlzIHNlY3JldA==";
    let program = stack.program("web-service").env("WEBHOOK_SECRET", secret);
    let web = Web::start(program.env("CALLBACK_ALLOW_PRIVATE", "true")).await?;
    let foreign = stack.foreign().await?;
    let nobody = format!("http://127.0.0.1:{}/", testbed::ports::free()?);
    let calling = json!({"data": 1, "callbackUrl": nobody}).to_string();
    let answer: Value = web.post_body(calling).await?.json().await?;
    let untold = answer["requestId"].as_str().context("an id")?.to_owned();
    fail(&foreign, &untold, 0).await?;
    web.ended(&untold).await?;
    let queued = web.accepted("a".into()).await?;
    for (id, status, kind) in [
        (untold.as_str(), 409, "callback-pending"),
        (&queued, 409, "not-failed"),
        (&Uuid::now_v7().to_string(), 404, "not-found"),
        ("nonsense", 404, "not-found"),
    ] {
        let (answered, problem) = web.discard(id).await?;
        assert_eq!((answered, &problem["type"]), (status, &json!(kind)), "{id}");
    }
    foreign.purge(REQUESTS).await?;
    let failed = rejected(&web, &foreign, "b").await?;
    let number = web.messages(&format!("request={failed}")).await?[0];
    let url = format!("{}/api/v1/parked/{number}", web.base);
    let answer = web.client.delete(&url).send().await?;
    assert_eq!(answer.status(), 409);
    assert_eq!(answer.json::<Value>().await?["type"], "belongs-to-request");
    assert_eq!(web.discard(&failed).await?.0, 204);
    let (status, problem) = web.discard(&failed).await?;
    assert_eq!((status, &problem["type"]), (410, &json!("expired")));
    assert_eq!(web.client.delete(&url).send().await?.status(), 404);
    Ok(())
}

#[tokio::test]
async fn a_second_interrupt_ends_a_canary_whose_service_is_away() -> Result<()> {
    let run = json!({"runId": UNKNOWN, "phase": "running", "count": 7}).to_string();
    let (gone, _) = Fake::start([fake::answer(202, "", &run)]).await?;
    let canary = slowlane(&gone, &["failed", "replay", "--all", "--canary"]).start()?;
    canary.wait_for_text("trying again").await?;
    canary.signal(Signal::INT);
    canary.wait_for_text("aborting ").await?;
    canary.signal(Signal::TERM);
    let said = CliOutput::by(&canary).await?;
    assert_eq!(said.code, Some(1), "{}", said.text);
    ensure!(said.text.contains("not aborted") && said.text.contains("/abort"), "{}", said.text);
    Ok(())
}
