//! What clients see: the HTTP API.

mod batch;
mod body;
mod docs;
mod follow;
mod health;
mod key;
mod list;
mod openapi;
mod posted;
mod prefer;
mod problem;
mod process_data;
mod requests;
mod schema;
mod stream;
mod view;
mod watch;

use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, web};
pub use openapi::document;
pub use problem::Problem;

/// Adds all routes. `body_limit` is in bytes.
pub fn routes(config: &mut web::ServiceConfig, body_limit: usize) {
    config
        .app_data(process_data::BodyLimit(body_limit))
        .service(posting(process_data::PATH, process_data::process_data))
        .service(posting(batch::PATH, batch::batch))
        .service(reading(list::PATH, list::list))
        .service(reading(requests::PATH, requests::get))
        .service(reading(stream::PATH, stream::stream))
        .service(reading(health::LIVE, health::live))
        .service(reading(health::READY, health::ready))
        .service(reading(openapi::PATH, openapi::openapi))
        .service(reading(docs::PATH, docs::page))
        .service(reading(docs::FOLDER, docs::page))
        .service(reading(docs::FILES, docs::file))
        .default_service(web::to(not_found));
}

/// A place for GET and for HEAD, which is the same without the body.
fn reading<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let routes = place(path, "GET, HEAD").route(web::get().to(handler.clone()));
    routes.route(web::head().to(handler))
}

/// A place for POST.
fn posting<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    place(path, "POST").route(web::post().to(handler))
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
