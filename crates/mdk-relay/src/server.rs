//! Listener and connections; up, down and up again on one port.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::error::{RelayError, Result};
use crate::faults::{self, Layer, Rules};
use crate::hub::Hub;
use crate::options::LocalRelayOptions;
use crate::signals::{Counted, Signals};
use crate::{connection, information};

const BACKLOG: u32 = 1024;

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

pub(crate) struct Server {
    hub: Arc<Hub>,
    layer: Option<Arc<Layer>>,
    rules: watch::Sender<Arc<Rules>>,
    line: Mutex<Line>,
    up: AtomicBool,
    port: u16,
}

impl Server {
    pub(crate) async fn start(options: LocalRelayOptions) -> Result<Self> {
        let held = bind(options.port)?;
        let port = held.local_addr().map_err(|_| RelayError::PortTaken)?.port();
        let rules = watch::Sender::new(Arc::new(Rules::default()));
        let server = Self {
            layer: options.faults.then(|| Arc::new(Layer::new(rules.subscribe()))),
            hub: Arc::new(Hub::new(options, Arc::new(Signals::default()))),
            rules,
            line: Mutex::new(Line { held: Some(held), ..Line::default() }),
            up: AtomicBool::new(false),
            port,
        };
        server.resume().await?;
        Ok(server)
    }

    pub(crate) async fn resume(&self) -> Result<()> {
        let mut line = self.line.lock().await;
        if line.stopping {
            self.stop(&mut line).await; // a pause that was cancelled
        }
        if line.listening.is_some() {
            return Ok(());
        }
        let socket = line.held.take().map_or_else(|| bind(self.port), Ok)?;
        // Connections of before the pause may linger in TIME_WAIT.
        socket.set_reuseaddr(true).map_err(|_| RelayError::PortTaken)?;
        let listener = socket.listen(BACKLOG).map_err(|_| RelayError::PortTaken)?;
        let (commands, received) = mpsc::channel(1);
        let task = tokio::spawn(accept(listener, self.hub.clone(), self.layer.clone(), received));
        line.listening = Some((commands, Aborted(task)));
        self.up.store(true, Ordering::SeqCst);
        Ok(())
    }

    pub(crate) async fn pause(&self) {
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

    pub(crate) async fn cut(&self) {
        let line = self.line.lock().await;
        let Some((commands, _)) = &line.listening else { return };
        let (done, wait) = oneshot::channel();
        let _ = commands.send(Command::Cut(done)).await;
        let _ = wait.await;
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) const fn rules(&self) -> &watch::Sender<Arc<Rules>> {
        &self.rules
    }
}

async fn accept(
    listener: TcpListener,
    hub: Arc<Hub>,
    layer: Option<Arc<Layer>>,
    mut commands: mpsc::Receiver<Command>,
) {
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
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, hub.clone(), layer.clone()));
                }
                // Out of file descriptors, most likely: wait until a connection ends rather than spin.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            },
        }
    }
}

fn bind(port: u16) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4().map_err(|_| RelayError::PortTaken)?;
    socket.set_reuseaddr(true).map_err(|_| RelayError::PortTaken)?;
    socket
        .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .map_err(|_| RelayError::PortTaken)?;
    // Or a listener of somebody else, with the same option, would get the port.
    socket.set_reuseaddr(false).map_err(|_| RelayError::PortTaken)?;
    Ok(socket)
}

async fn serve(stream: TcpStream, hub: Arc<Hub>, layer: Option<Arc<Layer>>) {
    let _ = stream.set_nodelay(true);
    if let Some(layer) = layer {
        return faults::serve(stream, hub, layer).await;
    }
    let Some((socket, host)) = information::accept(stream, &hub.options).await else { return };
    let _counted = Counted::new(hub.signals.clone());
    connection::serve(socket, host, &hub).await;
}
