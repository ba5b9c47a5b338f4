//! Serves an `axum::Router` over TCP or TLS until it is told to stop, and then drains.
//!
//! Over TLS the handshake settles on HTTP/2 or HTTP/1.1. Plain TCP is HTTP/1.1: telling the two
//! apart by the first bytes would let a caller who sends none hold a connection for ever.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::error::Error;
use crate::shutdown::Drained;
use crate::tls::{H2, Tls};

/// Without file descriptors, accepting fails until one is given back; asking at once would take a
/// whole core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that the machine keeps for us until we accept them: where the queue is full, callers
/// who come all at once try again after a second. The machine may allow fewer, 4096 by default.
const QUEUE_MAX: u32 = 4_096;
/// Certificates are renewed days before they end, so a minute is soon enough.
const RELOAD_EVERY: Duration = Duration::from_secs(60);

/// The other end of a connection, among the extensions of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Tls>,
    limits: Limits,
    protocol: Protocol,
}

/// What is spoken where TLS does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 from the first byte on, as clients of gRPC speak it.
    Http2,
}

impl Server {
    /// Listens; callers are kept waiting until [`Server::serve`].
    ///
    /// # Errors
    /// [`Error::Bind`] when somebody else listens there, or this machine has no such address.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Tls>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let refused = |source| Error::Bind { address, source };
        let listener = listen(address).map_err(refused)?;
        Ok(Self { listener, tls, limits, protocol: Protocol::default() })
    }

    /// The same, with another protocol where TLS does not tell.
    #[must_use]
    pub fn speaking(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// Where it listens, with the port that the machine chose for port 0.
    ///
    /// # Errors
    /// When the machine does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled; then accepts nothing more, and waits for the requests at
    /// work as long as the limits say. What is left by then is cut off.
    ///
    /// An answer that goes on by itself, such as a stream of events, must end with `stop`.
    pub async fn serve(self, router: Router, stop: &CancellationToken) -> Drained {
        let Self { listener, tls, limits, protocol } = self;
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let acceptor = Acceptor {
            listener,
            tls: tls.as_ref().map(|tls| TlsAcceptor::from(Arc::new(tls.server_config()))),
            free: Arc::new(Semaphore::new(limits.connections_max)),
        };
        let mut reload = interval(RELOAD_EVERY);
        reload.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Each branch waits for something that is not lost when another one comes first; a
            // reload runs to its end before the next turn.
            tokio::select! {
                () = stop.cancelled() => break,
                (stream, peer, permit) = acceptor.next() => {
                    let connection = Connection {
                        peer,
                        limits,
                        router: router.clone(),
                        watcher: graceful.watcher(),
                        stop: stop.clone(),
                        tls: acceptor.tls.clone(),
                        protocol,
                    };
                    connections.spawn(async move {
                        connection.run(stream).await;
                        drop(permit);
                    });
                }
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    log_panic(ended);
                }
                _ = reload.tick(), if tls.is_some() => renew(tls.as_ref()).await,
            }
        }
        // Callers are refused from here on, so that they go to another process.
        drop(acceptor);
        drain(graceful, connections, limits.drain_timeout).await
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // What is left of connections to the process before must not keep the next one from its port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE_MAX)
}

struct Acceptor {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    free: Arc<Semaphore>,
}

impl Acceptor {
    /// The next connection, once there is room for one.
    ///
    /// # Cancel safety
    /// A connection is either returned or still in the machine's queue.
    async fn next(&self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            let permit = Arc::clone(&self.free).acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, permit),
                // The caller hung up before its turn came.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

struct Connection {
    peer: SocketAddr,
    limits: Limits,
    router: Router,
    watcher: Watcher,
    stop: CancellationToken,
    tls: Option<TlsAcceptor>,
    protocol: Protocol,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        // A line of a stream of events is small, and somebody waits for it. What cannot be set
        // only makes it later.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = self.tls.clone() else {
            return match self.protocol {
                Protocol::Http1 => self.http1(stream).await,
                Protocol::Http2 => self.http2(stream).await,
            };
        };
        let handshake = timeout(self.limits.handshake_timeout, acceptor.accept(stream));
        // A handshake that is given up loses nothing: no request has been read.
        let stream = tokio::select! {
            () = self.stop.cancelled() => return,
            shaken = handshake => match shaken {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    return tracing::debug!(peer = %self.peer, %error, "no handshake");
                }
                Err(_) => return tracing::debug!(peer = %self.peer, "the handshake took too long"),
            },
        };
        if stream.get_ref().1.alpn_protocol() == Some(H2) {
            self.http2(stream).await;
        } else {
            self.http1(stream).await;
        }
    }

    async fn http1(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_header_size(self.limits.header_bytes_max);
        let connection =
            builder.serve_connection(TokioIo::new(stream), service(self.router, self.peer));
        log_end(self.peer, self.watcher.watch(connection).await);
    }

    async fn http2(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        // A connection that says nothing is asked whether it is still there.
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(self.limits.header_timeout)
            .keep_alive_timeout(self.limits.handshake_timeout)
            .max_concurrent_streams(self.limits.streams_max)
            .max_header_list_size(u32::try_from(self.limits.header_bytes_max).unwrap_or(u32::MAX));
        let connection =
            builder.serve_connection(TokioIo::new(stream), service(self.router, self.peer));
        log_end(self.peer, self.watcher.watch(connection).await);
    }
}

/// The router, told who is calling.
fn service(
    router: Router,
    peer: SocketAddr,
) -> impl Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> {
    let router = TowerToHyperService::new(router);
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.call(request)
    })
}

/// Callers hang up as they like, so it is nothing to look at.
fn log_end(peer: SocketAddr, ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke off");
    }
}

/// A panic is a bug of the handler's, and the other connections are none the worse for it.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task ended with a panic");
    }
}

async fn renew(tls: Option<&Tls>) {
    let Some(tls) = tls else { return };
    match tls.reload().await {
        Ok(true) => tracing::info!("a renewed certificate is served from now on"),
        Ok(false) => {}
        // Half of a renewal may be in place; the next look finds the rest.
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the certificate cannot be read again; the one from before is served on"
        ),
    }
}

async fn drain(
    graceful: GracefulShutdown,
    mut connections: JoinSet<()>,
    deadline: Duration,
) -> Drained {
    // Every connection is told before the first one is waited for, and waiting may be given up.
    let drained = timeout(deadline, graceful.shutdown()).await;
    while let Some(ended) = connections.try_join_next() {
        log_panic(ended);
    }
    if drained.is_ok() {
        return Drained::All;
    }
    let left = connections.len();
    tracing::warn!(left, "requests were still at work when the time to stop was up");
    connections.shutdown().await;
    Drained::Cut { left }
}

#[cfg(test)]
mod tests;
