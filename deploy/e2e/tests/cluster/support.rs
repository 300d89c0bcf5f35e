//! One box for all tests, and what is done in it.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use ringress_e2e::boxes::Cluster;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringress-e2e");
/// How long anything may take that should be quick: machines of tests are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A box, and the namespace of one test in it.
#[derive(Clone)]
pub(crate) struct World {
    cluster: Cluster,
    namespace: String,
}

static SHARED: OnceLock<Result<World, String>> = OnceLock::new();
static WITH_RINGRESS: OnceLock<Result<World, String>> = OnceLock::new();
static FOR_EVERY_HOST: OnceLock<Result<World, String>> = OnceLock::new();
/// Folders of boxes that tests brought up, so that an end reaches them all.
static STARTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl World {
    /// The box of all tests of the box itself, brought up by the first that asks: Kubernetes alone.
    pub(crate) fn shared() -> anyhow::Result<Self> {
        let shared = SHARED.get_or_init(|| Self::start("shared", &[]).map_err(|error| format!("{error:#}")));
        shared.clone().map_err(anyhow::Error::msg)
    }

    /// The box of all tests of an installed ringress, brought up by the first that asks: two replicas from the chart, their
    /// class the default one, and the beginner example in namespace `default`. Tests keep to hosts of their own.
    pub(crate) fn with_ringress() -> anyhow::Result<Self> {
        let shared = WITH_RINGRESS
            .get_or_init(|| Self::start_installed("installed", &[]).map_err(|error| format!("{error:#}")));
        shared.clone().map_err(anyhow::Error::msg)
    }

    /// The same, for tests that claim requests for any host: they do so under [`every_host`].
    pub(crate) fn for_every_host() -> anyhow::Result<Self> {
        let shared = FOR_EVERY_HOST
            .get_or_init(|| Self::start_installed("every", &[]).map_err(|error| format!("{error:#}")));
        shared.clone().map_err(anyhow::Error::msg)
    }

    /// Another box, with Kubernetes alone.
    pub(crate) fn start(name: &str, flags: &[&str]) -> anyhow::Result<Self> {
        Self::start_installed(name, &[&["--bare"], flags].concat())
    }

    /// Another box, with ringress and the example in it.
    pub(crate) fn start_installed(name: &str, flags: &[&str]) -> anyhow::Result<Self> {
        // Several runs of the tests may be under way on one machine.
        let name = format!("{name}-{}", std::process::id());
        let world = Self::note(&name)?;
        let output = program(&[&["up", "--name", &name], flags].concat())?;
        ensure!(output.status.success(), "up: {}", String::from_utf8_lossy(&output.stderr));
        Ok(world)
    }

    /// A box that a test has brought up itself, so that an end reaches it.
    pub(crate) fn note(name: &str) -> anyhow::Result<Self> {
        STARTED.lock().expect("no test panics while it notes a box").push(name.to_owned());
        Ok(Self { cluster: Cluster::named(name)?, namespace: "default".to_owned() })
    }

    /// Ends every box that was started and is up still.
    pub(crate) fn end() {
        for name in STARTED.lock().expect("tests are over").drain(..) {
            end_box(&name);
        }
    }

    /// Ends this box.
    pub(crate) fn end_now(&self) {
        let mut started = STARTED.lock().expect("no test panics while it notes a box");
        started.retain(|name| name != self.cluster.name());
        drop(started);
        end_box(self.cluster.name());
    }

    /// The same box with a namespace named after a test.
    pub(crate) fn namespaced(&self, test: &str) -> Self {
        let words = test.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let namespace: String = words.chars().take(50).collect();
        let world = Self { namespace: namespace.trim_matches('-').to_owned(), ..self.clone() };
        // Asked for again by a test that says so itself.
        let _ = world.kubectl(&["create", "namespace", &world.namespace]);
        let _ = world.until("the default service account", || {
            Ok(world.kubectl(&["get", "serviceaccount", "default"]).is_ok())
        });
        world
    }

    /// The same box with another namespace, which is there.
    pub(crate) fn other_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// Where the ringress that `up` has installed is reached.
    pub(crate) fn ringress_address(&self) -> anyhow::Result<String> {
        let address = "-o=jsonpath={.status.loadBalancer.ingress[0].ip}";
        self.exec(&["kubectl", "--namespace=ringress", "get", "service", "ringress-controller", address])
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What a command inside prints.
    pub(crate) fn exec(&self, command: &[&str]) -> anyhow::Result<String> {
        let output = program(&[&["exec", "--name", self.cluster.name()], command].concat())?;
        said(&command.join(" "), output)
    }

    /// What a command prints in the network of a pod.
    pub(crate) fn exec_in(&self, pod: &str, command: &[&str]) -> anyhow::Result<String> {
        let pod = self.pod(pod);
        let output = program(&[&["exec", "--name", self.cluster.name(), "--pod", &pod], command].concat())?;
        said(&command.join(" "), output)
    }

    /// What kubectl prints for the namespace of the test.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.exec(&[&["kubectl", "--namespace", &self.namespace], arguments].concat())
    }

    /// What kubectl prints for whoever has this token and nothing else.
    pub(crate) fn exec_as(&self, token: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let authority = self.cluster.folder().join("pki/ca.crt").display().to_string();
        let proof = [format!("--certificate-authority={authority}"), format!("--token={}", token.trim())];
        let stranger = ["kubectl", "--kubeconfig=/dev/null", "--server=https://198.18.0.1:6443"];
        self.exec(&[&stranger[..], &[&proof[0], &proof[1], "-n", &self.namespace], arguments].concat())
    }

    /// Replaces the pods of a Deployment or DaemonSet, and waits until that is done.
    pub(crate) fn roll(&self, what: &str) -> anyhow::Result<()> {
        self.kubectl(&["rollout", "restart", what])?;
        self.until_rolled_out(what)
    }

    /// Waits until the pods of a Deployment or DaemonSet are as it says.
    pub(crate) fn until_rolled_out(&self, what: &str) -> anyhow::Result<()> {
        let patience = format!("--timeout={}s", PATIENCE.as_secs());
        self.kubectl(&["rollout", "status", what, &patience]).map(drop)
    }

    /// Applies manifests.
    pub(crate) fn apply(&self, manifests: &str) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("manifests.yaml");
        // Older kubectl takes what begins with a brace for JSON.
        std::fs::write(&file, format!("---\n{manifests}"))?;
        self.kubectl(&["apply", "--server-side", "-f", path(&file)]).map(drop)
    }

    /// Starts an echo pod behind each Service of the namespace of the test, and waits for them.
    pub(crate) fn backends(&self) -> anyhow::Result<()> {
        let output = program(&["backends", "--name", self.cluster.name(), "--namespace", &self.namespace])?;
        said("backends", output).map(drop)
    }

    /// One object.
    pub(crate) fn get(&self, kind: &str, name: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&["get", kind, name, "-o", "json"])?)?)
    }

    /// All objects of a kind with a label.
    pub(crate) fn list(&self, kind: &str, selector: &str) -> anyhow::Result<Vec<Value>> {
        let list: Value = serde_json::from_str(&self.kubectl(&["get", kind, "-l", selector, "-o", "json"])?)?;
        Ok(list["items"].as_array().context("items")?.clone())
    }

    /// Does harm.
    pub(crate) fn fault(&self, fault: &str, target: &str) -> anyhow::Result<()> {
        let output = program(&["fault", "--name", self.cluster.name(), fault, target])?;
        said(fault, output).map(drop)
    }

    /// A pod as faults and the control socket name it.
    pub(crate) fn pod(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }

    /// Polls until it holds.
    pub(crate) fn until(
        &self,
        what: &str,
        mut holds: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let patience = Instant::now() + PATIENCE;
        loop {
            let held = holds();
            if matches!(held, Ok(true)) {
                return Ok(());
            }
            if Instant::now() > patience {
                let pods = self.kubectl(&["get", "pods", "-o", "wide"]).unwrap_or_default();
                bail!("{what}: not in {} s ({held:?})\n{pods}", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a condition of a pod.
    pub(crate) fn until_ready(&self, pod: &str, ready: &str) -> anyhow::Result<()> {
        self.until(&format!("pod {pod} has Ready={ready}"), || {
            Ok(condition(&self.get("pod", pod)?, "Ready") == ready)
        })
    }

    /// Runs something with a thread whose sockets are inside.
    pub(crate) fn inside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let cluster = Arc::new(self.cluster.clone());
        let thread = std::thread::spawn(move || {
            cluster.enter_network()?;
            work()
        });
        thread.join().map_err(|_| anyhow::anyhow!("the work panicked"))?
    }
}

/// Held while something claims requests for any host, so that one test at a time sees its own.
pub(crate) fn every_host() -> MutexGuard<'static, ()> {
    static EVERY_HOST: Mutex<()> = Mutex::new(());
    // Whoever panicked with it has failed already.
    EVERY_HOST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The status of a condition, empty where it is missing.
pub(crate) fn condition(object: &Value, name: &str) -> String {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == name);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default().to_owned()
}

fn end_box(name: &str) {
    if let Err(error) = Cluster::named(name).and_then(|cluster| down(&cluster)) {
        eprintln!("box {name} stays behind: {error:#}");
    }
}

/// Ends a box.
pub(crate) fn down(cluster: &Cluster) -> anyhow::Result<()> {
    said("down", program(&["down", "--name", cluster.name()])?).map(drop)
}

fn program(arguments: &[&str]) -> anyhow::Result<Output> {
    Command::new(PROGRAM).args(arguments).output().context("ringress-e2e does not start")
}

fn said(what: &str, output: Output) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{what}: {}{text}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// A path below the folder `deploy` of the source tree.
pub(crate) fn deploy(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}
