//! An HTTP client that costs little CPU time: one connection, one call at a time.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use uuid::Uuid;

use super::messages;

const POST: &str = "/api/v1/processData";

/// A connection to a web service.
pub(super) struct HttpClient {
    connection: SendRequest<Full<Bytes>>,
    host: String,
    post: Bytes,
}

pub(super) struct HttpResponse {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl HttpClient {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(address).await.context("the web service can't be reached")?;
        stream.set_nodelay(true)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
        // The end of the connection is reported to the call that waits for its response.
        tokio::spawn(driver);
        Ok(Self { connection, host: address.to_string(), post: messages::body().into() })
    }

    /// Posts a request. Fails unless it is accepted.
    pub(super) async fn post(&mut self) -> Result<HttpResponse> {
        self.send_post(None, 202).await
    }

    /// Posts a request and waits for its result. Fails if there is none within 10 s.
    pub(super) async fn post_and_wait(&mut self) -> Result<HttpResponse> {
        self.send_post(Some("wait=10"), 200).await
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<HttpResponse> {
        self.send(Request::get(path).header(HOST, &self.host).body(Full::default())?).await
    }

    /// Gets a request and waits up to a minute for its end.
    pub(super) async fn get_and_wait(&mut self, path: &str) -> Result<HttpResponse> {
        let request = Request::get(path).header(HOST, &self.host).header("prefer", "wait=60");
        self.send(request.body(Full::default())?).await
    }

    async fn send_post(&mut self, prefer: Option<&str>, expected: u16) -> Result<HttpResponse> {
        let post = Request::post(POST).header(HOST, &self.host);
        let post = post.header(CONTENT_TYPE, "application/json");
        let post = prefer.into_iter().fold(post, |post, prefer| post.header("prefer", prefer));
        let response = self.send(post.body(Full::new(self.post.clone()))?).await?;
        let HttpResponse { status, body } = &response;
        ensure!(*status == expected, "{status}: {}", String::from_utf8_lossy(body));
        Ok(response)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<HttpResponse> {
        self.connection.ready().await?;
        let response = self.connection.send_request(request).await?;
        let status = response.status().as_u16();
        Ok(HttpResponse { status, body: response.into_body().collect().await?.to_bytes() })
    }
}

impl HttpResponse {
    /// The id of the accepted request.
    pub(super) fn id(&self) -> Result<Uuid> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Accepted {
            request_id: Uuid,
        }
        let accepted: Accepted = serde_json::from_slice(&self.body)?;
        Ok(accepted.request_id)
    }
}
