//! What `dev` says: first the routes and what to try, then one line for every change, and what is wrong.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use ringress_controller::{GenerationReport, View};
use ringress_shared::command::ShardPort;
use ringress_shared::snapshot::Snapshot;
use ringress_translate::{Level, Place, Problem, Reason};

use super::authority;
use super::classes::{self, Undefined, undefined};
use super::listening::{Listening, a_host, foreign};
use super::routes::{Route, certificate, routes};
use crate::files::Manifests;
use crate::terminal::{Style, columns, escaped, quoted};

/// Routes for which there are lines to paste; the table has them all.
const TRIED_MAX: usize = 8;

/// The screen of one run.
pub(super) struct Screen {
    pub(super) style: Style,
    /// How the running program is called again.
    pub(super) program: String,
    /// `None`: the embedded example.
    pub(super) folder: Option<String>,
    pub(super) listening: Listening,
    /// The drivers of the shards, in words.
    pub(super) drivers: String,
    pub(super) admin: Arc<OnceLock<SocketAddr>>,
    /// Where the certificate of the authority is fetched; `None`: somebody brought a certificate.
    pub(super) certificate_of_authority: Option<SocketAddr>,
    /// Where problems stand.
    pub(super) manifests: Manifests,
    /// The routes that were shown last.
    pub(super) shown: Vec<Route>,
    /// The classes that were said to be defined by nobody.
    pub(super) undefined: Undefined,
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
        text.push_str(&self.recoveries(report));
        text.push_str(&self.problems(report));
        text.push_str(&self.undefined_classes(&report.view));
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
            let verified = self.verified(routes, &report.view.snapshot);
            self.section(&mut text, "verify the certificate, too", &verified);
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
            let _ = writeln!(text, "  {}", escaped(line));
        }
    }

    fn table(&self, routes: &[Route]) -> String {
        let header = ["HOST", "PATH", "", "GOES TO", "ENDPOINTS", "BECAUSE OF"].map(str::to_owned);
        let row = |route: &Route| {
            let target = match (route.closed, route.redirects) {
                (true, _) => format!("closed: 503 ({})", route.target),
                (false, true) => format!("{} (https only)", route.target),
                (false, false) => route.target.clone(),
            };
            [
                route.host.clone(),
                route.path.clone(),
                route.kind.to_owned(),
                target,
                route.endpoints.to_string(),
                route.origin.clone(),
            ]
            .map(|cell| escaped(&cell).into_owned())
        };
        let rows: Vec<_> = std::iter::once(header).chain(routes.iter().map(row)).collect();
        columns(&rows, "  ")
    }

    /// Lines that work when pasted.
    fn requests(&self, routes: &[Route]) -> Vec<String> {
        let tried = || tried(routes);
        let plain = tried().filter_map(|route| self.listening.curl(route));
        // One line over TLS shows how; all of them where plain text leads there anyway.
        let any_redirect = routes.iter().any(|route| route.redirects);
        let over_tls = tried().filter(|route| !any_redirect || route.redirects);
        let count = if any_redirect || self.listening.http.is_none() { TRIED_MAX } else { 1 };
        plain.chain(over_tls.take(count).filter_map(|route| self.listening.curl_tls(route))).collect()
    }

    /// One line for each host: what proves its certificate, or whose it is where nothing here proves it.
    fn verified(&self, routes: &[Route], snapshot: &Snapshot) -> Vec<String> {
        let mut hosts = BTreeSet::new();
        let firsts = tried(routes).filter(|route| hosts.insert(&route.host));
        firsts.flat_map(|route| self.verified_host(route, snapshot)).collect()
    }

    fn verified_host(&self, route: &Route, snapshot: &Snapshot) -> Vec<String> {
        let Some(certificate) = certificate(snapshot, &a_host(&route.host)) else { return Vec::new() };
        let secret = certificate.secret.as_ref();
        match self.certificate_of_authority {
            Some(authority) if secret == Some(&authority::secret()) => {
                self.listening.curl_verified(route, authority).into_iter().collect()
            }
            _ => {
                let line = self.listening.who_issued(&route.host);
                line.map(|line| vec![foreign(&route.host, secret), line]).unwrap_or_default()
            }
        }
    }

    fn questions(&self, routes: &[Route]) -> Vec<String> {
        let Some(admin) = self.admin.get() else { return Vec::new() };
        let scheme = if self.listening.http.is_some() { "http" } else { "https" };
        let ask = |route: &Route| {
            let url = quoted(&format!("{scheme}://{}{}", a_host(&route.host), route.example.as_deref()?));
            Some(format!("{} explain {url} --admin {admin}", self.program))
        };
        tried(routes).filter_map(ask).collect()
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
            let line = format!("  {sign} {host} {path} ({kind}) to {target}, {endpoints}");
            format!("{}\n", escaped(&line))
        };
        let gone = self.shown.iter().filter(|route| !routes.contains(route)).map(|route| line("-", route));
        let come = routes.iter().filter(|route| !self.shown.contains(route)).map(|route| line("+", route));
        gone.chain(come).collect()
    }

    /// What this change put right.
    fn recoveries(&self, report: &GenerationReport) -> String {
        let generation = report.generation;
        let recovered = report.recovered.iter().map(|object| {
            let line = format!("{object} is good again in generation {generation}");
            format!("{}  {}\n", self.style.good("good"), escaped(&line))
        });
        let solved = report
            .solved
            .iter()
            .map(|problem| format!("{}  {}\n", self.style.good("solved"), escaped(&problem.to_string())));
        solved.chain(recovered).collect()
    }

    /// Classes that nobody defines any more, and those that somebody does now.
    fn undefined_classes(&mut self, view: &View) -> String {
        let now = undefined(view.translation.claims.iter());
        let new = now.iter().filter(|(class, _)| !self.undefined.contains_key(*class));
        let warnings = new.map(|(class, objects)| {
            let warning = classes::warning(class, objects, &view.settings.controller_class);
            format!("{}  {}\n", self.style.doubtful("warning"), escaped(&warning))
        });
        let text = warnings.collect();
        self.undefined = now;
        text
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
        // Why a version was rejected is said by the finding itself, once.
        let is_said =
            |rejected: &Problem| told.iter().any(|other| other.object == rejected.object && is_cause(other));
        let mut text = String::new();
        for problem in &told {
            if is_cause(problem) || !is_said(problem) {
                text += &self.problem(problem, place(problem));
            }
            // At the start there is nothing that could stay.
            if problem.reason == Reason::Quarantined && stays_from > 0 {
                let object = problem.object.to_string();
                let object = escaped(&object);
                let _ = writeln!(text, "       {object} stays as it was in generation {stays_from}");
            }
        }
        text
    }

    fn problem(&self, problem: &Problem, place: Option<Place>) -> String {
        let level = match problem.level {
            Level::Error => self.style.bad("error"),
            Level::Warning | Level::Info => self.style.doubtful("warning"),
        };
        let place = place.map(|place| format!("  ({place})")).unwrap_or_default();
        format!("{level}  {}\n", escaped(&format!("{problem}{place}")))
    }
}

/// Whether a problem names what is wrong, and not only what follows from it.
fn is_cause(problem: &Problem) -> bool {
    problem.reason != Reason::Quarantined
}

/// The routes for which there are lines to paste.
fn tried(routes: &[Route]) -> impl Iterator<Item = &Route> {
    routes.iter().filter(|route| route.example.is_some() && !route.closed).take(TRIED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: &str, path: &str, redirects: bool) -> Route {
        Route {
            host: host.into(),
            path: path.into(),
            example: Some(path.into()),
            kind: "Prefix",
            target: "web:80".into(),
            endpoints: 2,
            redirects,
            closed: false,
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
            listening: listening("127.0.0.1"),
            drivers: "2 shards on epoll".into(),
            admin,
            certificate_of_authority: Some("127.0.0.1:9".parse().unwrap()),
            manifests: Manifests::Texts(Default::default()),
            shown: Vec::new(),
            undefined: Undefined::new(),
        }
    }

    fn listening(address: &str) -> Listening {
        let at = |port| Some(std::net::SocketAddr::new(address.parse().unwrap(), port));
        Listening::new(at(8080), at(8443))
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
            screen().listening.curl_verified(&routes[0], "127.0.0.1:9".parse().unwrap()).unwrap(),
            "curl --cacert <(curl -s http://127.0.0.1:9/ca.pem) --resolve web.local:8443:127.0.0.1 https://web.local:8443/"
        );
        assert_eq!(
            screen().questions(&routes)[0],
            "target/release/ringress explain http://web.local/ --admin 127.0.0.1:10254"
        );
    }

    #[test]
    fn lines_lead_to_the_address_that_is_listened_on() {
        let (named, any) = (route("web.local", "/", false), route("*", "/", false));
        for (address, plain, resolve, over_tls) in [
            ("::", "curl localhost:8080/", "127.0.0.1", "curl -k https://localhost:8443/"),
            (
                "192.0.2.1",
                "curl 192.0.2.1:8080/",
                "192.0.2.1",
                "curl -k --resolve localhost:8443:192.0.2.1 https://localhost:8443/",
            ),
            (
                "2001:db8::1",
                "curl '[2001:db8::1]:8080/'",
                "[2001:db8::1]",
                "curl -k --resolve 'localhost:8443:[2001:db8::1]' https://localhost:8443/",
            ),
        ] {
            let listening = listening(address);
            assert_eq!(listening.curl(&any).as_deref(), Some(plain));
            assert_eq!(listening.curl_tls(&any).as_deref(), Some(over_tls));
            let named = listening.curl_tls(&named).unwrap();
            assert!(named.contains(&format!("web.local:8443:{resolve}")), "{named}");
        }
    }

    #[test]
    fn a_default_backend_behind_other_paths_has_no_line_to_paste() {
        let nothing_left = Route { path: "*".into(), example: None, ..route("web.local", "/", false) };
        assert!(screen().requests(std::slice::from_ref(&nothing_left)).is_empty());
        assert!(screen().questions(&[nothing_left]).is_empty());
    }

    #[test]
    fn a_closed_route_is_shown_as_closed_and_not_offered() {
        let closed = Route { closed: true, ..route("web.local", "/", true) };
        assert!(screen().table(std::slice::from_ref(&closed)).contains("closed: 503 (web:80)"));
        assert!(screen().requests(std::slice::from_ref(&closed)).is_empty());
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
    fn no_text_of_an_object_writes_a_line_of_its_own() {
        let mut wild = route("web.local", "/\x1b[2J", false);
        wild.target = "web\ngood  forged".into();
        wild.origin = "Ingress default/\x1b]0;x\x07".into();
        let mut screen = screen();
        let wrong = Problem::undecodable(
            &ringress_shared::origin::ObjectRef::new("Ingress", "default", "a\nb\x1b"),
            "spec",
            "why\x1b",
        );
        let mut text = screen.table(std::slice::from_ref(&wild));
        screen.section(&mut text, "try", &screen.requests(std::slice::from_ref(&wild)));
        text += &screen.problem(&wrong, None);
        screen.shown = vec![wild];
        text += &screen.changes(&[]);
        assert!(text.lines().all(|line| !line.contains(char::is_control)), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("good")), "{text}");
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
