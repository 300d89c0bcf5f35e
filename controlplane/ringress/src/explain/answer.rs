//! From a question to an explanation: a pure function over what was translated.
//!
//! The winner comes from [`RouteTable::find`], the very matcher of the shards, its answer from the policies of the engine
//! and the head it sends from the engine's own writer. Claims only explain: they never decide.

use std::net::{IpAddr, Ipv4Addr};

use ringress_controller::Refused;
use ringress_engine::exchange;
use ringress_engine::http::Head;
use ringress_engine::http::forward::{ForwardRequest, PeerText, Scheme, client_address, write_request};
use ringress_engine::policy::{self, RequestFacts};
use ringress_shared::certificate::Certificate;
use ringress_shared::hostname::normalise_host;
use ringress_shared::listener::{Listener, Routing, Socket};
use ringress_shared::origin::Origin;
use ringress_shared::policy::PolicySet;
use ringress_shared::route::{
    Backend, Found, HostEntry, Lookup, NormalPath, RouteTable, Rule, Scratch, Target, Trace, normalise,
};
use ringress_shared::snapshot::Parts;
use ringress_shared::upstream::UpstreamTable;
use ringress_translate::{Chunks, Claim, Level, Outcome, Problem, Reason, Verdict};

use super::checklist::{Absence, Candidates};
use super::explanation::{Applied, Explanation, OwnAnswer, Place, Reached, ReachedEndpoint, Shown, Winner};
use super::question::{Question, Url, read_head};

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
    /// Losers are as many as the cluster has paths: whoever asks for thousands of answers does not want them.
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
        if matches!(lookup, Lookup::NoHost | Lookup::NoPath) {
            explanation.problems = unread(self.world.problems);
        }
        let winner = match &lookup {
            Lookup::Found(found) => Ok(&**found.rule),
            Lookup::NoHost | Lookup::NoPath => Err(Absence::NoRule { unread: explanation.problems.len() }),
            Lookup::Ambiguous => Err(Absence::Ambiguous),
        };
        let merged = match &lookup {
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
            deciding: tried.hosts(table, self.world.claims),
            winner,
        };
        explanation.checklist = candidates.checklist();
        if !self.is_brief {
            explanation.losers = candidates.losers();
        }
    }

    fn follow(&self, found: &Found<'_>, explanation: &mut Explanation) {
        let rule = &**found.rule;
        explanation.winner = Some(self.winner(found, explanation));
        // Whether a backend among several is asked is a matter of weights, so only the one of a single backend is certain.
        let certain = match &*rule.backends {
            [only] => Some(&*only.policies),
            _ => None,
        };
        let sets = [Some(&*self.listener.policies), Some(&*rule.policies), certain];
        let sets = sets.into_iter().flatten();
        explanation.policies = sets.clone().flat_map(|policies| applied(policies, self.is_https)).collect();
        explanation.backends =
            rule.backends.iter().map(|backend| reached(backend, &self.world.parts.upstreams)).collect();
        let of_winner =
            |problem: &&Problem| problem.object == rule.origin.object && problem.level != Level::Info;
        explanation.problems = self.world.problems.iter().filter(of_winner).map(Problem::to_string).collect();
        let facts = RequestFacts { is_https: self.is_https, framing: self.head.facts.framing };
        // As in the exchange: a policy answers before anybody asks whether an endpoint is there.
        explanation.answer = policy::on_request(sets, self.head, &facts)
            .map(|answer| OwnAnswer { policy: Some(answering_policy(answer.status)), ..own_answer(answer) })
            .or_else(|| unavailable(&explanation.backends).filter(|_| !self.is_anybodys_guess(rule)));
        if explanation.answer.is_none() {
            explanation.upstream_request = Some(self.upstream_request());
        }
    }

    /// Whether a rule lacks nothing but endpoints, and the manifests do not say who is ready anywhere.
    fn is_anybodys_guess(&self, rule: &Rule) -> bool {
        let claim = self.world.claims.iter().find(|claim| is_of(claim, rule));
        let service = claim.and_then(|claim| claim.service.as_ref());
        !self.world.endpoints_known
            && service.is_some_and(|service| matches!(service.verdict, Verdict::NoReadyEndpoints { .. }))
    }

    fn winner(&self, found: &Found<'_>, explanation: &Explanation) -> Winner {
        let rule = &**found.rule;
        let claim = self.world.claims.iter().find(|claim| is_of(claim, rule));
        let any_host = || "*".to_owned();
        Winner {
            object: (&rule.origin.object).into(),
            field: rule.origin.field.to_string(),
            host: match (claim, found.candidate) {
                (Some(claim), _) => claim.host.as_ref().map_or_else(any_host, ToString::to_string),
                (None, Some(_)) => explanation.host.clone(),
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
        store.resolve(Some(host)).map(|certificate| shown(certificate, host))
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

/// Hears which host entries the matcher tries.
#[derive(Default)]
struct Tried(Vec<*const HostEntry>);

impl Trace for Tried {
    fn host(&mut self, entry: &HostEntry) {
        self.0.push(std::ptr::from_ref(entry));
    }
}

impl Tried {
    /// The hosts whose rules were tried, in that order; `*` for every host.
    fn hosts(&self, table: &RouteTable, claims: &Chunks<Claim>) -> Vec<String> {
        let hosts = table.hosts();
        let entry = |tried: &*const HostEntry| {
            hosts.iter().find(|(_, entry)| std::ptr::eq(&raw const ***entry, *tried))
        };
        let tried = self.0.iter().filter_map(entry);
        tried.map(|(host, entry)| lender(entry, claims).unwrap_or_else(|| host.clone())).collect()
    }
}

/// The host that the rules of an entry were written for: a host that only stands under `tls` has those of another one.
fn lender(entry: &HostEntry, claims: &Chunks<Claim>) -> Option<String> {
    let rule = entry.candidates().first().map(|candidate| &candidate.rule)?;
    let claim = claims.iter().find(|claim| is_of(claim, rule))?;
    Some(claim.host.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string))
}

/// Without `..`: a new policy does not compile until it says here what it does.
fn applied(policies: &PolicySet, is_https: bool) -> Vec<Applied> {
    let PolicySet { body_limit, denied, https_redirect } = policies;
    let body_limit = body_limit
        .map(|limit| ("body-limit", format!("refuses bodies over {} bytes with 413", limit.body_bytes_max)));
    let denied = denied.as_ref().map(|denied| ("denied", format!("answers 503: {}", denied.because)));
    let https_redirect = https_redirect.map(|redirect| match is_https {
        true => ("https-redirect", "nothing to do: the request came over https".to_owned()),
        false => ("https-redirect", format!("answers {} with the same URL on https", redirect.status)),
    });
    let all = [body_limit, denied, https_redirect];
    all.into_iter().flatten().map(|(policy, effect)| Applied { policy: policy.to_owned(), effect }).collect()
}

fn reached(backend: &Backend, upstreams: &UpstreamTable) -> Reached {
    let mut reached =
        Reached { service: None, port: None, weight: backend.weight, answers: None, endpoints: Vec::new() };
    match backend.target {
        Target::Answer(status) => reached.answers = Some(status),
        Target::Upstream(id) => {
            if let Some(upstream) = upstreams.get(&id) {
                reached.service = Some((&upstream.service).into());
                reached.port = Some(upstream.port.to_string());
                reached.endpoints = upstream
                    .endpoints
                    .endpoints
                    .iter()
                    .map(|endpoint| ReachedEndpoint {
                        address: endpoint.address.to_string(),
                        target: endpoint.target.as_deref().map(str::to_owned),
                    })
                    .collect();
            }
        }
    }
    reached
}

/// The status that stands in where no backend with a share has an endpoint.
fn unavailable(backends: &[Reached]) -> Option<OwnAnswer> {
    let mut shares = backends.iter().filter(|backend| backend.weight > 0);
    if shares.clone().any(|backend| !backend.endpoints.is_empty()) {
        return None;
    }
    let status = shares.find_map(|backend| backend.answers).unwrap_or(503);
    Some(own_answer(exchange::Answer::unavailable(status)))
}

/// The policy that answers with this status; each has its own.
fn answering_policy(status: u16) -> String {
    let policy = match status {
        300..400 => "https-redirect",
        413 => "body-limit",
        _ => "denied",
    };
    policy.to_owned()
}

fn own_answer(answer: exchange::Answer) -> OwnAnswer {
    OwnAnswer {
        status: answer.status,
        message: answer.message.to_owned(),
        location: answer.location.map(|location| String::from_utf8_lossy(&location).into_owned()),
        policy: None,
    }
}

fn refusal(status: u16, message: &str) -> OwnAnswer {
    OwnAnswer { status, message: message.to_owned(), location: None, policy: None }
}

fn shown(certificate: &Certificate, host: &str) -> Shown {
    Shown {
        secret: certificate.secret.as_ref().map(Into::into),
        names: certificate.names.iter().map(ToString::to_string).collect(),
        covers_host: certificate.covers(host),
    }
}

/// Whether a claim became this rule. Not by field: a wrong version of an object has its own claims there, while the rule
/// is that of the last good one.
pub(super) fn is_of(claim: &Claim, rule: &Rule) -> bool {
    claim.outcome == Outcome::Routed(rule.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringress_translate::manifest::Folder;
    use ringress_translate::{LastGood, Memo, Settings, Translation, translate};

    use super::super::explanation::{Checked, State};

    const WEB: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [127.0.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: web-abc}}]
ports: [{name: http, port: 9000}]
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {ports: [{port: 80}]}
";

    /// An Ingress `main` with one path for each `(host, path, service, port)`, and what stands under `spec.tls`.
    fn ingress(paths: &[(&str, &str, &str, u16)], tls: &str) -> String {
        let rule = |(host, path, service, port): &(&str, &str, &str, u16)| {
            format!(
                "  - host: {host}\n    http: {{paths: [{{path: {path}, pathType: Prefix, backend: {{service: {{name: {service}, port: {{number: {port}}}}}}}}}]}}\n"
            )
        };
        let rules: String = paths.iter().map(rule).collect();
        format!(
            "{WEB}---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: main}}\nspec:\n  tls: {tls}\n  rules:\n{rules}"
        )
    }

    fn translated(text: &str, last_good: &LastGood) -> Translation {
        let settings = Settings {
            watch_ingress_without_class: true,
            allow_loopback_endpoints: true,
            ..Settings::default()
        };
        let loaded = Folder::new().update([("a.yaml".to_owned(), text.into())].into());
        translate(&loaded.objects, &settings, last_good, &mut Memo::default())
    }

    fn ask_of(translation: &Translation, url: &str, headers: &[(&str, &str)]) -> Explanation {
        let world = World {
            parts: &translation.parts,
            claims: &translation.claims,
            problems: &translation.problems.iter().cloned().collect::<Vec<_>>(),
            endpoints_known: true,
            generation: None,
            place: &|_| Place::default(),
        };
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        explain(&world, &Question { url: url.to_owned(), method: "GET".to_owned(), headers, is_brief: false })
            .unwrap()
    }

    fn ask(text: &str, url: &str) -> Explanation {
        ask_of(&translated(text, &LastGood::default()), url, &[])
    }

    fn failed(explanation: &Explanation) -> Option<Checked> {
        let mut failed = explanation.checklist.iter().filter(|check| check.state == State::Failed);
        failed.next().map(|check| check.check)
    }

    #[test]
    fn a_routed_request_names_its_endpoint_and_what_it_receives() {
        let text = ingress(&[("a.test", "/x", "web", 80)], "[]");
        let explanation = ask(&text, "http://A.test:8080/x/y?z=1");
        assert!(explanation.routed);
        assert_eq!((&*explanation.host, &*explanation.path), ("a.test", "/x/y"));
        let endpoint = &explanation.backends[0].endpoints[0];
        assert_eq!((&*endpoint.address, endpoint.target.as_deref()), ("127.0.0.1:9000", Some("web-abc")));
        let request = explanation.upstream_request.unwrap();
        assert!(request.starts_with("GET /x/y?z=1 HTTP/1.1\r\nHost: A.test:8080\r\n"), "{request}");
        assert!(request.contains("X-Forwarded-Proto: http\r\n"), "{request}");
    }

    #[test]
    fn a_host_under_tls_is_explained_by_the_rules_that_it_borrows() {
        let text = ingress(&[("''", "/x", "web", 80), ("''", "/x/long", "web", 80)], "[{hosts: [a.test]}]");
        let explanation = ask(&text, "http://a.test/x/long");
        assert_eq!(explanation.answer.as_ref().map(|answer| answer.status), Some(308));
        let winner = explanation.winner.as_ref().unwrap();
        assert_eq!((&*winner.host, &*winner.field), ("*", "spec.rules[1].http.paths[0]"));
        assert_eq!(explanation.losers[0].check, Checked::Precedence, "{:?}", explanation.losers);
        assert_eq!(failed(&ask(&text, "http://a.test/y")), Some(Checked::Path));
        assert_eq!(ask(&text, "http://b.test/x").answer, None);
    }

    #[test]
    fn the_first_check_that_fails_is_the_reason() {
        let text = ingress(
            &[
                ("a.test", "/web", "web", 80),
                ("a.test", "/gone", "gone", 80),
                ("a.test", "/port", "web", 81),
                ("a.test", "/empty", "empty", 80),
            ],
            "[]",
        );
        for (url, status, check) in [
            ("http://b.test/", 404, Checked::Host),
            ("http://a.test/other", 404, Checked::Path),
            ("http://a.test/gone", 503, Checked::Service),
            ("http://a.test/port", 503, Checked::Port),
            ("http://a.test/empty", 503, Checked::Endpoints),
        ] {
            let explanation = ask(&text, url);
            assert_eq!(explanation.answer.as_ref().map(|answer| answer.status), Some(status), "{url}");
            assert_eq!(failed(&explanation), Some(check), "{url}");
            assert!(!explanation.routed, "{url}");
            assert_eq!(explanation.upstream_request, None, "{url}");
        }
    }

    #[test]
    fn a_policy_that_answers_is_the_reason_before_a_backend_that_is_missing() {
        let text = ingress(&[("a.test", "/gone", "gone", 80)], "[]").replace(
            "metadata: {name: main}",
            "metadata: {name: main, annotations: {nginx.ingress.kubernetes.io/auth-url: http://auth/}}",
        );
        let explanation = ask(&text, "http://a.test/gone");
        let answer = explanation.answer.as_ref().unwrap();
        assert_eq!((answer.status, answer.policy.as_deref()), (503, Some("denied")));
        assert_eq!(failed(&explanation), Some(Checked::Service), "that is wrong, too");
        let shown = super::super::text::render(&explanation, crate::terminal::Style::plain());
        assert!(shown.contains(&format!("verdict  503: {}\n", answer.message)), "{shown}");
        let unprotected = ask(&ingress(&[("a.test", "/gone", "gone", 80)], "[]"), "http://a.test/gone");
        assert_eq!(unprotected.answer.unwrap().policy, None);
    }

    #[test]
    fn a_class_of_others_is_the_reason_for_a_404() {
        let text = ingress(&[("a.test", "/", "web", 80)], "[]")
            .replace("spec:\n  tls", "spec:\n  ingressClassName: nginx\n  tls");
        let explanation = ask(&text, "http://a.test/");
        assert_eq!(failed(&explanation), Some(Checked::Class));
        assert_eq!(explanation.losers[0].check, Checked::Class);
        assert!(explanation.losers[0].why.contains("nginx"), "{:?}", explanation.losers);
    }

    #[test]
    fn a_redirect_counts_as_routed_and_says_where_to() {
        let text = ingress(&[("a.test", "/", "web", 80)], "[{hosts: [a.test]}]");
        let explanation = ask(&text, "http://a.test/x?y");
        let answer = explanation.answer.as_ref().unwrap();
        assert_eq!((answer.status, answer.location.as_deref()), (308, Some("https://a.test/x?y")));
        assert!(explanation.routed);
        assert_eq!(explanation.policies[0].policy, "https-redirect");
        assert_eq!(explanation.upstream_request, None);
    }

    #[test]
    fn what_a_shard_refuses_is_refused_with_its_words() {
        let text = ingress(&[("a.test", "/", "web", 80), ("a.test", "/admin", "web", 80)], "[]");
        let translation = translated(&text, &LastGood::default());
        for (url, headers, status) in [
            ("http://a.test/%00", &[][..], 400),
            ("http://a.test/..", &[], 400),
            ("http://a.test/admin%2fx", &[], 400),
            ("http://a_b.test\u{e9}/", &[], 400),
            ("http://a.test/", &[("Content-Length", "1"), ("Transfer-Encoding", "chunked")], 400),
            ("http://a.test/", &[("Transfer-Encoding", "gzip, chunked")], 501),
        ] {
            let explanation = ask_of(&translation, url, headers);
            assert_eq!(explanation.answer.map(|answer| answer.status), Some(status), "{url} {headers:?}");
            assert!(!explanation.routed, "{url}");
        }
    }

    #[test]
    fn an_ambiguous_slash_fails_at_the_path() {
        let text = ingress(&[("a.test", "/", "web", 80), ("a.test", "/admin", "web", 80)], "[]");
        let explanation = ask(&text, "http://a.test/admin%2fx");
        assert_eq!(failed(&explanation), Some(Checked::Path));
        let [host, path, ..] = &explanation.checklist[..] else { panic!("{:?}", explanation.checklist) };
        assert_eq!((host.state, &*path.says), (State::Ok, AMBIGUOUS));
        assert!(explanation.losers.iter().all(|loser| loser.why != "another rule comes first"));
    }

    #[test]
    fn empty_elements_that_lead_to_a_closed_rule_are_said() {
        let protected = "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: protected, annotations: \
                         {nginx.ingress.kubernetes.io/auth-url: http://auth/}}\nspec: {rules: [{host: a.test, http: {paths: \
                         [{path: /admin, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}\n";
        let translation =
            translated(&(ingress(&[("a.test", "/", "web", 80)], "[]") + protected), &LastGood::default());
        for (path, winner, status) in [
            ("//admin/x", "protected", Some(503)),
            ("/%2fadmin", "protected", Some(503)),
            ("//x", "main", None),
        ] {
            let explanation = ask_of(&translation, &format!("http://a.test{path}"), &[]);
            assert_eq!(explanation.winner.as_ref().unwrap().object.name, winner, "{path}");
            assert_eq!(explanation.answer.as_ref().map(|answer| answer.status), status, "{path}");
            let says = &explanation.checklist[1].says;
            assert_eq!(says.contains("whoever merges slashes"), status.is_some(), "{says}");
        }
    }

    #[test]
    fn a_rule_of_the_last_good_version_wins_and_the_wrong_version_says_so() {
        let good = ingress(&[("a.test", "/", "web", 80)], "[]");
        let before = translated(&good, &LastGood::default());
        let after = translated(&good.replace("pathType: Prefix", "pathType: Wrong"), &before.last_good);
        let explanation = ask_of(&after, "http://a.test/", &[]);
        assert!(explanation.routed, "{explanation:?}");
        let loser = &explanation.losers[0];
        assert!(loser.why.contains("Wrong"), "{loser:?}");
    }

    #[test]
    fn nothing_listens_where_a_port_is_off() {
        let settings = Settings { https: None, ..Settings::default() };
        let translation =
            translate(&Default::default(), &settings, &LastGood::default(), &mut Memo::default());
        let explanation = ask_of(&translation, "https://a.test/", &[]);
        assert_eq!(explanation.answer.unwrap().message, "nothing listens for https");
    }
}
