//! Pages as the server renders them: what they contain, their headers, and what they say when something is away.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::support::{
    database::Database,
    foreign_worker::fail,
    stack::{Stack, Web},
    wait::settles,
};

const HOSTILE: &str = "<script>alert('&')</script>";

/// A page that is served, with its headers checked.
pub(super) async fn page(web: &Web, path: &str) -> Result<String> {
    let answer = web.get(path).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let html = answer.text().await?;
    ensure!(status == 200, "{path}: {status}: {html}");
    let policy = headers["content-security-policy"].to_str()?;
    ensure!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    ensure!(
        headers["x-content-type-options"] == "nosniff" && headers.contains_key("etag"),
        "{path}"
    );
    Ok(html)
}

/// Waits until a page contains a text.
pub(super) async fn shows(web: &Web, path: &str, text: &str) -> Result<()> {
    let mut seen = String::new();
    let settled = settles(text, async || {
        seen = web.get(path).await?.text().await?;
        Ok(seen.contains(text))
    });
    settled.await.map_err(|error| error.context(seen))
}

#[tokio::test]
async fn every_page_is_served_with_nothing_inline_and_escapes_what_it_shows() -> Result<()> {
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        let foreign = stack.foreign().await?;
        let id = web.failed(&foreign, json!({"text": HOSTILE})).await?;
        for path in ["/", "/requests", "/requests?status=failed", "/failed", "/workers"] {
            let html = page(&web, path).await?;
            ensure!(html.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{path}: {html}");
            for inline in ["<style", " style=", " onclick=", "javascript:", "http://", "https://"] {
                ensure!(!html.contains(inline), "{path} has {inline}: {html}");
            }
            ensure!(path == "/workers" || html.contains(&id), "{path}: {html}");
        }
        let story = page(&web, &format!("/requests/{id}")).await?;
        ensure!(
            story.contains("&lt;script&gt;alert") && !story.contains("<script>alert"),
            "{story}"
        );
        for part in ["teapot", "no coffee in run 0", "Accepted", "Replay", "Discard", "curl -i"] {
            ensure!(story.contains(part), "{part}: {story}");
        }
        let unknown = web.get("/requests/01890000-0000-7000-8000-000000000000").await?;
        assert_eq!(unknown.status(), 404);
        ensure!(unknown.headers()["content-type"].to_str()?.starts_with("text/html"));
    }
    Ok(())
}

#[tokio::test]
async fn the_command_line_submits_a_request_again_with_its_type_and_only_with_its_data()
-> Result<()> {
    let stack = Stack::of_types("default,video").await?;
    let web = Web::start(stack.program("web-service").env("TYPES", "default,video")).await?;
    let answer = web.post_body(json!({"data": 1, "type": "video"}).to_string()).await?;
    let video: Value = answer.json().await?;
    let video = video["requestId"].as_str().context("a request")?;
    let story = page(&web, &format!("/requests/{video}")).await?;
    let body = "{&quot;data&quot;:1,&quot;type&quot;:&quot;video&quot;}";
    ensure!(story.contains(body), "{story}");

    // Another program has published this one: nothing but its end is known.
    let id = "01890000-0000-7000-8000-000000000000";
    fail(&stack.foreign().await?, id, 0).await?;
    let path = format!("/requests/{id}");
    shows(&web, &path, "Not known: another program").await?;
    let story = page(&web, &path).await?;
    ensure!(!story.contains("Submit it again") && !story.contains("curl -"), "{story}");
    Ok(())
}

#[tokio::test]
async fn an_unknown_address_is_a_page_for_people_and_a_problem_for_programs() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let get = async |path: &str, accept: &str| {
        let get = web.client.get(format!("{}{path}", web.base)).header("accept", accept);
        let answer = get.send().await?;
        assert_eq!(answer.status(), 404, "{path}");
        let kind = answer.headers()["content-type"].to_str()?.to_owned();
        anyhow::Ok((kind, answer.text().await?))
    };
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    let (kind, html) = get("/no/such/page", browser).await?;
    ensure!(
        kind.starts_with("text/html") && html.contains("There is nothing at this address"),
        "{html}"
    );
    ensure!(html.contains("href=\"../../requests\""), "{html}");
    for (path, accept) in [("/no/such/page", "*/*"), ("/api/v1/no", browser), ("/api", browser)] {
        let (kind, text) = get(path, accept).await?;
        ensure!(kind == "application/problem+json" && text.contains("not-found"), "{path}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn files_of_the_page_are_kept_by_browsers_and_an_unchanged_page_is_not_sent_again()
-> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let id = web.accepted(1.into()).await?;
    let path = format!("/requests/{id}");
    shows(&web, &path, "No worker consumes requests, and 1 wait").await?;
    let html = page(&web, &path).await?;
    let files: Vec<_> =
        html.split('"').filter(|text| text.starts_with("../assets/slowlane-")).collect();
    assert_eq!(files.len(), 3, "{html}");
    for file in files {
        let answer = web.get(&file[2..]).await?;
        assert_eq!(answer.status(), 200, "{file}");
        ensure!(answer.headers()["cache-control"].to_str()?.contains("immutable"));
    }
    assert_eq!(web.get("/assets/slowlane-0000000000000000.css").await?.status(), 404);
    let tag = web.get(&path).await?.headers()["etag"].clone();
    let again = web.client.get(format!("{}{path}", web.base)).header("if-none-match", tag);
    assert_eq!(again.send().await?.status(), 304);
    Ok(())
}

#[tokio::test]
async fn a_list_is_paged_by_its_url_and_tells_nothing_yet_from_nothing_that_matches() -> Result<()>
{
    for database in Database::both().await? {
        let stack = Stack::fresh().await?;
        let web = database.web(&stack).await?;
        ensure!(page(&web, "/requests").await?.contains("Nothing yet"));
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(web.accepted(number.into()).await?);
        }
        let first = page(&web, "/requests?limit=2").await?;
        ensure!(first.contains(&ids[2]) && first.contains(&ids[1]) && !first.contains(&ids[0]));
        let older = first.split("rel=\"next\" href=\"").nth(1).context("a link to older ones")?;
        let older = older.split('"').next().context("its address")?.replace("&amp;", "&");
        let second = page(&web, &format!("/{older}")).await?;
        ensure!(second.contains(&ids[0]) && !second.contains(&ids[1]), "{second}");
        ensure!(page(&web, "/requests?status=failed").await?.contains("Nothing matches"));
        let wrong = web.get("/requests?status=done").await?;
        assert_eq!(wrong.status(), 400);
        ensure!(wrong.text().await?.contains("status is queued"));
        let found = web.get(&format!("/find?q=%20{}", ids[1])).await?;
        assert_eq!(found.url().path(), format!("/requests/{}", ids[1]));
        assert_eq!(web.get("/find?q=%3Cb%3E").await?.status(), 404);
    }
    Ok(())
}

#[tokio::test]
async fn pages_say_what_is_away_and_still_show_what_is_known() -> Result<()> {
    let nobody = format!("amqp://127.0.0.1:{}", testbed::ports::free()?);
    let database = Database::postgres().await;
    let stack = Stack { url: nobody };
    let web = Web::start_without_broker(database.program(&stack)).await?;
    for path in ["/", "/requests", "/failed", "/workers", "/submit"] {
        shows(&web, path, "The broker is away.").await?;
    }
    let nobody = format!("postgres://127.0.0.1:{}/none", testbed::ports::free()?);
    let stack = Stack::fresh().await?;
    let storeless = stack.program("web-service").env("DATABASE_URL", nobody);
    let web = Web::start_without_broker(storeless).await?;
    for path in ["/", "/workers", "/submit"] {
        shows(&web, path, "The store is away.").await?;
        assert_eq!(web.get(path).await?.status(), 200, "{path}");
    }
    for path in ["/requests", "/failed", "/requests/01890000-0000-7000-8000-000000000000"] {
        let answer = web.get(path).await?;
        assert_eq!(answer.status(), 503, "{path}");
        let html = answer.text().await?;
        ensure!(html.contains("The store is away.") && !html.contains("data-still"), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn requests_that_nobody_consumes_are_said_on_the_overview() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    web.accepted(1.into()).await?;
    shows(&web, "/", "Nobody consumes.").await
}

#[tokio::test]
async fn open_pages_are_told_that_something_has_changed() -> Result<()> {
    let stack = Stack::fresh().await?;
    let web = stack.web().await?;
    let mut stream = web.get("/live").await?;
    let told = async |stream: &mut reqwest::Response| -> Result<String> {
        loop {
            let chunk = stream.chunk().await?.context("the stream ended")?;
            let text = String::from_utf8(chunk.to_vec())?;
            if text.contains("event: changed") {
                return Ok(text);
            }
        }
    };
    let first = told(&mut stream).await?;
    web.accepted(1.into()).await?;
    ensure!(told(&mut stream).await? != first);
    Ok(())
}
