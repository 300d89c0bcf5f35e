//! Binding: one listening socket per shard for each socket of a snapshot, all on one port by SO_REUSEPORT.
//!
//! The port is first bound once *without* SO_REUSEPORT: otherwise two processes of one user would share it silently and
//! each would get a part of the connections. Descriptors are handed out in blocking mode; a shard sets what its driver
//! needs. All sockets of a port get the same options in shard order, because the kernel numbers the group in that order.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use ringress_shared::listener::{SocketId, Transport};
use socket2::{Domain, Protocol, Socket, Type};

/// The sockets of one port.
#[derive(Debug)]
pub struct Bound {
    /// Where they listen: differs from the asked address for port 0, and where the machine has no IPv6.
    pub address: SocketAddr,
    /// One per shard, in shard order.
    pub descriptors: Vec<OwnedFd>,
}

/// Binds one socket per shard.
///
/// # Errors
/// The port is taken, not permitted or not there; the machine has no such address; UDP is not served yet.
pub fn bind(id: SocketId, shards: usize) -> Result<Bound, BindError> {
    let blame = |source| BindError { socket: id, source };
    if id.transport == Transport::Udp {
        return Err(blame(io::Error::new(io::ErrorKind::Unsupported, "UDP is not served yet")));
    }
    match bind_group(id.address, shards) {
        Err(error) if id.address.ip().is_unspecified() && id.address.is_ipv6() && lacks_ipv6(&error) => {
            let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, id.address.port()));
            bind_group(ipv4, shards).map_err(blame)
        }
        result => result.map_err(blame),
    }
}

/// A socket that could not be bound.
#[derive(Debug, thiserror::Error)]
pub struct BindError {
    /// Which.
    pub socket: SocketId,
    /// The system's answer.
    pub source: io::Error,
}

impl BindError {
    /// What the operator can do about it; `flag` is the flag that set the port, where one did.
    pub fn next_step(&self, flag: Option<&str>) -> String {
        let other = match flag {
            Some(flag) => format!("give {flag} another one"),
            None => "choose another one".to_owned(),
        };
        match self.source.kind() {
            io::ErrorKind::AddrInUse => format!("stop the other process or {other}"),
            io::ErrorKind::PermissionDenied => format!("run with CAP_NET_BIND_SERVICE or {other}"),
            io::ErrorKind::AddrNotAvailable => "give an address of this machine".to_owned(),
            _ => other,
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (port, source) = (self.socket.address.port(), &self.source);
        let address = match self.socket.address.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        match source.kind() {
            io::ErrorKind::AddrInUse => write!(f, "port {port} is taken on {address}: {source}"),
            io::ErrorKind::PermissionDenied => {
                write!(f, "port {port} is not permitted on {address}: {source}")
            }
            _ => write!(f, "cannot listen on port {port} of {address}: {source}"),
        }
    }
}

fn bind_group(asked: SocketAddr, shards: usize) -> io::Result<Bound> {
    let address = probe(asked)?;
    let descriptors = (0..shards).map(|_| listen(address)).collect::<io::Result<_>>()?;
    Ok(Bound { address, descriptors })
}

/// Binds without SO_REUSEPORT and lets go again; also finds the number where port 0 was asked for.
fn probe(asked: SocketAddr) -> io::Result<SocketAddr> {
    let socket = stream_socket(asked)?;
    socket.bind(&asked.into())?;
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("the bound socket has no internet address"))
}

fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = stream_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn stream_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// Connections that wait to be accepted; the system's `somaxconn` caps it.
const BACKLOG: i32 = 4096;

/// "Address family not supported"; the standard library has no kind for it.
const EAFNOSUPPORT: i32 = 97;
