//! `dev`: from nothing to routes, and what the screen says.

use super::{code, example, examples, folder, path, stderr, stdout};
use crate::support::manifest::{self, Ingress};
use crate::support::process::{Ports, replace};
use crate::support::{Client, Driver, Ringress, on_both_drivers, poll, wait_until};
use std::fs;
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
