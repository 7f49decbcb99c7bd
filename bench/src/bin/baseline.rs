//! The baseline of a request: one thread, one read and one write, always the same bytes.
//!
//! `baseline ADDRESS FILE` answers every request with the content of FILE, a complete HTTP response.
//! The difference to a service is the cost of the service itself; the rest is the kernel's. The
//! program prints its address.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);
const EVENTS_AT_ONCE: usize = 1024;

/// A load generator's request has about 50 bytes; a longer one is read in pieces.
const READ_BYTES: usize = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, file] = arguments.as_slice() else {
        let _ = writeln!(io::stderr(), "usage: baseline ADDRESS FILE");
        return ExitCode::from(64);
    };
    match std::fs::read(file).and_then(|answer| serve(address, &answer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "baseline: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str, answer: &[u8]) -> io::Result<()> {
    let address: SocketAddr =
        address.parse().map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    // Slots are not reused: a run has some hundred connections.
    let mut connections: Vec<Option<TcpStream>> = vec![None];
    let mut events = Events::with_capacity(EVENTS_AT_ONCE);
    loop {
        match poll.poll(&mut events, None) {
            // As when a debugger stops and continues it.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept_all(&listener, &poll, &mut connections)?;
            } else if let Some(place) = connections.get_mut(event.token().0)
                && let Some(stream) = place
                && !answers(stream, event, answer)
            {
                *place = None;
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Vec<Option<TcpStream>>,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                let token = Token(connections.len());
                poll.registry().register(&mut stream, token, Interest::READABLE)?;
                connections.push(Some(stream));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Answers the received requests; false when the connection has ended. A response always fits into
/// the empty buffer of a client that waits for it.
fn answers(stream: &mut TcpStream, event: &Event, answer: &[u8]) -> bool {
    let mut bytes = [0; READ_BYTES];
    match stream.read(&mut bytes) {
        Ok(0) => false,
        Ok(count) if bytes[..count].ends_with(b"\r\n\r\n") => stream.write_all(answer).is_ok(),
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock && !event.is_read_closed(),
    }
}
