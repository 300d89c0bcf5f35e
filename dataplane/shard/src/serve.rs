//! A client connection from its acceptance to its end.

pub(crate) mod h1;
pub(crate) mod tunnel;
pub(crate) mod waiting;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ringress_shared::listener::{Socket, SocketId};
use ringress_shared::metric::Counter;

use crate::rt::{self, Halves};
use crate::shard::{Current, Place, Shard};
use crate::stream::{Reader, Writer, plain};
use crate::tls::{self, Session};

/// Serves one accepted connection to its end.
pub(crate) async fn connection(place: Place, id: SocketId, socket: socket2::Socket, peer: SocketAddr) {
    // A client that is gone before it was served is nobody's problem.
    let Ok(halves) = rt::adopt(socket) else { return };
    let Some((reader, writer, session)) = open(place.shard(), id, halves).await else { return };
    h1::serve(h1::Client::new(place, id, peer, reader, writer, session)).await;
}

async fn open(
    shard: &Rc<Shard>,
    id: SocketId,
    halves: Halves,
) -> Option<(Reader, Writer, Option<Rc<Session>>)> {
    let current = shard.current()?;
    let socket = current.socket(id)?;
    if !socket.listeners.iter().any(|listener| listener.tls.is_some()) {
        let (reader, writer) = plain(halves, &shard.wheel);
        return Some((reader, writer, None));
    }
    // Handshakes are large and rare: their future does not belong into the one of an idle connection.
    Box::pin(secure(shard, &current, socket, halves)).await
}

async fn secure(
    shard: &Rc<Shard>,
    current: &Current,
    socket: &Socket,
    halves: Halves,
) -> Option<(Reader, Writer, Option<Rc<Session>>)> {
    let within = socket.listeners.first()?.http.timeouts.header;
    let choose = |server_name: Option<&str>| {
        let listener = &socket.listeners[listener_for(socket, server_name.unwrap_or_default())?];
        current.snapshot.server_configs.get(&listener.id).map(Arc::clone)
    };
    match tls::accept(halves, &shard.wheel, within, &choose).await {
        Ok((reader, writer, session)) => {
            shard.count(if session.is_resumed() { Counter::TlsResumptions } else { Counter::TlsHandshakes });
            Some((reader, writer, Some(session)))
        }
        Err(_) => {
            shard.count(Counter::TlsHandshakeFailures);
            None
        }
    }
}

/// The number of the most specific listener of a socket that takes a name; the socket keeps them in that order.
pub(crate) fn listener_for(socket: &Socket, name: &str) -> Option<usize> {
    socket.listeners.iter().position(|listener| match &listener.hostname {
        None => true,
        Some(hostname) => hostname.matches(name),
    })
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    /// The size of the future that a function of four arguments makes, without making one.
    fn future_bytes<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        let bytes = future_bytes(connection);
        assert!(bytes <= 1_024, "the future of a connection has {bytes} bytes");
    }
}
