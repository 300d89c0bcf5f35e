//! `/metrics`: the counters of every shard and the state of the control plane, in the OpenMetrics text format.
//!
//! Shards count in plain cells of their own and are asked for copies at each scrape. A shard that does not answer within a
//! second is left out: its counters are missing rather than wrong, and `/healthz` says why. Labels are bounded by the
//! configuration, never by clients.

mod page;
mod process;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use ringress_shared::command::{Command, ShardPort};
use ringress_shared::id::{IdMap, RuleId};
use ringress_shared::listener::Routing;
use ringress_shared::metric::{Counter, ShardReport};
use ringress_shared::origin::Origin;
use ringress_shared::route::{RouteTable, Rule};
use ringress_shared::snapshot::Snapshot;
use ringress_translate::{Level, Problem, Reason};
use tokio::sync::oneshot;

use super::{Admin, plain};
use crate::live::{Live, Reloads};
use crate::source::kube::WatchReport;
use page::Page;

pub(super) async fn metrics(State(admin): State<Admin>) -> Response {
    let reports = gather(&admin.live.ports).await;
    let scrape = Scrape { live: Arc::clone(&admin.live), reports };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(fmt::Error) => plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be encoded"),
    }
}

/// The copies of all shards, asked for at the same time; `None` where one does not answer in time.
pub(super) async fn gather(ports: &[Arc<dyn ShardPort>]) -> Vec<Option<ShardReport>> {
    ask_all(ports, Command::Report).await
}

/// Asks all shards at the same time; `None` for one that does not answer in time.
pub(super) async fn ask_all<T: Send + 'static>(
    ports: &[Arc<dyn ShardPort>],
    question: impl Fn(Box<dyn FnOnce(T) + Send>) -> Command,
) -> Vec<Option<T>> {
    let until = tokio::time::Instant::now() + REPORT_TIMEOUT;
    let ask = |port: &Arc<dyn ShardPort>| {
        let (sender, receiver) = oneshot::channel();
        // Nobody takes the answer where we have given up.
        port.send(question(Box::new(move |answer| drop(sender.send(answer)))));
        receiver
    };
    let asked: Vec<_> = ports.iter().map(ask).collect();
    let mut answers = Vec::with_capacity(asked.len());
    for answer in asked {
        let answer = tokio::time::timeout_at(until, answer).await;
        answers.push(answer.ok().and_then(Result::ok));
    }
    answers
}

/// Everything that one answer says.
struct Scrape {
    live: Arc<Live>,
    reports: Vec<Option<ShardReport>>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page::new(encoder);
        self.shard_counters(&mut page)?;
        self.shard_gauges(&mut page)?;
        self.latency(&mut page)?;
        self.generations(&mut page)?;
        if let Some(view) = self.live.view() {
            self.rules(&mut page, &view.snapshot)?;
            certificates(&mut page, &view.snapshot)?;
        }
        self.problems(&mut page)?;
        self.watches(&mut page)?;
        self.writes(&mut page)?;
        self.cache(&mut page)?;
        self.reloads(&mut page)?;
        self.notices(&mut page)?;
        process::descriptors(&mut page)?;
        page.gauge("ringress_build_info", "The version that runs.", |gauge| {
            gauge.sample(&[("version", env!("CARGO_PKG_VERSION").to_owned())], 1)
        })
    }
}

impl Scrape {
    /// The shards that answered.
    fn answered(&self) -> impl Iterator<Item = (usize, &ShardReport)> {
        self.reports.iter().enumerate().filter_map(|(shard, report)| Some((shard, report.as_ref()?)))
    }

    fn shard_counters(&self, page: &mut Page<'_>) -> fmt::Result {
        for (name, help, counters) in families() {
            page.counter(name, help, |family| {
                for (shard, report) in self.answered() {
                    for counter in &counters {
                        let constant =
                            counter.describe().1.iter().map(|(key, value)| (*key, (*value).to_owned()));
                        let labels: Vec<_> =
                            std::iter::once(("shard", shard.to_string())).chain(constant).collect();
                        family.sample(&labels, report.counters[*counter as usize])?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn shard_gauges(&self, page: &mut Page<'_>) -> fmt::Result {
        let statuses = || self.live.ports.iter().map(|port| port.status());
        page.gauge("ringress_generation", "The generation that new requests get.", |gauge| {
            statuses().try_for_each(|status| gauge.sample(&shard(status.shard), status.generation()))
        })?;
        page.gauge("ringress_io_driver", "1 for the driver that a shard uses.", |gauge| {
            statuses().try_for_each(|status| match status.driver.get() {
                None => Ok(()),
                Some(report) => {
                    let driver = report.driver.as_str().to_owned();
                    gauge.sample(&[("shard", status.shard.to_string()), ("driver", driver)], 1)
                }
            })
        })?;
        page.gauge("ringress_connections", "Client connections that are open.", |gauge| {
            statuses().try_for_each(|status| {
                // A connection may be closed between two reads of the shard's counter; never show less than none.
                let open = status.connections.load(Ordering::Relaxed).max(0) as u64;
                gauge.sample(&shard(status.shard), open)
            })
        })?;
        page.gauge(
            "ringress_upstream_idle_connections",
            "Idle connections to endpoints in the pools.",
            |gauge| {
                self.answered().try_for_each(|(number, report)| gauge.sample(&shard(number), report.pooled))
            },
        )
    }

    fn latency(&self, page: &mut Page<'_>) -> fmt::Result {
        let name = "ringress_request_duration_seconds";
        let help = "From the complete head of a request to the end of its response.";
        page.histogram(name, help, |histogram| {
            self.answered()
                .try_for_each(|(number, report)| histogram.latency(&shard(number), &report.latency))
        })
    }

    fn generations(&self, page: &mut Page<'_>) -> fmt::Result {
        let standing = self.live.standing();
        page.gauge("ringress_generation_published", "The newest generation that was published.", |gauge| {
            gauge.sample(&[], standing.generation)
        })?;
        page.gauge("ringress_snapshots", "Generations that are still held by somebody.", |gauge| {
            gauge.sample(&[], standing.snapshots as u64)
        })?;
        let help = "From a change being noticed to its generation being live on all shards.";
        page.shown("ringress_config_apply_seconds", help, &self.live.apply)
    }

    fn rules(&self, page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
        let origins = origins(snapshot);
        let mut sums: BTreeMap<&Origin, [u64; 5]> = BTreeMap::new();
        for (rule, counts) in self.answered().flat_map(|(_, report)| &report.rules) {
            // A rule that is gone is shown no more: its object may be anybody's by now.
            let Some(origin) = origins.get(rule) else { continue };
            let sum = sums.entry(origin).or_default();
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        page.counter("ringress_rule_requests_total", "Exchanges by rule and class of status.", |family| {
            for (origin, counts) in sums {
                for (class, count) in (1..).zip(counts).filter(|(_, count)| *count > 0) {
                    family.sample(&rule_labels(origin, class), count)?;
                }
            }
            Ok(())
        })
    }

    fn problems(&self, page: &mut Page<'_>) -> fmt::Result {
        let view = self.live.view();
        let problems = view.as_ref().map(|view| &*view.problems).unwrap_or_default();
        let unbound = self.live.standing().unbound.len();
        let help = "Things that are wrong with objects, and sockets that cannot be bound.";
        page.gauge("ringress_problems", help, |gauge| {
            for level in [Level::Error, Level::Warning, Level::Info] {
                let found = problems.iter().filter(|problem| problem.level == level).count();
                let found = if level == Level::Error { found + unbound } else { found };
                gauge.sample(&[("level", level.as_str().to_owned())], found as u64)?;
            }
            Ok(())
        })?;
        let help = "Things that are wrong with objects, by reason; Quarantined: a version was rejected.";
        page.gauge("ringress_object_problems", help, |gauge| {
            let counts = by_reason(problems);
            counts.into_iter().try_for_each(|((reason, level), count)| {
                let labels = [("reason", reason.to_string()), ("level", level.as_str().to_owned())];
                gauge.sample(&labels, count)
            })
        })
    }

    /// The watches of the API server; several namespaces of one kind are one line.
    fn watches(&self, page: &mut Page<'_>) -> fmt::Result {
        let Some(watches) = &self.live.watches else { return Ok(()) };
        let mut kinds: BTreeMap<&str, Kind> = BTreeMap::new();
        for report in watches.report() {
            kinds.entry(report.kind).or_default().add(&report);
        }
        let label = |kind: &&str| [("kind", (**kind).to_owned())];
        let help = "1 while the API server answers the watches of a kind.";
        page.gauge("ringress_watch_up", help, |gauge| {
            kinds.iter().try_for_each(|(kind, found)| gauge.sample(&label(kind), u64::from(found.is_up)))
        })?;
        let help = "1 while an empty list of a kind is not believed, because there were objects.";
        page.gauge("ringress_watch_empty_list_doubted", help, |gauge| {
            kinds.iter().try_for_each(|(kind, found)| gauge.sample(&label(kind), u64::from(found.doubts)))
        })?;
        let help = "Empty lists of a kind that were not believed at once, because there were objects.";
        page.counter("ringress_watch_empty_lists_doubted_total", help, |family| {
            kinds.iter().try_for_each(|(kind, found)| family.sample(&label(kind), found.doubted))
        })?;
        page.counter("ringress_watch_lists_total", "Whole lists of a kind.", |family| {
            kinds.iter().try_for_each(|(kind, found)| family.sample(&label(kind), found.lists))
        })?;
        page.counter("ringress_watch_failures_total", "Calls for a kind that failed.", |family| {
            kinds.iter().try_for_each(|(kind, found)| family.sample(&label(kind), found.failures))
        })
    }

    /// What is written to the cluster.
    fn writes(&self, page: &mut Page<'_>) -> fmt::Result {
        if self.live.watches.is_none() {
            return Ok(());
        }
        let help = "1 while something that has to be written to the cluster, or read for that, cannot be.";
        page.gauge("ringress_writes_failing", help, |gauge| {
            let failing = self.live.troubles.failing();
            failing
                .into_iter()
                .try_for_each(|(task, fails)| gauge.sample(&[("task", task.to_owned())], u64::from(fails)))
        })
    }

    /// What is kept for a start without the API server.
    fn cache(&self, page: &mut Page<'_>) -> fmt::Result {
        let Some(cache) = self.live.watches.as_ref().and_then(|watches| watches.cache()) else {
            return Ok(());
        };
        let help = "1 while the cache is served, because not everything was listed since the start.";
        page.gauge("ringress_cache_serving", help, |gauge| {
            gauge.sample(&[], u64::from(cache.serving.is_some()))
        })?;
        let help = "Seconds since the cache that is served was true.";
        page.gauge("ringress_cache_age_seconds", help, |gauge| {
            cache.serving.as_ref().map_or(Ok(()), |from| gauge.sample(&[], from.age().as_secs()))
        })?;
        let help = "Secrets that are not in the cache that is served, so that their hosts refuse TLS.";
        page.gauge("ringress_cache_secrets_withheld", help, |gauge| {
            gauge.sample(&[], cache.serving.as_ref().map_or(0, |from| from.withheld as u64))
        })?;
        page.counter("ringress_cache_writes_total", "Writes of the cache, by result.", |family| {
            family.sample(&[("result", "success".to_owned())], cache.writes)?;
            family.sample(&[("result", "failure".to_owned())], cache.failures)
        })?;
        let help = "When the cache was last written, in seconds since 1970.";
        page.gauge("ringress_cache_last_write_timestamp_seconds", help, |gauge| {
            let since = cache.written.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            since.map_or(Ok(()), |since| gauge.sample(&[], since.as_secs()))
        })
    }

    fn reloads(&self, page: &mut Page<'_>) -> fmt::Result {
        let Reloads { successes, failures, last_success, is_last_good } = self.live.standing().reloads;
        page.counter("ringress_config_reloads_total", "Changes that were published, or failed.", |family| {
            family.sample(&[("result", "success".to_owned())], successes)?;
            family.sample(&[("result", "failure".to_owned())], failures)
        })?;
        let help = "0 where the newest change failed, so that the generation before goes on.";
        page.gauge("ringress_config_last_reload_successful", help, |gauge| {
            gauge.sample(&[], u64::from(is_last_good))
        })?;
        let help = "When the newest generation was published, in seconds since 1970.";
        page.gauge("ringress_config_last_reload_success_timestamp_seconds", help, |gauge| {
            let since = last_success.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            since.map_or(Ok(()), |since| gauge.sample(&[], since.as_secs()))
        })
    }

    fn notices(&self, page: &mut Page<'_>) -> fmt::Result {
        let standing = self.live.standing();
        let help =
            "Warnings of a shard, which stand in the log: accepting fails, a connection's task panicked.";
        page.counter("ringress_shard_notices_total", help, |family| {
            let count = |number| standing.notices.get(&number).copied().unwrap_or_default();
            (0..self.live.ports.len()).try_for_each(|number| family.sample(&shard(number), count(number)))
        })
    }
}

/// The watches of one kind together.
struct Kind {
    is_up: bool,
    doubts: bool,
    doubted: u64,
    lists: u64,
    failures: u64,
}

impl Default for Kind {
    fn default() -> Self {
        Self { is_up: true, doubts: false, doubted: 0, lists: 0, failures: 0 }
    }
}

impl Kind {
    fn add(&mut self, report: &WatchReport) {
        self.is_up &= report.failing.is_none();
        self.doubts |= report.doubts;
        self.doubted += report.doubted;
        self.lists += report.lists;
        self.failures += report.failures;
    }
}

fn by_reason(problems: &[Problem]) -> BTreeMap<(Reason, Level), u64> {
    let mut counts = BTreeMap::new();
    for problem in problems {
        *counts.entry((problem.reason, problem.level)).or_default() += 1;
    }
    counts
}

/// Counters by metric name, in the order of their numbers.
fn families() -> Vec<(&'static str, &'static str, Vec<Counter>)> {
    let mut families: Vec<(&'static str, &'static str, Vec<Counter>)> = Vec::new();
    for counter in Counter::ALL {
        let (name, _, help) = counter.describe();
        match families.iter_mut().find(|(known, _, _)| *known == name) {
            Some((_, _, counters)) => counters.push(*counter),
            None => families.push((name, help, vec![*counter])),
        }
    }
    families
}

fn shard(number: usize) -> [(&'static str, String); 1] {
    [("shard", number.to_string())]
}

fn rule_labels(origin: &Origin, class: u32) -> [(&'static str, String); 4] {
    [
        ("namespace", origin.object.namespace.to_string()),
        ("ingress", origin.object.name.to_string()),
        ("rule", origin.field.to_string()),
        ("code_class", format!("{class}xx")),
    ]
}

/// Where each rule of a snapshot came from.
fn origins(snapshot: &Snapshot) -> IdMap<RuleId, Origin> {
    let mut origins = IdMap::default();
    for listener in snapshot.sockets.iter().flat_map(|socket| socket.listeners.iter()) {
        let Routing::Http(table) = &listener.routing;
        for rule in rules_of(table) {
            origins.entry(rule.id).or_insert_with(|| rule.origin.clone());
        }
    }
    origins
}

fn rules_of(table: &RouteTable) -> impl Iterator<Item = &Arc<Rule>> {
    let hosts = table.hosts().into_iter().flat_map(|(_, entry)| {
        entry.candidates().iter().map(|candidate| &candidate.rule).chain(entry.fallback())
    });
    hosts.chain(table.default_rule())
}

fn certificates(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    let mut ends: BTreeMap<String, i64> = BTreeMap::new();
    let listeners = snapshot.sockets.iter().flat_map(|socket| socket.listeners.iter());
    for store in listeners.filter_map(|listener| Some(&listener.tls.as_ref()?.certificates)) {
        let default = store.default_certificate().map(|certificate| (DEFAULT_HOST.to_owned(), certificate));
        for (host, certificate) in store.entries().chain(default) {
            let end = ends.entry(host).or_insert(certificate.not_after);
            *end = certificate.not_after.min(*end);
        }
    }
    let help = "When the certificate of a host expires, in seconds since 1970.";
    page.gauge("ringress_certificate_expiry_timestamp_seconds", help, |gauge| {
        ends.into_iter().try_for_each(|(host, end)| gauge.sample(&[("host", host)], end.max(0) as u64))
    })
}

/// The host label of the certificate for names that nothing else covers; no host has this name.
const DEFAULT_HOST: &str = "_";

/// How long a shard may take to copy its counters.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(live: &Arc<Live>) -> String {
        let scrape = Scrape { live: Arc::clone(live), reports: Vec::new() };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(scrape));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn a_failed_change_shows_until_the_next_one_succeeds() {
        let live = Live::new(Vec::new(), None);
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let check = |is_good: u8, successes: u64, failures: u64| {
            let page = page_of(&live);
            for line in [
                format!("ringress_config_last_reload_successful {is_good}"),
                format!("ringress_config_reloads_total{{result=\"success\"}} {successes}"),
                format!("ringress_config_reloads_total{{result=\"failure\"}} {failures}"),
                "ringress_config_last_reload_success_timestamp_seconds 1700000000".to_owned(),
            ] {
                assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
            }
        };
        live.change(|standing| standing.reloads.succeeded(at));
        check(1, 1, 0);
        live.change(|standing| standing.reloads.failed());
        check(0, 1, 1);
        live.change(|standing| standing.reloads.succeeded(at));
        check(1, 2, 1);
    }

    #[test]
    fn a_name_is_described_once() {
        let names: Vec<&str> = families().iter().map(|(name, _, _)| *name).collect();
        let unique: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), unique.len());
        let counters: usize = families().iter().map(|(_, _, counters)| counters.len()).sum();
        assert_eq!(counters, Counter::ALL.len());
    }
}
