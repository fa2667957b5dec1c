//! Servers for blobs that do what a test tells them to, and what asks them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mdk_client::{
    Blossom, BlossomOptions, ClientError, LOCATOR_KIND, Origin, Pool, PoolOptions, Server,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Far beyond what anything here takes.
pub const SOON: Duration = Duration::from_secs(20);

pub fn hash(blob: &[u8]) -> [u8; 32] {
    Sha256::digest(blob).into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
}

impl Request {
    pub fn length(&self) -> usize {
        self.headers.get("content-length").map_or(0, |length| length.parse().unwrap())
    }
}

/// A connection whose request's head has been read.
pub struct Conn {
    pub stream: TcpStream,
    pub request: Request,
    early: Vec<u8>,
}

impl Conn {
    async fn read(mut stream: TcpStream) -> Option<Self> {
        let (mut data, mut buffer) = (Vec::new(), [0; 4096]);
        let end = loop {
            if let Some(end) = data.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            data.extend_from_slice(&buffer[..read]);
            if data[0] == 0x16 {
                return None; // a TLS handshake
            }
        };
        let head = String::from_utf8(data[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let request = Request { method, path, headers: headers.collect() };
        Some(Self { stream, request, early: data[end + 4..].to_vec() })
    }

    pub async fn body(&mut self) -> Vec<u8> {
        let mut body = std::mem::take(&mut self.early);
        let already = body.len();
        body.resize(self.request.length(), 0);
        self.stream.read_exact(&mut body[already..]).await.unwrap();
        body
    }

    /// An answer with a length, and the end of the connection.
    pub async fn answer(mut self, status: &str, headers: &str, body: &[u8]) {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
            body.len()
        );
        self.write(head.as_bytes()).await;
        self.write(body).await;
        let _ = self.stream.shutdown().await;
        // What the other side still sends is read: a reset could overtake the answer.
        let mut buffer = [0; 64 * 1024];
        while self.stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    }

    /// Writes; false when the other side has gone.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Waits until the other side hangs up.
    pub async fn gone(mut self) {
        let mut buffer = [0; 1024];
        while self.stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    }
}

/// A server on loopback.
pub struct Host {
    pub url: String,
    /// Connections that it has got.
    pub connections: Arc<AtomicUsize>,
    /// What was asked.
    pub asked: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Host {
    pub async fn start<F>(serve: impl Fn(Conn) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (connections, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::default()));
        let (count, log, serve) = (connections.clone(), asked.clone(), Arc::new(serve));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (log, serve): (Arc<Mutex<Vec<Request>>>, _) = (log.clone(), serve.clone());
                tokio::spawn(async move {
                    if let Some(conn) = Conn::read(stream).await {
                        log.lock().unwrap().push(conn.request.clone());
                        serve(conn).await;
                    }
                });
            }
        });
        Self { url, connections, asked, task }
    }

    /// One that does what it should: keeps blobs, and gives them back.
    pub async fn good() -> Self {
        let blobs: Arc<Mutex<HashMap<String, Vec<u8>>>> = Arc::default();
        Self::start(move |mut conn| {
            let blobs = blobs.clone();
            async move {
                if conn.request.method == "PUT" {
                    let body = conn.body().await;
                    let name = hex(&hash(&body));
                    let text = descriptor(&name, body.len());
                    blobs.lock().unwrap().insert(name, body);
                    conn.answer("200 OK", "", text.as_bytes()).await;
                    return;
                }
                let found = blobs.lock().unwrap().get(&conn.request.path[1..]).cloned();
                match found {
                    Some(blob) => conn.answer("200 OK", "", &blob).await,
                    None => conn.answer("404 Not Found", "x-reason: no such blob\r\n", b"").await,
                }
            }
        })
        .await
    }

    /// One that answers every GET with the same bytes.
    pub async fn of(body: &'static [u8]) -> Self {
        Self::start(move |conn| conn.answer("200 OK", "", body)).await
    }

    pub fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn user(&self) -> Server {
        Server { root: self.url.clone(), origin: Origin::User }
    }

    pub fn locator(&self, blob: &[u8]) -> (String, String) {
        (LOCATOR_KIND.to_owned(), format!("{}/{}", self.url, hex(&hash(blob))))
    }
}

pub fn descriptor(name: &str, size: usize) -> String {
    format!(
        r#"{{"url":"https://cdn.example/{name}","sha256":"{name}","size":{size},"uploaded":1}}"#
    )
}

fn pool() -> Pool {
    Pool::new(PoolOptions { allow_loopback: true, ..PoolOptions::default() })
}

/// Transfers that are given up soon, with a server that is too slow for any.
pub fn hasty() -> Blossom {
    let options = BlossomOptions {
        first_byte: Duration::from_millis(600),
        stall: Duration::from_millis(300),
        min_rate: 4096,
    };
    Blossom::new(&pool(), options)
}

/// Transfers with all the patience of a user, for whatever is not about time.
pub fn patient() -> Blossom {
    Blossom::new(&pool(), BlossomOptions::default())
}

/// What each place said.
pub fn reasons(error: ClientError) -> Vec<(String, String)> {
    match error {
        ClientError::MediaUnavailable { reasons, .. } => reasons,
        other => panic!("not unavailable: {other:?}"),
    }
}
