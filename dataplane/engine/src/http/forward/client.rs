//! Who a request comes from, where proxies stand between.

use std::net::IpAddr;

use crate::http::head::Head;
use crate::http::known::Known;

/// The address of the client: from the connection backwards through `X-Forwarded-For`, the first that is no trusted proxy.
/// Where a trusted proxy sent no `X-Forwarded-For`, its `X-Real-IP`. What cannot be read ends the way there.
pub fn client_address(head: &Head, peer: IpAddr, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    if !is_trusted(peer) {
        return peer;
    }
    if !head.has(Known::XForwardedFor) {
        return head.find(Known::XRealIp).and_then(address).unwrap_or(peer);
    }
    let fields: Vec<&[u8]> = head.find_all(Known::XForwardedFor).collect();
    let hops = fields.iter().rev().flat_map(|field| field.rsplit(|byte| *byte == b','));
    let mut nearest = peer;
    for hop in hops {
        match address(hop) {
            Some(address) => nearest = address,
            None => return nearest,
        }
        if !is_trusted(nearest) {
            return nearest;
        }
    }
    nearest
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    bare.or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}
