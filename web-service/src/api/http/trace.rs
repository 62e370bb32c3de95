//! The `traceparent` header (W3C Trace Context).

use actix_web::HttpRequest;
use pipeline::contract::TraceParent;

/// The trace that the client names. A malformed header is ignored, as the standard asks.
pub(crate) fn parent(request: &HttpRequest) -> Option<TraceParent> {
    let header = request.headers().get("traceparent")?;
    TraceParent::parse(header.to_str().ok()?)
}
