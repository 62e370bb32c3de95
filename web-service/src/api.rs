//! What clients see: the HTTP API.

pub mod docs;
pub mod health;
pub mod http;
pub mod openapi;
pub mod parked;
pub mod requests;
pub mod state;

use crate::api::http::problem::Problem;
use crate::api::requests::{
    cancel, event_stream, get, list, replay, retry_callback, submit, submit_batch,
};
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, web};

/// Adds all routes. Their handlers need [`state::State`] as application data.
pub fn routes(config: &mut web::ServiceConfig) {
    for (_, place) in places() {
        config.service(place);
    }
    config.default_service(web::to(not_found));
}

/// All places of the API by their paths, in the order in which they are looked at.
fn places() -> Vec<(&'static str, Resource)> {
    vec![
        posting(submit::PATH, submit::process_data),
        posting(submit_batch::PATH, submit_batch::batch),
        reading(list::PATH, list::list),
        reading_and_deleting(get::PATH, get::get, cancel::cancel),
        posting(retry_callback::PATH, retry_callback::retry),
        posting(replay::REPLAY, replay::replay),
        posting(replay::DISCARD, replay::discard),
        reading(parked::PATH, parked::list),
        reading_and_deleting(parked::ONE, parked::get, parked::discard),
        reading(event_stream::PATH, event_stream::stream),
        reading(health::LIVE, health::live),
        reading(health::READY, health::ready),
        reading(openapi::PATH, openapi::openapi),
        reading(docs::PATH, docs::page),
        reading(docs::FOLDER, docs::page),
        reading(docs::FILES, docs::file),
    ]
}

/// A place for GET and for HEAD, which is the same without the body.
fn reading<F, Args>(path: &'static str, handler: F) -> (&'static str, Resource)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    (path, looking(place(path, "GET, HEAD"), handler))
}

/// A place for GET, HEAD and DELETE.
fn reading_and_deleting<F, Args, D, Deleting>(
    path: &'static str,
    handler: F,
    deleting: D,
) -> (&'static str, Resource)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
    D: Handler<Deleting>,
    Deleting: FromRequest + 'static,
    D::Output: Responder + 'static,
{
    let place = looking(place(path, "GET, HEAD, DELETE"), handler);
    (path, place.route(web::delete().to(deleting)))
}

fn looking<F, Args>(place: Resource, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    place.route(web::get().to(handler.clone())).route(web::head().to(handler))
}

/// A place for POST.
fn posting<F, Args>(path: &'static str, handler: F) -> (&'static str, Resource)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    (path, place(path, "POST").route(web::post().to(handler)))
}

/// Refuses all methods but those that are added.
fn place(path: &str, allowed: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move {
        Result::<HttpResponse, _>::Err(Problem::method_not_allowed(allowed))
    }))
}

async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found())
}
