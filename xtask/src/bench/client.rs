//! A cheap HTTP client: one connection, one request at a time.

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
pub(super) struct Client {
    connection: SendRequest<Full<Bytes>>,
    host: String,
    post: Bytes,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("the web service is not there")?;
        stream.set_nodelay(true)?;
        let (connection, work) = http1::handshake(TokioIo::new(stream)).await?;
        // Whoever waits for an answer hears of its end too.
        tokio::spawn(work);
        Ok(Self { connection, host: address.to_string(), post: messages::body().into() })
    }

    /// Posts a request. Fails unless it is accepted.
    pub(super) async fn post(&mut self) -> Result<Answer> {
        self.send_post(None, 202).await
    }

    /// Posts a request and waits for its result. Fails if there is none after some seconds.
    pub(super) async fn post_and_wait(&mut self) -> Result<Answer> {
        self.send_post(Some("wait=10"), 200).await
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Request::get(path).header(HOST, &self.host).body(Full::default())?).await
    }

    /// Asks for a request and waits up to a minute for its end.
    pub(super) async fn get_and_wait(&mut self, path: &str) -> Result<Answer> {
        let request = Request::get(path).header(HOST, &self.host).header("prefer", "wait=60");
        self.send(request.body(Full::default())?).await
    }

    async fn send_post(&mut self, prefer: Option<&str>, expected: u16) -> Result<Answer> {
        let post = Request::post(POST).header(HOST, &self.host);
        let post = post.header(CONTENT_TYPE, "application/json");
        let post = prefer.into_iter().fold(post, |post, prefer| post.header("prefer", prefer));
        let answer = self.send(post.body(Full::new(self.post.clone()))?).await?;
        let Answer { status, body } = &answer;
        ensure!(*status == expected, "{status}: {}", String::from_utf8_lossy(body));
        Ok(answer)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        self.connection.ready().await?;
        let answer = self.connection.send_request(request).await?;
        let status = answer.status().as_u16();
        Ok(Answer { status, body: answer.into_body().collect().await?.to_bytes() })
    }
}

impl Answer {
    /// The id of the request that was accepted.
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
