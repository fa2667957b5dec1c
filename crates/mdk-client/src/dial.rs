//! From the URL of a relay or a file server to a byte stream or a WebSocket, over exactly the addresses that were checked.

pub(crate) mod address;
mod counted;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::HeaderMap;
use hyper::header::DATE;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::{Host, Url};

pub(crate) use self::counted::Counted;
use crate::error::ClientError;
use crate::options::PoolOptions;
use crate::relay_pool::trouble_log::http_date;
use crate::relay_pool::types::Origin;

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// Head start of an address before the next one is tried next to it (RFC 8305).
const STAGGER: Duration = Duration::from_millis(300);

/// A connection, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
/// Any of them.
pub(crate) type BoxStream = Box<dyn Stream>;

/// Turns names into addresses.
pub(crate) trait Resolve: Send + Sync {
    /// Addresses of `host`, each with `port`.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;
}

/// The system's resolver.
pub(crate) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Why there is no connection. In our words: neither address nor what the peer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    /// The rules of the URL's origin.
    #[error("this address is not dialled: {0}")]
    Refused(&'static str),
    /// No such name, or no resolver.
    #[error("the name could not be resolved")]
    Name,
    /// No address answered.
    #[error("the connection was refused or failed")]
    Connect,
    /// The SOCKS5 proxy.
    #[error("the proxy did not connect")]
    Proxy,
    /// TLS: certificate, name, version.
    #[error("the TLS handshake failed")]
    Tls,
    /// It answered something else than a WebSocket, for instance a redirect.
    #[error("answered HTTP {0} and no WebSocket")]
    Http(u16),
    /// Anything else in the handshake.
    #[error("the WebSocket handshake failed")]
    Handshake,
    /// `connect_timeout`.
    #[error("no connection in time")]
    Timeout,
}

/// Dials relays and file servers.
#[derive(Clone)]
pub(crate) struct Dialer {
    proxy: Option<SocketAddr>,
    allow_loopback: bool,
    allow_plaintext: bool,
    connect_timeout: Duration,
    max_message_bytes: usize,
    resolver: Arc<dyn Resolve>,
    tls: TlsConnector,
}

impl Dialer {
    /// A dialer with the limits and rules of `options`.
    pub(crate) fn new(options: &PoolOptions, resolver: Arc<dyn Resolve>) -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self::with_roots(options, resolver, roots)
    }

    fn with_roots(options: &PoolOptions, resolver: Arc<dyn Resolve>, roots: RootCertStore) -> Self {
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("ring supports TLS 1.2 and 1.3")
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            proxy: options.proxy,
            allow_loopback: options.allow_loopback,
            allow_plaintext: options.allow_plaintext,
            connect_timeout: options.connect_timeout,
            max_message_bytes: options.max_message_bytes,
            resolver,
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    /// Whether addresses that others name may lead to loopback.
    pub(crate) const fn allows_loopback(&self) -> bool {
        self.allow_loopback
    }

    /// Whether the URL may be opened at all, before DNS.
    ///
    /// # Errors
    /// [`ClientError::AddressRefused`].
    pub(crate) fn check(&self, url: &Url, origin: Origin) -> Result<(), ClientError> {
        address::check_url(url, origin, self.allow_loopback)?;
        if origin == Origin::User || url.scheme() != "ws" {
            return Ok(());
        }
        let inside = self.allow_loopback && address::on_loopback(url);
        // Tor encrypts the way to a hidden service.
        let hidden = self.proxy.is_some() && url.domain().is_some_and(|d| d.ends_with(".onion"));
        if self.allow_plaintext || inside || hidden {
            return Ok(());
        }
        Err(ClientError::AddressRefused("not wss://"))
    }

    /// A WebSocket to the relay, and what time it says that it is (its `Date`, seconds since 1970). Redirects are not
    /// followed.
    ///
    /// # Errors
    /// [`DialError`].
    pub(crate) async fn websocket(
        &self,
        url: &Url,
        origin: Origin,
    ) -> Result<(WebSocketStream<Counted>, Option<u64>), DialError> {
        let whole = async {
            let stream = Counted::new(self.stream(url, origin).await?);
            let request = url.as_str().into_client_request().map_err(|_| DialError::Handshake)?;
            let config = WebSocketConfig::default()
                .read_buffer_size(8 * 1024)
                .write_buffer_size(8 * 1024)
                .max_message_size(Some(self.max_message_bytes))
                .max_frame_size(Some(self.max_message_bytes));
            let done =
                tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
            match done {
                Ok((socket, response)) => Ok((socket, date_of(response.headers()))),
                Err(WsError::Http(response)) => Err(DialError::Http(response.status().as_u16())),
                Err(_) => Err(DialError::Handshake),
            }
        };
        timeout(self.connect_timeout, whole).await.unwrap_or(Err(DialError::Timeout))
    }

    /// As [`stream`](Self::stream), within `connect_timeout`.
    ///
    /// # Errors
    /// [`DialError`].
    pub(crate) async fn connect(&self, url: &Url, origin: Origin) -> Result<BoxStream, DialError> {
        timeout(self.connect_timeout, self.stream(url, origin))
            .await
            .unwrap_or(Err(DialError::Timeout))
    }

    /// A byte stream to the host of the URL, through TLS for wss and https. The caller bounds the time.
    ///
    /// # Errors
    /// [`DialError`].
    pub(crate) async fn stream(&self, url: &Url, origin: Origin) -> Result<BoxStream, DialError> {
        self.check(url, origin).map_err(refused)?;
        let host = url.host().ok_or(DialError::Name)?;
        let port = url.port_or_known_default().ok_or(DialError::Name)?;
        let tcp: BoxStream = match self.proxy {
            Some(proxy) => Box::new(through_proxy(proxy, &host, port).await?),
            None => Box::new(self.direct(&host, port, origin).await?),
        };
        if matches!(url.scheme(), "ws" | "http") {
            return Ok(tcp);
        }
        let name = match host {
            Host::Domain(name) => {
                ServerName::try_from(name.to_owned()).map_err(|_| DialError::Tls)?
            }
            Host::Ipv4(ip) => ServerName::IpAddress(std::net::IpAddr::V4(ip).into()),
            Host::Ipv6(ip) => ServerName::IpAddress(std::net::IpAddr::V6(ip).into()),
        };
        Ok(Box::new(self.tls.connect(name, tcp).await.map_err(|_| DialError::Tls)?))
    }

    /// Resolves once, checks every address, and connects to those and no others: a name that changes in between (DNS
    /// rebinding) changes nothing. One bad address condemns the name.
    async fn direct(
        &self,
        host: &Host<&str>,
        port: u16,
        origin: Origin,
    ) -> Result<TcpStream, DialError> {
        let mut addresses = match host {
            Host::Domain(name) => {
                self.resolver.resolve(name, port).await.map_err(|_| DialError::Name)?
            }
            Host::Ipv4(ip) => vec![SocketAddr::from((*ip, port))],
            Host::Ipv6(ip) => vec![SocketAddr::from((*ip, port))],
        };
        for at in &addresses {
            address::check_ip(at.ip(), origin, self.allow_loopback).map_err(refused)?;
        }
        addresses.truncate(MAX_ADDRESSES);
        if addresses.is_empty() {
            return Err(DialError::Name);
        }
        first_to_connect(addresses).await
    }
}

/// The time in the head of an HTTP answer, seconds since 1970.
pub(crate) fn date_of(headers: &HeaderMap) -> Option<u64> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

fn refused(error: ClientError) -> DialError {
    match error {
        ClientError::AddressRefused(why) => DialError::Refused(why),
        _ => DialError::Handshake,
    }
}

/// One address after the other, the next one also when the one before is slow.
async fn first_to_connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, DialError> {
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    running.extend(waiting.next().map(TcpStream::connect));
    loop {
        let more = waiting.len() > 0;
        tokio::select! {
            done = running.next() => match done {
                Some(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                },
                Some(Err(_)) => running.extend(waiting.next().map(TcpStream::connect)),
                None => return Err(DialError::Connect),
            },
            () = sleep(STAGGER), if more => running.extend(waiting.next().map(TcpStream::connect)),
        }
    }
}

/// SOCKS5 without authentication; names are left to the proxy.
async fn through_proxy(
    proxy: SocketAddr,
    host: &Host<&str>,
    port: u16,
) -> Result<TcpStream, DialError> {
    use tokio_socks::tcp::Socks5Stream;
    let tcp = TcpStream::connect(proxy).await.map_err(|_| DialError::Proxy)?;
    let _ = tcp.set_nodelay(true);
    let connected = match host {
        Host::Domain(name) => Socks5Stream::connect_with_socket(tcp, (*name, port)).await,
        Host::Ipv4(ip) => {
            Socks5Stream::connect_with_socket(tcp, SocketAddr::from((*ip, port))).await
        }
        Host::Ipv6(ip) => {
            Socks5Stream::connect_with_socket(tcp, SocketAddr::from((*ip, port))).await
        }
    };
    Ok(connected.map_err(|_| DialError::Proxy)?.into_inner())
}
