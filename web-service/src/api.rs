//! The HTTP API: the table of routes.

pub(crate) mod bulk_runs;
mod docs;
mod doctor;
pub(crate) mod error_groups;
mod health;
pub(crate) mod http;
mod metrics;
pub(crate) mod openapi;
mod parked;
pub(crate) mod requests;
mod scale;
mod shared_overview;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod status;
mod verify;
pub(crate) mod workers;

use actix_web::{Resource, Route, middleware::from_fn, web};

use crate::api::{
    http::{
        access,
        resource::{on_get, on_get_and_delete, on_get_and_post, on_post},
    },
    requests::{
        attempts, cancel, data, discard, event_stream, get, list, replay, republish,
        retry_callback, retry_now, submit, submit_batch, why,
    },
};

/// Adds all routes, `pages` beside those of the API, and `missing` for all other addresses. They need [`state::State`], [`AllowedHosts`](crate::allowed_hosts::AllowedHosts) and
/// [`CallsInFlight`](http::calls_in_flight::CallsInFlight) as application data.
pub(crate) fn configure(
    config: &mut web::ServiceConfig,
    pages: Vec<(&'static str, Resource)>,
    missing: Route,
) {
    let mut routes = web::scope("").wrap(from_fn(access::middleware));
    for (_, resource) in resources().into_iter().chain(pages) {
        routes = routes.service(resource);
    }
    config.service(routes.default_service(missing));
}

/// All paths with their handlers, in the order in which they are matched: those that are called most come first.
fn resources() -> Vec<(&'static str, Resource)> {
    vec![
        on_post(submit::PATH, submit::process_data),
        on_post(submit_batch::PATH, submit_batch::batch),
        on_get(list::PATH, list::list),
        on_get_and_delete(get::PATH, get::get, cancel::cancel),
        on_get(event_stream::PATH, event_stream::stream),
        on_get(attempts::PATH, attempts::attempts),
        on_get(data::PATH, data::data),
        on_get(why::PATH, why::why_request),
        on_post(retry_callback::PATH, retry_callback::retry),
        on_post(retry_now::PATH, retry_now::retry_now),
        on_post(republish::PATH, republish::republish),
        on_post(replay::PATH, replay::replay),
        on_post(discard::PATH, discard::discard),
        on_get(parked::PATH, parked::list),
        on_get_and_delete(parked::MESSAGE_PATH, parked::get, parked::discard),
        on_get(error_groups::PATH, error_groups::list),
        on_get(error_groups::GROUP_PATH, error_groups::get),
        on_get_and_post(bulk_runs::PATH, bulk_runs::list, bulk_runs::begin),
        on_get(bulk_runs::RUN_PATH, bulk_runs::get),
        on_post(bulk_runs::ABORT_PATH, bulk_runs::abort),
        on_get(stats::PATH, stats::stats),
        on_get(status::PATH, status::status),
        on_get(health::LIVE, health::live),
        on_get(health::READY, health::ready),
        on_get(metrics::PATH, metrics::metrics),
        on_get(scale::PATH, scale::scale),
        on_get(workers::PATH, workers::workers),
        on_get(verify::PATH, verify::verify),
        on_get(doctor::PATH, doctor::doctor),
        on_get(openapi::PATH, openapi::openapi),
        on_get(docs::PATH, docs::page),
        on_get(docs::FOLDER, docs::page),
        on_get(docs::FILES, docs::file),
    ]
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App, HttpResponse,
        http::{Method, header},
        test::{TestRequest, call_service, init_service},
    };
    use serde_json::Value;

    use super::*;
    use crate::{
        allowed_hosts::{AllowedHosts, HostNames},
        api::http::calls_in_flight::CallsInFlight,
    };

    fn described() -> serde_json::Map<String, Value> {
        let document: Value = serde_json::from_str(&openapi::generate()).unwrap();
        document["paths"].as_object().unwrap().clone()
    }

    #[test]
    fn the_document_describes_every_path_and_no_other() {
        let of_the_document = [openapi::PATH, docs::PATH, docs::FOLDER, docs::FILES];
        let mut paths: Vec<_> = resources().into_iter().map(|(path, _)| path).collect();
        paths.retain(|path| !of_the_document.contains(path));
        paths.sort_unstable();
        let mut described: Vec<_> = described().into_iter().map(|(path, _)| path).collect();
        described.sort_unstable();
        assert_eq!(paths, described);
    }

    #[actix_web::test]
    async fn every_path_answers_405_to_other_methods_and_names_its_own() {
        let hosts = AllowedHosts::new(([127, 0, 0, 1], 80).into(), HostNames::default());
        let calls = web::Data::new(CallsInFlight::default());
        let app = App::new().app_data(web::Data::new(hosts)).app_data(calls);
        let app =
            app.configure(|config| configure(config, Vec::new(), web::to(HttpResponse::NotFound)));
        let app = init_service(app).await;
        let described = described();
        for (path, _) in resources() {
            let has = |method| described.get(path).is_some_and(|path| path.get(method).is_some());
            let uri = path
                .replace("{id}", "1")
                .replace("{file}", "swagger-ui.css")
                .replace("{number}", "1")
                .replace("{group}", "1")
                .replace("{run}", "1");
            let request = TestRequest::with_uri(&uri)
                .method(Method::PATCH)
                .insert_header((header::HOST, "localhost"))
                .to_request();
            let response = call_service(&app, request).await;
            assert_eq!(response.status(), 405, "{path}");
            let allow = response.headers().get(header::ALLOW).unwrap().to_str().unwrap();
            let expected = match (has("post"), has("get"), has("delete")) {
                (true, false, false) => "POST",
                (true, true, false) => "GET, HEAD, POST",
                (false, true, true) => "GET, HEAD, DELETE",
                (false, false, true) => "DELETE",
                _ => "GET, HEAD",
            };
            assert_eq!(allow, expected, "{path}");
        }
    }
}
