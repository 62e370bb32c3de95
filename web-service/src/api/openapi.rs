//! `GET /openapi.json`: the OpenAPI document, as it was generated from the handlers.

pub(super) mod schema;

use actix_web::HttpResponse;
use utoipa::OpenApi;

use crate::api::{
    bulk_runs, doctor, error_groups, health, metrics, parked,
    requests::{
        attempts, cancel, data, discard, event_stream, get, list, replay, republish,
        retry_callback, retry_now, submit, submit_batch, why,
    },
    scale, stats, status, verify, workers,
};

pub(crate) const PATH: &str = "/openapi.json";

/// The program carries the document, not the code that generates it, which is a twentieth of the program. A test compares.
const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// The calls for programs. Each handler describes its parameters and responses itself.
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
        attempts::attempts,
        data::data,
        why::why_request,
        cancel::cancel,
        list::list,
        event_stream::stream,
        retry_callback::retry,
        retry_now::retry_now,
        replay::replay,
        discard::discard,
        parked::list,
        parked::get,
        parked::discard,
        error_groups::list,
        error_groups::get,
        bulk_runs::begin,
        bulk_runs::list,
        bulk_runs::get,
        bulk_runs::abort,
        stats::stats,
        status::status,
        health::live,
        health::ready,
        metrics::metrics,
        scale::scale,
        workers::workers,
        verify::verify,
        doctor::doctor,
        republish::republish
    ),
    tags(
        (name = "requests", description = "Submitting requests and getting their results"),
        (name = "failed requests", description = "Looking at failed requests and their messages, replaying and discarding them"),
        (name = "health", description = "For those who run the service")
    )
)]
struct Description;

/// The OpenAPI document as JSON, generated from the handlers.
pub fn generate() -> String {
    let document = Description::openapi().to_pretty_json();
    document.expect("texts and numbers are always JSON") + "\n"
}

/// The OpenAPI document of the running program.
pub(crate) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_be_left_out_of_a_body_may_also_be_null_there() {
        let document: serde_json::Value = serde_json::from_str(&generate()).unwrap();
        for body in ["NewRequest", "NewRequestLine", "BulkRunBody", "BulkFilter"] {
            let schema = &document["components"]["schemas"][body];
            let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
            for (name, property) in schema["properties"].as_object().expect("properties") {
                let may_be_null = property.to_string().contains("\"null\"");
                let is_any = *property == json!({"description": property["description"]});
                let is_required = required.contains(&json!(name));
                assert_eq!(
                    may_be_null || is_any,
                    !is_required || is_any,
                    "{body} {name}: {property}"
                );
            }
        }
    }

    #[test]
    fn the_file_in_docs_is_the_generated_document() {
        assert!(
            DOCUMENT == generate(),
            "write it again: cargo run -p web-service --example openapi > docs/openapi.json"
        );
    }
}
