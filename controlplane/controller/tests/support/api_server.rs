//! A scripted API server: keeps objects, lists and watches them as the real one does, and fails as it is told.
//!
//! Written on bare sockets, so that it can cut an answer anywhere. It takes any token unless it is told which, and validates
//! nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status, and a Retry-After in seconds.
    Refuse(u16, Option<u64>),
    /// The connection is closed without a word.
    Close,
    /// No answer, ever.
    Hang,
    /// The answer comes late.
    Slow(Duration),
    /// The list has no items.
    Empty,
    /// A Status in place of the list, with the code 200.
    Senseless,
    /// The watch begins, and an ERROR event says that the version is gone.
    Expire,
    /// The watch begins, and nothing ever follows: no event, no end.
    Silence,
    /// The watch sends half of its first event, in a chunk that promises more.
    Truncate,
    /// The watch sends a line that is no JSON.
    Garbage,
    /// The server has not reached that version (it was restored from a backup).
    Future,
}

/// For which calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    List,
    Watch,
    Write,
    Any,
}

#[derive(Debug)]
struct Script {
    resource: &'static str,
    call: Call,
    fault: Fault,
    /// `None`: until [`ApiServer::heal`].
    times: Option<usize>,
}

#[derive(Debug, Default)]
struct World {
    version: u64,
    /// By resource, namespace, name.
    objects: BTreeMap<(String, String, String), Value>,
    /// Version, resource, type, object.
    log: Vec<(u64, String, &'static str, Value)>,
    /// Watches from before this version are refused.
    compacted: u64,
    scripts: Vec<Script>,
    requests: Vec<Request>,
    /// The only token that is accepted; `None`: any.
    token: Option<&'static str>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    /// Whether only metadata is asked for.
    pub(crate) names_only: bool,
    pub(crate) token: String,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains_key("watch")
    }

    /// The object as far as it is asked for.
    fn shown(&self, object: &Value) -> Value {
        match self.names_only {
            true => json!({"kind": "PartialObjectMetadata", "metadata": object["metadata"]}),
            false => object.clone(),
        }
    }
}

/// A server that runs until it is dropped.
pub(crate) struct ApiServer {
    world: Arc<Mutex<World>>,
    /// The newest version, and how often all watches were ended.
    moved: Arc<watch::Sender<(u64, u64)>>,
    pub(crate) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
    dir: tempfile::TempDir,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World { version: 100, ..World::default() }));
        let moved = Arc::new(watch::Sender::new((100, 0)));
        let (shared, teller) = (Arc::clone(&world), Arc::clone(&moved));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let connection = Connection { world: Arc::clone(&shared), moved: Arc::clone(&teller) };
                connections.spawn(connection.serve(stream));
            }
        });
        Self { world, moved, address, task, dir: tempfile::tempdir().unwrap() }
    }

    /// A kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self, scheme: &str) -> PathBuf {
        self.kubeconfig_of(scheme, json!({"token": "secret"}))
    }

    /// A kubeconfig that leads here with the token in a file, and that file.
    pub(crate) fn kubeconfig_with_token_file(&self, token: &str) -> (PathBuf, PathBuf) {
        let file = self.dir.path().join("token");
        std::fs::write(&file, token).unwrap();
        (self.kubeconfig_of("http", json!({"tokenFile": file})), file)
    }

    fn kubeconfig_of(&self, scheme: &str, user: Value) -> PathBuf {
        let path = self.dir.path().join(scheme);
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": format!("{scheme}://{}", self.address)}}],
            "users": [{"name": "here", "user": user}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
        });
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }

    /// Puts an object in, as somebody's kubectl would.
    pub(crate) fn put(&self, resource: &str, mut object: Value) {
        let mut world = self.world.lock().unwrap();
        world.version += 1;
        let version = world.version;
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.insert("resourceVersion".to_owned(), json!(version.to_string()));
        }
        let before = world.objects.insert(place(resource, &object), object.clone());
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        world.log.push((version, resource.to_owned(), kind, object));
        drop(world);
        self.moved.send_modify(|(moved, _)| *moved = version);
    }

    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let mut world = self.world.lock().unwrap();
        world.version += 1;
        let version = world.version;
        let place = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = world.objects.remove(&place).expect("nothing to delete");
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        world.log.push((version, resource.to_owned(), "DELETED", object));
        drop(world);
        self.moved.send_modify(|(moved, _)| *moved = version);
    }

    /// Forgets what happened: watches from before must list again.
    pub(crate) fn compact(&self) {
        let mut world = self.world.lock().unwrap();
        world.compacted = world.version;
        world.log.clear();
    }

    /// The next `times` calls of that kind fail so; `None`: all until [`heal`](Self::heal). `*` is every resource,
    /// `secrets/x` the calls for the objects of that name, `events@a` those in that namespace.
    pub(crate) fn fail(&self, resource: &'static str, call: Call, fault: Fault, times: Option<usize>) {
        self.world.lock().unwrap().scripts.push(Script { resource, call, fault, times });
    }

    pub(crate) fn heal(&self) {
        self.world.lock().unwrap().scripts.clear();
    }

    /// Takes no other token from now on.
    pub(crate) fn accept_only(&self, token: &'static str) {
        self.world.lock().unwrap().token = Some(token);
    }

    /// Ends every watch of that resource that is open, as a server that restarts does.
    pub(crate) fn end_watches(&self) {
        self.moved.send_modify(|(_, ends)| *ends += 1);
    }

    pub(crate) fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let place = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.world.lock().unwrap().objects.get(&place).cloned()
    }

    /// All objects of a resource.
    pub(crate) fn objects(&self, resource: &str) -> Vec<Value> {
        let world = self.world.lock().unwrap();
        let of = world.objects.iter().filter(|((kind, _, _), _)| kind == resource);
        of.map(|(_, object)| object.clone()).collect()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.world.lock().unwrap().requests.clone()
    }

    /// Lists of that resource so far; pages after the first do not count.
    pub(crate) fn lists(&self, resource: &str) -> usize {
        let is_list = |request: &&Request| {
            request.method == "GET"
                && !request.is_watch()
                && !request.query.contains_key("continue")
                && request.path.ends_with(&format!("/{resource}"))
        };
        self.requests().iter().filter(is_list).count()
    }

    pub(crate) fn watches(&self, resource: &str) -> usize {
        let is_watch =
            |request: &&Request| request.is_watch() && request.path.ends_with(&format!("/{resource}"));
        self.requests().iter().filter(is_watch).count()
    }
}

fn place(resource: &str, object: &Value) -> (String, String, String) {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    (resource.to_owned(), text("namespace"), text("name"))
}

/// One connection of a client.
struct Connection {
    world: Arc<Mutex<World>>,
    moved: Arc<watch::Sender<(u64, u64)>>,
}

/// Whether the connection goes on.
type Goes = Option<()>;

impl Connection {
    async fn serve(self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        while let Some(request) = read(&mut stream).await {
            if self.answer(&mut stream, request).await.is_none() {
                return;
            }
        }
    }

    async fn answer(&self, stream: &mut TcpStream, request: Request) -> Goes {
        let (resource, namespace, name) = parts(&request.path);
        let call = match (&*request.method, request.is_watch()) {
            ("GET", true) => Call::Watch,
            ("GET", false) => Call::List,
            _ => Call::Write,
        };
        let (fault, is_known) = {
            let mut world = self.world.lock().unwrap();
            world.requests.push(request.clone());
            let is_known = world.token.is_none_or(|token| token == request.token);
            (world.fault(&resource, (namespace.as_deref(), name.as_deref()), call), is_known)
        };
        if !is_known {
            return refuse(stream, 401, None, "Unauthorized").await;
        }
        match &fault {
            Some(Fault::Close) => return None,
            Some(Fault::Hang) => std::future::pending::<()>().await,
            Some(Fault::Slow(by)) => tokio::time::sleep(*by).await,
            Some(Fault::Refuse(code, after)) => return refuse(stream, *code, *after, "scripted").await,
            Some(Fault::Future) => {
                let body = json!({"kind": "Status", "code": 504, "reason": "Timeout", "message": "Too large resource version",
                    "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}});
                return send(stream, 504, "", &body.to_string()).await;
            }
            _ => {}
        }
        match call {
            Call::Watch => self.watch(stream, &request, &resource, namespace.as_deref(), fault).await,
            Call::List if name.is_some() => {
                let object = self.find(&resource, namespace.as_deref(), name.as_deref());
                match object {
                    Some(object) => send(stream, 200, "", &object.to_string()).await,
                    None => refuse(stream, 404, None, "not found").await,
                }
            }
            Call::List if matches!(fault, Some(Fault::Senseless)) => {
                let body = json!({"kind": "Status", "metadata": {}, "status": "Success", "code": 200});
                send(stream, 200, "", &body.to_string()).await
            }
            Call::List => {
                let empty = matches!(fault, Some(Fault::Empty));
                let body = self.world.lock().unwrap().list(&request, &resource, namespace.as_deref(), empty);
                send(stream, 200, "", &body.to_string()).await
            }
            _ => self.write(stream, &request, &resource, namespace.as_deref(), name.as_deref()).await,
        }
    }

    fn find(&self, resource: &str, namespace: Option<&str>, name: Option<&str>) -> Option<Value> {
        let place = (resource.to_owned(), namespace.unwrap_or_default().to_owned(), name?.to_owned());
        self.world.lock().unwrap().objects.get(&place).cloned()
    }

    async fn watch(
        &self,
        stream: &mut TcpStream,
        request: &Request,
        resource: &str,
        namespace: Option<&str>,
        fault: Option<Fault>,
    ) -> Goes {
        let mut from: u64 = request.query["resourceVersion"].parse().unwrap();
        if from < self.world.lock().unwrap().compacted {
            return refuse(stream, 410, None, "too old resource version").await;
        }
        let mut moved = self.moved.subscribe();
        let ends = moved.borrow_and_update().1;
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await
            .ok()?;
        let seconds: u64 = request.query["timeoutSeconds"].parse().unwrap();
        let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
        match fault {
            Some(Fault::Silence) => std::future::pending::<()>().await,
            Some(Fault::Garbage) => chunk(stream, b"{\"type\": \xff\n").await?,
            Some(Fault::Expire) => {
                let status =
                    json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
                chunk(stream, format!("{}\n", json!({"type": "ERROR", "object": status})).as_bytes()).await?;
            }
            _ => {}
        }
        loop {
            let events = self.world.lock().unwrap().since(from, request, resource, namespace);
            for (version, line) in events {
                from = version;
                if matches!(fault, Some(Fault::Truncate)) {
                    let half = &line.as_bytes()[..line.len() / 2];
                    stream.write_all(format!("{:x}\r\n", line.len() + 1).as_bytes()).await.ok()?;
                    stream.write_all(half).await.ok()?;
                    stream.flush().await.ok()?;
                    return None;
                }
                chunk(stream, format!("{line}\n").as_bytes()).await?;
            }
            let is_over = tokio::select! {
                changed = moved.changed() => changed.is_err() || moved.borrow_and_update().1 != ends,
                () = tokio::time::sleep_until(end) => true,
            };
            if is_over {
                let version = self.world.lock().unwrap().version;
                let mark = json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version.to_string()}}});
                if self.world.lock().unwrap().since(from, request, resource, namespace).is_empty() {
                    chunk(stream, format!("{mark}\n").as_bytes()).await?;
                }
                return stream.write_all(b"0\r\n\r\n").await.ok();
            }
        }
    }

    /// POST makes, PUT and PATCH (merge) change, with the version as a condition where one is given.
    async fn write(
        &self,
        stream: &mut TcpStream,
        request: &Request,
        resource: &str,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Goes {
        let (code, object) = {
            let mut world = self.world.lock().unwrap();
            world.write(request, resource, namespace.unwrap_or_default(), name)
        };
        if code >= 400 {
            return refuse(stream, code, None, "scripted write").await;
        }
        let version = self.world.lock().unwrap().version;
        self.moved.send_modify(|(moved, _)| *moved = version);
        send(stream, code, "", &object.to_string()).await
    }
}

impl World {
    /// What goes wrong with this call.
    fn fault(
        &mut self,
        resource: &str,
        (namespace, name): (Option<&str>, Option<&str>),
        call: Call,
    ) -> Option<Fault> {
        let is_it = |script: &Script| {
            if let Some((of, only)) = script.resource.split_once('/') {
                return of == resource && Some(only) == name;
            }
            if let Some((of, only)) = script.resource.split_once('@') {
                return of == resource && Some(only) == namespace;
            }
            script.resource == "*" || script.resource == resource
        };
        let fits = |script: &Script| is_it(script) && (script.call == Call::Any || script.call == call);
        let index = self.scripts.iter().position(fits)?;
        let fault = self.scripts[index].fault.clone();
        if let Some(times) = &mut self.scripts[index].times {
            *times -= 1;
            if *times == 0 {
                self.scripts.remove(index);
            }
        }
        Some(fault)
    }

    fn list(&self, request: &Request, resource: &str, namespace: Option<&str>, empty: bool) -> Value {
        let of = |((kind, of, _), object): &(&(String, String, String), &Value)| {
            kind == resource && namespace.is_none_or(|name| name == of) && selected(request, object)
        };
        let all: Vec<&Value> =
            self.objects.iter().filter(of).map(|(_, object)| object).filter(|_| !empty).collect();
        let limit: usize = request.query.get("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
        let first: usize = request.query.get("continue").map_or(0, |token| token.parse().unwrap());
        let items: Vec<Value> =
            all.iter().skip(first).take(limit).map(|object| request.shown(object)).collect();
        let next =
            if first + items.len() < all.len() { (first + items.len()).to_string() } else { String::new() };
        json!({"kind": "List", "metadata": {"resourceVersion": self.version.to_string(), "continue": next}, "items": items})
    }

    fn since(
        &self,
        from: u64,
        request: &Request,
        resource: &str,
        namespace: Option<&str>,
    ) -> Vec<(u64, String)> {
        let fits = |(version, kind, _, object): &&(u64, String, &'static str, Value)| {
            *version > from
                && kind == resource
                && namespace.is_none_or(|name| object["metadata"]["namespace"] == name)
                && selected(request, object)
        };
        let line = |(version, _, kind, object): &(u64, String, &'static str, Value)| {
            (*version, json!({"type": kind, "object": request.shown(object)}).to_string())
        };
        self.log.iter().filter(fits).map(line).collect()
    }

    fn write(
        &mut self,
        request: &Request,
        resource: &str,
        namespace: &str,
        name: Option<&str>,
    ) -> (u16, Value) {
        let mut object = request.body.clone();
        if name.is_none() && object["metadata"]["name"].is_null() {
            let prefix = object["metadata"]["generateName"].as_str().unwrap_or("generated-").to_owned();
            object["metadata"]["name"] = json!(format!("{prefix}{}", self.version));
        }
        let name =
            name.map_or_else(|| object["metadata"]["name"].as_str().unwrap().to_owned(), str::to_owned);
        let place = (resource.to_owned(), namespace.to_owned(), name);
        let known = self.objects.get(&place).cloned();
        let asked = object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        if let (true, Some(known)) = (request.method == "DELETE", &known) {
            let expected = request.body["preconditions"]["resourceVersion"].as_str();
            if expected.is_some_and(|expected| known["metadata"]["resourceVersion"] != expected) {
                return (409, Value::Null);
            }
            self.version += 1;
            let mut gone = known.clone();
            gone["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.objects.remove(&place);
            self.log.push((self.version, resource.to_owned(), "DELETED", gone.clone()));
            return (200, gone);
        }
        let object = match (&*request.method, known) {
            ("POST", Some(_)) => return (409, Value::Null),
            ("POST", None) => object,
            (_, None) => return (404, Value::Null),
            (_, Some(known)) if asked.is_some_and(|asked| known["metadata"]["resourceVersion"] != asked) => {
                return (409, Value::Null);
            }
            ("PATCH", Some(mut known)) => {
                merge(&mut known, &object);
                sign(&mut known, request);
                known
            }
            (_, Some(_)) => object,
        };
        self.version += 1;
        let mut object = object;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let kind = if request.method == "POST" { "ADDED" } else { "MODIFIED" };
        self.log.push((self.version, resource.to_owned(), kind, object.clone()));
        self.objects.insert(place, object.clone());
        (if request.method == "POST" { 201 } else { 200 }, object)
    }
}

/// Notes who wrote the addresses, in the form of the API server.
fn sign(object: &mut Value, request: &Request) {
    let Some(manager) = request.query.get("fieldManager").filter(|_| request.path.ends_with("/status"))
    else {
        return;
    };
    let fields = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
    object["metadata"]["managedFields"] = match object["status"]["loadBalancer"]["ingress"].is_array() {
        true => json!([{"manager": manager, "subresource": "status", "fieldsV1": fields}]),
        false => json!([]),
    };
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.as_object_mut().unwrap().remove(key)),
            _ => merge(&mut target[key], value),
        }
    }
}

/// Whether the selectors of a request take an object: `metadata.name=`, `type=`, and labels as `key=value` or `key`.
fn selected(request: &Request, object: &Value) -> bool {
    let terms = |key: &str| {
        request.query.get(key).map_or("", String::as_str).split(',').filter(|term| !term.is_empty())
    };
    let field = |term: &str| {
        let (path, value) = term.split_once('=').unwrap();
        let (path, wanted) = path.strip_suffix('!').map_or((path, true), |path| (path, false));
        (path.split('.').fold(object, |at, key| &at[key]) == value) == wanted
    };
    let label = |term: &str| match term.split_once('=') {
        Some((key, value)) => object["metadata"]["labels"][key] == value,
        None => object["metadata"]["labels"][term].is_string(),
    };
    terms("fieldSelector").all(field) && terms("labelSelector").all(label)
}

/// Resource, namespace, name; subresources are left out.
fn parts(path: &str) -> (String, Option<String>, Option<String>) {
    let mut parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    parts.drain(..if parts[0] == "api" { 2 } else { 3 });
    let is_namespaced = parts[0] == "namespaces" && parts.len() > 2;
    let namespace = is_namespaced.then(|| parts[1].to_owned());
    if is_namespaced {
        parts.drain(..2);
    }
    (parts[0].to_owned(), namespace, parts.get(1).map(|name| (*name).to_owned()))
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut buffer).await.ok()? {
            0 => return None,
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    while bytes.len() < end + length.unwrap_or(0) {
        match stream.read(&mut buffer).await.ok()? {
            0 => return None,
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
    let mut words = head.lines().next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(key, value)| (key.to_owned(), decoded(value))).collect();
    let body = serde_json::from_slice(&bytes[end..]).unwrap_or_default();
    let names_only = head.contains("as=PartialObjectMetadata");
    let token = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.trim_start_matches("Bearer ").to_owned())
    });
    let token = token.unwrap_or_default();
    Some(Request { at: Instant::now(), method, path: path.to_owned(), query, names_only, token, body })
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).unwrap()
}

async fn chunk(stream: &mut TcpStream, bytes: &[u8]) -> Goes {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    stream.write_all(&framed).await.ok()
}

async fn refuse(stream: &mut TcpStream, code: u16, after: Option<u64>, message: &str) -> Goes {
    let reason = if code == 410 { "Expired" } else { "Scripted" };
    let body = json!({"kind": "Status", "code": code, "reason": reason, "message": message});
    let after = after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    send(stream, code, &after, &body.to_string()).await
}

async fn send(stream: &mut TcpStream, code: u16, fields: &str, body: &str) -> Goes {
    let head = format!(
        "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{fields}\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok()
}
