//! Holds back one chosen request, so that a client can be killed exactly before it takes effect.
//!
//! Connections opened while something is to be held back are read request by request: 4 bytes of length, then the
//! number of the API (`RequestHeader` in Kafka's protocol guide). Plain text only.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::PoisonError;

use super::Shared;

/// What is to be held back.
#[derive(Debug)]
pub(super) struct Hold {
    /// Kafka's numbers of the APIs that count.
    pub(super) apis: Vec<i16>,
    /// Requests of those that still pass.
    pub(super) passing: u64,
    /// One is held back.
    pub(super) is_holding: bool,
}

/// Hands requests on until either side ends, or one is held back; that one is never handed on.
pub(super) fn hand_on(mut from: &TcpStream, mut to: &TcpStream, number: usize, epoch: u64, shared: &Shared) {
    let mut request = Vec::new();
    while read(&mut from, &mut request).is_some() {
        let api = request
            .get(4..6)
            .and_then(|bytes| bytes.try_into().ok())
            .map(i16::from_be_bytes);
        let mut state = shared.lock();
        if state.closed || state.cuts != epoch {
            return;
        }
        if let Some(hold) = &mut state.hold
            && api.is_some_and(|api| hold.apis.contains(&api))
        {
            hold.is_holding |= hold.passing == 0;
            hold.passing = hold.passing.saturating_sub(1);
        }
        // Nothing of what comes behind it passes either, from any connection.
        while !state.closed && state.cuts == epoch && state.hold.as_ref().is_some_and(|hold| hold.is_holding)
        {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed || state.cuts != epoch {
            return;
        }
        state.request_bytes[number] += request.len() as u64;
        drop(state);
        if to.write_all(&request).is_err() {
            return;
        }
    }
}

/// The next request with its length; nothing at the end.
fn read(from: &mut &TcpStream, request: &mut Vec<u8>) -> Option<()> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    request.clear();
    request.extend_from_slice(&length);
    let length = u64::from(u32::from_be_bytes(length));
    let read = from.take(length).read_to_end(request).ok()?;
    (read as u64 == length).then_some(())
}
