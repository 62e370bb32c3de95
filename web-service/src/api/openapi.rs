//! `GET /openapi.json`: the description of this API, made from the code that answers.

pub mod schema;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use utoipa::OpenApi;

use crate::api::{
    health, parked,
    requests::{cancel, event_stream, get, list, replay, retry_callback, submit, submit_batch},
};

pub(super) const PATH: &str = "/openapi.json";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let document = Description::openapi().to_pretty_json();
    document.expect("texts and numbers are always JSON") + "\n"
});

/// All calls that programs make. Each says beside its handler what it takes and answers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Slowlane",
        description = "Takes slow work off the request path: post data, get an id at once, and the result by that id.\n\n\
            Every path answers another method with `405` and `Allow`, and `HEAD` like `GET`, without the body.",
    ),
    paths(
        submit::process_data,
        submit_batch::batch,
        get::get,
        cancel::cancel,
        list::list,
        event_stream::stream,
        retry_callback::retry,
        replay::replay,
        replay::discard,
        parked::list,
        parked::get,
        parked::discard,
        health::live,
        health::ready
    ),
    tags(
        (name = "requests", description = "Handing in work, and looking at it"),
        (name = "failed requests", description = "What has failed is for people: looked at, done again, or let go of"),
        (name = "health", description = "For those who run the service")
    )
)]
struct Description;

/// The OpenAPI document.
pub fn document() -> &'static str {
    &DOCUMENT
}

/// The OpenAPI document of the very program that answers.
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use actix_web::{
        App,
        http::{Method, header},
        test::{TestRequest, call_service, init_service},
    };
    use serde_json::Value;

    use super::*;
    use crate::api::{docs, places, routes};

    #[test]
    fn the_file_in_docs_says_what_the_code_says() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let same = fs::read_to_string(file).unwrap() == document();
        assert!(
            same,
            "write it again: cargo run -p web-service --example openapi > docs/openapi.json"
        );
    }

    fn described() -> serde_json::Map<String, Value> {
        let document: Value = serde_json::from_str(document()).unwrap();
        document["paths"].as_object().unwrap().clone()
    }

    #[test]
    fn every_place_is_described_and_nothing_else() {
        let of_the_description = [PATH, docs::PATH, docs::FOLDER, docs::FILES];
        let mut places: Vec<_> = places().into_iter().map(|(path, _)| path).collect();
        places.retain(|path| !of_the_description.contains(path));
        places.sort_unstable();
        let mut described: Vec<_> = described().into_iter().map(|(path, _)| path).collect();
        described.sort_unstable();
        assert_eq!(places, described);
    }

    #[actix_web::test]
    async fn every_path_refuses_other_methods_and_names_its_own() {
        let app = App::new().configure(routes);
        let app = init_service(app).await;
        let described = described();
        for (path, _) in places() {
            let has = |method| described.get(path).is_some_and(|path| path.get(method).is_some());
            let uri = path
                .replace("{id}", "1")
                .replace("{file}", "swagger-ui.css")
                .replace("{number}", "1");
            let request = TestRequest::with_uri(&uri).method(Method::PATCH).to_request();
            let answer = call_service(&app, request).await;
            assert_eq!(answer.status(), 405, "{path}");
            let allow = answer.headers().get(header::ALLOW).unwrap().to_str().unwrap();
            let expected = match (has("post"), has("get"), has("delete")) {
                (true, false, false) => "POST",
                (false, true, true) => "GET, HEAD, DELETE",
                (false, false, true) => "DELETE",
                _ => "GET, HEAD",
            };
            assert_eq!(allow, expected, "{path}");
        }
    }
}
