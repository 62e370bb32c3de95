//! Resources: a path with its methods, which answers 405 to all others.

use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, web};

use crate::api::http::problem::Problem;

/// A path for GET, and for HEAD, which is the same without the body.
pub(crate) fn on_get<F, Args>(path: &'static str, handler: F) -> (&'static str, Resource)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    (path, with_get(resource(path, "GET, HEAD"), handler))
}

/// A path for GET, HEAD and DELETE.
pub(crate) fn on_get_and_delete<G, GetArgs, D, DeleteArgs>(
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
pub(crate) fn on_post<F, Args>(path: &'static str, handler: F) -> (&'static str, Resource)
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    (path, resource(path, "POST").route(web::post().to(handler)))
}

/// A path for GET, HEAD and POST.
pub(crate) fn on_get_and_post<G, GetArgs, P, PostArgs>(
    path: &'static str,
    get: G,
    post: P,
) -> (&'static str, Resource)
where
    G: Handler<GetArgs>,
    GetArgs: FromRequest + 'static,
    G::Output: Responder + 'static,
    P: Handler<PostArgs>,
    PostArgs: FromRequest + 'static,
    P::Output: Responder + 'static,
{
    let resource = with_get(resource(path, "GET, HEAD, POST"), get);
    (path, resource.route(web::post().to(post)))
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
