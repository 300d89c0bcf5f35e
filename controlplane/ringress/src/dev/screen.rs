//! What `dev` says: first the routes and what to try, then one line for every change, and what is wrong.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use ringress_controller::GenerationReport;
use ringress_shared::command::ShardPort;
use ringress_translate::{Level, Place, Problem, Reason};

use super::routes::{Route, routes};
use crate::files::Manifests;
use crate::terminal::{Style, columns};

/// Routes for which there are lines to paste; the table has them all.
const TRIED_MAX: usize = 8;

/// The screen of one run.
pub(super) struct Screen {
    pub(super) style: Style,
    /// How the running program is called again.
    pub(super) program: String,
    /// `None`: the embedded example.
    pub(super) folder: Option<String>,
    pub(super) http: Option<u16>,
    pub(super) https: Option<u16>,
    /// The drivers of the shards, in words.
    pub(super) drivers: String,
    pub(super) admin: Arc<OnceLock<SocketAddr>>,
    /// Where the certificate of the authority is fetched; `None`: somebody brought a certificate.
    pub(super) certificate_of_authority: Option<SocketAddr>,
    /// Where problems stand.
    pub(super) manifests: Manifests,
    /// The routes that were shown last.
    pub(super) shown: Vec<Route>,
}

/// `2 shards on io_uring`; with the reason where a better driver was not taken.
pub(super) fn drivers(ports: &[Arc<dyn ShardPort>]) -> String {
    let count = match ports.len() {
        1 => "1 shard".to_owned(),
        count => format!("{count} shards"),
    };
    let reports = ports.iter().filter_map(|port| port.status().driver.get());
    let told: BTreeSet<String> = reports
        .map(|report| match &*report.reason {
            "" => report.driver.as_str().to_owned(),
            reason => format!("{} ({reason})", report.driver.as_str()),
        })
        .collect();
    match told.is_empty() {
        true => count,
        false => format!("{count} on {}", told.into_iter().collect::<Vec<_>>().join(" and ")),
    }
}

impl Screen {
    /// What to print for a generation.
    pub(super) fn tell(&mut self, report: &GenerationReport) -> String {
        let routes = routes(&report.view.snapshot);
        let mut text = match (report.generation, report.fresh) {
            (1, true) => self.welcome(&routes, report),
            (_, true) => format!("{}{}", self.live(report), self.changes(&routes)),
            (_, false) => String::new(),
        };
        text.push_str(&self.problems(report));
        self.shown = routes;
        text
    }

    fn welcome(&self, routes: &[Route], report: &GenerationReport) -> String {
        let what = self.folder.as_deref().unwrap_or("the embedded example");
        let mut text = format!("\n{} {what}, {}\n\n", self.style.bold("ringress dev:"), self.drivers);
        text.push_str(&self.table(routes));
        if routes.is_empty() {
            text.push_str("  no route; what is wrong follows, if anything is\n");
        } else {
            self.section(&mut text, "try", &self.requests(routes));
            self.section(&mut text, "verify the certificate, too", &self.verified(routes));
            self.section(&mut text, "ask why", &self.questions(routes));
        }
        let admin = self.admin.get().map(SocketAddr::to_string).unwrap_or_default();
        let _ = writeln!(text, "\nadmin     http://{admin}  (/readyz /metrics /routes /generation)");
        match &self.folder {
            Some(folder) => drop(writeln!(text, "watching  {folder}: save a file and see; Ctrl-C ends")),
            None => drop(writeln!(
                text,
                "next      {} dev -f DIR serves manifests of your own; Ctrl-C ends",
                self.program
            )),
        }
        text.push('\n');
        text.push_str(&self.live(report));
        text
    }

    fn section(&self, text: &mut String, title: &str, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n{}", self.style.bold(title));
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }

    fn table(&self, routes: &[Route]) -> String {
        let header = ["HOST", "PATH", "", "GOES TO", "ENDPOINTS", "BECAUSE OF"].map(str::to_owned);
        let row = |route: &Route| {
            let target =
                if route.redirects { format!("{} (https only)", route.target) } else { route.target.clone() };
            [
                route.host.clone(),
                route.path.clone(),
                route.kind.to_owned(),
                target,
                route.endpoints.to_string(),
                route.origin.clone(),
            ]
        };
        let rows: Vec<_> = std::iter::once(header).chain(routes.iter().map(row)).collect();
        columns(&rows, "  ")
    }

    /// Lines that work when pasted.
    fn requests(&self, routes: &[Route]) -> Vec<String> {
        let tried = || routes.iter().take(TRIED_MAX);
        let plain = self.http.into_iter().flat_map(|port| tried().map(move |route| curl(route, port)));
        // One line over TLS shows how; all of them where plain text leads there anyway.
        let any_redirect = routes.iter().any(|route| route.redirects);
        let over_tls = tried().filter(|route| !any_redirect || route.redirects);
        let over_tls = over_tls.take(if any_redirect || self.http.is_none() { TRIED_MAX } else { 1 });
        let tls =
            self.https.into_iter().flat_map(|port| over_tls.clone().map(move |route| curl_tls(route, port)));
        plain.chain(tls).collect()
    }

    /// For bash and zsh: other shells have no `<(…)`.
    fn verified(&self, routes: &[Route]) -> Vec<String> {
        let (Some(port), Some(address), Some(route)) =
            (self.https, self.certificate_of_authority, routes.first())
        else {
            return Vec::new();
        };
        let trusting = format!("curl --cacert <(curl -s http://{address}/ca.pem)");
        vec![curl_tls(route, port).replacen("curl -k", &trusting, 1)]
    }

    fn questions(&self, routes: &[Route]) -> Vec<String> {
        let Some(admin) = self.admin.get() else { return Vec::new() };
        let scheme = if self.http.is_some() { "http" } else { "https" };
        let url = |route: &Route| quoted(&format!("{scheme}://{}{}", a_host(&route.host), route.path));
        let tried = routes.iter().take(TRIED_MAX);
        tried.map(|route| format!("{} explain {} --admin {admin}", self.program, url(route))).collect()
    }

    /// `generation 2 live on 2/2 shards in 1.3 ms`
    fn live(&self, report: &GenerationReport) -> String {
        let GenerationReport { generation, shards, elapsed, .. } = report;
        let milliseconds = elapsed.as_secs_f64() * 1000.0;
        let line =
            format!("generation {generation} live on {shards}/{shards} shards in {milliseconds:.1} ms");
        format!("{}\n", self.style.good(&line))
    }

    /// Which routes came and went.
    fn changes(&self, routes: &[Route]) -> String {
        let line = |sign: &str, route: &Route| {
            let Route { host, path, kind, target, endpoints, .. } = route;
            let endpoints =
                if *endpoints == 1 { "1 endpoint".to_owned() } else { format!("{endpoints} endpoints") };
            format!("  {sign} {host} {path} ({kind}) to {target}, {endpoints}\n")
        };
        let gone = self.shown.iter().filter(|route| !routes.contains(route)).map(|route| line("-", route));
        let come = routes.iter().filter(|route| !self.shown.contains(route)).map(|route| line("+", route));
        gone.chain(come).collect()
    }

    /// What went wrong with this change: object, field, next step, and what goes on instead.
    fn problems(&self, report: &GenerationReport) -> String {
        let stays_from = if report.fresh { report.generation.saturating_sub(1) } else { report.generation };
        let told: Vec<_> = report.appeared.iter().filter(|problem| problem.level != Level::Info).collect();
        if told.is_empty() {
            return String::new();
        }
        let folder = self.manifests.read();
        let place = |problem: &Problem| match &problem.place {
            Some(place) => Some(place.clone()),
            None => folder.place(&problem.object, &problem.field),
        };
        told.into_iter().map(|problem| self.problem(problem, place(problem), stays_from)).collect()
    }

    fn problem(&self, problem: &Problem, place: Option<Place>, stays_from: u64) -> String {
        let level = match problem.level {
            Level::Error => self.style.bad("error"),
            Level::Warning | Level::Info => self.style.doubtful("warning"),
        };
        let place = place.map(|place| format!("  ({place})")).unwrap_or_default();
        let mut text = format!("{level}  {problem}{place}\n");
        // At the start there is nothing that could stay.
        if problem.reason == Reason::Quarantined && stays_from > 0 {
            let _ = writeln!(text, "       {} stays as it was in generation {stays_from}", problem.object);
        }
        text
    }
}

fn curl(route: &Route, port: u16) -> String {
    let follows = if route.redirects { "-i " } else { "" };
    match &*route.host {
        "*" => format!("curl {follows}{}", quoted(&format!("localhost:{port}{}", route.path))),
        host => {
            let url = quoted(&format!("localhost:{port}{}", route.path));
            format!("curl {follows}-H 'Host: {}' {url}", a_host(host))
        }
    }
}

fn curl_tls(route: &Route, port: u16) -> String {
    let host = a_host(&route.host);
    let url = quoted(&format!("https://{host}:{port}{}", route.path));
    match &*route.host {
        "*" => format!("curl -k {url}"),
        _ => format!("curl -k --resolve {host}:{port}:127.0.0.1 {url}"),
    }
}

/// A host that falls under the one of a rule.
fn a_host(host: &str) -> String {
    match host.strip_prefix("*.") {
        Some(suffix) => format!("any.{suffix}"),
        None if host == "*" => "localhost".to_owned(),
        None => host.to_owned(),
    }
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:.-_~%@,+=".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: &str, path: &str, redirects: bool) -> Route {
        Route {
            host: host.into(),
            path: path.into(),
            kind: "Prefix",
            target: "web:80".into(),
            endpoints: 2,
            redirects,
            origin: "Ingress default/web spec.rules[0].http.paths[0]".into(),
        }
    }

    fn screen() -> Screen {
        let admin = Arc::new(OnceLock::new());
        admin.get_or_init(|| "127.0.0.1:10254".parse().unwrap());
        Screen {
            style: Style::plain(),
            program: "target/release/ringress".into(),
            folder: None,
            http: Some(8080),
            https: Some(8443),
            drivers: "2 shards on epoll".into(),
            admin,
            certificate_of_authority: Some("127.0.0.1:9".parse().unwrap()),
            manifests: Manifests::Texts(Default::default()),
            shown: Vec::new(),
        }
    }

    #[test]
    fn lines_can_be_pasted() {
        let routes =
            [route("web.local", "/", false), route("*.web.local", "/it's", false), route("*", "/", false)];
        assert_eq!(
            screen().requests(&routes),
            [
                "curl -H 'Host: web.local' localhost:8080/",
                r"curl -H 'Host: any.web.local' 'localhost:8080/it'\''s'",
                "curl localhost:8080/",
                "curl -k --resolve web.local:8443:127.0.0.1 https://web.local:8443/",
            ]
        );
        assert_eq!(
            screen().verified(&routes),
            [
                "curl --cacert <(curl -s http://127.0.0.1:9/ca.pem) --resolve web.local:8443:127.0.0.1 https://web.local:8443/"
            ]
        );
        assert_eq!(
            screen().questions(&routes)[0],
            "target/release/ringress explain http://web.local/ --admin 127.0.0.1:10254"
        );
    }

    #[test]
    fn a_redirected_host_is_also_tried_over_tls() {
        let routes = [route("a.local", "/", false), route("b.local", "/", true)];
        assert_eq!(
            screen().requests(&routes),
            [
                "curl -H 'Host: a.local' localhost:8080/",
                "curl -i -H 'Host: b.local' localhost:8080/",
                "curl -k --resolve b.local:8443:127.0.0.1 https://b.local:8443/",
            ]
        );
    }

    #[test]
    fn changes_name_what_came_and_what_went() {
        let mut screen = screen();
        screen.shown = vec![route("a", "/", false), route("b", "/", false)];
        let text = screen.changes(&[route("b", "/", false), route("b", "/new", false)]);
        assert_eq!(
            text,
            "  - a / (Prefix) to web:80, 2 endpoints\n  + b /new (Prefix) to web:80, 2 endpoints\n"
        );
    }
}
