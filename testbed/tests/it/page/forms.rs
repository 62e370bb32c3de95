//! Forms of the page: they do what the API does, for pages of this service alone.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::support::{
    database::Database,
    foreign_worker::{fail, next_request},
    stack::{Stack, Web},
};

/// What a browser sends when somebody presses a button of a page.
pub(super) async fn sent(
    web: &Web,
    path: &str,
    fields: &[(&str, &str)],
) -> Result<reqwest::Response> {
    let form =
        web.client.post(format!("{}{path}", web.base)).header("sec-fetch-site", "same-origin");
    let mut body = String::new();
    for (name, value) in fields {
        let value =
            percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        body.push_str(&format!("{name}={value}&"));
    }
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    Ok(form.body(body).send().await?)
}

#[tokio::test]
async fn a_form_that_is_sent_twice_submits_one_request_and_keeps_its_data() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let data = "{\"b\": 1.10, \"a\":\t\"ä&=+%\"}";
        let fields = [("key", "a-key"), ("data", data), ("expiresIn", "10m")];
        let (first, second) =
            (sent(&web, "/submit", &fields).await?, sent(&web, "/submit", &fields).await?);
        assert_eq!((first.status(), first.url()), (second.status(), second.url()));
        let path = first.url().path().to_owned();
        let id = path.strip_prefix("/requests/").context("the page of a request")?;
        assert_eq!(web.get(&format!("/api/v1/requests/{id}/data")).await?.text().await?, data);
        assert_eq!(web.list("").await?["items"].as_array().context("items")?.len(), 1);
        let edit = web.get(&format!("/submit?from={id}")).await?.text().await?;
        ensure!(edit.contains("&quot;b&quot;: 1.10"), "{edit}");
    }
    Ok(())
}

#[tokio::test]
async fn a_form_that_is_changed_and_sent_again_submits_another_request() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let mut pages = Vec::new();
        for data in ["1", "2", "1"] {
            let answer = sent(&web, "/submit", &[("key", "a-key"), ("data", data)]).await?;
            assert_eq!(answer.status(), 200, "{data}");
            pages.push(answer.url().path().to_owned());
        }
        ensure!(pages[0] == pages[2] && pages[0] != pages[1], "{pages:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_form_that_is_not_json_comes_back_with_what_was_typed() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    for data in ["hello <b>", "1,\"callbackUrl\":\"https://a.example\""] {
        let answer = sent(&web, "/submit", &[("data", data)]).await?;
        assert_eq!(answer.status(), 422);
        let html = answer.text().await?;
        let typed = data.replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        ensure!(html.contains("The data are not JSON") && html.contains(&typed), "{html}");
    }
    let text = sent(&web, "/submit", &[("data", "hello <b>"), ("text", "1")]).await?;
    assert_eq!(text.status(), 200);
    let id = text.url().path().rsplit('/').next().context("an id")?.to_owned();
    let data = web.get(&format!("/api/v1/requests/{id}/data")).await?.text().await?;
    assert_eq!(data, "\"hello <b>\"");
    Ok(())
}

#[tokio::test]
async fn a_form_that_is_too_long_is_refused_with_its_own_limit() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = Web::start(stack.program("web-service").env("BODY_LIMIT", "1KiB")).await?;
    let long = "x".repeat(70_000);
    for (path, name, limit) in
        [("/submit", "data", "longer than 19456 bytes"), ("/bulk", "id", "longer than 65536 bytes")]
    {
        let answer = sent(&web, path, &[(name, &long)]).await?;
        assert_eq!(answer.status(), 413, "{path}");
        let html = answer.text().await?;
        ensure!(html.contains(limit) && !html.contains("(BODY_LIMIT)"), "{path}: {html}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_is_replayed_cancelled_and_discarded_on_its_page() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        let id = web.failed(&foreign, 1.into()).await?;
        let replayed = sent(&web, &format!("/requests/{id}/replay"), &[]).await?;
        assert_eq!(
            (replayed.status().as_u16(), replayed.url().path()),
            (200, format!("/requests/{id}").as_str())
        );
        ensure!(replayed.text().await?.contains("Replayed"));
        ensure!(next_request(&foreign).await?.json()?["requestId"] == *id);
        let again = sent(&web, &format!("/requests/{id}/replay"), &[]).await?;
        assert_eq!(again.status(), 409);
        let html = again.text().await?;
        ensure!(html.contains("only a failed request can be replayed"), "{html}");
        ensure!(html.contains("data-still"), "the answer to a form can't be refreshed: {html}");
        fail(&foreign, &id, 1).await?;
        web.ended(&id).await?;
        let discarded = sent(&web, &format!("/requests/{id}/discard"), &[]).await?;
        assert_eq!((discarded.status().as_u16(), discarded.url().path()), (200, "/failed"));
        assert_eq!(web.get(&format!("/requests/{id}")).await?.status(), 410);

        let other = web.accepted(2.into()).await?;
        sent(&web, &format!("/requests/{other}/cancel"), &[]).await?;
        assert_eq!(web.request(&other).await?["status"], "cancelled");
        assert_eq!(sent(&web, &format!("/requests/{other}/explode"), &[]).await?.status(), 404);
    }
    Ok(())
}

#[tokio::test]
async fn a_page_of_another_origin_can_change_nothing() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let foreign = stack.foreign().await?;
    let id = web.failed(&foreign, 1.into()).await?;
    let paths = [
        "/submit".to_owned(),
        format!("/requests/{id}/replay"),
        format!("/api/v1/requests/{id}/replay"),
    ];
    for path in &paths {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://evil.example"),
        ] {
            let form = web.client.post(format!("{}{path}", web.base)).header(name, value);
            let form =
                form.header("content-type", "application/x-www-form-urlencoded").body("data=1");
            let answer = form.send().await?;
            assert_eq!(answer.status(), 403, "{path} {name}: {value}");
            let problem: Value = answer.json().await?;
            assert_eq!(problem["type"], "cross-origin");
        }
    }
    assert_eq!(web.request(&id).await?["status"], "failed");
    assert_eq!(web.list("").await?["items"].as_array().map(Vec::len), Some(1), "{}", json!(paths));
    Ok(())
}
