//! What clients see: the HTTP API.

mod follow;
mod health;
mod list;
mod prefer;
mod problem;
mod process_data;
mod requests;
mod stream;
mod view;
mod watch;

use actix_web::{
    HttpResponse, ResponseError,
    http::header::{self, HeaderValue},
    web,
};
pub use problem::Problem;

/// Adds all routes. `body_limit` is in bytes.
pub fn routes(config: &mut web::ServiceConfig, body_limit: usize) {
    config
        .app_data(web::PayloadConfig::new(body_limit))
        .app_data(process_data::BodyLimit(body_limit))
        .service(process_data::process_data)
        .service(list::list)
        .service(requests::get)
        .service(stream::stream)
        .service(web::resource("/api/v1/processData").to(only_post))
        .service(health::live)
        .service(health::ready)
        .default_service(web::to(not_found));
}

async fn only_post() -> HttpResponse {
    let mut answer = Problem::method_not_allowed().error_response();
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    answer
}

async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found())
}
