//! HTTP server: serves on threads of its own until it is told to stop.

use std::{any::Any, io, thread, time::Duration};

use actix_web::{
    dev::{Extensions, Server},
    rt::{System, net::TcpStream},
};
use socket2::{SockRef, TcpKeepalive};
use tokio::sync::oneshot;

/// How long a connection may be silent until the system asks whether the client is still there, and how often it asks then.
const SILENCE: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_secs(15);

/// Has the system find out whether the client of a new connection has vanished. The time limits of calls end no connection that
/// waits for the rest of a body, and each takes one of the open files of the process.
pub(crate) fn probe_client(connection: &dyn Any, _: &mut Extensions) {
    let Some(connection) = connection.downcast_ref::<TcpStream>() else { return };
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE_INTERVAL);
    // The calls can be served without it.
    let _ = SockRef::from(connection).set_tcp_keepalive(&keepalive);
}

/// Serves, and returns what the server ends with. If this is dropped, the server is, too, which ends the calls in flight.
///
/// It runs in a system of its HTTP library: there each thread has a queue of tasks, so that of several that other threads
/// wake in a row only the first is a system call. Without a system each would be one: two for each accepted request.
pub(crate) async fn run(server: Server) -> io::Result<()> {
    let (mut ended, end) = oneshot::channel();
    let serve = move || {
        let served = System::new().block_on(async {
            tokio::select! {
                served = server => Some(served),
                () = ended.closed() => None,
            }
        });
        if let Some(served) = served {
            // Somebody may have stopped to wait just now.
            let _ = ended.send(served);
        }
    };
    thread::Builder::new().name("http".to_owned()).spawn(serve)?;
    end.await.unwrap_or_else(|_| Err(io::Error::other("the thread of the HTTP server has ended")))
}

#[cfg(test)]
mod tests {
    use std::{future::pending, net::TcpListener};

    use actix_web::{App, HttpServer, web};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::mpsc,
    };

    use super::*;

    /// A server whose calls never end, which tells of each that begins, and its address.
    fn server() -> (Server, String, mpsc::UnboundedReceiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (begun, calls) = mpsc::unbounded_channel();
        let app = move || {
            let begun = begun.clone();
            let call = move || {
                begun.send(()).unwrap();
                pending::<&str>()
            };
            App::new().default_service(web::to(call))
        };
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap();
        (server.run(), address, calls)
    }

    async fn call(address: &str) -> TcpStream {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        connection
    }

    #[tokio::test]
    async fn calls_in_flight_end_with_a_server_that_is_dropped_also_while_it_waits_for_them() {
        for is_stopping in [false, true] {
            let (server, address, mut calls) = server();
            let (handle, serving) = (server.handle(), tokio::spawn(run(server)));
            let mut connection = call(&address).await;
            calls.recv().await.unwrap();
            if is_stopping {
                drop(handle.stop(true));
            }
            serving.abort();
            let mut response = Vec::new();
            let _reset_or_closed = connection.read_to_end(&mut response).await;
            assert!(response.is_empty());
        }
    }

    #[tokio::test]
    async fn a_server_that_is_stopped_ends_well() {
        let (server, _, _calls) = server();
        let (handle, serving) = (server.handle(), tokio::spawn(run(server)));
        handle.stop(true).await;
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_connection_finds_out_whether_its_client_has_vanished() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (connection, _) = listener.accept().unwrap();
        connection.set_nonblocking(true).unwrap();
        let connection = TcpStream::from_std(connection).unwrap();
        assert!(!SockRef::from(&connection).keepalive().unwrap());
        probe_client(&connection, &mut Extensions::new());
        assert!(SockRef::from(&connection).keepalive().unwrap());
        assert_eq!(SockRef::from(&connection).tcp_keepalive_time().unwrap(), SILENCE);
    }
}
