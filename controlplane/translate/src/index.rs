//! Merged rules to the parts of a snapshot: host entries, route table, sockets.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use ringress_shared::listener::{
    HttpSettings, Listener, ListenerId, Routing, Socket, SocketId, TlsProfile, Transport,
};
use ringress_shared::route::{Candidate, Dialect, HostEntry, PathMatch, RouteTable, RouteTableBuilder, Rule};

use crate::ir::Host;
use crate::merge::Hosts;
use crate::settings::Settings;

/// One host's rules, indexed.
pub(crate) fn host_entry(
    host: &Host,
    dialect: Dialect,
    candidates: Vec<Candidate>,
    fallback: Option<Arc<Rule>>,
) -> Arc<HostEntry> {
    let mut builder = RouteTableBuilder::new();
    builder.host(host.clone(), dialect);
    for candidate in candidates {
        builder.candidate(host.clone(), candidate);
    }
    if let Some(rule) = fallback {
        builder.fallback(host.clone(), rule);
    }
    let table = builder.build();
    table.hosts().first().map(|(_, entry)| Arc::clone(entry)).unwrap_or_default()
}

/// Whether two entries route alike.
pub(crate) fn same_entry(a: &HostEntry, b: &HostEntry) -> bool {
    a.dialect() == b.dialect() && a.candidates() == b.candidates() && a.fallback() == b.fallback()
}

/// The order in which equal claims on a path are tried: expressions by length of their text, longest first; the rest of
/// the table has an order of its own, and the text makes this one whole.
pub(crate) fn trial_order(a: &PathMatch, b: &PathMatch) -> Ordering {
    let rank = |path: &PathMatch| match path {
        PathMatch::Exact(text) => (0, 0, text.to_string()),
        PathMatch::Prefix(text) => (1, 0, text.to_string()),
        PathMatch::Regex(regex) => (2, usize::MAX - regex.length(), regex.source().to_owned()),
    };
    rank(a).cmp(&rank(b))
}

/// All routes: those of before, with the hosts that moved.
pub(crate) fn route_table(before: &RouteTable, hosts: &Hosts, moved: &BTreeSet<Host>) -> Arc<RouteTable> {
    let mut table = before.clone();
    for host in moved {
        table.put(host.as_ref(), hosts.entry(host).cloned());
    }
    table.put_default_rule(hosts.default_rule().cloned());
    Arc::new(table)
}

/// The sockets of the flags; both lead to the same routes.
pub(crate) fn sockets(
    settings: &Settings,
    routes: &Arc<RouteTable>,
    profile: &Arc<TlsProfile>,
) -> Arc<[Socket]> {
    let plain = settings.http.map(|address| {
        let http = Arc::new(settings.http_settings.clone());
        socket(address, "http", None, routes, http)
    });
    let tls = settings.https.map(|address| {
        let http = HttpSettings { public_port: settings.https_public_port, ..settings.http_settings.clone() };
        socket(address, "https", Some(Arc::clone(profile)), routes, Arc::new(http))
    });
    plain.into_iter().chain(tls).collect()
}

fn socket(
    address: std::net::SocketAddr,
    name: &str,
    tls: Option<Arc<TlsProfile>>,
    routes: &Arc<RouteTable>,
    http: Arc<HttpSettings>,
) -> Socket {
    let listener = Listener {
        id: ListenerId(name.into()),
        hostname: None,
        tls,
        policies: Arc::default(),
        routing: Routing::Http(Arc::clone(routes)),
        http,
    };
    Socket {
        id: SocketId { address, transport: Transport::Tcp },
        proxy_protocol: false,
        listeners: Arc::from(vec![listener]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringress_shared::route::PathRegex;

    #[test]
    fn expressions_are_tried_longest_text_first() {
        let regex = |source: &str| PathMatch::Regex(PathRegex::compile(source, true).unwrap());
        let mut paths = [regex("^/a"), PathMatch::prefix("/zzz"), regex("^/api/v1"), regex("^/b")];
        paths.sort_by(trial_order);
        let texts: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "/zzz (Prefix)",
                "^/api/v1 (regular expression)",
                "^/a (regular expression)",
                "^/b (regular expression)"
            ]
        );
    }
}
