//! The HTTP server of a service: bound before anything else, one worker thread, stopped by the program.

use std::net::{SocketAddr, TcpListener};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::Server,
    web::{self, ServiceConfig},
};
use pipeline::{health::Readiness, log_messages::LISTENING};
use tracing::info;

/// How long requests in flight may take once the program stops, in seconds.
const SHUTDOWN_TIMEOUT: u64 = 2;

/// A bound server that doesn't serve yet.
pub(crate) struct Http {
    listener: TcpListener,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Http {
    /// Binds this address; port 0 takes a free one.
    pub(crate) fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Begins to serve these routes. One worker thread is enough here, and saves memory.
    pub(crate) fn serve<S: Send + Sync + 'static>(
        self,
        state: S,
        routes: fn(&mut ServiceConfig),
    ) -> std::io::Result<Server> {
        let state = web::Data::new(state);
        let app = move || App::new().app_data(state.clone()).configure(routes);
        let server = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .shutdown_timeout(SHUTDOWN_TIMEOUT)
            .listen(self.listener)?
            .run();
        info!(address = %self.address, "{LISTENING}");
        Ok(server)
    }
}

/// The answer of `/health`.
pub(crate) fn health(readiness: &Readiness) -> HttpResponse {
    match readiness.is_ready() {
        true => HttpResponse::Ok().json(readiness),
        false => HttpResponse::ServiceUnavailable().json(readiness),
    }
}
