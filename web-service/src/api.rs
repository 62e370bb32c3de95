//! The HTTP API: the table of routes.

mod docs;
mod health;
pub(crate) mod http;
mod index;
mod metrics;
pub(crate) mod openapi;
mod parked;
mod requests;
mod scale;
mod shared_overview;
pub(crate) mod state;
mod status;
mod workers;

use actix_web::{
    FromRequest, Handler, HttpResponse, Resource, Responder, middleware::from_fn, web,
};

use crate::api::{
    http::{access, problem::Problem},
    requests::{
        cancel, data, discard, event_stream, get, list, replay, retry_callback, retry_now, submit,
        submit_batch,
    },
};

/// Adds all routes. They need [`state::State`], [`AllowedHosts`](crate::allowed_hosts::AllowedHosts) and
/// [`CallsInFlight`](http::calls_in_flight::CallsInFlight) as application data.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    let mut routes = web::scope("").wrap(from_fn(access::middleware));
    for (_, resource) in resources() {
        routes = routes.service(resource);
    }
    config.service(routes.default_service(web::to(not_found)));
}

/// All paths with their handlers, in the order in which they are matched.
fn resources() -> Vec<(&'static str, Resource)> {
    vec![
        on_post(submit::PATH, submit::process_data),
        on_post(submit_batch::PATH, submit_batch::batch),
        on_get(list::PATH, list::list),
        on_get_and_delete(get::PATH, get::get, cancel::cancel),
        on_get(data::PATH, data::data),
        on_post(retry_callback::PATH, retry_callback::retry),
        on_post(retry_now::PATH, retry_now::retry_now),
        on_post(replay::PATH, replay::replay),
        on_post(discard::PATH, discard::discard),
        on_get(parked::PATH, parked::list),
        on_get_and_delete(parked::MESSAGE_PATH, parked::get, parked::discard),
        on_get(event_stream::PATH, event_stream::stream),
        on_get(status::PATH, status::status),
        on_get(health::LIVE, health::live),
        on_get(health::READY, health::ready),
        on_get(metrics::PATH, metrics::metrics),
        on_get(scale::PATH, scale::scale),
        on_get(workers::PATH, workers::workers),
        on_get(openapi::PATH, openapi::openapi),
        on_get(index::PATH, index::index),
        on_get(docs::PATH, docs::page),
        on_get(docs::FOLDER, docs::page),
        on_get(docs::FILES, docs::file),
    ]
}

/// A path for GET, and for HEAD, which is the same without the body.
fn on_get<F, Args>(path: &'static str, handler: F) -> (&'static str, Resource)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    (path, with_get(resource(path, "GET, HEAD"), handler))
}

/// A path for GET, HEAD and DELETE.
fn on_get_and_delete<G, GetArgs, D, DeleteArgs>(
    path: &'static str,
    get: G,
    delete: D,
) -> (&'static str, Resource)
where
    G: Handler<GetArgs>,
    GetArgs: FromRequest + 'static,
    G::Output: Responder + 'static,
    D: Handler<DeleteArgs>,
    DeleteArgs: FromRequest + 'static,
    D::Output: Responder + 'static,
{
    let resource = with_get(resource(path, "GET, HEAD, DELETE"), get);
    (path, resource.route(web::delete().to(delete)))
}

/// A path for POST.
fn on_post<F, Args>(path: &'static str, handler: F) -> (&'static str, Resource)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    (path, resource(path, "POST").route(web::post().to(handler)))
}

fn with_get<F, Args>(resource: Resource, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    resource.route(web::get().to(handler.clone())).route(web::head().to(handler))
}

/// A path that answers 405 to all methods but those that are added.
fn resource(path: &str, allowed: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move {
        Result::<HttpResponse, _>::Err(Problem::method_not_allowed(allowed))
    }))
}

async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found())
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App,
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
        let document: Value = serde_json::from_str(openapi::document()).unwrap();
        document["paths"].as_object().unwrap().clone()
    }

    #[test]
    fn the_document_describes_every_path_and_no_other() {
        let of_the_document = [index::PATH, openapi::PATH, docs::PATH, docs::FOLDER, docs::FILES];
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
        let app = App::new().app_data(web::Data::new(hosts)).app_data(calls).configure(configure);
        let app = init_service(app).await;
        let described = described();
        for (path, _) in resources() {
            let has = |method| described.get(path).is_some_and(|path| path.get(method).is_some());
            let uri = path
                .replace("{id}", "1")
                .replace("{file}", "swagger-ui.css")
                .replace("{number}", "1");
            let request = TestRequest::with_uri(&uri)
                .method(Method::PATCH)
                .insert_header((header::HOST, "localhost"))
                .to_request();
            let response = call_service(&app, request).await;
            assert_eq!(response.status(), 405, "{path}");
            let allow = response.headers().get(header::ALLOW).unwrap().to_str().unwrap();
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
