//! From a question to an explanation: a pure function over what was translated.
//!
//! The winner comes from [`RouteTable::find`], the very matcher of the shards, its answer from the policies of the engine
//! and the head it sends from the engine's own writer. Claims only explain: they never decide.

mod outcome;

use std::net::{IpAddr, Ipv4Addr};

use ringress_controller::Refused;
use ringress_engine::http::Head;
use ringress_engine::http::forward::{ForwardRequest, PeerText, Scheme, client_address, write_request};
use ringress_engine::policy::{self, RequestFacts};
use ringress_shared::hostname::normalise_host;
use ringress_shared::listener::{Listener, Routing, Socket};
use ringress_shared::origin::{ObjectRef, Origin};
use ringress_shared::route::{Found, Lookup, NormalPath, RouteTable, Scratch, normalise};
use ringress_shared::snapshot::Parts;
use ringress_translate::{Chunks, Claim, Level, Problem, Reason, Verdict};

use super::checklist::{Absence, Candidates};
use super::claims::{self, Tried};
use super::explanation::{Explanation, Place, Shown, Winner};
use super::question::{Question, Url, read_head};
use outcome::refusal;

/// What is asked about: one generation, or manifests that nothing serves.
pub(crate) struct World<'w> {
    pub(crate) parts: &'w Parts,
    pub(crate) claims: &'w Chunks<Claim>,
    pub(crate) problems: &'w [Problem],
    /// `None` where nothing serves it.
    pub(crate) generation: Option<u64>,
    /// Whether there are EndpointSlices at all.
    pub(crate) endpoints_known: bool,
    /// Where a field of an object stands, where that is known.
    pub(crate) place: &'w dyn Fn(&Origin) -> Place,
}

/// Explains one request.
///
/// # Errors
/// A question that no client could put on a wire, with the field that is wrong.
pub(crate) fn explain(world: &World<'_>, question: &Question) -> Result<Explanation, Refused> {
    let url = question.url()?;
    let bytes = question.head_bytes(&url)?;
    let mut explanation = Explanation {
        url: question.url.clone(),
        method: question.method.clone(),
        generation: world.generation,
        replica: None,
        agreeing: Vec::new(),
        routed: false,
        host: String::new(),
        path: String::new(),
        winner: None,
        certificate: None,
        policies: Vec::new(),
        answer: None,
        backends: Vec::new(),
        endpoints_known: world.endpoints_known,
        upstream_request: None,
        checklist: Vec::new(),
        losers: Vec::new(),
        problems: Vec::new(),
    };
    let Some(listener) = listener_for(&world.parts.sockets, &url) else {
        let scheme = if url.is_https { "https" } else { "http" };
        explanation.answer = Some(refusal(0, &format!("nothing listens for {scheme}")));
        return Ok(explanation);
    };
    match read_head(&bytes, &listener.http.limits) {
        Ok(head) => {
            Asked { world, listener, is_https: url.is_https, is_brief: question.is_brief, head: &head }
                .answer(&mut explanation)
        }
        Err(error) => explanation.answer = Some(refusal(error.status(), error.message())),
    }
    explanation.routed = match &explanation.answer {
        Some(answer) => (300..400).contains(&answer.status),
        None => true,
    };
    Ok(explanation)
}

/// The listener that takes a URL: its port decides where something listens there, else its scheme alone. So a URL
/// without the odd port of a trial is explained too.
fn listener_for<'l>(sockets: &'l [Socket], url: &Url) -> Option<&'l Listener> {
    let mut buffer = String::new();
    let host = normalise_host(url.authority.as_bytes(), &mut buffer);
    let takes = |listener: &&Listener| {
        listener.tls.is_some() == url.is_https
            && listener.hostname.as_ref().is_none_or(|pattern| pattern.matches(host))
    };
    let at_port = sockets.iter().filter(|socket| Some(socket.id.address.port()) == url.port);
    at_port.chain(sockets).find_map(|socket| socket.listeners.iter().find(takes))
}

/// A well-formed request that reached a listener.
struct Asked<'a> {
    world: &'a World<'a>,
    listener: &'a Listener,
    is_https: bool,
    /// Reasons are as many as the cluster has paths: whoever asks for thousands of answers does not want them.
    is_brief: bool,
    head: &'a Head,
}

impl Asked<'_> {
    fn answer(&self, explanation: &mut Explanation) {
        let mut buffer = String::new();
        let host = normalise_host(self.head.authority(), &mut buffer);
        host.clone_into(&mut explanation.host);
        explanation.certificate = self.certificate(host);
        let raw = if self.head.path() == b"*" { b"/" } else { self.head.path() };
        let path = match normalise(raw) {
            Ok(path) => path,
            Err(error) => {
                explanation.path = String::from_utf8_lossy(raw).into_owned();
                explanation.answer = Some(refusal(400, &error.to_string()));
                return;
            }
        };
        explanation.path = String::from_utf8_lossy(&path.bytes).into_owned();
        self.route(host, &path, explanation);
    }

    fn route(&self, host: &str, path: &NormalPath<'_>, explanation: &mut Explanation) {
        let Routing::Http(table) = &self.listener.routing;
        let mut tried = Tried::default();
        let lookup = table.find(host, path, self.head, &mut Scratch::default(), &mut tried);
        match &lookup {
            Lookup::Found(found) => self.follow(found, explanation),
            Lookup::NoHost => explanation.answer = Some(refusal(404, "no rule names this host")),
            Lookup::NoPath => explanation.answer = Some(refusal(404, "no rule of this host takes this path")),
            Lookup::Ambiguous => explanation.answer = Some(refusal(400, AMBIGUOUS)),
        }
        if !self.is_brief {
            self.give_reasons(host, path, (table, &lookup, &tried), explanation);
        }
    }

    /// Why it goes there, and nowhere else.
    fn give_reasons(
        &self,
        host: &str,
        path: &NormalPath<'_>,
        (table, lookup, tried): (&RouteTable, &Lookup<'_>, &Tried),
        explanation: &mut Explanation,
    ) {
        explanation.problems = match lookup {
            Lookup::Found(found) => of_object(self.world.problems, &found.rule.origin.object),
            Lookup::NoHost | Lookup::NoPath => unread(self.world.problems),
            Lookup::Ambiguous => Vec::new(),
        };
        let winner = match lookup {
            Lookup::Found(found) => Ok(&**found.rule),
            Lookup::NoHost | Lookup::NoPath => Err(Absence::NoRule { unread: explanation.problems.len() }),
            Lookup::Ambiguous => Err(Absence::Ambiguous),
        };
        let merged = match lookup {
            Lookup::Found(found) => found.merged.and_then(|number| path.merged.get(number)),
            Lookup::NoHost | Lookup::NoPath | Lookup::Ambiguous => None,
        };
        let candidates = Candidates {
            claims: self.world.claims,
            place: self.world.place,
            endpoints_known: self.world.endpoints_known,
            host,
            sent: &path.bytes,
            path: merged.map_or(&*path.bytes, Vec::as_slice),
            deciding: tried.hosts(table, host, self.world.claims),
            winner,
        };
        explanation.checklist = candidates.checklist();
        explanation.losers = candidates.losers();
    }

    fn follow(&self, found: &Found<'_>, explanation: &mut Explanation) {
        let rule = &**found.rule;
        let claim = claims::of_rule(self.world.claims, rule);
        explanation.winner = Some(self.winner(found, claim, &explanation.host));
        // Whether a backend among several is asked is a matter of weights, so only the one of a single backend is certain.
        let certain = match &*rule.backends {
            [only] => Some(&*only.policies),
            _ => None,
        };
        let sets = [Some(&*self.listener.policies), Some(&*rule.policies), certain];
        let sets = sets.into_iter().flatten();
        explanation.policies =
            sets.clone().flat_map(|policies| outcome::applied(policies, self.is_https)).collect();
        explanation.backends = rule
            .backends
            .iter()
            .map(|backend| outcome::reached(backend, &self.world.parts.upstreams))
            .collect();
        let facts = RequestFacts { is_https: self.is_https, framing: self.head.facts.framing };
        // As in the exchange: a policy answers before anybody asks whether an endpoint is there.
        explanation.answer =
            policy::on_request(sets, self.head, &facts).map(outcome::of_policy).or_else(|| {
                outcome::unavailable(&explanation.backends).filter(|_| !self.is_anybodys_guess(claim))
            });
        if explanation.answer.is_none() {
            explanation.upstream_request = Some(self.upstream_request());
        }
    }

    /// Whether what was claimed lacks nothing but endpoints, and the manifests do not say who is ready anywhere.
    fn is_anybodys_guess(&self, claim: Option<&Claim>) -> bool {
        let service = claim.and_then(|claim| claim.service.as_ref());
        !self.world.endpoints_known
            && service.is_some_and(|service| matches!(service.verdict, Verdict::NoReadyEndpoints { .. }))
    }

    fn winner(&self, found: &Found<'_>, claim: Option<&Claim>, host: &str) -> Winner {
        let rule = &**found.rule;
        let any_host = || "*".to_owned();
        Winner {
            object: (&rule.origin.object).into(),
            field: rule.origin.field.to_string(),
            host: match (claim, found.candidate) {
                (Some(claim), _) => claim.host.as_ref().map_or_else(any_host, ToString::to_string),
                (None, Some(_)) => host.to_owned(),
                (None, None) => any_host(),
            },
            matched: match found.candidate {
                Some(candidate) => candidate.path.to_string(),
                None => "default backend".to_owned(),
            },
            place: (self.world.place)(&rule.origin),
        }
    }

    fn certificate(&self, host: &str) -> Option<Shown> {
        let store = &self.listener.tls.as_ref()?.certificates;
        store.resolve(Some(host)).map(|certificate| outcome::shown(certificate, host))
    }

    fn upstream_request(&self) -> String {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let is_trusted =
            |address| self.listener.http.trusted_proxies.iter().any(|range| range.contains(&address));
        let forward = ForwardRequest {
            peer: &PeerText::new(peer),
            client: &PeerText::new(client_address(self.head, peer, is_trusted)),
            trusted: is_trusted(peer),
            scheme: if self.is_https { Scheme::Https } else { Scheme::Http },
            public_port: self.listener.http.public_port,
            request_id: GENERATED_ID,
            target: None,
            host: None,
            upgrade: true,
            edits: &[],
        };
        let mut bytes = Vec::new();
        write_request(self.head, &forward, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What is wrong with an object.
fn of_object(problems: &[Problem], object: &ObjectRef) -> Vec<String> {
    let of_object = |problem: &&Problem| problem.object == *object && problem.level != Level::Info;
    problems.iter().filter(of_object).map(Problem::to_string).collect()
}

/// What cannot have become a rule, because nobody could read it.
fn unread(problems: &[Problem]) -> Vec<String> {
    let is_unread = |problem: &&Problem| match problem.reason {
        Reason::Undecodable | Reason::Flattened => problem.level == Level::Error,
        // A version that Kubernetes has dropped; kinds that nobody asked us to read are remarks.
        Reason::UnknownKind => problem.level != Level::Info,
        _ => false,
    };
    let text = |problem: &Problem| match &problem.place {
        Some(place) => format!("{problem}  ({place})"),
        None => problem.to_string(),
    };
    problems.iter().filter(is_unread).map(text).collect()
}

/// Why a shard answers 400 although rules fit.
pub(super) const AMBIGUOUS: &str = "an encoded slash in the path would choose another rule";

/// Stands where a shard puts a random id.
const GENERATED_ID: &[u8] = b"(generated)";

#[cfg(test)]
mod tests;
