//! The names under `tls` of all objects: who named them, and which certificate each gets.
//!
//! The oldest object that names a host decides. A Secret that is missing, broken or for other names leaves the host with
//! the default certificate; it stays named, so it still redirects to https.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringress_shared::certificate::{Certificate, CertificateStore};
use ringress_shared::hostname::HostPattern;
use ringress_shared::listener::{TlsProfile, TlsProfileId};
use ringress_shared::origin::Origin;

use crate::ir::{IngressIr, TlsHosts, TlsIr};
use crate::merge::{Contributors, wildcard_above, winner};
use crate::objects::{Key, Objects};
use crate::problem::{Problem, flags};
use crate::resolve::secret::{self, Content, Input};
use crate::settings::Settings;
use crate::sharded::Sharded;

#[derive(Debug)]
pub(crate) struct Certificates {
    names: BTreeMap<HostPattern, Name>,
    /// Objects with an entry that names no host.
    unnamed: Contributors,
    secrets: BTreeMap<Key, SecretState>,
    dirty: BTreeSet<HostPattern>,
    dirty_store: bool,
    dirty_good: BTreeSet<Key>,
    good: CertificatesByKey,
    profile: Arc<TlsProfile>,
    wants: Arc<BTreeSet<Key>>,
    default_problem: Option<Problem>,
}

/// A name under `tls`.
#[derive(Debug, Default)]
struct Name {
    contributors: Contributors,
    certificate: Option<Arc<Certificate>>,
    problems: BTreeMap<Key, Vec<Problem>>,
}

#[derive(Debug)]
struct SecretState {
    users: BTreeSet<User>,
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
            unnamed: BTreeMap::new(),
            secrets: BTreeMap::new(),
            dirty: BTreeSet::new(),
            dirty_store: true,
            dirty_good: BTreeSet::new(),
            good: CertificatesByKey::default(),
            profile: profile(CertificateStore::default()),
            wants: Arc::default(),
            default_problem: None,
        };
        if let Some(secret) = &settings.default_ssl_certificate {
            certificates.take(secret, User::Flag, objects, last_good);
        }
        certificates
    }

    /// Takes the entries of an object out and in. Gives the names that came to be named, or no longer are.
    pub(crate) fn replace(
        &mut self,
        before: Option<&Arc<IngressIr>>,
        after: Option<&Arc<IngressIr>>,
        objects: &Objects,
        last_good: &CertificatesByKey,
    ) -> BTreeSet<HostPattern> {
        let mut touched = BTreeMap::new();
        for host in names_of(before).chain(names_of(after)) {
            touched.insert(host.clone(), self.names.contains_key(host));
        }
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
        self.dirty.extend(touched.keys().cloned());
        let moved = touched.into_iter().filter(|(host, before)| self.names.contains_key(host) != *before);
        moved.map(|(host, _)| host).collect()
    }

    fn take_out(&mut self, ir: &Arc<IngressIr>) {
        for host in names_of(Some(ir)) {
            let Some(name) = self.names.get_mut(host) else { continue };
            name.contributors.remove(&ir.key);
            if name.contributors.is_empty() {
                self.dirty_store |= name.certificate.is_some();
                self.names.remove(host);
            }
        }
        self.dirty_store |= self.unnamed.remove(&ir.key).is_some();
    }

    fn put_in(&mut self, ir: &Arc<IngressIr>) {
        for host in names_of(Some(ir)) {
            let name = self.names.entry(host.clone()).or_default();
            name.contributors.insert(ir.key.clone(), Arc::clone(ir));
        }
        if ir.tls.iter().any(|tls| tls.hosts == TlsHosts::OfCertificate) {
            self.unnamed.insert(ir.key.clone(), Arc::clone(ir));
            self.dirty_store = true;
        }
    }

    fn take(&mut self, secret: &Key, user: User, objects: &Objects, last_good: &CertificatesByKey) {
        let state = self.secrets.entry(secret.clone()).or_insert_with(|| {
            let good = last_good.get(secret);
            let input = Input::of(secret, objects, good);
            SecretState { users: BTreeSet::new(), input, content: secret::read(secret, objects, good) }
        });
        if state.users.is_empty() {
            Arc::make_mut(&mut self.wants).insert(secret.clone());
            self.dirty_good.insert(secret.clone());
        }
        state.users.insert(user);
    }

    fn release(&mut self, secret: &Key, user: &User) {
        let Some(state) = self.secrets.get_mut(secret) else { return };
        state.users.remove(user);
        if state.users.is_empty() {
            self.secrets.remove(secret);
            Arc::make_mut(&mut self.wants).remove(secret);
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
            users.extend(state.users.iter().filter_map(User::ingress).cloned());
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

    /// Whether a host is named under `tls`, by itself or by a wildcard.
    pub(crate) fn is_named(&self, host: &HostPattern) -> bool {
        self.names.contains_key(host)
            || wildcard_above(host).is_some_and(|above| self.names.contains_key(&above))
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
            self.dirty_store |= !same_certificate(name.certificate.as_ref(), decided.certificate.as_ref());
            if let Some(name) = self.names.get_mut(&host) {
                name.certificate = decided.certificate;
                name.problems = decided.problems;
            }
        }
        if std::mem::take(&mut self.dirty_store) {
            self.rebuild_store(settings);
        }
        for key in std::mem::take(&mut self.dirty_good) {
            match self.secrets.get(&key).and_then(|state| state.content.certificate()) {
                Some(certificate) => self.good.insert(key, Arc::clone(certificate)),
                None => self.good.remove(&key),
            }
        }
        rebuilt
    }

    fn rebuild_store(&mut self, settings: &Settings) {
        let (default, problem) = self.default_certificate(settings);
        self.default_problem = problem;
        let mut store = CertificateStore::new(default);
        for (host, name) in &self.names {
            if let Some(certificate) = &name.certificate {
                store.insert(&host.to_string(), Arc::clone(certificate));
            }
        }
        for tls in self.unnamed.values().flat_map(|ir| &ir.tls) {
            let certificate =
                tls.secret.as_ref().and_then(|key| self.secrets.get(key)?.content.certificate());
            let Some(certificate) = certificate.filter(|_| tls.hosts == TlsHosts::OfCertificate) else {
                continue;
            };
            for name in &certificate.names {
                store.insert(name, Arc::clone(certificate));
            }
        }
        if !same_store(&store, &self.profile.certificates) {
            self.profile = profile(store);
        }
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
            Some(Content::Missing) | None => (fallback, Some(Problem::secret_missing(&origin, &reference))),
        }
    }

    /// How the https listener terminates TLS.
    pub(crate) fn profile(&self) -> &Arc<TlsProfile> {
        &self.profile
    }

    /// Secrets that are referred to.
    pub(crate) fn wants(&self) -> &Arc<BTreeSet<Key>> {
        &self.wants
    }

    /// What is said about an object's certificates.
    pub(crate) fn problems_of<'c>(&'c self, ir: &'c IngressIr) -> impl Iterator<Item = &'c Problem> {
        let names: BTreeSet<&HostPattern> = names_of_ir(ir).collect();
        names.into_iter().filter_map(|host| self.names.get(host)?.problems.get(&ir.key)).flatten()
    }

    /// What is said about certificates of entries without hosts.
    pub(crate) fn problems_of_unnamed(&self, ir: &IngressIr) -> Vec<Problem> {
        let unnamed = ir.tls.iter().filter(|tls| tls.hosts == TlsHosts::OfCertificate);
        unnamed.filter_map(|tls| missing(tls, &self.secrets)).collect()
    }

    /// What is said about Secrets themselves, and about the flag.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        let quarantined = self.secrets.iter().filter_map(|(key, state)| match &state.content {
            Content::Quarantined { because, .. } => {
                Some(Problem::certificate_quarantined(&key.reference("Secret"), because))
            }
            Content::Good(_) | Content::Broken(_) | Content::Missing => None,
        });
        self.default_problem.iter().cloned().chain(quarantined)
    }

    /// The certificates that go on if their Secret breaks.
    pub(crate) fn good(&self) -> &CertificatesByKey {
        &self.good
    }
}

/// Certificates by Secret.
pub(crate) type CertificatesByKey = Sharded<Arc<Certificate>>;

impl User {
    fn ingress(&self) -> Option<&Key> {
        match self {
            Self::Flag => None,
            Self::Ingress(key) => Some(key),
        }
    }
}

fn names_of(ir: Option<&Arc<IngressIr>>) -> impl Iterator<Item = &HostPattern> {
    ir.into_iter().flat_map(|ir| names_of_ir(ir))
}

fn secrets_of(ir: Option<&Arc<IngressIr>>) -> BTreeSet<Key> {
    ir.into_iter().flat_map(|ir| &ir.tls).filter_map(|tls| tls.secret.clone()).collect()
}

fn names_of_ir(ir: &IngressIr) -> impl Iterator<Item = &HostPattern> {
    ir.tls.iter().flat_map(TlsIr::named).map(|(host, _)| host)
}

struct Decided {
    certificate: Option<Arc<Certificate>>,
    problems: BTreeMap<Key, Vec<Problem>>,
}

/// The certificate of one name.
fn decide(host: &HostPattern, contributors: &Contributors, secrets: &BTreeMap<Key, SecretState>) -> Decided {
    let mut problems = BTreeMap::new();
    let entries = |ir: &Arc<IngressIr>| -> Vec<(TlsIr, Origin)> {
        ir.tls.iter().filter_map(|tls| Some((tls.clone(), origin_of(ir, tls, host)?))).collect()
    };
    let Some(winner) = winner(contributors.values()) else { return Decided { certificate: None, problems } };
    let own = entries(winner);
    let Some((tls, origin)) = own.first() else { return Decided { certificate: None, problems } };
    let mut certificate =
        tls.secret.as_ref().and_then(|key| secrets.get(key)?.content.certificate().cloned());
    let mut said: Vec<Problem> = missing(tls, secrets).into_iter().collect();
    if let (Some(key), Some(found)) = (&tls.secret, &certificate)
        && !found.covers(&host.to_string())
    {
        let reference = key.reference("Secret");
        said.push(Problem::certificate_host(origin, &reference, &host.to_string(), &found.names));
        certificate = None;
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
    Decided { certificate, problems }
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
    same_certificate(a.default_certificate(), b.default_certificate()) && entries(a) == entries(b)
}
