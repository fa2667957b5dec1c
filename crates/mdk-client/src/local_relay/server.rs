//! Listener and connections; up, down and up again on one port.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nostr_relay_builder::builder::{RateLimit, RelayBuilderNip42};
use nostr_relay_builder::{LocalRelay as Relay, RelayBuilder};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::database::Recorder;
use super::faults::Bucket;
use super::options::LocalRelayOptions;
use super::proxy;
use super::rules::Rules;
use crate::error::{ClientError, Result};

const BACKLOG: u32 = 1024;

/// What every connection needs.
pub(super) struct Shared {
    pub(super) options: LocalRelayOptions,
    pub(super) relay: Relay,
    pub(super) rules: watch::Receiver<Arc<Rules>>,
    pub(super) bucket: Bucket,
    connections: AtomicUsize,
    huge: AtomicUsize,
    changes: watch::Sender<u64>,
}

impl Shared {
    /// One more huge event has gone out.
    pub(super) fn has_said(&self) {
        self.huge.fetch_add(1, Ordering::SeqCst);
        self.changes.send_modify(|n| *n += 1);
    }
}

/// Counts one open WebSocket connection as long as it lives.
pub(super) struct Counted(Arc<Shared>);

impl Counted {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        shared.changes.send_modify(|n| *n += 1);
        Self(shared)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
        self.0.changes.send_modify(|n| *n += 1);
    }
}

enum Command {
    Cut(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// The port is always ours: by a listener, or by a bound socket that does not listen. The second refuses connections,
/// and keeps both other programs and the kernel's choice of source ports (which would make a connection of the port
/// with itself) away.
#[derive(Default)]
struct Line {
    listening: Option<(mpsc::Sender<Command>, Aborted)>,
    held: Option<TcpSocket>,
    /// A pause has begun and has not come to its end.
    stopping: bool,
}

/// A task that ends with its handle.
struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) struct Server {
    shared: Arc<Shared>,
    database: Arc<Recorder>,
    rules: watch::Sender<Arc<Rules>>,
    line: Mutex<Line>,
    up: AtomicBool,
    port: u16,
}

impl Server {
    pub(super) async fn start(options: LocalRelayOptions) -> Result<Self> {
        let held = bind(options.port)?;
        let port = held.local_addr().map_err(|_| ClientError::PortTaken)?.port();
        let changes = watch::Sender::new(0);
        let database = Arc::new(Recorder::new(options.max_events, changes.clone()));
        let rules = watch::Sender::new(Arc::new(Rules::default()));
        let shared = Shared {
            relay: relay(&options, database.clone()),
            options,
            rules: rules.subscribe(),
            bucket: Bucket::default(),
            connections: AtomicUsize::new(0),
            huge: AtomicUsize::new(0),
            changes,
        };
        let server = Self {
            shared: Arc::new(shared),
            database,
            rules,
            line: Mutex::new(Line { held: Some(held), ..Line::default() }),
            up: AtomicBool::new(false),
            port,
        };
        server.resume().await?;
        Ok(server)
    }

    pub(super) async fn resume(&self) -> Result<()> {
        let mut line = self.line.lock().await;
        if line.stopping {
            self.stop(&mut line).await; // a pause that was cancelled
        }
        if line.listening.is_some() {
            return Ok(());
        }
        let socket = line.held.take().map_or_else(|| bind(self.port), Ok)?;
        // Connections of before the pause may linger in TIME_WAIT.
        socket.set_reuseaddr(true).map_err(|_| ClientError::PortTaken)?;
        let listener = socket.listen(BACKLOG).map_err(|_| ClientError::PortTaken)?;
        let (commands, received) = mpsc::channel(1);
        let task = tokio::spawn(accept(listener, self.shared.clone(), received));
        line.listening = Some((commands, Aborted(task)));
        self.up.store(true, Ordering::SeqCst);
        Ok(())
    }

    pub(super) async fn pause(&self) {
        let mut line = self.line.lock().await;
        line.stopping = true;
        self.stop(&mut line).await;
    }

    async fn stop(&self, line: &mut Line) {
        self.up.store(false, Ordering::SeqCst);
        if let Some((commands, _)) = &line.listening {
            let (done, wait) = oneshot::channel();
            // Errors mean that the task has ended: nothing is left to stop.
            let _ = commands.send(Command::Stop(done)).await;
            let _ = wait.await;
            line.listening = None;
            line.held = bind(self.port).ok();
        }
        line.stopping = false;
    }

    pub(super) async fn cut(&self) {
        let line = self.line.lock().await;
        let Some((commands, _)) = &line.listening else { return };
        let (done, wait) = oneshot::channel();
        let _ = commands.send(Command::Cut(done)).await;
        let _ = wait.await;
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }

    pub(super) fn database(&self) -> &Recorder {
        &self.database
    }

    pub(super) const fn rules(&self) -> &watch::Sender<Arc<Rules>> {
        &self.rules
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(super) fn huge_events(&self) -> usize {
        self.shared.huge.load(Ordering::SeqCst)
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut commands: mpsc::Receiver<Command>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Command::Cut(done)) => {
                    connections.shutdown().await;
                    let _ = done.send(());
                }
                Some(Command::Stop(done)) => {
                    drop(listener);
                    connections.shutdown().await;
                    let _ = done.send(());
                    return;
                }
                None => return,
            },
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    connections.spawn(proxy::serve(stream, address, shared.clone()));
                }
                // Out of file descriptors, most likely: wait until a connection ends rather than spin.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            },
        }
    }
}

fn bind(port: u16) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4().map_err(|_| ClientError::PortTaken)?;
    socket.set_reuseaddr(true).map_err(|_| ClientError::PortTaken)?;
    socket
        .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .map_err(|_| ClientError::PortTaken)?;
    // Or a listener of somebody else, with the same option, would get the port.
    socket.set_reuseaddr(false).map_err(|_| ClientError::PortTaken)?;
    Ok(socket)
}

fn relay(options: &LocalRelayOptions, database: Arc<Recorder>) -> Relay {
    // The library's own limits are those of a public relay; a test decides by itself what is too much.
    let limits = RateLimit { max_reqs: 100_000, notes_per_minute: 1_000_000_000 };
    let mut builder = RelayBuilder::default().database(database).rate_limit(limits);
    if options.require_auth {
        builder = builder.nip42(RelayBuilderNip42::default());
    }
    if let Some(limit) = options.page_limit {
        builder = builder.max_filter_limit(limit).default_filter_limit(limit.min(500));
    }
    Relay::new(builder)
}
