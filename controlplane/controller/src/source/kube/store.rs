//! What is known of a cluster: pure, from the news of the watches to objects.
//!
//! News change it in place, a list changes only what differs, and what a list lacks is gone at its end (pitfall 7: nothing
//! disappears silently, nothing is held twice). Two things are held back on purpose: the content of Secrets that no Ingress
//! names, and an empty list where there were objects, until a second one confirms it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressClassSpec};
use ringress_shared::origin::ObjectRef;
use ringress_translate::manifest::Loaded;
use ringress_translate::objects::{Key, Object, Table};
use ringress_translate::references::secrets_of;
use ringress_translate::{Objects, Problem};

use super::cache::Held;
use super::plan::{Kind, SERVICE_NAME, Scope, Watch};
use super::watch::News;
use super::wire::{Content, Item};

/// The objects of a cluster, as far as they were heard of.
pub(super) struct Store {
    watches: Vec<Progress>,
    objects: Objects,
    /// Of namespaces that the selector does not select: kept, because a label may change at any time.
    aside: Objects,
    /// `None`: every namespace counts.
    selected: Option<BTreeSet<Arc<str>>>,
    named: Named,
    /// What cannot be read, by object.
    unread: BTreeMap<ObjectRef, Problem>,
    secrets: Secrets,
    assumed_class: Object,
    doubts_empty_lists: bool,
    changed: bool,
}

/// How far a watch is.
#[derive(Debug)]
struct Progress {
    watch: Watch,
    /// Whether its first list is whole, or something is assumed in its place.
    whole: bool,
    /// What the list that is under way has named.
    seen: HashSet<Key>,
    /// Whether an empty list was not believed.
    doubted: bool,
    /// How many objects the cache has of it: an empty first list is doubted, too.
    expected: usize,
}

/// Which Secrets there are, and which of them are held.
#[derive(Debug, Default)]
struct Secrets {
    /// How many Ingresses and flags name a Secret.
    users: BTreeMap<Key, usize>,
    /// Secrets that exist, with the watch that said so last. A Secret that is deleted and made again with another type is
    /// told by two watches in any order, and the end of the old one must not be taken for that of the new one.
    known: BTreeMap<Key, usize>,
    /// Secrets whose content is needed and not here, or no longer the newest.
    wanted: BTreeMap<Key, Wanted>,
    /// Tells one want of a Secret from the next.
    tickets: u64,
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    ticket: u64,
    is_asked: bool,
    /// Whether changes have waited long enough for it.
    is_late: bool,
}

/// A Secret whose content is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) key: Key,
    /// The watch that said last that it exists.
    pub(super) watch: usize,
    /// What it was when it was asked for: an answer to an older question may be an older content.
    ticket: u64,
}

/// What the owner must do about a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// So many objects would go because of an empty list: hold them, and list again.
    Doubted(usize),
    /// There was a doubt, and it is settled.
    Settled,
}

impl Store {
    /// Without `doubts_empty_lists` the first empty list is believed.
    pub(super) fn new(scope: &Scope, watches: &[Watch], doubts_empty_lists: bool) -> Self {
        let progress = |watch: &Watch| Progress {
            watch: watch.clone(),
            whole: false,
            seen: HashSet::new(),
            doubted: false,
            expected: 0,
        };
        let mut secrets = Secrets::default();
        secrets.users.extend(scope.default_certificate.iter().map(|key| (key.clone(), 1)));
        Self {
            watches: watches.iter().map(progress).collect(),
            objects: Objects::default(),
            aside: Objects::default(),
            selected: scope.namespace_selector.as_ref().map(|_| BTreeSet::new()),
            named: Named::new(scope),
            unread: BTreeMap::new(),
            secrets,
            assumed_class: assumed_class(&scope.class),
            doubts_empty_lists,
            changed: false,
        }
    }

    /// Whether every watch has delivered its first list.
    pub(super) fn is_whole(&self) -> bool {
        self.watches.iter().all(|progress| progress.whole)
    }

    /// Whether every watch of that kind has.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.watches.iter().filter(|progress| progress.watch.kind == kind).all(|progress| progress.whole)
    }

    /// Whether anything changed since the last [`load`](Self::load).
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Notes what a cache says that there was.
    pub(super) fn expect(&mut self, cached: &Objects) {
        // Secrets are spread over watches by their type, which names do not tell.
        for progress in self.watches.iter_mut().filter(|progress| progress.watch.kind != Kind::Secret) {
            let covered = keys(cached, progress.watch.kind).filter(|key| progress.watch.covers(key));
            progress.expected = covered.count();
        }
    }

    /// What a cache should keep.
    pub(super) fn held(&self) -> Held {
        Held { awaited: self.awaited(), objects: self.objects.clone() }
    }

    /// Secrets that exist, are named, and of whose content no version is known.
    fn awaited(&self) -> BTreeSet<Key> {
        let unread = self.unread.keys().filter(|object| &*object.kind == Kind::Secret.as_str()).map(Key::of);
        let unread = unread.filter(|key| self.secrets.users.contains_key(key));
        let all = self.secrets.wanted.keys().cloned().chain(unread);
        all.filter(|key| !self.objects.secrets.contains_key(key)).collect()
    }

    /// What is known now. Costs what copying the tables costs, and they share their entries. A Secret whose content does not
    /// come is withheld, not missing: its hosts refuse TLS, and never show the default certificate in its place.
    pub(super) fn load(&mut self) -> Loaded {
        self.changed = false;
        let counts = |problem: &&Problem| {
            self.is_selected(&problem.object.namespace) || self.named.is_object(&problem.object)
        };
        let problems = self.unread.values().filter(counts).cloned().collect();
        let (withheld, set_aside) = (Arc::new(self.awaited()), self.aside.ingresses.clone());
        let objects = Objects { withheld, set_aside, ..self.objects.clone() };
        Loaded { objects, problems }
    }

    /// Secrets whose content is needed; each is named once.
    pub(super) fn wanted_secrets(&mut self) -> Vec<Asked> {
        let Secrets { wanted, known, .. } = &mut self.secrets;
        let unasked = wanted.iter_mut().filter(|(_, wanted)| !wanted.is_asked);
        let ask = |(key, wanted): (&Key, &mut Wanted)| {
            let watch = *known.get(key)?;
            wanted.is_asked = true;
            Some(Asked { key: key.clone(), watch, ticket: wanted.ticket })
        };
        unasked.filter_map(ask).collect()
    }

    /// Whether the answer to this is still of use.
    pub(super) fn wants(&self, asked: &Asked) -> bool {
        self.secrets.wanted.get(&asked.key).is_some_and(|wanted| wanted.ticket == asked.ticket)
    }

    /// Whether the content of a Secret is awaited.
    pub(super) fn is_waiting(&self) -> bool {
        !self.secrets.wanted.is_empty()
    }

    /// Whether changes should wait for the content of a Secret.
    pub(super) fn holds_back(&self) -> bool {
        self.secrets.wanted.values().any(|wanted| !wanted.is_late)
    }

    /// Changes wait no longer for what is awaited now: one Secret that never comes must not delay the others' changes again.
    pub(super) fn give_up_holding(&mut self) {
        self.secrets.wanted.values_mut().for_each(|wanted| wanted.is_late = true);
    }

    /// Changes wait no longer for this one: it may not be read.
    pub(super) fn give_up_holding_for(&mut self, asked: &Asked) {
        self.secrets.wanted.get_mut(&asked.key).into_iter().for_each(|wanted| wanted.is_late = true);
    }

    /// Takes news of a watch in, and tells besides whether they changed anything.
    pub(super) fn hear(&mut self, watch: usize, news: News) -> (Verdict, bool) {
        let before = (std::mem::take(&mut self.changed), self.secrets.tickets);
        let verdict = self.take(watch, news);
        // A Secret that is in use has changed, though its content is still to come.
        let changed = self.changed || self.secrets.tickets != before.1;
        self.changed |= before.0;
        (verdict, changed)
    }

    /// Takes news of a watch in.
    pub(super) fn take(&mut self, watch: usize, news: News) -> Verdict {
        match news {
            News::Page(items) => {
                for item in items {
                    if let Some(progress) = self.watches.get_mut(watch) {
                        progress.seen.insert(item.key.clone());
                    }
                    self.put(watch, item);
                }
            }
            News::Torn => self.watches[watch].seen.clear(),
            News::Listed => return self.listed(watch),
            News::Changed(item) => self.put(watch, *item),
            News::Deleted(key) => self.remove(watch, &key),
            News::Refused => self.assume(watch),
            News::Bookmark => {}
        }
        Verdict::Fine
    }

    /// The content of a Secret that was asked for; `None`: it is gone.
    pub(super) fn fetched(&mut self, asked: &Asked, item: Option<Item>) {
        // What a watch has said in the meantime is newer.
        if !self.wants(asked) {
            return;
        }
        self.forget_want(&asked.key);
        match item.map(|item| item.content) {
            Some(Content::Read(object)) => {
                self.changed |= self.unread.remove(&Kind::Secret.reference(&asked.key)).is_some();
                self.insert(*object);
            }
            Some(Content::Unread(problem)) => self.cannot_read(Kind::Secret.reference(&asked.key), *problem),
            // It is gone, which its watch will say.
            Some(Content::Salvaged(..) | Content::Named) | None => {}
        }
    }

    fn put(&mut self, watch: usize, item: Item) {
        let kind = self.watches[watch].watch.kind;
        let Item { key, content } = item;
        if kind == Kind::Secret {
            self.secrets.known.insert(key.clone(), watch);
        }
        let reference = kind.reference(&key);
        match content {
            Content::Read(object) => {
                self.changed |= self.unread.remove(&reference).is_some();
                self.read(*object, &key);
            }
            Content::Unread(problem) => self.cannot_read(reference, *problem),
            Content::Salvaged(object, problem) => {
                self.changed |= self.unread.get(&reference) != Some(&*problem);
                self.unread.insert(reference, *problem);
                self.read(*object, &key);
            }
            Content::Named if self.secrets.users.contains_key(&key) => self.want(key),
            Content::Named => {}
        }
    }

    fn cannot_read(&mut self, reference: ObjectRef, mut problem: Problem) {
        if self.is_known(&reference) {
            problem.message.push_str("; the version before goes on");
        }
        self.changed |= self.unread.get(&reference) != Some(&problem);
        self.unread.insert(reference, problem);
    }

    fn read(&mut self, object: Object, key: &Key) {
        match &object {
            Object::Ingress(ingress) => {
                let now = named_secrets(key, Some(ingress));
                self.follow_names(key, now);
            }
            Object::Secret(_) if !self.secrets.users.contains_key(key) => {
                self.changed |= self.take_out(&Kind::Secret.reference(key));
                return;
            }
            Object::Secret(_) => self.forget_want(key),
            Object::Namespace(_) => self.select(&key.name),
            _ => {}
        }
        self.insert(object);
    }

    fn insert(&mut self, object: Object) {
        if self.selected.is_none() {
            self.changed |= self.objects.insert(object);
            return;
        }
        // A slice may be of another Service by now, and so have changed sides.
        let reference = object.reference();
        if self.is_selected(&reference.namespace) || self.named.names(&object) {
            self.aside.remove(&reference);
            self.changed |= self.objects.insert(object);
        } else {
            self.changed |= self.objects.remove(&reference);
            self.aside.insert(object);
        }
    }

    fn remove(&mut self, watch: usize, key: &Key) {
        let kind = self.watches[watch].watch.kind;
        if kind == Kind::Secret && self.secrets.known.get(key) != Some(&watch) {
            return;
        }
        let reference = kind.reference(key);
        self.changed |= self.unread.remove(&reference).is_some();
        match kind {
            Kind::Ingress => self.follow_names(key, BTreeSet::new()),
            Kind::Secret => {
                self.forget_want(key);
                self.secrets.known.remove(key);
            }
            Kind::Namespace => self.deselect(&key.name),
            _ => {}
        }
        self.changed |= self.take_out(&reference);
    }

    fn take_out(&mut self, reference: &ObjectRef) -> bool {
        self.aside.remove(reference);
        self.objects.remove(reference)
    }

    fn is_known(&self, reference: &ObjectRef) -> bool {
        self.objects.contains(reference) || self.aside.contains(reference)
    }

    /// The end of a list.
    fn listed(&mut self, watch: usize) -> Verdict {
        let progress = &mut self.watches[watch];
        let seen = std::mem::take(&mut progress.seen);
        let (was_whole, was_doubted) = (progress.whole, progress.doubted);
        progress.doubted = false;
        let expected = std::mem::take(&mut progress.expected);
        let gone = self.gone(watch, &seen);
        let missed = if was_whole { gone.len() } else { expected };
        if seen.is_empty() && missed > 0 && !was_doubted && self.doubts_empty_lists {
            self.watches[watch].doubted = true;
            return Verdict::Doubted(missed);
        }
        self.watches[watch].whole = true;
        gone.iter().for_each(|key| self.remove(watch, key));
        // The first list may change nothing and still completes the whole.
        self.changed |= !was_whole;
        if was_doubted { Verdict::Settled } else { Verdict::Fine }
    }

    /// What a list lacks of what its watch covers.
    fn gone(&self, watch: usize, seen: &HashSet<Key>) -> Vec<Key> {
        let number = watch;
        let watch = &self.watches[watch].watch;
        if watch.kind == Kind::Secret {
            let told = self.secrets.known.iter().filter(|(_, watch)| **watch == number).map(|(key, _)| key);
            return told.filter(|key| !seen.contains(*key)).cloned().collect();
        }
        let known = keys(&self.objects, watch.kind).chain(keys(&self.aside, watch.kind));
        let unread = self.unread.keys().filter(|object| &*object.kind == watch.kind.as_str()).map(Key::of);
        let all = known.cloned().chain(unread);
        all.filter(|key| watch.covers(key) && !seen.contains(key)).collect()
    }

    /// Puts the class of the flags in where classes may not be read. What was read before goes on.
    fn assume(&mut self, watch: usize) {
        if std::mem::replace(&mut self.watches[watch].whole, true) {
            return;
        }
        self.objects.insert(self.assumed_class.clone());
        self.changed = true;
    }
}

/// Namespaces that a selector selects.
impl Store {
    fn is_selected(&self, namespace: &str) -> bool {
        let selected = self.selected.as_ref();
        selected.is_none_or(|selected| namespace.is_empty() || selected.contains(namespace))
    }

    fn select(&mut self, namespace: &Arc<str>) {
        let Some(selected) = &mut self.selected else { return };
        if selected.insert(Arc::clone(namespace)) {
            let moved = self.aside.split_namespace(namespace);
            self.changed |= !moved.is_empty();
            self.objects.absorb(&moved);
        }
    }

    fn deselect(&mut self, namespace: &Arc<str>) {
        let Some(selected) = &mut self.selected else { return };
        if selected.remove(namespace) {
            let mut moved = self.objects.split_namespace(namespace);
            self.objects.absorb(&self.named.take_out_of(&mut moved));
            self.changed |= !moved.is_empty();
            self.aside.absorb(&moved);
        }
    }
}

/// What flags name, and so counts whether its namespace is selected or not: mostly that of ringress itself.
#[derive(Debug)]
struct Named {
    certificate: Option<Key>,
    backend: Option<Key>,
    config_map: Option<Key>,
}

impl Named {
    fn new(scope: &Scope) -> Self {
        Self {
            certificate: scope.default_certificate.clone(),
            backend: scope.default_backend.clone(),
            config_map: scope.config_map.clone(),
        }
    }

    fn names(&self, object: &Object) -> bool {
        match object {
            Object::EndpointSlice(slice) => self.is_of_backend(&object.key(), slice),
            _ => self.is_object(&object.reference()),
        }
    }

    fn is_object(&self, reference: &ObjectRef) -> bool {
        let named = match &*reference.kind {
            "Secret" => &self.certificate,
            "Service" => &self.backend,
            "ConfigMap" => &self.config_map,
            _ => return false,
        };
        named.as_ref() == Some(&Key::of(reference))
    }

    fn is_of_backend(&self, slice: &Key, object: &EndpointSlice) -> bool {
        let of = object.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        self.backend.as_ref().is_some_and(|backend| {
            backend.namespace == slice.namespace && of.is_some_and(|of| **of == *backend.name)
        })
    }

    /// Takes what is named out of these objects.
    fn take_out_of(&self, objects: &mut Objects) -> Objects {
        let mut named = Objects::default();
        move_one(&self.certificate, &mut objects.secrets, &mut named.secrets);
        move_one(&self.config_map, &mut objects.config_maps, &mut named.config_maps);
        move_one(&self.backend, &mut objects.services, &mut named.services);
        let slices = objects.endpoint_slices.iter();
        let slices = slices.filter(|(key, stored)| self.is_of_backend(key, &stored.object));
        for key in slices.map(|(key, _)| Some(key.clone())).collect::<Vec<_>>() {
            move_one(&key, &mut objects.endpoint_slices, &mut named.endpoint_slices);
        }
        named
    }
}

fn move_one<T>(key: &Option<Key>, from: &mut Table<T>, to: &mut Table<T>) {
    let Some(key) = key else { return };
    to.extend(from.remove(key).map(|stored| (key.clone(), stored)));
}

/// Secrets are held only while somebody names them.
impl Store {
    fn follow_names(&mut self, ingress: &Key, now: BTreeSet<Key>) {
        let known = self.objects.ingresses.get(ingress).or_else(|| self.aside.ingresses.get(ingress));
        let before = named_secrets(ingress, known.map(|stored| &*stored.object));
        for key in now.difference(&before) {
            let users = self.secrets.users.entry(key.clone()).or_default();
            *users += 1;
            if *users == 1 && self.secrets.known.contains_key(key) {
                self.want(key.clone());
            }
        }
        for key in before.difference(&now) {
            self.release(key);
        }
    }

    fn release(&mut self, key: &Key) {
        let Some(users) = self.secrets.users.get_mut(key) else { return };
        *users -= 1;
        if *users > 0 {
            return;
        }
        self.secrets.users.remove(key);
        self.forget_want(key);
        self.changed |= self.take_out(&Kind::Secret.reference(key));
    }

    /// Asks for the content of a Secret, whatever was asked before.
    fn want(&mut self, key: Key) {
        self.secrets.tickets += 1;
        self.changed |= !self.is_known(&Kind::Secret.reference(&key));
        let is_late = self.secrets.wanted.get(&key).is_some_and(|wanted| wanted.is_late);
        self.secrets.wanted.insert(key, Wanted { ticket: self.secrets.tickets, is_asked: false, is_late });
    }

    /// What was withheld may be something else now.
    fn forget_want(&mut self, key: &Key) {
        let was_wanted = self.secrets.wanted.remove(key).is_some();
        self.changed |= was_wanted && !self.is_known(&Kind::Secret.reference(key));
    }
}

/// The Secrets that an Ingress names.
fn named_secrets(ingress: &Key, object: Option<&Ingress>) -> BTreeSet<Key> {
    object.map(|object| secrets_of(ingress, object)).unwrap_or_default()
}

fn keys(objects: &Objects, kind: Kind) -> Box<dyn Iterator<Item = &Key> + '_> {
    match kind {
        Kind::Namespace => Box::new(objects.namespaces.keys()),
        Kind::IngressClass => Box::new(objects.ingress_classes.keys()),
        Kind::Ingress => Box::new(objects.ingresses.keys()),
        Kind::Service => Box::new(objects.services.keys()),
        Kind::EndpointSlice => Box::new(objects.endpoint_slices.keys()),
        Kind::Secret => Box::new(objects.secrets.keys()),
        Kind::ConfigMap => Box::new(objects.config_maps.keys()),
    }
}

fn assumed_class((name, controller): &(String, String)) -> Object {
    let mut class = IngressClass::default();
    class.metadata.name = Some(name.clone());
    class.spec =
        Some(IngressClassSpec { controller: Some(controller.clone()), ..IngressClassSpec::default() });
    Object::IngressClass(Box::new(class))
}

#[cfg(test)]
mod tests;
