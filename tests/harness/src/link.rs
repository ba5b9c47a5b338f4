//! A TCP link to a server that is slow, cut, or lets nothing through, when told to.
//!
//! It knows nothing of what it carries, so it stands in front of any server. Bytes it has read are
//! its own: what a client sent before it was killed still arrives when the link lets go of it, as
//! on a real network.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 16;
/// Pieces on their way in one direction; a sender that is further ahead has to wait.
const PIECES_MAX: usize = 64;

/// A link to a server on a loopback port.
#[derive(Debug)]
pub struct Link {
    port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: u16,
    weather: Mutex<Weather>,
    changed: Condvar,
    ended: AtomicBool,
}

/// What becomes of bytes, and of which connections.
#[derive(Debug, Default)]
struct Weather {
    /// How long each piece takes from end to end.
    delay: Duration,
    /// Connections with smaller numbers are held.
    held_below: u64,
    /// Connections that come are held too.
    holds_new: bool,
    /// The number of the next connection.
    next: u64,
    open: Vec<Connection>,
}

/// A connection that has not ended.
#[derive(Debug)]
struct Connection {
    number: u64,
    ends: [TcpStream; 2],
    /// One direction may end before the other: a last answer may be on its way.
    directions: u8,
}

impl Link {
    /// Starts a link to a server's port.
    ///
    /// # Errors
    /// When the system has no port left.
    pub fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to start a link")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            server,
            weather: Mutex::default(),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let listening = Arc::clone(&shared);
        let listener = thread::spawn(move || listening.listen(&listener));
        Ok(Self { port, shared, listener: Some(listener) })
    }

    /// The loopback port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that have not ended.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.weather().open.len()
    }

    /// From now on every piece takes this long; as many as before may be on their way at once.
    pub fn delay(&self, delay: Duration) {
        self.shared.weather().delay = delay;
    }

    /// Lets nothing through from now on, on old connections and on new ones, and loses nothing.
    pub fn hold(&self) {
        let mut weather = self.shared.weather();
        weather.held_below = weather.next;
        weather.holds_new = true;
    }

    /// Lets nothing through on the connections that there are; new ones are as always.
    pub fn hold_present(&self) {
        let mut weather = self.shared.weather();
        weather.held_below = weather.next;
    }

    /// Delivers what is held, and lets everything through again.
    pub fn release(&self) {
        let mut weather = self.shared.weather();
        weather.held_below = 0;
        weather.holds_new = false;
        drop(weather);
        self.shared.changed.notify_all();
    }

    /// Cuts every connection; what was on its way is lost. Tells how many there were.
    pub fn cut(&self) -> usize {
        let cut = std::mem::take(&mut self.shared.weather().open);
        for end in cut.iter().flat_map(|connection| &connection.ends) {
            // One that is gone already is cut.
            end.shutdown(Shutdown::Both).ok();
        }
        self.shared.changed.notify_all();
        cut.len()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.release();
        self.cut();
        // The listener sees that it has ended when the next connection comes.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
        if let Some(listener) = self.listener.take() {
            listener.join().ok();
        }
    }
}

impl Shared {
    /// A panic elsewhere leaves nothing half done here, so a poisoned lock is as good as any.
    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            // A server that is down refuses; so its clients lose their connection.
            let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else { continue };
            // A connection that ends while it is set up is its client's own affair.
            self.carry(client, server).ok();
        }
    }

    /// Starts carrying bytes both ways.
    fn carry(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let number = {
            let mut weather = self.weather();
            let number = weather.next;
            weather.next += 1;
            let ends = [client.try_clone()?, server.try_clone()?];
            weather.open.push(Connection { number, ends, directions: 2 });
            if weather.holds_new {
                weather.held_below = weather.next;
            }
            number
        };
        let back = (server.try_clone()?, client.try_clone()?);
        for (from, to) in [(client, server), back] {
            let (sender, receiver) = sync_channel(PIECES_MAX);
            thread::spawn(move || take_in(from, &sender));
            let shared = Arc::clone(self);
            thread::spawn(move || shared.give_out(number, to, &receiver));
        }
        Ok(())
    }

    /// Delivers pieces when they are due, and then the end.
    fn give_out(&self, number: u64, mut to: TcpStream, pieces: &Receiver<(Instant, Vec<u8>)>) {
        for (came, piece) in pieces {
            let due = came + self.weather().delay;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if !self.wait_while_held(number) || to.write_all(&piece).is_err() {
                break;
            }
        }
        if self.wait_while_held(number) {
            // Fails only where the other end is gone, which needs no telling then.
            to.shutdown(Shutdown::Write).ok();
        }
        self.direction_ended(number);
    }

    /// Waits until the connection may go on; `false` when it was cut.
    fn wait_while_held(&self, number: u64) -> bool {
        let is_open = |weather: &Weather| weather.open.iter().any(|open| open.number == number);
        let is_held = |weather: &mut Weather| number < weather.held_below && is_open(weather);
        let weather = self.changed.wait_while(self.weather(), is_held);
        is_open(&weather.unwrap_or_else(PoisonError::into_inner))
    }

    fn direction_ended(&self, number: u64) {
        self.weather().open.retain_mut(|open| {
            open.directions -= u8::from(open.number == number);
            open.directions > 0
        });
    }
}

/// Reads whatever comes, as soon as it comes.
fn take_in(mut from: TcpStream, to: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.send((Instant::now(), buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;
    use crate::Redis;

    /// How long a test waits for what must come, and for what must not.
    const PATIENCE: Duration = Duration::from_secs(30);
    const QUIET: Duration = Duration::from_millis(100);

    /// A server that sends back every line, and tells of each to the test.
    fn echo() -> Result<(u16, Receiver<String>)> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let (heard, lines) = sync_channel(PIECES_MAX);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let heard = heard.clone();
                thread::spawn(move || {
                    let mut back = client.try_clone().expect("it is open");
                    for line in BufReader::new(client).lines().map_while(Result::ok) {
                        heard.send(line.clone()).ok();
                        writeln!(back, "{line}").ok();
                    }
                });
            }
        });
        Ok((port, lines))
    }

    fn client(link: &Link) -> Result<BufReader<TcpStream>> {
        let client = TcpStream::connect(("127.0.0.1", link.port()))?;
        client.set_read_timeout(Some(PATIENCE))?;
        Ok(BufReader::new(client))
    }

    fn say(client: &mut BufReader<TcpStream>, line: &str) -> Result<()> {
        Ok(writeln!(client.get_mut(), "{line}")?)
    }

    fn hear(client: &mut BufReader<TcpStream>) -> Result<String> {
        let mut line = String::new();
        client.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    #[test]
    fn what_is_said_arrives_both_ways() -> Result<()> {
        let (port, _lines) = echo()?;
        let link = Link::start(port)?;
        let mut client = client(&link)?;
        say(&mut client, "hello")?;
        assert_eq!(hear(&mut client)?, "hello");
        assert_eq!(link.connections(), 1);
        Ok(())
    }

    #[test]
    fn a_slow_link_delays_and_keeps_the_order() -> Result<()> {
        let (port, _lines) = echo()?;
        let link = Link::start(port)?;
        let mut client = client(&link)?;
        link.delay(QUIET);
        let begun = Instant::now();
        for line in ["one", "two", "three"] {
            say(&mut client, line)?;
        }
        for line in ["one", "two", "three"] {
            assert_eq!(hear(&mut client)?, line);
        }
        assert!(begun.elapsed() >= QUIET * 2, "there and back");
        Ok(())
    }

    #[test]
    fn a_held_link_delivers_what_a_client_that_is_gone_has_sent() -> Result<()> {
        let (port, lines) = echo()?;
        let link = Link::start(port)?;
        let mut gone = client(&link)?;
        say(&mut gone, "first")?;
        assert_eq!(lines.recv_timeout(PATIENCE)?, "first");
        link.hold_present();
        say(&mut gone, "late")?;
        drop(gone);
        let mut new = client(&link)?;
        say(&mut new, "new")?;
        assert_eq!(hear(&mut new)?, "new", "a new connection is not held");
        assert_eq!(lines.recv_timeout(PATIENCE)?, "new");
        assert!(lines.recv_timeout(QUIET).is_err(), "the old one is");
        link.release();
        assert_eq!(lines.recv_timeout(PATIENCE)?, "late");
        Ok(())
    }

    #[test]
    fn a_held_link_holds_new_connections_too() -> Result<()> {
        let (port, lines) = echo()?;
        let link = Link::start(port)?;
        link.hold();
        let mut client = client(&link)?;
        say(&mut client, "hello")?;
        assert!(lines.recv_timeout(QUIET).is_err());
        link.release();
        assert_eq!(hear(&mut client)?, "hello");
        Ok(())
    }

    #[test]
    fn a_cut_loses_what_was_on_its_way() -> Result<()> {
        let (port, lines) = echo()?;
        let link = Link::start(port)?;
        let mut first = client(&link)?;
        say(&mut first, "first")?;
        assert_eq!((lines.recv_timeout(PATIENCE)?, hear(&mut first)?).0, "first");
        link.hold();
        say(&mut first, "lost")?;
        assert_eq!(link.cut(), 1);
        link.release();
        assert!(hear(&mut first).unwrap_or_default().is_empty(), "it has ended");
        let mut second = client(&link)?;
        say(&mut second, "second")?;
        assert_eq!(hear(&mut second)?, "second");
        assert_eq!(lines.recv_timeout(PATIENCE)?, "second", "nothing came in between");
        Ok(())
    }

    #[test]
    fn a_server_behind_a_link_may_be_down_and_come_back() -> Result<()> {
        let server = Redis::start()?;
        let link = Link::start(server.port())?;
        server.kill();
        let mut lost = client(&link)?;
        assert!(hear(&mut lost).unwrap_or_default().is_empty());
        server.restart()?;
        let mut client = client(&link)?;
        say(&mut client, "PING\r")?;
        assert_eq!(hear(&mut client)?, "+PONG");
        Ok(())
    }
}
