//! `server-alias` and `from-to-www-redirect` of ingress-nginx: further names under which it serves, or redirects, the hosts of
//! an object.
//!
//! Nothing is served under them here. Where the object is protected they are closed, or their requests would fall to a
//! wildcard of somebody else, which may be open.

use std::collections::BTreeSet;

use ringress_shared::hostname::HostPattern;
use ringress_shared::origin::{ObjectRef, Origin};
use ringress_shared::route::Dialect;

use super::{Annotations, value};
use crate::ir::Host;
use crate::problem::{Problem, annotation_field};
use crate::settings::Settings;

/// A further name of an object's hosts, and the annotation that gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alias {
    pub(crate) origin: Origin,
    pub(crate) host: HostPattern,
}

/// What the annotations give.
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    /// Each name once, and none of the object's own hosts.
    pub(crate) names: Vec<Alias>,
    /// Keys that are set, with what they give that is no host: expressions.
    keys: Vec<(String, Vec<String>)>,
}

const SERVER_ALIAS: &str = "server-alias";
const WWW_REDIRECT: &str = "from-to-www-redirect";

/// Whether an annotation gives servers further names.
pub(super) fn is_name_of_servers(name: &str) -> bool {
    matches!(name, SERVER_ALIAS | WWW_REDIRECT)
}

pub(crate) fn read(annotations: Annotations<'_>, hosts: &BTreeSet<Host>, settings: &Settings) -> Aliases {
    let mut aliases = Aliases::default();
    let given = |name| annotations.of_nginx(name, settings).filter(|value| !value.is_empty());
    let given = |name| if settings.compat == Dialect::Strict { given(name) } else { None };
    if let Some(list) = given(SERVER_ALIAS) {
        let key = key_of(SERVER_ALIAS, settings);
        let texts = list.split(',').map(str::trim).filter(|text| !text.is_empty());
        let (names, rest): (Vec<_>, Vec<_>) = texts.partition(|text| HostPattern::parse(text).is_ok());
        let names = names.into_iter().filter_map(|text| HostPattern::parse(text).ok());
        aliases.add(annotations.object, &key, names, hosts);
        aliases.keys.push((key, rest.into_iter().map(str::to_owned).collect()));
    }
    if let Some(value) = given(WWW_REDIRECT) {
        let key = key_of(WWW_REDIRECT, settings);
        if value::truth(value) != Some(false) {
            aliases.add(annotations.object, &key, hosts.iter().flatten().filter_map(twin), hosts);
        }
        aliases.keys.push((key, Vec::new()));
    }
    aliases
}

/// The name with `www.`, or without it.
fn twin(host: &HostPattern) -> Option<HostPattern> {
    let HostPattern::Exact(name) = host else { return None };
    let twin = name.strip_prefix("www.").map_or_else(|| format!("www.{name}"), str::to_owned);
    HostPattern::parse(&twin).ok()
}

fn key_of(name: &str, settings: &Settings) -> String {
    format!("{}/{name}", settings.annotations_prefix.trim_end_matches('/'))
}

impl Aliases {
    fn add(
        &mut self,
        object: &ObjectRef,
        key: &str,
        names: impl Iterator<Item = HostPattern>,
        hosts: &BTreeSet<Host>,
    ) {
        let origin = Origin { object: object.clone(), field: annotation_field(key).into() };
        for host in names {
            let is_known =
                hosts.contains(&Some(host.clone())) || self.names.iter().any(|alias| alias.host == host);
            if !is_known {
                self.names.push(Alias { origin: origin.clone(), host });
            }
        }
    }

    /// Says what becomes of the names.
    pub(crate) fn report(&self, object: &ObjectRef, is_protected: bool, problems: &mut Vec<Problem>) {
        for (key, unread) in &self.keys {
            let field = annotation_field(key);
            let own = self.names.iter().filter(|alias| *alias.origin.field == *field);
            let closed: Vec<String> = own.map(|alias| alias.host.to_string()).collect();
            problems.push(match is_protected && !(closed.is_empty() && unread.is_empty()) {
                true => Problem::closed_aliases(object, key, &closed, unread),
                false => Problem::unsupported_annotation(object, key, None),
            });
        }
    }
}
