//! `GET /openapi.json`: the description of this API, made from the code that answers.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use utoipa::OpenApi;

use super::{batch, health, list, process_data, requests, stream};

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
        process_data::process_data,
        batch::batch,
        requests::get,
        list::list,
        stream::stream,
        health::live,
        health::ready
    ),
    tags(
        (name = "requests", description = "Handing in work, and looking at it"),
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

    #[test]
    fn the_file_in_docs_says_what_the_code_says() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let same = fs::read_to_string(file).unwrap() == document();
        assert!(
            same,
            "write it again: cargo run -p web-service --example openapi > docs/openapi.json"
        );
    }

    #[actix_web::test]
    async fn every_path_refuses_other_methods_and_names_its_own() {
        let app = App::new().configure(|config| crate::api::routes(config, 1000));
        let app = init_service(app).await;
        let document: Value = serde_json::from_str(document()).unwrap();
        let described = document["paths"].as_object().unwrap();
        let also = [PATH, "/docs", "/docs/", "/docs/swagger-ui.css"];
        for path in described.keys().map(String::as_str).chain(also) {
            let post = described.get(path).is_some_and(|path| path.get("post").is_some());
            let request = TestRequest::with_uri(&path.replace("{id}", "1"));
            let answer = call_service(&app, request.method(Method::DELETE).to_request()).await;
            assert_eq!(answer.status(), 405, "{path}");
            let allow = answer.headers().get(header::ALLOW).unwrap().to_str().unwrap();
            assert_eq!(allow, if post { "POST" } else { "GET, HEAD" }, "{path}");
        }
    }
}
