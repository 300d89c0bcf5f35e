//! Why a request goes where it goes, in the order in which to look after a 404: host, path, class, Service, port.

use std::collections::BTreeSet;

use ringress_shared::hostname::HostPattern;
use ringress_shared::origin::Origin;
use ringress_shared::route::{PathMatch, Rule};
use ringress_translate::{Chunks, Claim, Key, Outcome, ServiceVerdict, Verdict};

use super::answer::AMBIGUOUS;
use super::claims::{is_of, of_rule};
use super::explanation::{Check, Checked, Loser, Place, State};

/// All claims, seen from one request.
pub(super) struct Candidates<'c> {
    pub(super) claims: &'c Chunks<Claim>,
    pub(super) place: &'c dyn Fn(&Origin) -> Place,
    /// Whether there are EndpointSlices at all.
    pub(super) endpoints_known: bool,
    /// Lower case, without port.
    pub(super) host: &'c str,
    /// Normalised.
    pub(super) sent: &'c [u8],
    /// The same, or with its slashes merged where only that leads to the winner.
    pub(super) path: &'c [u8],
    /// The hosts whose rules the matcher tried; `*` for every host.
    pub(super) deciding: Vec<String>,
    pub(super) winner: Result<&'c Rule, Absence>,
}

/// Why no rule takes the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence {
    /// None fits, of those that could be read.
    NoRule {
        /// Things in the manifests that could not be read.
        unread: usize,
    },
    /// Several fit, depending on who decodes the path.
    Ambiguous,
}

impl Candidates<'_> {
    /// Every check in order; after the first failure the others stay open.
    pub(super) fn checklist(&self) -> Vec<Check> {
        let mut list = Checklist::default();
        match self.winner {
            Ok(rule) => self.check_winner(rule, &mut list),
            Err(absence) => self.check_absence(absence, &mut list),
        }
        list.finished()
    }

    /// Every claim that is not the winner's, by the first check that it fails.
    pub(super) fn losers(&self) -> Vec<Loser> {
        let others = self.claims.iter().filter(|claim| !self.winner.is_ok_and(|rule| is_of(claim, rule)));
        let mut losers: Vec<_> = others.map(|claim| self.loser(claim)).collect();
        losers.sort_by_key(|loser| loser.check);
        losers
    }

    fn check_winner(&self, rule: &Rule, list: &mut Checklist) {
        let claim = of_rule(self.claims, rule);
        list.ok(Checked::Host, self.host_says(claim));
        list.ok(Checked::Path, self.path_says(claim));
        let class = claim.map_or_else(|| "no class is asked for".to_owned(), |claim| claim.class.to_string());
        list.ok(Checked::Class, class);
        match claim.and_then(|claim| claim.service.as_ref()) {
            Some(service) => check_service(service, self.endpoints_known, list),
            None => list.ok(Checked::Service, "this rule names no Service".to_owned()),
        }
    }

    fn host_says(&self, claim: Option<&Claim>) -> String {
        match claim.and_then(|claim| claim.host.as_ref()) {
            Some(pattern @ HostPattern::Wildcard(_)) => format!("{} falls under {pattern}", self.host),
            Some(HostPattern::Exact(_)) => format!("{} is named", self.host),
            None => "this rule takes every host".to_owned(),
        }
    }

    fn path_says(&self, claim: Option<&Claim>) -> String {
        match claim.and_then(|claim| claim.path.as_ref()) {
            Some(path) if self.sent != self.path => format!(
                "{} is {} to whoever merges slashes, which falls under {path}, and that is closed",
                String::from_utf8_lossy(self.sent),
                self.path_text()
            ),
            Some(path) => format!("{} falls under {path}", self.path_text()),
            None => "a default backend takes what no path matches".to_owned(),
        }
    }

    fn check_absence(&self, absence: Absence, list: &mut Checklist) {
        let by_host: Vec<_> = self.claims.iter().filter(|claim| self.host_loss(claim).is_none()).collect();
        if by_host.is_empty() {
            return list.failed(Checked::Host, self.no_host_says() + &absence.unread_says());
        }
        list.ok(Checked::Host, self.hosts_say(&by_host));
        if absence == Absence::Ambiguous {
            return list.failed(Checked::Path, AMBIGUOUS.to_owned());
        }
        let by_path: Vec<_> =
            by_host.iter().copied().filter(|claim| self.path_loss(claim).is_none()).collect();
        if by_path.is_empty() {
            let paths = listed(by_host.iter().map(|claim| path_text(claim)));
            let says = format!("{} falls under none of the paths: {paths}", self.path_text());
            return list.failed(Checked::Path, says + &absence.unread_says());
        }
        list.ok(Checked::Path, format!("{} falls under {}", self.path_text(), objects(&by_path)));
        let (ours, foreign): (Vec<_>, Vec<_>) = by_path.into_iter().partition(|claim| claim.class.is_ours());
        match (ours.first(), foreign.first()) {
            // What is ours, fits and is no rule is wrong in itself: its Service was never asked for.
            (Some(claim), _) => {
                list.ok(Checked::Class, claim.class.to_string());
                list.failed(Checked::Service, invalid_text(claim));
            }
            (None, Some(claim)) => list.failed(Checked::Class, format!("{}: {}", claim.origin, claim.class)),
            (None, None) => {}
        }
    }

    /// Who takes the host, and which wildcard nearly does.
    fn hosts_say(&self, by_host: &[&Claim]) -> String {
        let named: Vec<_> = by_host.iter().copied().filter(|claim| claim.host.is_some()).collect();
        if !named.is_empty() {
            return format!("{} is named by {}", self.host, objects(&named));
        }
        let nearly = self.claims.iter().find_map(|claim| {
            let pattern = claim.host.as_ref()?.to_string();
            let suffix = pattern.strip_prefix('*')?;
            self.host.ends_with(suffix).then(|| format!("; {pattern} takes one label only"))
        });
        let nearly = nearly.unwrap_or_default();
        format!("{} is named by no rule; {} takes every host{nearly}", self.host, objects(by_host))
    }

    fn no_host_says(&self) -> String {
        let hosts = listed(self.claims.iter().map(host_text));
        match hosts.is_empty() {
            true => "there is no rule at all".to_owned(),
            false => format!("{} is named by no rule; there are {hosts}", self.host),
        }
    }

    fn loser(&self, claim: &Claim) -> Loser {
        let (check, why) = self.loss(claim);
        Loser {
            object: (&claim.origin.object).into(),
            field: claim.origin.field.to_string(),
            host: host_text(claim),
            path: path_text(claim),
            check,
            why,
            place: (self.place)(&claim.origin),
        }
    }

    /// The first check that a claim fails.
    fn loss(&self, claim: &Claim) -> (Checked, String) {
        if let Some(why) = self.host_loss(claim) {
            return (Checked::Host, why);
        }
        if let Some(why) = self.path_loss(claim) {
            return (Checked::Path, why);
        }
        match &claim.outcome {
            Outcome::ClassNotOurs(_) => (Checked::Class, claim.class.to_string()),
            Outcome::Invalid(why) => (Checked::Service, why.clone()),
            Outcome::Quarantined(why) => (
                Checked::Precedence,
                format!("this version is wrong, the last good one of the object is served: {why}"),
            ),
            Outcome::Shadowed { by } => {
                (Checked::Precedence, format!("{by} has the same host, path and type, and {}", by.because))
            }
            Outcome::Routed(_) => (Checked::Precedence, self.precedence_loss(claim)),
        }
    }

    fn host_loss(&self, claim: &Claim) -> Option<String> {
        match &claim.host {
            None if !claim.host_text.is_empty() => Some(format!("{:?} is no host", claim.host_text)),
            // The default backend of everything is asked after all hosts; beside rules it belongs to their hosts.
            None if claim.is_default_backend() && !self.stands_beside_rules(claim) => None,
            None => self.is_outranked("*").then(|| {
                format!("it takes every host, but {} has rules of its own, which decide alone", self.host)
            }),
            Some(pattern) if !pattern.matches(self.host) => {
                Some(format!("{pattern} does not take {}", shown_host(self.host)))
            }
            Some(pattern) => self.is_outranked(&pattern.to_string()).then(|| {
                format!(
                    "{pattern} is less specific than {}, whose rules decide alone",
                    self.deciding.join(", ")
                )
            }),
        }
    }

    fn stands_beside_rules(&self, default_backend: &Claim) -> bool {
        let object = Key::of(&default_backend.origin.object);
        self.claims.of(&object).any(|claim| !claim.is_default_backend())
    }

    /// Whether the matcher tried a more specific host and not this one.
    fn is_outranked(&self, host: &str) -> bool {
        let rank = |host: &str| match host {
            "*" => 0,
            host if host.starts_with("*.") => host.len(),
            _ => usize::MAX,
        };
        let deciding = self.deciding.iter().map(|tried| rank(tried)).max();
        deciding.is_some_and(|deciding| rank(host) < deciding)
            && !self.deciding.iter().any(|tried| tried == host)
    }

    fn path_loss(&self, claim: &Claim) -> Option<String> {
        // Expressions only close what a path means besides itself.
        if let (Some(PathMatch::Regex(_)), Outcome::Shadowed { by }) = (&claim.path, &claim.outcome) {
            return Some(format!("{} is the path of {by}, with all that it means", claim.path_text));
        }
        match &claim.path {
            Some(path) if path.matches(self.path) => None,
            Some(path) => Some(format!("{path} does not take {}", self.path_text())),
            None if claim.is_default_backend() => None,
            None => Some(match &claim.outcome {
                Outcome::Invalid(why) | Outcome::Quarantined(why) => why.clone(),
                _ => format!("{:?} is no path", claim.path_text),
            }),
        }
    }

    fn precedence_loss(&self, claim: &Claim) -> String {
        if self.winner.err() == Some(Absence::Ambiguous) {
            return "the request is refused: ".to_owned() + AMBIGUOUS;
        }
        let winner = self.winner.ok().and_then(|rule| of_rule(self.claims, rule));
        let winning = winner.and_then(|claim| claim.path.as_ref());
        match (&claim.path, winning) {
            (None, Some(_)) => "a default backend takes only what no path matches".to_owned(),
            (Some(PathMatch::Prefix(_)), Some(PathMatch::Exact(_))) => "Exact comes before Prefix".to_owned(),
            (Some(PathMatch::Prefix(own)), Some(PathMatch::Prefix(other))) if own.len() < other.len() => {
                "a longer prefix comes first".to_owned()
            }
            _ => "another rule comes first".to_owned(),
        }
    }

    fn path_text(&self) -> String {
        String::from_utf8_lossy(self.path).into_owned()
    }
}

impl Absence {
    /// What is not known may be what was looked for.
    fn unread_says(self) -> String {
        match self {
            Self::NoRule { unread: 0 } | Self::Ambiguous => String::new(),
            Self::NoRule { unread: 1 } => "; 1 part of the manifests could not be read".to_owned(),
            Self::NoRule { unread } => format!("; {unread} parts of the manifests could not be read"),
        }
    }
}

fn check_service(service: &ServiceVerdict, endpoints_known: bool, list: &mut Checklist) {
    let ServiceVerdict { service, port, verdict, .. } = service;
    let found = format!("{service} exists");
    match verdict {
        Verdict::ServiceMissing => list.failed(Checked::Service, format!("{service} does not exist")),
        Verdict::ExternalNameRefused { .. } | Verdict::NotResolved { .. } => {
            list.failed(Checked::Service, format!("{service}: {verdict}"));
        }
        Verdict::PortMissing { .. } => {
            list.ok(Checked::Service, found);
            list.failed(Checked::Port, format!("port {port}: {verdict}"));
        }
        Verdict::NoReadyEndpoints { .. } => {
            list.ok(Checked::Service, found);
            list.ok(Checked::Port, format!("port {port} exists"));
            match endpoints_known {
                true => list.failed(Checked::Endpoints, verdict.to_string()),
                false => list.open(
                    Checked::Endpoints,
                    "unknown: there is no EndpointSlice among the manifests".to_owned(),
                ),
            }
        }
        Verdict::Ok { .. } => {
            list.ok(Checked::Service, found);
            list.ok(Checked::Port, format!("port {port} exists"));
            list.ok(Checked::Endpoints, verdict.to_string());
        }
    }
}

/// The checks so far.
#[derive(Default)]
struct Checklist(Vec<Check>);

impl Checklist {
    fn ok(&mut self, check: Checked, says: String) {
        self.0.push(Check { check, state: State::Ok, says });
    }

    fn failed(&mut self, check: Checked, says: String) {
        self.0.push(Check { check, state: State::Failed, says });
    }

    fn open(&mut self, check: Checked, says: String) {
        self.0.push(Check { check, state: State::Open, says });
    }

    fn finished(mut self) -> Vec<Check> {
        for check in ORDER.iter().skip(self.0.len()) {
            self.0.push(Check { check: *check, state: State::Open, says: String::new() });
        }
        self.0
    }
}

const ORDER: [Checked; 6] =
    [Checked::Host, Checked::Path, Checked::Class, Checked::Service, Checked::Port, Checked::Endpoints];

fn invalid_text(claim: &Claim) -> String {
    match &claim.outcome {
        Outcome::Invalid(why) | Outcome::Quarantined(why) => format!("{}: {why}", claim.origin),
        _ => format!("{} is no rule", claim.origin),
    }
}

fn objects(claims: &[&Claim]) -> String {
    listed(claims.iter().map(|claim| claim.origin.object.to_string()))
}

/// Each text once, in order, and not more than a line of them.
fn listed(texts: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 6;
    let all: BTreeSet<String> = texts.collect();
    let mut shown: Vec<_> = all.iter().take(SHOWN).cloned().collect();
    if all.len() > SHOWN {
        shown.push(format!("… and {} more", all.len() - SHOWN));
    }
    shown.join(", ")
}

fn host_text(claim: &Claim) -> String {
    if claim.host_text.is_empty() { "*".to_owned() } else { claim.host_text.clone() }
}

fn path_text(claim: &Claim) -> String {
    match &claim.path {
        _ if claim.is_default_backend() => "default backend".to_owned(),
        Some(path) => path.to_string(),
        None => format!("{} ({})", claim.path_text, claim.path_type),
    }
}

fn shown_host(host: &str) -> &str {
    if host.is_empty() { "a request without a host" } else { host }
}
