//! What the doctor looks at: read once, with the rights of whoever asks. What cannot be read is a fact, too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ask::{Cluster, Connection, Refusal, Release, Replica, Selection, Target, Watched, releases};
use crate::{certs, shards};

/// Everything that is judged.
#[derive(Default)]
pub(super) struct Facts {
    /// `namespace/name` of what the replicas are of; `None` for a process.
    pub(super) release: Option<String>,
    pub(super) replicas: Vec<Asked>,
    /// `None`: a process was asked, not a cluster.
    pub(super) cluster: Option<InCluster>,
    pub(super) doors: Vec<Door>,
    /// Which namespaces the release serves, as far as that is known.
    pub(super) watched: Watched,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// One replica, and what it says.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) node: Option<String>,
    /// Of its pod.
    pub(super) labels: BTreeMap<String, String>,
    /// Why it gets no requests.
    pub(super) unready: Option<String>,
    /// `None`: it could not be asked, for this reason.
    pub(super) says: Option<Says>,
    pub(super) silent: Option<String>,
}

/// The pages of one replica.
#[derive(Debug)]
pub(super) struct Says {
    pub(super) shards: shards::Page,
    pub(super) watches: Vec<Watch>,
    pub(super) unwritten: Vec<Unwritten>,
    pub(super) flags: Vec<Flag>,
    /// `None`: nothing is served yet.
    pub(super) certificates: Option<certs::Page>,
    pub(super) troubled: Vec<Troubled>,
    /// How many paths are served.
    pub(super) routes: usize,
    /// Those of them that answer 503.
    pub(super) dead: Vec<Dead>,
    /// Why it is not ready by its own account.
    pub(super) reasons: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Watch {
    pub(super) watch: String,
    pub(super) assumed: bool,
    pub(super) doubted: bool,
    pub(super) failing: Option<String>,
}

/// Something that a replica cannot write, or cannot read in order to write.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Unwritten {
    /// As the end of "cannot".
    pub(super) what: String,
    pub(super) why: String,
    /// Whether a right is missing.
    pub(super) refused: bool,
    /// The rights that it takes.
    pub(super) needs: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Flag {
    pub(super) flag: String,
    pub(super) value: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Troubled {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) problems: Vec<Trouble>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Trouble {
    pub(super) reason: String,
}

/// A path that answers 503 whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dead {
    /// `namespace/name` of the Ingress.
    pub(super) object: String,
    /// Host and path.
    pub(super) url: String,
    pub(super) why: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Route {
    host: String,
    path: Option<String>,
    rule: Rule,
    policies: Vec<Policy>,
    backends: Vec<Backend>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    namespace: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Policy {
    denied: Option<Denied>,
}

#[derive(Debug, Deserialize)]
struct Denied {
    because: String,
}

#[derive(Debug, Deserialize)]
struct Backend {
    status: Option<u16>,
    upstream: Option<Upstream>,
}

#[derive(Debug, Deserialize)]
struct Upstream {
    service: String,
    endpoints: Vec<String>,
}

impl Route {
    pub(super) fn dead(&self) -> Option<Dead> {
        let Self { host, path, rule, .. } = self;
        Some(Dead {
            object: format!("{}/{}", rule.namespace, rule.name),
            url: format!("{host}{}", path.as_deref().unwrap_or("/")),
            why: self.why_dead()?,
        })
    }

    fn why_dead(&self) -> Option<String> {
        if let Some(denied) = self.policies.iter().find_map(|policy| policy.denied.as_ref()) {
            return Some(denied.because.clone());
        }
        let whys: Option<Vec<String>> = self.backends.iter().map(Backend::why_dead).collect();
        whys?.into_iter().next()
    }
}

impl Backend {
    fn why_dead(&self) -> Option<String> {
        match (self.status, &self.upstream) {
            (Some(503), _) => Some("what it leads to is missing or wrong".to_owned()),
            (None, Some(Upstream { service, endpoints })) if endpoints.is_empty() => {
                Some(format!("no endpoint behind Service {service}"))
            }
            _ => None,
        }
    }
}

/// What stands in the cluster around the controller.
#[derive(Debug, Clone, Default)]
pub(super) struct InCluster {
    pub(super) classes: Vec<IngressClass>,
    pub(super) ingresses: Vec<Ingress>,
    pub(super) services: Vec<Service>,
    /// Pods of other controllers that are known.
    pub(super) others: Vec<Pod>,
    /// What could not be read, and why.
    pub(super) unread: Vec<(&'static str, String)>,
}

/// A published address with a port, tried from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// The host that was asked for; `None`: only a connection was tried.
    pub(super) host: Option<String>,
    /// The status of the answer, 0 where only a connection was tried; else why not.
    pub(super) outcome: Result<u16, String>,
}

impl Facts {
    /// Looks at everything: facts for each release, as each has flags of its own.
    ///
    /// # Errors
    /// The cluster, or the process, cannot be reached at all.
    pub(super) async fn gather(target: &Target, now: i64) -> anyhow::Result<Vec<Self>> {
        let ask = |replica| ask(replica, target.selection());
        let Some(cluster) = target.cluster() else {
            let replicas = join_all(target.replicas().await?.into_iter().map(ask)).await;
            return match &replicas[..] {
                [Asked { silent: Some(why), .. }] => Err(crate::ask::unreachable(why)),
                _ => Ok(vec![Self { replicas, now, ..Self::default() }]),
            };
        };
        let mut found = releases(cluster.replicas().await?);
        if found.is_empty() {
            // That nothing runs is the finding, not an error.
            found.push(Release { name: None, replicas: Vec::new() });
        }
        let around = InCluster::read(cluster).await;
        let mut gathered = Vec::with_capacity(found.len());
        for Release { name: release, replicas } in found {
            let replicas = join_all(replicas.into_iter().map(ask)).await;
            let around = Some(around.clone());
            let mut facts = Self { release, replicas, cluster: around, now, ..Self::default() };
            facts.find_watched(cluster).await;
            facts.doors = join_all(facts.to_try().into_iter().map(try_door)).await;
            gathered.push(facts);
        }
        Ok(gathered)
    }

    /// Finds out which namespaces the release serves.
    async fn find_watched(&mut self, cluster: &Cluster) {
        let mut watched = Watched::of(|flag| self.flag(flag));
        if let (Err(why), Some(around)) = (watched.select(cluster).await, &mut self.cluster) {
            around.unread.push(("Namespaces", why.to_string()));
        }
        self.watched = watched;
    }

    /// The value of a flag, as the first replica that can be asked has it.
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        let said = self.replicas.iter().find_map(|replica| replica.says.as_ref())?;
        let flag = said.flags.iter().find(|flag| flag.flag == name)?;
        Some(&*flag.value).filter(|value| !value.is_empty())
    }

    /// What `spec.controller` makes a class ours.
    pub(super) fn controller_class(&self) -> &str {
        self.flag("controller-class").unwrap_or("ringress.dev/ingress-controller")
    }

    /// The Ingresses that name a class of ours.
    pub(super) fn our_ingresses(&self) -> Vec<&Ingress> {
        let Some(cluster) = &self.cluster else { return Vec::new() };
        let ours = self.our_classes();
        let is_ours = |ingress: &&Ingress| class_of(ingress).is_some_and(|class| ours.contains(class));
        cluster.ingresses.iter().filter(is_ours).collect()
    }

    /// Those of them in namespaces that the release leaves out.
    pub(super) fn unwatched(&self) -> Vec<&Ingress> {
        let namespace = |ingress: &Ingress| ingress.metadata.namespace.clone().unwrap_or_default();
        let ours = self.our_ingresses().into_iter();
        ours.filter(|ingress| !self.watched.has(&namespace(ingress))).collect()
    }

    pub(super) fn our_classes(&self) -> BTreeSet<&str> {
        let classes = self.cluster.iter().flat_map(|cluster| &cluster.classes);
        let ours = classes.filter(|class| {
            let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
            controller == Some(self.controller_class())
        });
        ours.filter_map(|class| class.metadata.name.as_deref()).chain(self.assumed_class()).collect()
    }

    /// The class that the controller takes to be its own, where it may not read IngressClasses.
    pub(super) fn assumed_class(&self) -> Option<&str> {
        let mut said = self.replicas.iter().filter_map(|replica| replica.says.as_ref());
        let is_assumed = said.any(|says| says.watches.iter().any(|watch| watch.assumed));
        is_assumed.then(|| self.flag("ingress-class").unwrap_or("ringress"))
    }

    /// A few of the published addresses, each with a host that a rule of ours names.
    fn to_try(&self) -> Vec<Door> {
        let mut doors: Vec<Door> = Vec::new();
        for ingress in self.our_ingresses() {
            let host = hosts(ingress).find(|host| !host.starts_with('*')).map(str::to_owned);
            for ip in published(ingress).filter_map(|text| text.parse::<IpAddr>().ok()) {
                for (port, host) in [(80, host.clone().or_else(|| Some(ip.to_string()))), (443, None)] {
                    let address = SocketAddr::new(ip, port);
                    if doors.len() < DOORS_MAX && !doors.iter().any(|door| door.address == address) {
                        doors.push(Door { address, host, outcome: Ok(0) });
                    }
                }
            }
        }
        doors
    }
}

/// The class that an Ingress names.
pub(super) fn class_of(ingress: &Ingress) -> Option<&str> {
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    let annotations = ingress.metadata.annotations.as_ref();
    named.or_else(|| annotations?.get("kubernetes.io/ingress.class").map(String::as_str))
}

/// The addresses and names in the status of an Ingress.
pub(super) fn published(ingress: &Ingress) -> impl Iterator<Item = &str> {
    let status = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let entries = status.into_iter().flat_map(|status| status.ingress.iter().flatten());
    entries.filter_map(|entry| entry.ip.as_deref().or(entry.hostname.as_deref()))
}

fn hosts(ingress: &Ingress) -> impl Iterator<Item = &str> {
    let rules = ingress.spec.as_ref().into_iter().flat_map(|spec| spec.rules.iter().flatten());
    rules.filter_map(|rule| rule.host.as_deref())
}

async fn ask(replica: Replica, selection: &Selection) -> Asked {
    let asked = Asked {
        name: replica.name.clone(),
        node: replica.node.clone(),
        labels: replica.labels.clone(),
        unready: replica.unready.clone(),
        ..Asked::default()
    };
    match pages(&replica, selection).await {
        Ok(says) => Asked { says: Some(says), ..asked },
        Err(error) => Asked { silent: Some(format!("{:#}", replica.cannot_be_asked(&error))), ..asked },
    }
}

async fn pages(replica: &Replica, selection: &Selection) -> anyhow::Result<Says> {
    #[derive(Deserialize)]
    struct Watches {
        watches: Vec<Watch>,
    }
    #[derive(Deserialize)]
    struct Writes {
        troubles: Vec<Unwritten>,
    }
    #[derive(Deserialize)]
    struct Flags {
        flags: Vec<Flag>,
    }
    #[derive(Deserialize)]
    struct Problems {
        problems: Vec<Troubled>,
    }
    #[derive(Deserialize)]
    struct Ready {
        reasons: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Routes {
        routes: Vec<Route>,
    }
    let mut connection = replica.connect().await?;
    let shards = connection.get("/shards").await?;
    let Watches { watches } = connection.get("/watches").await?;
    let Writes { troubles: unwritten } = connection.get("/writes").await?;
    let Flags { flags } = connection.get("/flags").await?;
    let certificates: Option<certs::Page> = served(&mut connection, "/certificates").await?;
    let certificates = certificates.map(|page| page.of(selection));
    let problems: Option<Problems> = served(&mut connection, "/problems").await?;
    let routes: Option<Routes> = served(&mut connection, "/routes").await?;
    let mut routes = routes.map(|page| page.routes).unwrap_or_default();
    routes.retain(|route| selection.takes(&route.rule.namespace));
    let dead = routes.iter().filter_map(Route::dead).collect();
    let ready = connection.ask("GET", "/readyz?verbose=1", hyper::body::Bytes::new()).await?;
    let reasons = serde_json::from_slice(&ready.body).map(|Ready { reasons }| reasons).unwrap_or_default();
    let mut troubled = problems.map(|page| page.problems).unwrap_or_default();
    troubled.retain(|troubled| selection.takes(&troubled.namespace));
    Ok(Says {
        shards,
        watches,
        unwritten,
        flags,
        certificates,
        troubled,
        routes: routes.len(),
        dead,
        reasons,
    })
}

/// What a page says; `None` while nothing is served.
async fn served<T: DeserializeOwned>(connection: &mut Connection, page: &str) -> anyhow::Result<Option<T>> {
    let answer = connection.ask("GET", page, hyper::body::Bytes::new()).await?;
    if answer.status == 503 { Ok(None) } else { answer.read().map(Some) }
}

impl InCluster {
    async fn read(cluster: &Cluster) -> Self {
        const NETWORKING: &str = "/apis/networking.k8s.io/v1";
        let mut found = Self::default();
        let selection = cluster.selection();
        let everywhere = Selection::All;
        let classes = cluster.objects((NETWORKING, "ingressclasses"), &everywhere, "").await;
        found.classes = found.noted("IngressClasses", classes);
        let ingresses = cluster.objects((NETWORKING, "ingresses"), selection, "").await;
        found.ingresses = found.noted("Ingresses", ingresses);
        let services: Result<Vec<Service>, _> =
            cluster.objects(("/api/v1", "services"), &everywhere, "").await;
        found.services = found.noted("Services", services);
        found.services.retain(|service| {
            service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
        });
        let others = cluster.objects(("/api/v1", "pods"), &everywhere, OTHERS).await;
        found.others = found.noted("Pods", others);
        found
    }

    fn noted<T>(&mut self, what: &'static str, read: Result<Vec<T>, Refusal>) -> Vec<T> {
        read.unwrap_or_else(|why| {
            self.unread.push((what, why.to_string()));
            Vec::new()
        })
    }
}

async fn try_door(door: Door) -> Door {
    let tried = timeout(KNOCK, knock(&door)).await;
    let outcome = match tried {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err(format!("no answer within {} s", KNOCK.as_secs())),
    };
    Door { outcome, ..door }
}

async fn knock(door: &Door) -> anyhow::Result<u16> {
    let stream = TcpStream::connect(door.address).await?;
    match &door.host {
        Some(host) => Connection::over(stream).await?.status(host).await,
        None => Ok(0),
    }
}

/// Other controllers, by the label that their charts give them.
const OTHERS: &str = "&labelSelector=app.kubernetes.io%2Fname%20in%20%28ingress-nginx%2Ctraefik%2Ckubernetes-ingress\
                      %2Chaproxy-ingress%2Ccontour%2Ckong%2Cnginx-ingress%29";

/// Addresses that are tried; more say nothing new.
const DOORS_MAX: usize = 8;

/// For a connection and an answer.
const KNOCK: Duration = Duration::from_secs(3);
