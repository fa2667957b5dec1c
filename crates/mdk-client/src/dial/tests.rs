use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::address::{check_ip, check_url, parse};
use super::*;
use crate::relay_pool::Origin::{Peer, User};

fn is_dialled(ip: &str) -> bool {
    let ip: IpAddr = ip.parse().expect("an address");
    assert!(check_ip(ip, User, false).is_ok(), "the user may name {ip}");
    check_ip(ip, Peer, false).is_ok()
}

#[test]
fn only_public_addresses_of_others_are_dialled() {
    let public = "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 169.253.0.1 \
        169.255.0.1 192.167.1.1 192.169.1.1 198.17.1.1 198.20.1.1 223.255.255.255 126.255.255.255 \
        128.0.0.1 11.0.0.0 9.255.255.255 2606:4700:4700::1111 2a00:1450::1 2001:200::1 2003::1 \
        3ffe::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1 2606:4700::5efe:808:808";
    for ip in public.split(' ') {
        assert!(is_dialled(ip), "{ip} is public");
    }
    for (kinds, addresses) in [
        (
            "this network, private, CGNAT, loopback, link-local and metadata",
            "0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 \
             127.255.255.255 169.254.0.1 169.254.169.254 172.16.0.0 172.31.255.255 192.168.0.0 \
             192.168.255.255 168.63.129.16 100.100.100.200",
        ),
        (
            "protocol, documentation, benchmarking, multicast, reserved, broadcast",
            "192.0.0.1 192.0.2.1 192.88.99.1 198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.1 \
             224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255",
        ),
        (
            "IPv6: unspecified, loopback, unique local, link-local, site-local, multicast",
            ":: ::1 fc00::1 fd00:ec2::254 fdff::1 fe80::1 febf::1 fec0::1 feff::1 ff00::1 ff02::1 \
             ffff::1",
        ),
        (
            "documentation, discard, protocol block (Teredo, ORCHID, benchmarking), not unicast",
            "2001:db8::1 3fff::1 100::1 2001::1 2001:2::1 2001:10::1 2001:20::1 4000::1 5f00::1 \
             1000::1",
        ),
        (
            "IPv4 inside: mapped, compatible, SIIT, NAT64, 6to4, ISATAP",
            "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 ::10.1.2.3 \
             ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b::192.168.1.1 64:ff9b::169.254.169.254 \
             64:ff9b:1::1 64:ff9b:1::808:808 2002:7f00:1::1 2002:c0a8:101::1 \
             2606:4700::5efe:7f00:1 2606:4700::200:5efe:a00:1 fe80::5efe:808:808",
        ),
    ] {
        for ip in addresses.split(' ') {
            assert!(!is_dialled(ip), "{ip} is not public: {kinds}");
        }
    }
    for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        let ip: IpAddr = ip.parse().expect("an address");
        assert!(check_ip(ip, Peer, true).is_ok(), "loopback is allowed in tests");
    }
    let private = "10.0.0.1".parse().expect("an address");
    assert!(check_ip(private, Peer, true).is_err(), "and nothing else");
}

#[test]
fn urls_of_others_are_checked_before_dns() {
    let allowed = |url: &str| parse(url).is_ok_and(|url| check_url(&url, Peer, false).is_ok());
    let good = "wss://relay.example.org ws://relay.example.org wss://relay.example.org:1024/path \
        wss://relay.example.org:65535 ws://relay.example.org:443 ws://8.8.8.8 \
        wss://[2606:4700:4700::1111]:8443 wss://localhost.example.org wss://mylocal.example \
        wss://relay.example.org.";
    for url in good.split(' ') {
        assert!(allowed(url), "{url}");
    }
    let bad = "https://relay.example.org http://a.example file:///etc/passwd relay.example.org \
        wss://user@relay.example.org wss://:pass@relay.example.org wss://u:p@8.8.8.8 \
        wss://relay.example.org:22 wss://relay.example.org:1023 wss://relay.example.org:0 \
        ws://localhost ws://LOCALHOST:8080 ws://localhost. ws://a.localhost ws://relay \
        ws://printer.local ws://metadata.google.internal ws://router.lan ws://x.home.arpa \
        wss://nas.localdomain wss://nas.home wss://git.corp wss://db.private wss://mx.mail \
        ws://127.0.0.1 ws://127.1 ws://0x7f.1 ws://2130706433 ws://0177.0.0.1 ws://[::1] \
        ws://[::ffff:7f00:1] ws://[::ffff:169.254.169.254] ws://10.0.0.1 \
        ws://169.254.169.254/latest/meta-data ws://[fe80::1] ws://[64:ff9b::a9fe:a9fe] \
        ws://０.０.０.０ ws://①②⑦.0.0.1 ws://127。0。0。1 ws: wss:///";
    for url in bad.split(' ').chain([""]) {
        assert!(!allowed(url), "{url}");
    }
}

/// Answers with what it is told, and counts.
struct Fake(Vec<SocketAddr>, AtomicUsize);

impl Resolve for Fake {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
        _: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let addresses = self.0.clone();
        Box::pin(async move { Ok(addresses) })
    }
}

async fn dial(
    addresses: Vec<SocketAddr>,
    origin: Origin,
    allow_loopback: bool,
) -> (Result<(), DialError>, usize) {
    let options = PoolOptions {
        allow_loopback,
        allow_plaintext: true,
        connect_timeout: Duration::from_secs(5),
        ..PoolOptions::default()
    };
    let fake = Arc::new(Fake(addresses, AtomicUsize::new(0)));
    let dialer = Dialer::new(&options, fake.clone());
    let url = parse("ws://relay.example.org:8080").expect("a URL");
    let result = timeout(Duration::from_secs(10), dialer.stream(&url, origin)).await;
    (result.expect("in time").map(|_| ()), fake.1.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_dialled() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let inside = listener.local_addr().expect("an address");
    let public: SocketAddr = "8.8.8.8:8080".parse().expect("an address");
    for addresses in [vec![inside], vec![public, inside], vec![inside, public]] {
        let (result, asked) = dial(addresses, Peer, false).await;
        assert_eq!(result, Err(DialError::Refused("loopback")), "one bad address is enough");
        assert_eq!(asked, 1);
    }
    let accepted = timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "not even a connection");
    for (origin, allow_loopback) in [(User, false), (Peer, true)] {
        let (result, asked) = dial(vec![inside], origin, allow_loopback).await;
        assert_eq!(result, Ok(()));
        assert_eq!(asked, 1, "resolved once, connected to exactly that");
    }
    let private = "[fd00::1]:8080".parse().expect("an address");
    assert_eq!(dial(vec![private], Peer, true).await.0, Err(DialError::Refused("private network")));
    assert_eq!(dial(vec![], User, false).await.0, Err(DialError::Name));
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let alive = listener.local_addr().expect("an address");
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let dead = gone.local_addr().expect("an address");
    drop(gone);
    assert_eq!(dial(vec![dead, dead, alive], User, false).await.0, Ok(()));
    assert_eq!(dial(vec![dead, dead], User, false).await.0, Err(DialError::Connect));
}

/// A TLS server with the certificate in `testdata`, for relay.example.org, signed by the root there.
async fn tls_server() -> SocketAddr {
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    let leaf = CertificateDer::from(&include_bytes!("testdata/leaf.der")[..]);
    let key =
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(&include_bytes!("testdata/key.der")[..]));
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .expect("certificate and key belong together");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let tls = acceptor.accept(tcp).await.ok()?;
                let mut socket = tokio_tungstenite::accept_async(tls).await.ok()?;
                while socket.next().await.is_some_and(|message| message.is_ok()) {}
                Some(())
            });
        }
    });
    address
}

#[tokio::test]
async fn wss_needs_a_trusted_certificate_of_this_name() {
    let address = tls_server().await;
    let options = PoolOptions { connect_timeout: Duration::from_secs(5), ..PoolOptions::default() };
    let fake = || Arc::new(Fake(vec![address], AtomicUsize::new(0)));
    let mut roots = RootCertStore::empty();
    roots.add(include_bytes!("testdata/ca.der")[..].into()).expect("a root");
    let trusting = Dialer::with_roots(&options, fake(), roots);
    let right = parse("wss://relay.example.org").expect("a URL");
    let wrong = parse("wss://other.example.org").expect("a URL");
    assert!(trusting.websocket(&right, User).await.is_ok());
    assert_eq!(trusting.websocket(&wrong, User).await.err(), Some(DialError::Tls));
    let real = Dialer::new(&options, fake());
    assert_eq!(real.websocket(&right, User).await.err(), Some(DialError::Tls), "unknown root");
}
