//! `dev`: from nothing to routes, and what the screen says.

use super::{code, example, examples, folder, path, ringress, stderr, stdout};
use crate::support::manifest::{self, Ingress};
use crate::support::process::{Ports, replace};
use crate::support::tools::Certificate;
use crate::support::{Client, Driver, Launch, Ringress, on_both_drivers, poll, wait_until};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

on_both_drivers! {
    fn dev_serves_the_beginner_exercise_within_a_second(driver) {
        let began = Instant::now();
        let mut process = dev(driver, &[]);
        let first = poll(|| Client::try_connect(process.ports.http).ok()?.try_get("web.local", "/").ok().filter(|answer| answer.status == 200));
        let took = began.elapsed();
        println!("dev on {}: first 200 after {took:?}", driver.as_str());
        assert!(first.expect("dev answers").text().contains("web-service"));
        // A second is the promise for a release build on an idle machine; this is neither.
        assert!(took < Duration::from_secs(5), "{took:?}");
        wait_for_screen(&process, "generation 1 live on 2/2 shards in ");
        for text in ["web.local", "api.local", "/api", "web-service", "api-service", &format!("127.0.0.1:{}", process.ports.admin)] {
            assert!(process.stdout().contains(text), "{text} is not on the screen: {}", process.stdout());
        }
        process.signal("INT");
        assert_eq!(process.wait_exit().code(), Some(0));
    }

    fn every_line_on_the_screen_of_dev_works_when_pasted(driver) {
        let mut process = dev(driver, &[]);
        process.wait_ready();
        wait_for_screen(&process, "generation 1 live");
        let (curls, questions) = (lines_to_paste(&process, "curl"), lines_to_paste(&process, "ringress"));
        assert!(curls.len() >= 3 && questions.len() >= 3, "{}", process.stdout());
        for line in &curls {
            let output = paste(line);
            assert!(output.status.success(), "{line}: {}", stderr(&output));
            let body = stdout(&output);
            let expected = if line.contains("api") { "api-service" } else { "web-service" };
            assert!(body.contains(expected), "{line}: {body}");
        }
        for line in questions.iter().filter(|line| line.contains(" explain ")) {
            let output = paste(line);
            assert_eq!(code(&output), Some(0), "{line}: {}{}", stdout(&output), stderr(&output));
        }
    }

    fn saving_a_file_prints_its_generation_and_breaking_an_object_says_what_to_do(driver) {
        let good = Ingress::simple("shop", "shop.test", "cart").class(None).yaml();
        let files = folder(&[("shop.yaml", &good), ("services.yaml", &manifest::service("cart"))]);
        let mut process = dev(driver, &["-f", path(&files)]);
        process.wait_ready();
        wait_for_screen(&process, "generation 1 live on 2/2 shards in ");
        assert_eq!(process.get("shop.test", "/").status, 200, "a Service without endpoints has an echo backend");

        replace(files.path(), "shop.yaml", &Ingress::simple("shop", "store.test", "cart").class(None).yaml());
        wait_for_screen(&process, "generation 2 live on 2/2 shards in ");
        let line = process.stdout().lines().find(|line| line.contains("generation 2 live")).unwrap().to_owned();
        assert!(line.trim_end().ends_with(" ms"), "{line}");
        assert_eq!(process.get("store.test", "/").status, 200);

        let broken = Ingress::simple("shop", "store.test", "cart").class(None).annotation("ringress.dev/load-balance", "magic");
        replace(files.path(), "shop.yaml", &broken.yaml());
        wait_for_screen(&process, "stays as it was in generation 2");
        let told = process.stdout();
        let told = &told[told.find("generation 2 live").unwrap()..];
        for part in ["Ingress default/shop", "load-balance", "magic", "round_robin", "shop.yaml"] {
            assert!(told.contains(part), "object, field, value and next step: {part} is missing in {told}");
        }
        assert_eq!(process.get("store.test", "/").status, 200);

        replace(files.path(), "shop.yaml", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: [\n");
        wait_until("the broken file is named", || process.stdout().matches("shop.yaml").count() > told.matches("shop.yaml").count());
        assert_eq!(process.get("store.test", "/").status, 200, "what the file had before is still served");
    }

    fn dev_serves_every_example_as_it_stands(driver) {
        let names = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        for name in names.filter(|name| !["flattened", "with-endpoints"].contains(&name.as_str())) {
            let mut process = dev(driver, &["-f", &example(&name)]);
            process.wait_ready();
            wait_for_screen(&process, "generation 1 live");
            let lines = lines_to_paste(&process, "curl");
            assert!(!lines.is_empty(), "{name}: {}", process.stdout());
            for line in lines {
                let output = paste(&line);
                let body = stdout(&output);
                let redirected = body.starts_with("HTTP/1.1 308 ");
                assert!(output.status.success() && (redirected || body.contains("\"service\"")), "{name}: {line}: {body}{}", stderr(&output));
            }
        }
    }
}

on_both_drivers! {
    fn dev_listens_on_this_machine_alone_and_run_on_every_address(driver) {
        let mut process = dev(driver, &[]);
        process.wait_ready();
        for port in [process.ports.http, process.ports.https, process.ports.admin] {
            assert_eq!(listened_on(port), [LOOPBACK], "port {port}");
        }
        let mut open = dev(driver, &["--listen-address=0.0.0.0"]);
        open.wait_ready();
        assert_eq!(listened_on(open.ports.http), [EVERY_ADDRESS_V4]);
        let run = Launch::new(driver).start();
        let addresses = listened_on(run.ports.http);
        assert!([[EVERY_ADDRESS_V4], [EVERY_ADDRESS_V6]].iter().any(|every| addresses == *every), "{addresses:?}");
    }

    fn dev_says_for_each_host_what_proves_its_certificate(driver) {
        let certificate = Certificate::for_names(&["own.test"]);
        let files = folder(&[
            ("own.yaml", &Ingress::simple("own", "own.test", "web").class(None).tls("own.test", Some("own-tls")).yaml()),
            ("other.yaml", &Ingress::simple("other", "other.test", "web").class(None).yaml()),
            ("secret.yaml", &manifest::tls_secret("own-tls", &certificate.certificate, &certificate.key)),
            ("service.yaml", &manifest::service("web")),
        ]);
        let mut process = dev(driver, &["-f", path(&files)]);
        process.wait_ready();
        wait_for_screen(&process, "generation 1 live");
        let screen = process.stdout();
        assert!(screen.contains("own.test shows Secret default/own-tls, which this run did not issue"), "{screen}");
        let of_authority: Vec<_> = lines_to_paste(&process, "curl").into_iter().filter(|line| line.contains("--cacert")).collect();
        let [line] = &of_authority[..] else { panic!("{screen}") };
        assert!(line.contains("other.test"), "{line}");
        let output = paste(line);
        assert!(output.status.success() && stdout(&output).contains("\"service\""), "{line}: {}", stderr(&output));
        let [line] = &lines_to_paste(&process, "openssl")[..] else { panic!("{screen}") };
        let output = paste(line);
        assert!(output.status.success() && stdout(&output).contains("issuer="), "{line}: {}{}", stdout(&output), stderr(&output));
    }

    fn the_commands_of_dev_work_from_the_folder_that_it_was_called_in(driver) {
        let binary = Path::new(env!("CARGO_BIN_EXE_ringress")).canonicalize().unwrap();
        let (own, above) = (binary.parent().unwrap(), binary.parent().unwrap().parent().unwrap());
        let below = binary.strip_prefix(above).unwrap().display().to_string();
        let elsewhere = TempDir::new().unwrap();
        let whole = binary.display().to_string();
        for (here, search, expected) in [
            (own, "/usr/bin:/bin", "./ringress"),
            (above, "/usr/bin:/bin", &*below),
            (elsewhere.path(), "/usr/bin:/bin", &*whole),
            (elsewhere.path(), &*format!("/usr/bin:/bin:{}", own.display()), "ringress"),
        ] {
            let (home, ports) = (TempDir::new().unwrap(), Ports::free());
            let mut command = Command::new(&binary);
            command.arg("dev").args(ports.flags()).args(["--shards=1", "--pin=never", "--io-driver", driver.as_str()]);
            command.current_dir(here).env("PATH", search);
            let mut process = Ringress::of(command, home, ports);
            process.wait_ready();
            wait_for_screen(&process, "generation 1 live");
            let lines = lines_to_paste(&process, "ringress");
            let line = lines.iter().find(|line| line.contains(" explain ")).unwrap_or_else(|| panic!("{}", process.stdout()));
            assert!(line.starts_with(&format!("{expected} explain ")), "from {}: {line}", here.display());
            let pasted = Command::new("bash").args(["-c", line]).current_dir(here).env("PATH", search).output().unwrap();
            assert_eq!(code(&pasted), Some(0), "{line}: {}{}", stdout(&pasted), stderr(&pasted));
        }
    }

    fn a_class_that_nobody_defines_is_served_and_said(driver) {
        let shop = Ingress::simple("shop", "shop.test", "cart").class(Some("nginx"));
        let files = folder(&[("shop.yaml", &shop.yaml()), ("service.yaml", &manifest::service("cart"))]);
        let mut process = dev(driver, &["-f", path(&files)]);
        process.wait_ready();
        wait_for_screen(&process, "Ingress default/shop: spec.ingressClassName: IngressClass nginx is defined by nobody");
        assert_eq!(process.get("shop.test", "/").status, 200);
        replace(files.path(), "shop.yaml", &shop.annotation("note", "1").yaml());
        wait_for_screen(&process, "generation 2 live");
        assert_eq!(process.stdout().matches("defined by nobody").count(), 1, "once is enough: {}", process.stdout());
    }

    fn a_repaired_file_is_good_again_with_its_generation(driver) {
        let good = Ingress::simple("shop", "shop.test", "cart").class(None).yaml();
        let files = folder(&[("shop.yaml", &good), ("services.yaml", &manifest::service("cart"))]);
        let mut process = dev(driver, &["-f", path(&files)]);
        process.wait_ready();
        wait_for_screen(&process, "generation 1 live");
        replace(files.path(), "shop.yaml", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: [\n");
        wait_for_screen(&process, "stays as it was in generation 1");
        replace(files.path(), "shop.yaml", &good);
        wait_for_screen(&process, "Ingress default/shop is good again in generation 1");
        assert!(process.stdout().contains("solved  File shop.yaml: cannot be read"), "{}", process.stdout());
        let wrong = Ingress::simple("shop", "shop.test", "cart").class(None).annotation("ringress.dev/load-balance", "magic");
        replace(files.path(), "shop.yaml", &wrong.yaml());
        wait_for_screen(&process, "stays as it was in generation 1\n");
        wait_for_screen(&process, "generation 2 live");
        replace(files.path(), "shop.yaml", &good);
        wait_for_screen(&process, "Ingress default/shop is good again in generation 3");
        assert!(!process.stderr().contains("has a problem"), "the screen says it: {}", process.stderr());
    }

    fn a_renamed_file_is_no_news(driver) {
        let good = Ingress::simple("shop", "shop.test", "cart").class(None).yaml();
        let files = folder(&[("a.yaml", &good), ("services.yaml", &manifest::service("cart"))]);
        let mut process = dev(driver, &["-f", path(&files)]);
        process.wait_ready();
        wait_for_screen(&process, "generation 1 live");
        fs::rename(files.path().join("a.yaml"), files.path().join("z.yaml")).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        fs::write(files.path().join("more.yaml"), manifest::service("more")).unwrap();
        wait_for_screen(&process, "generation 2 live");
        let screen = process.stdout();
        assert!(!screen.contains("already defined") && !screen.contains("good again"), "{screen}");
    }

    fn the_embedded_example_names_no_file_that_is_not_there(driver) {
        let mut process = dev(driver, &[]);
        process.wait_ready();
        let admin = format!("127.0.0.1:{}", process.ports.admin);
        let output = ringress(&["explain", "http://web.local/", "--admin", &admin]);
        let text = stdout(&output);
        assert!(text.contains("(embedded example, ingress.yaml:") && !text.contains("deploy/"), "{text}");
    }

    fn a_default_backend_is_shown_as_what_is_left(driver) {
        let wild = Ingress::new("wild").class(None).rule("*.wild.test", &[("/shop", "Prefix", "cart")]).default_backend("rest", "80");
        let whole = Ingress::new("whole").class(None).rule("whole.test", &[("/", "Prefix", "cart")]).default_backend("rest", "80");
        let files = folder(&[
            ("wild.yaml", &manifest::file(&[wild.yaml(), whole.yaml()])),
            ("services.yaml", &manifest::file(&[manifest::service("cart"), manifest::service("rest")])),
        ]);
        let mut process = dev(driver, &["-f", path(&files)]);
        process.wait_ready();
        wait_for_screen(&process, "generation 1 live");
        let screen = process.stdout();
        println!("{screen}");
        let rows: Vec<_> = screen.lines().filter(|line| line.contains("default backend")).collect();
        assert!(rows.iter().any(|row| row.split_whitespace().take(2).eq(["*.wild.test", "*"])), "{screen}");
        for line in lines_to_paste(&process, "curl").iter().filter(|line| !line.contains("/shop")) {
            let expected = if line.contains("whole.test") { "cart" } else { "rest" };
            assert!(stdout(&paste(line)).contains(expected), "{line}: {}", stdout(&paste(line)));
        }
    }
}

/// Local addresses on which a port is listened on, as the kernel writes them, each once.
fn listened_on(port: u16) -> Vec<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|row| {
        let mut columns = row.split_whitespace().skip(1);
        let (address, row_port) = columns.next()?.split_once(':')?;
        let is_listening = columns.nth(1)? == "0A";
        (is_listening && row_port == format!("{port:04X}")).then(|| address.to_owned())
    });
    rows.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

const LOOPBACK: &str = "0100007F";
const EVERY_ADDRESS_V4: &str = "00000000";
const EVERY_ADDRESS_V6: &str = "00000000000000000000000000000000";

/// Starts `ringress dev` on ports of the test's own.
fn dev(driver: Driver, arguments: &[&str]) -> Ringress {
    let (home, ports) = (TempDir::new().unwrap(), Ports::free());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringress"));
    command.arg("dev").args(arguments).args(ports.flags()).args([
        "--shards=2",
        "--pin=never",
        "--io-driver",
        driver.as_str(),
    ]);
    Ringress::of(command, home, ports)
}

/// The lines of the screen that begin with a command, without their indentation.
fn lines_to_paste(process: &Ringress, program: &str) -> Vec<String> {
    let screen = process.stdout();
    let lines = screen
        .lines()
        .map(str::trim)
        .filter(|line| line.split(' ').next().is_some_and(|word| word.ends_with(program)));
    lines.map(str::to_owned).collect()
}

/// Pastes a line into a shell.
fn paste(line: &str) -> Output {
    Command::new("timeout").args(["15", "bash", "-c", line]).output().unwrap()
}

fn wait_for_screen(process: &Ringress, text: &str) {
    wait_until(&format!("the screen says {text:?}"), || process.stdout().contains(text));
}
