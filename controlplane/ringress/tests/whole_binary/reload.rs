//! Changes under load: nothing fails, nothing mixes, nothing old comes after something new.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::manifest::{self, Ingress};
use crate::support::process::replace;
use crate::support::upstream::ok;
use crate::support::{Client, Launch, Response, Ringress, Upstream, on_both_drivers, poll, wait_until};

/// Clients that ask for one thing over and over on kept connections, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<(usize, Vec<String>)>>,
}

impl Load {
    /// `judge` says what is wrong with an answer.
    fn start(
        ringress: &Ringress,
        clients: usize,
        judge: impl Fn(&Response) -> Result<(), String> + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let port = ringress.ports.http;
        let clients = (0..clients).map(|_| {
            let (stop, judge) = (Arc::clone(&stop), judge.clone());
            std::thread::spawn(move || ask_until(&stop, port, &judge))
        });
        let clients = clients.collect();
        Self { stop, clients }
    }

    /// Answers, and what was wrong with them.
    fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let results = self.clients.into_iter().map(|client| client.join().unwrap());
        results.fold((0, Vec::new()), |(answers, mut wrong), (more, faults)| {
            wrong.extend(faults);
            (answers + more, wrong)
        })
    }
}

fn ask_until(
    stop: &AtomicBool,
    port: u16,
    judge: &impl Fn(&Response) -> Result<(), String>,
) -> (usize, Vec<String>) {
    let mut client = Client::connect(port);
    let (mut answers, mut wrong) = (0, Vec::new());
    while !stop.load(Ordering::SeqCst) && wrong.len() < 5 {
        match client.try_get("a.test", "/") {
            Ok(answer) => {
                answers += 1;
                wrong.extend(judge(&answer).err());
                if answer.says_close() {
                    wrong.push("a change ended a connection".into());
                }
            }
            Err(error) => {
                wrong.push(format!("no answer: {error}"));
                client = Client::connect(port);
            }
        }
        // A closed loop without a pause would measure the two cores, not the changes.
        std::thread::sleep(Duration::from_millis(1));
    }
    (answers, wrong)
}

/// Asks again and again what is live on every shard, and sends requests that name it; how many.
fn probe_until(stop: &AtomicBool, ringress: &Ringress) -> usize {
    let mut kept = ringress.client();
    let mut probes = 0;
    while !stop.load(Ordering::SeqCst) {
        let live = ringress.live();
        if live.is_everywhere() {
            let target = format!("{PROBE}{}", live.generation);
            assert_eq!(kept.get("a.test", &target).status, 200);
            assert_eq!(ringress.get("a.test", &target).status, 200);
            probes += 2;
        }
        // As above: the two cores are not what is measured.
        std::thread::sleep(Duration::from_millis(2));
    }
    probes
}

const PROBE: &str = "/probe/";

/// A host that one version alone names.
fn own_host(number: usize) -> String {
    format!("v{number}.test")
}

/// A line of the access log.
#[derive(serde::Deserialize)]
struct Logged {
    path: String,
    generation: u64,
}

/// What was live on every shard before a request began is the oldest that may have answered it, says the access log.
fn assert_probes_are_new(ringress: &Ringress, probes: usize) {
    // Under load ringress may drop lines, by design, but not many.
    let logged =
        poll(|| Some(logged_probes(&ringress.stdout())).filter(|logged| logged.len() * 10 >= probes * 9));
    let logged = logged.expect("the probes are in the access log");
    let old: Vec<_> = logged.iter().filter(|(live, answered)| answered < live).collect();
    assert!(old.is_empty(), "{} of {probes} were answered by what was no longer live: {old:?}", old.len());
}

/// The generation that each probe names, and the one that answered it.
fn logged_probes(log: &str) -> Vec<(u64, u64)> {
    let lines = log.lines().filter(|line| line.contains(PROBE));
    let logged = lines.filter_map(|line| serde_json::from_str::<Logged>(line).ok());
    logged.filter_map(|line| Some((line.path.strip_prefix(PROBE)?.parse().ok()?, line.generation))).collect()
}

on_both_drivers! {
    fn a_thousand_changes_fail_no_request(driver) {
        const CHANGES: usize = 1000;
        let upstreams = ["even", "odd", "mixed"].map(|name| Upstream::named(name).unrecorded());
        let [even, odd, mixed] = &upstreams;
        // The rule names the Service of its parity, and only in its own version that Service has the endpoint of its name.
        let version = |number: usize| {
            let ((name, upstream), other) = if number.is_multiple_of(2) { (("even", even), "odd") } else { (("odd", odd), "even") };
            manifest::file(&[
                Ingress::simple("flip", "a.test", name).route(&own_host(number), "/", "Prefix", name, "80").yaml(),
                manifest::service(name),
                manifest::endpoints(name, &[upstream.address()]),
                manifest::service(other),
                manifest::endpoints(other, &[mixed.address()]),
            ])
        };
        let ringress = Launch::new(driver).manifests(&[]).file("flip.yaml", &version(0)).start();
        let load = Load::start(&ringress, 20, |answer| match (answer.status, answer.field("x-upstream")) {
            (200, Some("even" | "odd")) => Ok(()),
            (200, other) => Err(format!("the rule of one version met the Service of another: {other:?}")),
            (status, _) => Err(format!("{status} {:?}", answer.text())),
        });
        let folder = ringress.manifests();
        let began = Instant::now();
        let stop = AtomicBool::new(false);
        let (probes, slowest) = std::thread::scope(|scope| {
            let prober = scope.spawn(|| probe_until(&stop, &ringress));
            let mut kept = ringress.client();
            let mut slowest = Duration::ZERO;
            for number in 1..=CHANGES {
                let written = Instant::now();
                replace(&folder, "flip.yaml", &version(number));
                // One after the other: a change that nobody notices is waited for in vain.
                wait_until(&format!("change {number} is live"), || kept.get(&own_host(number), "/").status == 200);
                slowest = slowest.max(written.elapsed());
                // The rate is the subject: fifty changes a second, where the machine can keep the pace.
                std::thread::sleep((began + Duration::from_millis(20) * number as u32).saturating_duration_since(Instant::now()));
            }
            stop.store(true, Ordering::SeqCst);
            (prober.join().unwrap(), slowest)
        });
        let last = if CHANGES.is_multiple_of(2) { "even" } else { "odd" };
        wait_until("the last change is live", || ringress.get("a.test", "/").field("x-upstream") == Some(last));
        let lasted = began.elapsed();
        let (answers, wrong) = load.stop();
        let generations = ringress.live().generation;
        println!("reload on {}: {CHANGES} changes in {lasted:?}, the slowest live after {slowest:?}, {generations} generations, {answers} answers, {} failed, {probes} probes", driver.as_str(), wrong.len());
        assert!(wrong.is_empty(), "{} of {answers} requests failed: {wrong:?}", wrong.len());
        assert!(answers > 1000, "there was no load: {answers}");
        assert!(generations as usize > CHANGES, "two changes shared a generation: {generations} generations");
        assert!(probes > 50, "generations were never live on every shard: {probes} probes");
        assert_probes_are_new(&ringress, probes);
    }

    fn changes_faster_than_they_are_read_end_with_the_last(driver) {
        const CHANGES: usize = 200;
        let upstream = Upstream::named("web");
        let version = |number: usize| {
            manifest::file(&[
                Ingress::simple("flip", &own_host(number), "web").yaml(),
                manifest::service("web"),
                manifest::endpoints("web", &[upstream.address()]),
            ])
        };
        let ringress = Launch::new(driver).manifests(&[]).file("flip.yaml", &version(0)).start();
        let before = ringress.live().generation;
        (1..=CHANGES).for_each(|number| replace(&ringress.manifests(), "flip.yaml", &version(number)));
        wait_until("the last change is live", || ringress.get(&own_host(CHANGES), "/").status == 200);
        assert_eq!(ringress.get(&own_host(0), "/").status, 404);
        let generations = ringress.live().generation - before;
        println!("burst on {}: {CHANGES} changes, {generations} generations", driver.as_str());
        assert!((1..=CHANGES as u64).contains(&generations), "{generations}");
    }

    fn rule_and_service_flip_together(driver) {
        // The path names the version of the rule, the endpoint names itself: an answer that differs mixed two generations.
        let (even, odd) = (Upstream::named("even").unrecorded(), Upstream::named("odd").unrecorded());
        let version = |number: usize| {
            let parity = if number.is_multiple_of(2) { "even" } else { "odd" };
            let upstream = if number.is_multiple_of(2) { &even } else { &odd };
            manifest::file(&[
                Ingress::new("flip").route("a.test", &format!("/{parity}"), "Prefix", "web", "80").yaml(),
                manifest::service("web"),
                manifest::endpoints("web", &[upstream.address()]),
            ])
        };
        let ringress = Launch::new(driver).flags(&["--access-log=off"]).manifests(&[]).file("flip.yaml", &version(0)).start();
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let port = ringress.ports.http;
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                let parity = if number % 2 == 0 { "even" } else { "odd" };
                std::thread::spawn(move || {
                    let mut client = Client::connect(port);
                    while !stop.load(Ordering::SeqCst) {
                        let answer = client.get("a.test", &format!("/{parity}"));
                        match answer.status {
                            200 => assert_eq!(answer.field("x-upstream"), Some(parity), "the rule of one version met the Service of another"),
                            status => assert_eq!(status, 404),
                        }
                        answered.fetch_add(usize::from(answer.status == 200), Ordering::SeqCst);
                        // As above: the two cores are not what is measured.
                        std::thread::sleep(Duration::from_millis(1));
                    }
                })
            })
            .collect();
        (1..=150).for_each(|number| drop(ringress.apply("flip.yaml", &version(number))));
        stop.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(answered.load(Ordering::SeqCst) > 100);
    }

    fn nothing_old_answers_once_a_generation_is_live_everywhere(driver) {
        let (even, odd) = (Upstream::named("even").unrecorded(), Upstream::named("odd").unrecorded());
        let version = |number: usize| {
            let upstream = if number.is_multiple_of(2) { &even } else { &odd };
            manifest::file(&[Ingress::simple("a", "a.test", "web").yaml(), manifest::service("web"), manifest::endpoints("web", &[upstream.address()])])
        };
        let ringress = Launch::new(driver).manifests(&[]).file("flip.yaml", &version(0)).start();
        let mut kept: Vec<_> = (0..6).map(|_| ringress.client()).collect();
        for number in 1..=60 {
            // `apply` returns when /generation shows the new one on every shard.
            let live = ringress.apply("flip.yaml", &version(number));
            assert_eq!(live.shards.len(), 2);
            let expected = if number % 2 == 0 { "even" } else { "odd" };
            for client in &mut kept {
                assert_eq!(client.get("a.test", "/").field("x-upstream"), Some(expected), "a kept connection, version {number}");
            }
            assert_eq!(ringress.get("a.test", "/").field("x-upstream"), Some(expected), "a new connection, version {number}");
        }
    }

    fn a_body_under_way_outlives_its_generation(driver) {
        let upstream = Upstream::start(|peer| {
            while let Some(request) = peer.read_request() {
                peer.send(ok(&[], &request.body));
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("POST /begun HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nabc");
        wait_until("the request is under way", || upstream.bytes().ends_with(b"abc"));
        ringress.apply("manifests.yaml", manifest::CLASS);
        assert_eq!(ringress.get("a.test", "/").status, 404, "the route is gone");
        client.send("def");
        let answer = client.read("POST").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "abcdef"), "an exchange keeps the generation that it began with");
        assert_eq!(client.get("a.test", "/next").status, 404, "the next one does not");
    }
}

// What the folder says.
on_both_drivers! {
    fn a_document_that_breaks_keeps_what_its_file_had(driver) {
        let upstream = Upstream::named("web");
        let good = Ingress::simple("kept", "kept.test", "web").yaml();
        let ringress = Launch::new(driver).serving(&[&upstream]).file("kept.yaml", &good).start();
        assert_eq!(ringress.get("kept.test", "/").status, 200);
        let changed = Ingress::simple("beside", "beside.test", "web").yaml();
        let folder = ringress.manifests();
        replace(&folder, "kept.yaml", &format!("{changed}---\nkind: Ingress\nmetadata: {{name: [\n"));
        wait_until("the good document of the file counts", || ringress.get("beside.test", "/").status == 200);
        assert_eq!(ringress.get("kept.test", "/").status, 200, "the object that the file had before keeps its last version");
        assert_eq!(ringress.get("a.test", "/").status, 200);
        wait_until("the log says which file is broken", || ringress.logs().contains("kept.yaml"));
        ringress.apply("kept.yaml", &changed);
        assert_eq!(ringress.get("kept.test", "/").status, 404, "a file that is whole again says what there is");
    }

    fn a_deleted_file_deletes_its_objects(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).file("more.yaml", &Ingress::simple("more", "more.test", "web").yaml()).start();
        assert_eq!(ringress.get("more.test", "/").status, 200);
        ringress.change(|folder| fs::remove_file(folder.join("more.yaml")).unwrap());
        assert_eq!(ringress.get("more.test", "/").status, 404);
        assert_eq!(ringress.get("a.test", "/").status, 200);
    }

    fn every_way_to_write_a_file_is_seen(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let ingress = |host: &str| Ingress::simple("way", host, "web").yaml();
        ringress.change(|folder| fs::write(folder.join("way.yaml"), ingress("created.test")).unwrap());
        assert_eq!(ringress.get("created.test", "/").status, 200);
        ringress.change(|folder| fs::write(folder.join("way.yaml"), ingress("overwritten.test")).unwrap());
        assert_eq!((ringress.get("created.test", "/").status, ringress.get("overwritten.test", "/").status), (404, 200));
        ringress.apply("way.yaml", &ingress("renamed.test"));
        assert_eq!((ringress.get("overwritten.test", "/").status, ringress.get("renamed.test", "/").status), (404, 200));
        ringress.change(|folder| fs::remove_file(folder.join("way.yaml")).unwrap());
        assert_eq!(ringress.get("renamed.test", "/").status, 404);
    }

    fn a_mounted_configmap_is_followed_through_its_links(driver) {
        use std::os::unix::fs::symlink;
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let publish = |folder: &std::path::Path, version: &str, host: &str| {
            let data = folder.join(format!("..{version}"));
            fs::create_dir(&data).unwrap();
            fs::write(data.join("mounted.yaml"), Ingress::simple("mounted", host, "web").yaml()).unwrap();
            // As the kubelet does it: a new folder, then one rename of the link to it.
            symlink(format!("..{version}"), folder.join("..data_tmp")).unwrap();
            fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        };
        ringress.change(|folder| {
            publish(folder, "2026_01", "first.test");
            symlink("..data/mounted.yaml", folder.join("mounted.yaml")).unwrap();
        });
        wait_until("the first version is served", || ringress.get("first.test", "/").status == 200);
        ringress.change(|folder| publish(folder, "2026_02", "second.test"));
        wait_until("the second version is served", || ringress.get("second.test", "/").status == 200);
        assert_eq!(ringress.get("first.test", "/").status, 404);
    }

    fn an_object_that_becomes_wrong_stays_as_it_was(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).file("own.yaml", &Ingress::simple("own", "own.test", "web").yaml()).start();
        let wrong = Ingress::simple("own", "own.test", "web").annotation("ringress.dev/load-balance", "magic");
        ringress.apply("own.yaml", &wrong.yaml());
        assert_eq!(ringress.get("own.test", "/").status, 200);
        // A reference that is revoked is no mistake inside the object: nothing old outlives it.
        ringress.apply("own.yaml", &Ingress::simple("own", "own.test", "gone").yaml());
        assert_eq!(ringress.get("own.test", "/").status, 503);
    }
}
