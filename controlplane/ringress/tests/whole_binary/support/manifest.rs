//! Kubernetes YAML, object by object.

use std::net::SocketAddr;

/// The class that tests use unless a test is about classes.
pub(crate) const CLASS: &str = "\
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: ringress
spec:
  controller: ringress.dev/ingress-controller
";

/// One document of a manifest file.
pub(crate) type Document = String;

/// Joins documents into the text of a file.
pub(crate) fn file(documents: &[Document]) -> String {
    documents.join("---\n")
}

/// An Ingress of class `ringress`, built up field by field.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ingress {
    name: String,
    namespace: Option<String>,
    created: Option<String>,
    class: Option<String>,
    annotations: Vec<(String, String)>,
    tls: Vec<(Vec<String>, Option<String>)>,
    default_backend: Option<(String, String)>,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    host: Option<String>,
    paths: Vec<Path>,
}

#[derive(Debug, Clone)]
struct Path {
    path: String,
    path_type: String,
    service: String,
    port: String,
}

impl Ingress {
    /// An Ingress without rules.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), class: Some("ringress".to_owned()), ..Self::default() }
    }

    /// One host, everything below `/` to one Service.
    pub(crate) fn simple(name: &str, host: &str, service: &str) -> Self {
        Self::new(name).route(host, "/", "Prefix", service, "80")
    }

    /// Adds a path; an empty host stands for every host.
    pub(crate) fn route(
        mut self,
        host: &str,
        path: &str,
        path_type: &str,
        service: &str,
        port: &str,
    ) -> Self {
        let host = (!host.is_empty()).then(|| host.to_owned());
        let path = Path {
            path: path.to_owned(),
            path_type: path_type.to_owned(),
            service: service.to_owned(),
            port: port.to_owned(),
        };
        match self.rules.iter_mut().find(|rule| rule.host == host) {
            Some(rule) => rule.paths.push(path),
            None => self.rules.push(Rule { host, paths: vec![path] }),
        }
        self
    }

    /// Adds a rule of its own, whatever hosts there are; each path is path, type and Service.
    pub(crate) fn rule(mut self, host: &str, paths: &[(&str, &str, &str)]) -> Self {
        let path = |(path, path_type, service): &(&str, &str, &str)| Path {
            path: (*path).to_owned(),
            path_type: (*path_type).to_owned(),
            service: (*service).to_owned(),
            port: "80".to_owned(),
        };
        let host = (!host.is_empty()).then(|| host.to_owned());
        self.rules.push(Rule { host, paths: paths.iter().map(path).collect() });
        self
    }

    /// Sets `spec.ingressClassName`, or takes it away.
    pub(crate) fn class(mut self, class: Option<&str>) -> Self {
        self.class = class.map(str::to_owned);
        self
    }

    /// Sets the namespace.
    pub(crate) fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Sets the time of creation.
    pub(crate) fn created(mut self, time: &str) -> Self {
        self.created = Some(time.to_owned());
        self
    }

    /// Adds an annotation.
    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a `tls` entry.
    pub(crate) fn tls(mut self, host: &str, secret: Option<&str>) -> Self {
        self.tls.push((vec![host.to_owned()], secret.map(str::to_owned)));
        self
    }

    /// Sets `spec.defaultBackend`.
    pub(crate) fn default_backend(mut self, service: &str, port: &str) -> Self {
        self.default_backend = Some((service.to_owned(), port.to_owned()));
        self
    }

    /// As a document.
    pub(crate) fn yaml(&self) -> Document {
        let mut text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\n".to_owned();
        text += &metadata(&self.name, self.namespace.as_deref());
        if let Some(created) = &self.created {
            text += &format!("  creationTimestamp: {created:?}\n");
        }
        if !self.annotations.is_empty() {
            text += "  annotations:\n";
            text.extend(self.annotations.iter().map(|(key, value)| format!("    {key}: {value:?}\n")));
        }
        text += "spec:\n";
        if let Some(class) = &self.class {
            text += &format!("  ingressClassName: {class}\n");
        }
        if let Some((service, port)) = &self.default_backend {
            text += &format!("  defaultBackend:\n{}", backend(4, service, port));
        }
        if !self.tls.is_empty() {
            text += "  tls:\n";
            text.extend(self.tls.iter().map(|(hosts, secret)| tls_entry(hosts, secret.as_deref())));
        }
        if !self.rules.is_empty() {
            text += "  rules:\n";
            text.extend(self.rules.iter().map(Rule::yaml));
        }
        text
    }
}

impl Rule {
    fn yaml(&self) -> String {
        let head = match &self.host {
            Some(host) => format!("    - host: {host:?}\n      http:\n        paths:\n"),
            None => "    - http:\n        paths:\n".to_owned(),
        };
        self.paths.iter().fold(head, |text, path| text + &path.yaml())
    }
}

impl Path {
    fn yaml(&self) -> String {
        let Self { path, path_type, service, port } = self;
        let backend = backend(14, service, port);
        format!(
            "          - path: {path:?}\n            pathType: {path_type}\n            backend:\n{backend}"
        )
    }
}

fn backend(indent: usize, service: &str, port: &str) -> String {
    let pad = " ".repeat(indent);
    let key = if port.bytes().all(|byte| byte.is_ascii_digit()) { "number" } else { "name" };
    format!("{pad}service:\n{pad}  name: {service}\n{pad}  port:\n{pad}    {key}: {port}\n")
}

fn tls_entry(hosts: &[String], secret: Option<&str>) -> String {
    let hosts: String = hosts.iter().map(|host| format!("        - {host:?}\n")).collect();
    let secret = secret.map(|name| format!("      secretName: {name}\n")).unwrap_or_default();
    format!("    - hosts:\n{hosts}{secret}")
}

fn metadata(name: &str, namespace: Option<&str>) -> String {
    let namespace = namespace.map(|name| format!("  namespace: {name}\n")).unwrap_or_default();
    format!("metadata:\n  name: {name}\n{namespace}")
}

/// A Service with one port, 80, without a name.
pub(crate) fn service(name: &str) -> Document {
    service_in(None, name)
}

/// The same in a namespace.
pub(crate) fn service_in(namespace: Option<&str>, name: &str) -> Document {
    let metadata = metadata(name, namespace);
    format!(
        "apiVersion: v1\nkind: Service\n{metadata}spec:\n  ports:\n    - port: 80\n      targetPort: 8080\n"
    )
}

/// One endpoint of an EndpointSlice and its conditions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// `conditions.ready`
    pub(crate) ready: bool,
    /// `conditions.serving`
    pub(crate) serving: bool,
    /// `conditions.terminating`
    pub(crate) terminating: bool,
}

impl Endpoint {
    /// A ready endpoint.
    pub(crate) fn ready(address: SocketAddr) -> Self {
        Self { address, ready: true, serving: true, terminating: false }
    }
}

/// EndpointSlices that give a Service these ready endpoints: one slice for each, since ports stand on slices.
pub(crate) fn endpoints(service: &str, addresses: &[SocketAddr]) -> Document {
    let endpoints: Vec<_> = addresses.iter().copied().map(Endpoint::ready).collect();
    slices(None, service, "", &endpoints)
}

/// EndpointSlices for one named port of a Service.
pub(crate) fn slices(namespace: Option<&str>, service: &str, port: &str, endpoints: &[Endpoint]) -> Document {
    let slices: Vec<_> = endpoints
        .iter()
        .enumerate()
        .map(|(number, endpoint)| slice(namespace, service, port, number, endpoint))
        .collect();
    file(&slices)
}

fn slice(namespace: Option<&str>, service: &str, port: &str, number: usize, endpoint: &Endpoint) -> Document {
    let namespace = namespace.map(|name| format!("  namespace: {name}\n")).unwrap_or_default();
    let Endpoint { address, ready, serving, terminating } = endpoint;
    let (ip, target) = (address.ip(), address.port());
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {service}-{port}{number}
{namespace}  labels:
    kubernetes.io/service-name: {service}
addressType: IPv4
endpoints:
  - addresses:
      - {ip}
    conditions:
      ready: {ready}
      serving: {serving}
      terminating: {terminating}
ports:
  - name: {port:?}
    port: {target}
    protocol: TCP
"
    )
}

/// A TLS Secret out of two PEM texts.
pub(crate) fn tls_secret(name: &str, certificate: &str, key: &str) -> Document {
    // `stringData` is what people write by hand, but the API server stores `data`: base64.
    let (certificate, key) = (base64(certificate.as_bytes()), base64(key.as_bytes()));
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\ntype: kubernetes.io/tls\ndata:\n  tls.crt: {certificate}\n  tls.key: {key}\n"
    )
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63] as char;
            text.push(if place <= group.len() { digit } else { '=' });
        }
    }
    text
}
