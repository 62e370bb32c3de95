//! `GET /docs`: the OpenAPI document as a page (Swagger UI). All of its files come from this program.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile as File};

use crate::api::http::problem::Problem;

pub(crate) const PATH: &str = "/docs";
pub(crate) const FOLDER: &str = "/docs/";
pub(crate) const FILES: &str = "/docs/{file}";

const PAGE: &str = include_str!("../../assets/docs.html");
const START_SCRIPT: &str = include_str!("../../assets/docs.js");

/// Makes the browser refuse requests to other hosts. Swagger UI sets styles and draws icons inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'";

/// The page. Its links are relative, so that it works behind a proxy that adds a prefix.
pub(crate) async fn page(request: HttpRequest) -> HttpResponse {
    let base = if request.path().ends_with('/') { "../" } else { "./" };
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .body(PAGE.replace("{base}", base))
}

/// A script, style sheet or icon of the page.
pub(crate) async fn file(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (content_type, bytes) = find(&name).ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::CACHE_CONTROL, "max-age=3600"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(bytes))
}

fn find(name: &str) -> Option<(&'static str, &'static [u8])> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let (content_type, file) = match name {
        "start.js" => return Some((SCRIPT, START_SCRIPT.as_bytes())),
        "swagger-ui-bundle.js" => (SCRIPT, File::Js),
        "swagger-ui.css" => ("text/css; charset=utf-8", File::Css),
        "favicon-32x32.png" => ("image/png", File::Favicon32),
        _ => return None,
    };
    let (_, bytes) = SwaggerUi::static_files().iter().find(|(which, _)| *which == file)?;
    Some((content_type, bytes))
}
