//! The names under `tls` of all objects: who named them, and which certificate each gets.
//!
//! The oldest object that names a host decides. A Secret that is missing, broken or for other names leaves the host with
//! the default certificate; one whose content the source does not have leaves it without any.
//!
//! An entry without hosts, in an object whose rules name none, serves the names of its certificate, as far as no other
//! object names them: what is claimed by a certificate alone never wins over what is written in an object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringress_shared::certificate::{Certificate, CertificateStore};
use ringress_shared::hostname::HostPattern;
use ringress_shared::listener::{TlsProfile, TlsProfileId};
use ringress_shared::origin::{ObjectRef, Origin};

use crate::few::Few;
use crate::ingress::covers;
use crate::ir::{IngressIr, TlsHosts, TlsIr};
use crate::merge::{Contributors, wildcard_above, winner};
use crate::objects::{Key, Objects};
use crate::problem::{Problem, flags};
use crate::resolve::secret::{self, Content, Input};
use crate::settings::Settings;
use crate::table::ByKey;

#[derive(Debug)]
pub(crate) struct Certificates {
    names: BTreeMap<HostPattern, Name>,
    /// Objects with an entry that names no host.
    unnamed: Contributors,
    /// What is said of the names of their certificates.
    unnamed_problems: BTreeMap<Key, Vec<Problem>>,
    /// Hosts of rules and names under `tls`, with who names them.
    claimed: BTreeMap<HostPattern, Few<Key, ObjectRef>>,
    secrets: BTreeMap<Key, SecretState>,
    dirty: BTreeSet<HostPattern>,
    dirty_store: bool,
    dirty_good: BTreeSet<Key>,
    good: CertificatesByKey,
    profile: Arc<TlsProfile>,
    default_problem: Option<Problem>,
}

/// A name under `tls`.
#[derive(Debug, Default)]
struct Name {
    contributors: Contributors,
    served: Served,
    problems: BTreeMap<Key, Vec<Problem>>,
}

/// What a name under `tls` gets.
#[derive(Debug, Clone, Default)]
enum Served {
    /// Nothing of its own, so the default certificate.
    #[default]
    Default,
    Own(Arc<Certificate>),
    /// No handshake: its certificate exists and is not known.
    Refused,
}

#[derive(Debug)]
struct SecretState {
    users: Few<User, ()>,
    input: Input,
    content: Content,
}

/// Who refers to a Secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum User {
    /// `--default-ssl-certificate`.
    Flag,
    /// An Ingress, with the names that depend on it.
    Ingress(Key),
}

/// What a rebuild changed.
#[derive(Debug, Default)]
pub(crate) struct Rebuilt {
    /// Objects about whose certificates something else is said now.
    pub(crate) objects: BTreeSet<Key>,
}

impl Certificates {
    pub(crate) fn new(settings: &Settings, objects: &Objects, last_good: &CertificatesByKey) -> Self {
        let mut certificates = Self {
            names: BTreeMap::new(),
            unnamed: Contributors::default(),
            unnamed_problems: BTreeMap::new(),
            claimed: BTreeMap::new(),
            secrets: BTreeMap::new(),
            dirty: BTreeSet::new(),
            dirty_store: true,
            dirty_good: BTreeSet::new(),
            good: CertificatesByKey::default(),
            profile: profile(CertificateStore::default()),
            default_problem: None,
        };
        if let Some(secret) = &settings.default_ssl_certificate {
            certificates.take(secret, User::Flag, objects, last_good);
        }
        certificates
    }

    /// Takes the entries of an object out and in.
    pub(crate) fn replace(
        &mut self,
        before: Option<&Arc<IngressIr>>,
        after: Option<&Arc<IngressIr>>,
        objects: &Objects,
        last_good: &CertificatesByKey,
    ) {
        self.dirty.extend(names_of(before).chain(names_of(after)).cloned());
        if let Some(before) = before {
            self.take_out(before);
        }
        if let Some(after) = after {
            self.put_in(after);
        }
        let (old, new) = (secrets_of(before), secrets_of(after));
        for secret in new.difference(&old) {
            let user = after.map(|ir| User::Ingress(ir.key.clone()));
            user.into_iter().for_each(|user| self.take(secret, user, objects, last_good));
        }
        for secret in old.difference(&new) {
            let user = before.map(|ir| User::Ingress(ir.key.clone()));
            user.iter().for_each(|user| self.release(secret, user));
        }
    }

    fn take_out(&mut self, ir: &Arc<IngressIr>) {
        for host in names_of(Some(ir)) {
            let Some(name) = self.names.get_mut(host) else { continue };
            name.contributors.remove(&ir.key);
            if name.contributors.is_empty() {
                self.dirty_store |= !matches!(name.served, Served::Default);
                self.names.remove(host);
            }
        }
        for host in claimed_by(ir) {
            let Some(claimants) = self.claimed.get_mut(host) else { continue };
            claimants.remove(&ir.key);
            if claimants.is_empty() {
                self.claimed.remove(host);
            }
        }
        self.dirty_store |= !self.unnamed.is_empty();
        self.unnamed.remove(&ir.key);
    }

    fn put_in(&mut self, ir: &Arc<IngressIr>) {
        for host in names_of(Some(ir)) {
            let name = self.names.entry(host.clone()).or_default();
            name.contributors.insert(ir.key.clone(), Arc::clone(ir));
        }
        if ir.tls.iter().any(|tls| tls.hosts == TlsHosts::OfCertificate) {
            self.unnamed.insert(ir.key.clone(), Arc::clone(ir));
        }
        for host in claimed_by(ir) {
            self.claimed.entry(host.clone()).or_default().insert(ir.key.clone(), ir.object.clone());
        }
        self.dirty_store |= !self.unnamed.is_empty();
    }

    fn take(&mut self, secret: &Key, user: User, objects: &Objects, last_good: &CertificatesByKey) {
        let state = self.secrets.entry(secret.clone()).or_insert_with(|| {
            let good = last_good.get(secret);
            let input = Input::of(secret, objects, good);
            SecretState { users: Few::default(), input, content: secret::read(secret, objects, good) }
        });
        if state.users.is_empty() {
            self.dirty_good.insert(secret.clone());
        }
        state.users.insert(user, ());
    }

    fn release(&mut self, secret: &Key, user: &User) {
        let Some(state) = self.secrets.get_mut(secret) else { return };
        state.users.remove(user);
        if state.users.is_empty() {
            self.secrets.remove(secret);
            self.dirty_good.insert(secret.clone());
        }
    }

    /// Follows Secrets whose content, or whose last good content, is another one now.
    pub(crate) fn secrets_moved(
        &mut self,
        secrets: impl IntoIterator<Item = Key>,
        objects: &Objects,
        last_good: &CertificatesByKey,
    ) -> BTreeSet<Key> {
        let mut users = BTreeSet::new();
        for key in secrets {
            let Some(state) = self.secrets.get_mut(&key) else { continue };
            let good = last_good.get(&key);
            let input = Input::of(&key, objects, good);
            if input == state.input {
                continue;
            }
            state.input = input;
            state.content = secret::read(&key, objects, good);
            self.dirty_store = true;
            self.dirty_good.insert(key.clone());
            users.extend(state.users.keys().filter_map(User::ingress).cloned());
        }
        users
    }

    /// Secrets whose content depends on their last good one.
    pub(crate) fn broken(&self) -> impl Iterator<Item = &Key> {
        let broken = |content: &Content| matches!(content, Content::Broken(_) | Content::Quarantined { .. });
        self.secrets.iter().filter(move |(_, state)| broken(&state.content)).map(|(key, _)| key)
    }

    /// The names of these objects have to be looked at again.
    pub(crate) fn touch<'i>(&mut self, irs: impl Iterator<Item = &'i Arc<IngressIr>>) {
        for ir in irs {
            self.dirty.extend(names_of(Some(ir)).cloned());
        }
    }

    /// Decides again what changed.
    pub(crate) fn rebuild(&mut self, settings: &Settings) -> Rebuilt {
        let mut rebuilt = Rebuilt::default();
        for host in std::mem::take(&mut self.dirty) {
            let Some(name) = self.names.get(&host) else { continue };
            let decided = decide(&host, &name.contributors, &self.secrets);
            let differs = |key: &&Key| name.problems.get(*key) != decided.problems.get(*key);
            let keys = name.problems.keys().chain(decided.problems.keys());
            rebuilt.objects.extend(keys.filter(differs).cloned());
            self.dirty_store |= !name.served.is_same(&decided.served);
            if let Some(name) = self.names.get_mut(&host) {
                name.served = decided.served;
                name.problems = decided.problems;
            }
        }
        if std::mem::take(&mut self.dirty_store) {
            rebuilt.objects.extend(self.rebuild_store(settings));
        }
        for key in std::mem::take(&mut self.dirty_good) {
            match self.secrets.get(&key).and_then(|state| state.content.certificate()) {
                Some(certificate) => drop(self.good.insert(key, Arc::clone(certificate))),
                None => drop(self.good.remove(&key)),
            }
        }
        rebuilt
    }

    /// Gives the objects of which something else is said now.
    fn rebuild_store(&mut self, settings: &Settings) -> BTreeSet<Key> {
        let (default, problem) = self.default_certificate(settings);
        self.default_problem = problem;
        // Any name may be one of a certificate that is not known.
        let default = default.filter(|_| !self.withholds_unnamed());
        let mut store = CertificateStore::new(default);
        for (host, name) in &self.names {
            match &name.served {
                Served::Default => false,
                Served::Own(certificate) => store.insert(&host.to_string(), Arc::clone(certificate)),
                Served::Refused => store.refuse(&host.to_string()),
            };
        }
        let problems = self.enter_unnamed(&mut store);
        if !same_store(&store, &self.profile.certificates) {
            self.profile = profile(store);
        }
        let before = std::mem::replace(&mut self.unnamed_problems, problems);
        let keys = before.keys().chain(self.unnamed_problems.keys());
        keys.filter(|key| before.get(*key) != self.unnamed_problems.get(*key)).cloned().collect()
    }

    /// Enters the names of certificates whose entries name no host: of all that claim a name so the oldest object.
    fn enter_unnamed(&self, store: &mut CertificateStore) -> BTreeMap<Key, Vec<Problem>> {
        let mut problems: BTreeMap<Key, Vec<Problem>> = BTreeMap::new();
        let mut shielded = BTreeSet::new();
        for (name, claims) in self.unnamed_claims() {
            let Ok(host) = HostPattern::parse(&name) else { continue };
            let Some(winner) = winner(claims.iter().map(|claim| claim.ir)) else { continue };
            let Some(taken) = claims.iter().find(|claim| claim.ir.key == winner.key) else { continue };
            let what = format!("the certificate of {name}");
            for loser in claims.iter().filter(|claim| claim.tls.secret != taken.tls.secret) {
                let by = winner.takes(&taken.tls.origin, loser.ir);
                let problem = Problem::shadowed(&loser.tls.origin, &what, &by);
                problems.entry(loser.ir.key.clone()).or_default().push(problem);
            }
            let under = self.claimed_under(&host, &winner.key);
            // Without a default certificate nothing else could be served for the names of others.
            let unshielded = under.first().filter(|_| store.default_certificate().is_none());
            match self.claimed_above(&host, &winner.key).or(unshielded.map(|(_, object)| *object)) {
                Some(another) => {
                    let problem = Problem::unnamed_certificate(&taken.tls.origin, &name, another);
                    problems.entry(winner.key.clone()).or_default().push(problem);
                }
                None => {
                    store.insert(&name, Arc::clone(taken.certificate));
                    shielded.extend(under.into_iter().map(|(host, _)| host));
                }
            }
        }
        if let Some(default) = store.default_certificate().cloned() {
            for host in shielded {
                store.insert(&host.to_string(), Arc::clone(&default));
            }
        }
        problems
    }

    /// Whether an entry that names no host has a certificate that is not known.
    fn withholds_unnamed(&self) -> bool {
        let unnamed = self.unnamed.values().flat_map(|ir| &ir.tls);
        let mut secrets = unnamed
            .filter(|tls| tls.hosts == TlsHosts::OfCertificate)
            .filter_map(|tls| self.secrets.get(tls.secret.as_ref()?));
        secrets.any(|state| matches!(state.content, Content::Withheld))
    }

    /// Every name of a certificate whose entry names no host, with who claims it so.
    fn unnamed_claims(&self) -> BTreeMap<Box<str>, Vec<UnnamedClaim<'_>>> {
        let mut claims: BTreeMap<Box<str>, Vec<UnnamedClaim<'_>>> = BTreeMap::new();
        for ir in self.unnamed.values() {
            for tls in ir.tls.iter().filter(|tls| tls.hosts == TlsHosts::OfCertificate) {
                let state = tls.secret.as_ref().and_then(|key| self.secrets.get(key));
                let Some(certificate) = state.and_then(|state| state.content.certificate()) else { continue };
                for name in &certificate.names {
                    claims.entry(name.clone()).or_default().push(UnnamedClaim { ir, tls, certificate });
                }
            }
        }
        claims
    }

    /// An object other than `own` that names the host, or the wildcard above it.
    fn claimed_above(&self, host: &HostPattern, own: &Key) -> Option<&ObjectRef> {
        let above = wildcard_above(host);
        let claimed = [Some(host), above.as_ref()].into_iter().flatten();
        claimed.filter_map(|host| another(self.claimed.get(host)?, own)).next()
    }

    /// The names under a wildcard that objects other than `own` name.
    fn claimed_under(&self, host: &HostPattern, own: &Key) -> Vec<(&HostPattern, &ObjectRef)> {
        if matches!(host, HostPattern::Exact(_)) {
            return Vec::new();
        }
        let under = self.claimed.iter().filter(|(claimed, _)| *claimed != host && covers(host, claimed));
        under.filter_map(|(host, claimants)| Some((host, another(claimants, own)?))).collect()
    }

    fn default_certificate(&self, settings: &Settings) -> (Option<Arc<Certificate>>, Option<Problem>) {
        let fallback = settings.fallback_certificate.clone();
        let Some(key) = &settings.default_ssl_certificate else { return (fallback, None) };
        let origin = Origin { object: flags(), field: "--default-ssl-certificate".into() };
        let reference = key.reference("Secret");
        match self.secrets.get(key).map(|state| &state.content) {
            Some(Content::Good(certificate) | Content::Quarantined { serving: certificate, .. }) => {
                (Some(Arc::clone(certificate)), None)
            }
            Some(Content::Broken(because)) => {
                (fallback, Some(Problem::secret_unusable(&origin, &reference, because)))
            }
            Some(Content::Withheld) => (None, Some(Problem::secret_withheld(&origin, &reference))),
            Some(Content::Missing) | None => (fallback, Some(Problem::secret_missing(&origin, &reference))),
        }
    }

    /// How the https listener terminates TLS.
    pub(crate) fn profile(&self) -> &Arc<TlsProfile> {
        &self.profile
    }

    /// What is said about an object's certificates.
    pub(crate) fn problems_of<'c>(&'c self, ir: &'c IngressIr) -> impl Iterator<Item = &'c Problem> {
        let names: BTreeSet<&HostPattern> = ir.tls_names().collect();
        names.into_iter().filter_map(|host| self.names.get(host)?.problems.get(&ir.key)).flatten()
    }

    /// What is said about certificates of entries without hosts.
    pub(crate) fn problems_of_unnamed(&self, ir: &IngressIr) -> Vec<Problem> {
        let unnamed = ir.tls.iter().filter(|tls| tls.hosts == TlsHosts::OfCertificate);
        let missing = unnamed.filter_map(|tls| missing(tls, &self.secrets));
        let names = self.unnamed_problems.get(&ir.key).into_iter().flatten().cloned();
        missing.chain(names).collect()
    }

    /// What is said about Secrets themselves, and about the flag.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        let quarantined = self.secrets.iter().filter_map(|(key, state)| match &state.content {
            Content::Quarantined { because, .. } => {
                Some(Problem::certificate_quarantined(&key.reference("Secret"), because))
            }
            Content::Good(_) | Content::Broken(_) | Content::Missing | Content::Withheld => None,
        });
        self.default_problem.iter().cloned().chain(quarantined)
    }

    /// The certificates that go on if their Secret breaks.
    pub(crate) fn good(&self) -> &CertificatesByKey {
        &self.good
    }
}

/// Certificates by Secret.
pub(crate) type CertificatesByKey = ByKey<Arc<Certificate>>;

impl User {
    fn ingress(&self) -> Option<&Key> {
        match self {
            Self::Flag => None,
            Self::Ingress(key) => Some(key),
        }
    }
}

fn names_of(ir: Option<&Arc<IngressIr>>) -> impl Iterator<Item = &HostPattern> {
    ir.into_iter().flat_map(|ir| ir.tls_names())
}

fn another<'c>(claimants: &'c Few<Key, ObjectRef>, own: &Key) -> Option<&'c ObjectRef> {
    claimants.iter().find(|(key, _)| key != own).map(|(_, object)| object)
}

/// Every host that an object names, in a rule or under `tls`.
fn claimed_by(ir: &IngressIr) -> impl Iterator<Item = &HostPattern> {
    ir.hosts.iter().flatten().chain(ir.tls_names())
}

fn secrets_of(ir: Option<&Arc<IngressIr>>) -> BTreeSet<Key> {
    ir.into_iter().flat_map(|ir| &ir.tls).filter_map(|tls| tls.secret.clone()).collect()
}

/// An entry without hosts that claims a name of its certificate.
struct UnnamedClaim<'c> {
    ir: &'c Arc<IngressIr>,
    tls: &'c TlsIr,
    certificate: &'c Arc<Certificate>,
}

struct Decided {
    served: Served,
    problems: BTreeMap<Key, Vec<Problem>>,
}

/// The certificate of one name.
fn decide(host: &HostPattern, contributors: &Contributors, secrets: &BTreeMap<Key, SecretState>) -> Decided {
    let mut problems = BTreeMap::new();
    let entries = |ir: &Arc<IngressIr>| -> Vec<(TlsIr, Origin)> {
        ir.tls.iter().filter_map(|tls| Some((tls.clone(), origin_of(ir, tls, host)?))).collect()
    };
    let nothing = |problems| Decided { served: Served::Default, problems };
    let Some(winner) = winner(contributors.values()) else { return nothing(problems) };
    let own = entries(winner);
    let Some((tls, origin)) = own.first() else { return nothing(problems) };
    let state = tls.secret.as_ref().and_then(|key| secrets.get(key));
    let mut served = state.map(|state| Served::of(&state.content)).unwrap_or_default();
    let mut said: Vec<Problem> = missing(tls, secrets).into_iter().collect();
    if let (Some(key), Served::Own(found)) = (&tls.secret, &served)
        && !found.covers(&host.to_string())
    {
        let reference = key.reference("Secret");
        said.push(Problem::certificate_host(origin, &reference, &host.to_string(), &found.names));
        served = Served::Default;
    }
    if !said.is_empty() {
        problems.insert(winner.key.clone(), said);
    }
    for ir in contributors.values() {
        let rivals = entries(ir).into_iter().filter(|(rival, _)| rival.secret != tls.secret);
        for (_, field) in rivals {
            let what = format!("the certificate of {host}");
            problems.entry(ir.key.clone()).or_default().push(Problem::shadowed(
                &field,
                &what,
                &winner.takes(origin, ir),
            ));
        }
    }
    Decided { served, problems }
}

impl Served {
    fn of(content: &Content) -> Self {
        match (content, content.certificate()) {
            (_, Some(certificate)) => Self::Own(Arc::clone(certificate)),
            (Content::Withheld, None) => Self::Refused,
            (_, None) => Self::Default,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(a), Self::Own(b)) => Arc::ptr_eq(a, b),
            (Self::Default, Self::Default) | (Self::Refused, Self::Refused) => true,
            _ => false,
        }
    }
}

/// The field in which an entry names a host, if it does.
fn origin_of(ir: &IngressIr, tls: &TlsIr, host: &HostPattern) -> Option<Origin> {
    let (_, field) = tls.named().iter().find(|(named, _)| named == host)?;
    Some(Origin { object: ir.object.clone(), field: Arc::clone(field) })
}

/// What is wrong with the Secret of an entry, whatever its names are.
fn missing(tls: &TlsIr, secrets: &BTreeMap<Key, SecretState>) -> Option<Problem> {
    let key = tls.secret.as_ref()?;
    let field = format!("{}.secretName", tls.origin.field);
    let origin = Origin { object: tls.origin.object.clone(), field: field.into() };
    let reference = key.reference("Secret");
    match &secrets.get(key)?.content {
        Content::Missing => Some(Problem::secret_missing(&origin, &reference)),
        Content::Broken(because) => Some(Problem::secret_unusable(&origin, &reference, because)),
        Content::Withheld => Some(Problem::secret_withheld(&origin, &reference)),
        Content::Good(_) | Content::Quarantined { .. } => None,
    }
}

fn profile(store: CertificateStore) -> Arc<TlsProfile> {
    Arc::new(TlsProfile {
        id: TlsProfileId("ingress".into()),
        certificates: Arc::new(store),
        alpn: vec![b"http/1.1".to_vec()],
    })
}

fn same_certificate(a: Option<&Arc<Certificate>>, b: Option<&Arc<Certificate>>) -> bool {
    a.map(Arc::as_ptr) == b.map(Arc::as_ptr)
}

fn same_store(a: &CertificateStore, b: &CertificateStore) -> bool {
    let entries = |store: &CertificateStore| -> BTreeMap<String, *const Certificate> {
        store.entries().map(|(host, certificate)| (host, Arc::as_ptr(certificate))).collect()
    };
    let refused = |store: &CertificateStore| -> BTreeSet<String> { store.refused().collect() };
    same_certificate(a.default_certificate(), b.default_certificate())
        && entries(a) == entries(b)
        && refused(a) == refused(b)
}
