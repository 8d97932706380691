//! A TCP proxy on loopback that misbehaves on demand, between a client and a broker.
//!
//! What it does is switched at run time with [`Proxy::set`] and holds for connections that are open as well as for new
//! ones. [`Proxy::cut_after`] and [`Proxy::cut_replies_after`] cut at an exact byte, once. The broker must advertise the
//! proxy's port: see `BrokerBuilder::behind_proxy`.

mod hold;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hold::Hold;

/// What the proxy does with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Hand everything on.
    Pass,
    /// Wait this long before every piece of a reply (up to 64 KiB) is handed on.
    DelayReplies(Duration),
    /// Take requests at once and hand them on this much later, also those of a client that is dead by then.
    DelayRequests(Duration),
    /// Requests reach the broker; its replies are read and thrown away.
    DropReplies,
    /// Nothing is handed on in either direction until this changes; connections stay open.
    Freeze,
    /// New connections are closed at once, open ones are cut.
    Refuse,
    /// New connections are closed at once, open ones stay.
    RefuseNew,
}

/// What a connection with a limit hands on at once.
const LIMITED_PIECE: usize = 4 * 1024;

/// A direction through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Request,
    Reply,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    /// Bytes that may still pass in a direction before everything is cut, once.
    requests_left: Option<u64>,
    replies_left: Option<u64>,
    /// By connection, in the order in which clients opened them.
    request_bytes: Vec<u64>,
    reply_bytes: u64,
    /// The open ones, with their places in that order.
    connections: Vec<(usize, TcpStream, TcpStream)>,
    /// Bytes of requests that each connection hands on in a second.
    limit: Option<u64>,
    cuts: u64,
    hold: Option<Hold>,
    upstream: SocketAddr,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy; its threads and connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts a proxy to `upstream` on a port that the system picks.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                fault: Fault::Pass,
                requests_left: None,
                replies_left: None,
                request_bytes: Vec::new(),
                reply_bytes: 0,
                connections: Vec::new(),
                limit: None,
                cuts: 0,
                hold: None,
                upstream,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let for_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("fault proxy".into())
            .spawn(move || accept(&listener, &for_thread))?;
        Ok(Self { address, shared })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections to another place from now on.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        self.shared.lock().upstream = upstream;
    }

    /// Switches the behaviour, for open connections too.
    pub fn set(&self, fault: Fault) {
        let mut state = self.shared.lock();
        state.fault = fault;
        if fault == Fault::Refuse {
            cut(&mut state);
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// From now on each connection hands on so many bytes of requests in a second, whatever the others do.
    pub fn limit_requests(&self, bytes_per_second: u64) {
        self.shared.lock().limit = Some(bytes_per_second.max(1));
    }

    /// Cuts all connections once `bytes` more bytes have gone from clients to the broker. Those bytes still arrive.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.lock().requests_left = Some(bytes);
    }

    /// Cuts all connections once `bytes` more bytes have come back from the broker. Those bytes still arrive.
    pub fn cut_replies_after(&self, bytes: u64) {
        self.shared.lock().replies_left = Some(bytes);
    }

    /// Cuts all open connections now; new ones are served.
    pub fn cut_now(&self) {
        cut(&mut self.shared.lock());
        self.shared.changed.notify_all();
    }

    /// Cuts one connection now: the `number`-th (from 0) that clients have opened, if it is open still.
    pub fn cut_one(&self, number: usize) {
        for (open, client, server) in &self.shared.lock().connections {
            if *open == number {
                let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
            }
        }
    }

    /// Holds back the `number`-th request (from 1) of `apis` (Kafka's numbers of them) that comes over connections opened
    /// from now on, and everything behind it: none of that reaches the broker. [`drop_held`](Self::drop_held) and [`let_go`](Self::let_go) end it.
    pub fn hold_back(&self, apis: &[i16], number: u64) {
        self.shared.lock().hold = Some(Hold {
            apis: apis.to_vec(),
            passing: number.saturating_sub(1),
            is_holding: false,
        });
    }

    /// True once a request is held back.
    pub fn is_holding(&self) -> bool {
        self.shared
            .lock()
            .hold
            .as_ref()
            .is_some_and(|hold| hold.is_holding)
    }

    /// Hands on what is held back; everything passes again.
    pub fn let_go(&self) {
        self.shared.lock().hold = None;
        self.shared.changed.notify_all();
    }

    /// Drops what is held back, with its connections; everything passes again.
    pub fn drop_held(&self) {
        let mut state = self.shared.lock();
        state.hold = None;
        cut(&mut state);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Bytes handed on so far: (from clients to the broker, back from the broker).
    pub fn transferred(&self) -> (u64, u64) {
        let state = self.shared.lock();
        (state.request_bytes.iter().sum(), state.reply_bytes)
    }

    /// Which connections, open or not, have handed on more than so many bytes of requests: their numbers, from 0, in the
    /// order in which clients opened them.
    pub fn connections_over(&self, bytes: u64) -> Vec<usize> {
        let carried = &self.shared.lock().request_bytes;
        (0..carried.len())
            .filter(|&number| carried[number] > bytes)
            .collect()
    }

    /// How many connections clients have opened so far.
    pub fn connections(&self) -> u64 {
        self.shared.lock().request_bytes.len() as u64
    }

    /// How many cuts there were so far, whether connections were open or not.
    pub fn cuts(&self) -> u64 {
        self.shared.lock().cuts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        cut(&mut state);
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the thread that waits for connections, so that the port is free again.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let mut state = shared.lock();
        if state.closed {
            return;
        }
        let Ok(client) = client else { continue };
        let number = state.request_bytes.len();
        state.request_bytes.push(0);
        let upstream = state.upstream;
        let refuse = matches!(state.fault, Fault::Refuse | Fault::RefuseNew);
        let epoch = state.cuts;
        let whole_requests = state.hold.is_some();
        drop(state);
        if refuse {
            continue;
        }
        // A broker that is down looks to the client like a connection that is closed at once.
        let Ok(server) = TcpStream::connect(upstream) else {
            continue;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(client_copy), Ok(server_copy)) = (client.try_clone(), server.try_clone()) else {
            continue;
        };
        let (Ok(client_kept), Ok(server_kept)) = (client.try_clone(), server.try_clone()) else {
            continue;
        };
        let mut state = shared.lock();
        if state.cuts != epoch || state.fault == Fault::Refuse {
            continue;
        }
        state.connections.push((number, client_kept, server_kept));
        drop(state);
        for (from, to, direction) in [
            (client, server, Direction::Request),
            (server_copy, client_copy, Direction::Reply),
        ] {
            let shared = Arc::clone(shared);
            thread::spawn(move || {
                match whole_requests && direction == Direction::Request {
                    true => hold::hand_on(&from, &to, number, epoch, &shared),
                    false => hand_on(&from, &to, number, direction, epoch, &shared),
                }
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    }
}

/// Moves bytes until either side ends. Which bytes may pass is decided under the lock, so a cut is exact.
fn hand_on(
    mut from: &TcpStream,
    to: &TcpStream,
    number: usize,
    direction: Direction,
    epoch: u64,
    shared: &Shared,
) {
    let mut buffer = vec![0; 64 * 1024];
    // What is late; once something is, everything behind it goes the same way.
    let mut late: Option<Late> = None;
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let mut state = shared.lock();
        while state.fault == Fault::Freeze && !state.closed {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match state.fault {
            Fault::DropReplies if direction == Direction::Reply => continue,
            Fault::DelayRequests(_) if direction == Direction::Request && late.is_none() => {
                late = Late::start(to).ok();
            }
            Fault::Refuse => return,
            Fault::DelayReplies(time) if direction == Direction::Reply => {
                drop(state);
                thread::sleep(time);
                state = shared.lock();
            }
            _ => {}
        }
        // What an already cut connection still held must not count for its successors.
        if state.closed || state.cuts != epoch {
            return;
        }
        let left = match direction {
            Direction::Request => &mut state.requests_left,
            Direction::Reply => &mut state.replies_left,
        };
        let (allowed, cut_here) = match left {
            Some(bytes) if *bytes <= length as u64 => {
                let allowed = *bytes as usize;
                *left = None;
                (allowed, true)
            }
            Some(bytes) => {
                *bytes -= length as u64;
                (length, false)
            }
            None => (length, false),
        };
        match direction {
            Direction::Request => state.request_bytes[number] += allowed as u64,
            Direction::Reply => state.reply_bytes += allowed as u64,
        }
        let delay = match state.fault {
            Fault::DelayRequests(delay) => Some(delay),
            _ => None,
        };
        let limit = state.limit.filter(|_| direction == Direction::Request);
        drop(state);
        match &late {
            Some(late) => late.send(&buffer[..allowed], delay.unwrap_or_default()),
            // The client is dead, and requests of it are still on their way: its connection stays open for them.
            None if write(to, &buffer[..allowed], limit).is_err() && delay.is_none() => return,
            None => {}
        }
        if cut_here {
            let mut state = shared.lock();
            if state.cuts == epoch {
                cut(&mut state);
            }
            return;
        }
    }
}

/// Writes, no faster than so many bytes in a second.
fn write(mut to: &TcpStream, bytes: &[u8], limit: Option<u64>) -> std::io::Result<()> {
    let Some(limit) = limit else {
        return to.write_all(bytes);
    };
    for piece in bytes.chunks(LIMITED_PIECE) {
        thread::sleep(Duration::from_secs_f64(piece.len() as f64 / limit as f64));
        to.write_all(piece)?;
    }
    Ok(())
}

/// Bytes that are written when their time has come. Dropping it waits until all are.
struct Late {
    queue: Option<mpsc::Sender<(Instant, Vec<u8>)>>,
    writer: Option<JoinHandle<()>>,
}

impl Late {
    fn start(to: &TcpStream) -> std::io::Result<Self> {
        let mut to = to.try_clone()?;
        let (queue, bytes) = mpsc::channel::<(Instant, Vec<u8>)>();
        let writer = thread::spawn(move || {
            for (time, bytes) in bytes {
                thread::sleep(time.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            queue: Some(queue),
            writer: Some(writer),
        })
    }

    fn send(&self, bytes: &[u8], delay: Duration) {
        if let Some(queue) = &self.queue {
            // An error says that the server is gone, which the other direction sees too.
            let _ = queue.send((Instant::now() + delay, bytes.to_vec()));
        }
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Closes all open connections. What was written before still arrives: a shutdown ends a stream after its data.
///
/// A connection belongs to the number of cuts at its start: what comes from it after the next cut is dropped.
fn cut(state: &mut State) {
    state.cuts += 1;
    for (_, client, server) in state.connections.drain(..) {
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets and tells how much that was.
    fn echo() -> (SocketAddr, Arc<Mutex<u64>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
        let address = listener.local_addr().expect("address");
        let received = Arc::new(Mutex::new(0));
        let count = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("accept");
                let count = Arc::clone(&count);
                thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        *count.lock().expect("count") += length as u64;
                        if stream.write_all(&buffer[..length]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (address, received)
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.address()).expect("connect");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("timeout");
        stream
    }

    fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    }

    #[test]
    fn passes_and_counts() {
        let proxy = Proxy::start(echo().0).expect("proxy");
        let mut stream = connect(&proxy);
        stream.write_all(b"hello").expect("write");
        let mut reply = [0; 5];
        stream.read_exact(&mut reply).expect("read");
        assert_eq!(&reply, b"hello");
        assert_eq!(proxy.transferred(), (5, 5));
        assert_eq!((proxy.connections(), proxy.cuts()), (1, 0));
    }

    #[test]
    fn cuts_one_of_several_and_refuses_more() {
        let proxy = Proxy::start(echo().0).expect("proxy");
        proxy.limit_requests(1 << 20);
        let mut streams = [connect(&proxy), connect(&proxy)];
        for (stream, length) in streams.iter_mut().zip([10_000, 5]) {
            let (sent, mut received) = (vec![7; length], vec![0; length]);
            stream.write_all(&sent).expect("write");
            stream.read_exact(&mut received).expect("read");
            assert_eq!(sent, received);
        }
        assert_eq!(proxy.transferred(), (10_005, 10_005));
        assert_eq!(
            [4, 5, 10_000].map(|bytes| proxy.connections_over(bytes).len()),
            [2, 1, 0]
        );
        let large = proxy.connections_over(5)[0];
        proxy.set(Fault::RefuseNew);
        proxy.cut_one(large);
        assert!(read_to_end(&mut streams[0]).is_empty());
        assert!(read_to_end(&mut connect(&proxy)).is_empty());
        streams[1].write_all(b"still").expect("write");
        streams[1].read_exact(&mut [0; 5]).expect("the other stays");
        assert_eq!((proxy.connections(), proxy.cuts()), (3, 0));
    }

    #[test]
    fn cuts_requests_and_replies_at_the_byte() {
        let (address, received) = echo();
        let proxy = Proxy::start(address).expect("proxy");
        for bytes in [0, 1, 4] {
            *received.lock().expect("count") = 0;
            proxy.cut_after(bytes);
            let mut stream = connect(&proxy);
            let _ = stream.write_all(b"hello");
            read_to_end(&mut stream);
            assert!(*received.lock().expect("count") <= bytes);

            proxy.cut_replies_after(bytes);
            let mut stream = connect(&proxy);
            stream.write_all(b"hello").expect("write");
            assert_eq!(read_to_end(&mut stream), &b"hello"[..bytes as usize]);
        }
        assert_eq!(proxy.cuts(), 6);
        let mut stream = connect(&proxy);
        stream.write_all(b"again").expect("write");
        stream.read_exact(&mut [0; 5]).expect("a cut happens once");
    }

    #[test]
    fn late_requests_arrive_after_their_client_is_dead() {
        let (address, received) = echo();
        let proxy = Proxy::start(address).expect("proxy");
        let mut stream = connect(&proxy);
        stream.write_all(b"a").expect("write");
        stream.read_exact(&mut [0]).expect("read");
        proxy.set(Fault::DelayRequests(Duration::from_millis(100)));
        stream.write_all(b"bcd").expect("write");
        while proxy.transferred().0 < 4 {
            thread::yield_now();
        }
        assert_eq!(*received.lock().expect("count"), 1);
        drop(stream);
        let deadline = Instant::now() + Duration::from_secs(20);
        while *received.lock().expect("count") < 4 {
            assert!(Instant::now() < deadline, "the late bytes did not arrive");
            thread::yield_now();
        }
    }

    #[test]
    fn holds_back_the_chosen_request_and_what_follows() {
        let (address, received) = echo();
        let proxy = Proxy::start(address).expect("proxy");
        proxy.hold_back(&[19], 2);
        let mut stream = connect(&proxy);
        let request = |api: u8| [0, 0, 0, 3, 0, api, 7];
        for (api, holds) in [(19, false), (3, false), (19, true)] {
            assert!(!proxy.is_holding());
            // In two pieces, as a network may deliver it.
            stream.write_all(&request(api)[..5]).expect("write");
            stream.write_all(&request(api)[5..]).expect("write");
            match holds {
                false => stream.read_exact(&mut [0; 7]).expect("it passes"),
                true => while !proxy.is_holding() {},
            }
        }
        stream.write_all(&request(3)).expect("write");
        proxy.drop_held();
        assert!(read_to_end(&mut stream).is_empty());
        assert_eq!(*received.lock().expect("count"), 14);
        let mut stream = connect(&proxy);
        stream.write_all(&request(19)).expect("write");
        stream.read_exact(&mut [0; 7]).expect("everything passes again");
    }

    #[test]
    fn drops_replies_freezes_and_refuses() {
        let (address, received) = echo();
        let proxy = Proxy::start(address).expect("proxy");
        proxy.set(Fault::Freeze);
        let mut stream = connect(&proxy);
        stream.write_all(b"one").expect("write");
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("timeout");
        assert!(
            stream.read(&mut [0; 8]).is_err(),
            "nothing comes back while frozen"
        );
        assert_eq!(*received.lock().expect("count"), 0);
        proxy.set(Fault::Pass);
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("timeout");
        stream.read_exact(&mut [0; 3]).expect("it thaws");

        proxy.set(Fault::DropReplies);
        stream.write_all(b"two").expect("write");
        while *received.lock().expect("count") < 6 {
            thread::yield_now();
        }
        proxy.set(Fault::Refuse);
        assert!(read_to_end(&mut stream).is_empty(), "the reply was lost");
        assert!(read_to_end(&mut connect(&proxy)).is_empty());
        proxy.set(Fault::Pass);
        let mut stream = connect(&proxy);
        stream.write_all(b"back").expect("write");
        stream.read_exact(&mut [0; 4]).expect("read");
    }
}
