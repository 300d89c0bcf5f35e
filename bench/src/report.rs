//! Figures of a run, their medians, the table and the JSON.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

use crate::{load::Outcome, scenario::Scenario};

/// What one window of one peer comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    /// CPU time of the proxy for one request; `None` where no process was watched.
    pub(crate) proxy: Option<ProxyCost>,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    /// CPU time of client and origin for one request: while it is above the proxy's, requests per second say more
    /// about the generator.
    pub(crate) load_micros: f64,
    /// Share of the load core's time that client and origin used, 0 to 1.
    pub(crate) load_busy: f64,
    pub(crate) reconnects: f64,
    pub(crate) errors: u64,
}

/// The proxy's CPU time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ProxyCost {
    /// µs for one request.
    pub(crate) micros: f64,
    /// Of that in user mode: the exact total, split as the kernel's ticks fell.
    pub(crate) user_micros: f64,
    /// Of that in the kernel.
    pub(crate) system_micros: f64,
    /// Share of its core's time, 0 to 1.
    pub(crate) busy: f64,
}

impl Figures {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let requests = outcome.requests as f64;
        let seconds = outcome.elapsed.as_secs_f64();
        let per_request = |seconds: f64| if requests > 0.0 { seconds * 1e6 / requests } else { f64::NAN };
        let proxy = outcome.proxy.map(|cpu| {
            let micros = per_request(cpu.total.as_secs_f64());
            let (user, system) = (cpu.user.as_secs_f64(), cpu.system.as_secs_f64());
            let user_share = if user + system > 0.0 { user / (user + system) } else { f64::NAN };
            ProxyCost {
                micros,
                user_micros: micros * user_share,
                system_micros: micros * (1.0 - user_share),
                busy: cpu.total.as_secs_f64() / seconds,
            }
        });
        Self {
            requests_per_second: requests / seconds,
            proxy,
            p50_micros: outcome.latency.value_at_quantile(0.50) as f64,
            p99_micros: outcome.latency.value_at_quantile(0.99) as f64,
            load_micros: per_request(outcome.load.total.as_secs_f64()),
            load_busy: outcome.load.total.as_secs_f64() / seconds,
            reconnects: outcome.reconnects as f64,
            errors: outcome.error_count(),
        }
    }

    /// The median of each figure by itself; errors are summed, since none may be hidden.
    pub(crate) fn median(rounds: &[Figures]) -> Self {
        let over = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure));
        let cost = |figure: fn(&ProxyCost) -> f64| {
            median(rounds.iter().filter_map(|r| r.proxy.as_ref()).map(figure))
        };
        Self {
            requests_per_second: over(|f| f.requests_per_second),
            proxy: rounds.iter().all(|f| f.proxy.is_some()).then(|| ProxyCost {
                micros: cost(|c| c.micros),
                user_micros: cost(|c| c.user_micros),
                system_micros: cost(|c| c.system_micros),
                busy: cost(|c| c.busy),
            }),
            p50_micros: over(|f| f.p50_micros),
            p99_micros: over(|f| f.p99_micros),
            load_micros: over(|f| f.load_micros),
            load_busy: over(|f| f.load_busy),
            reconnects: over(|f| f.reconnects),
            errors: rounds.iter().map(|f| f.errors).sum(),
        }
    }

    fn cells(&self) -> [String; 10] {
        let cost = self.proxy.unwrap_or(ProxyCost { micros: f64::NAN, ..NO_COST });
        [
            format!("{:.0}", self.requests_per_second),
            number(cost.micros),
            number(cost.user_micros),
            number(cost.system_micros),
            whole(1e6 / cost.micros),
            whole(self.p50_micros),
            whole(self.p99_micros),
            number(self.load_micros),
            format!("{}/{}", percent(cost.busy), percent(self.load_busy)),
            self.errors.to_string(),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "requests_per_second": self.requests_per_second,
            "proxy_micros_per_request": self.proxy.map(|cost| cost.micros),
            "proxy_user_micros_per_request": self.proxy.map(|cost| cost.user_micros),
            "proxy_system_micros_per_request": self.proxy.map(|cost| cost.system_micros),
            "requests_per_proxy_core_second": self.proxy.map(|cost| 1e6 / cost.micros),
            "proxy_core_busy": self.proxy.map(|cost| cost.busy),
            "latency_p50_micros": self.p50_micros,
            "latency_p99_micros": self.p99_micros,
            "load_micros_per_request": self.load_micros,
            "load_core_busy": self.load_busy,
            "reconnects": self.reconnects,
            "errors": self.errors,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.cells();
        let parts: Vec<_> =
            COLUMNS[1..].iter().zip(cells).map(|(name, cell)| format!("{name} {cell}")).collect();
        f.write_str(&parts.join(", "))
    }
}

/// Everything about one scenario: for each peer, in the order they ran, the rounds.
#[derive(Debug)]
pub(crate) struct ScenarioReport {
    pub(crate) scenario: &'static Scenario,
    pub(crate) peers: Vec<(&'static str, Vec<Figures>)>,
    /// Reasons of failed exchanges by peer.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl ScenarioReport {
    /// Errors of all peers and rounds.
    pub(crate) fn error_count(&self) -> u64 {
        self.peers.iter().flat_map(|(_, rounds)| rounds).map(|figures| figures.errors).sum()
    }

    /// `peer`'s CPU time per request over ringress's; above 1 ringress is cheaper. `None` without ringress.
    fn ratio(&self, peer: &str) -> Option<Ratio> {
        let rounds =
            |wanted: &str| self.peers.iter().find(|(name, _)| *name == wanted).map(|(_, rounds)| rounds);
        let micros = |figures: &Figures| figures.proxy.map(|cost| cost.micros);
        let (theirs, ours) = (rounds(peer)?, rounds("ringress")?);
        let pairs: Option<Vec<f64>> =
            theirs.iter().zip(ours).map(|(theirs, ours)| Some(micros(theirs)? / micros(ours)?)).collect();
        let pairs = pairs?;
        Some(Ratio {
            of_medians: micros(&Figures::median(theirs))? / micros(&Figures::median(ours))?,
            lowest: pairs.iter().copied().fold(f64::INFINITY, f64::min),
            highest: pairs.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }

    fn others(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.peers.iter().map(|(name, _)| *name).filter(|name| *name != "ringress")
    }

    /// The scenario as JSON.
    pub(crate) fn to_json(&self) -> Value {
        let peers: serde_json::Map<String, Value> = self
            .peers
            .iter()
            .map(|(name, rounds)| {
                let median = Figures::median(rounds).to_json();
                let rounds: Vec<_> = rounds.iter().map(Figures::to_json).collect();
                ((*name).to_owned(), json!({ "median": median, "rounds": rounds }))
            })
            .collect();
        let ratios: serde_json::Map<String, Value> = self
            .others()
            .filter_map(|peer| self.ratio(peer).map(|ratio| (peer.to_owned(), ratio.to_json())))
            .collect();
        json!({
            "scenario": self.scenario.name,
            "what": self.scenario.what,
            "peers": peers,
            "peer_micros_over_ringress_micros": ratios,
            "errors": self.errors,
        })
    }
}

impl fmt::Display for ScenarioReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario.name, self.scenario.what)?;
        let mut rows = vec![COLUMNS.map(str::to_owned).to_vec()];
        for (name, rounds) in &self.peers {
            for (index, figures) in rounds.iter().enumerate() {
                rows.push(row(format!("{name} #{}", index + 1), figures));
            }
        }
        for (name, rounds) in &self.peers {
            rows.push(row(format!("{name} median"), &Figures::median(rounds)));
        }
        write_table(f, &rows)?;
        for peer in self.others() {
            if let Some(Ratio { of_medians, lowest, highest }) = self.ratio(peer) {
                writeln!(f, "{peer} µs ÷ ringress µs: {of_medians:.2} (rounds {lowest:.2} to {highest:.2})")?;
            }
        }
        for (error, count) in &self.errors {
            writeln!(f, "ERROR {count} × {error}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Ratio {
    of_medians: f64,
    /// Of the ratios of each round: peers of one round ran within seconds of each other.
    lowest: f64,
    highest: f64,
}

impl Ratio {
    fn to_json(self) -> Value {
        json!({ "of_medians": self.of_medians, "lowest_round": self.lowest, "highest_round": self.highest })
    }
}

fn row(name: String, figures: &Figures) -> Vec<String> {
    std::iter::once(name).chain(figures.cells()).collect()
}

/// Columns as wide as their widest cell, the first left-aligned, the others right-aligned.
fn write_table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => write!(f, "  {cell:<width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

/// The middle value, or the mean of the two middle ones; NaN of nothing.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}") } else { UNKNOWN.to_owned() }
}

fn whole(value: f64) -> String {
    if value.is_finite() { format!("{value:.0}") } else { UNKNOWN.to_owned() }
}

fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.0}%", share * 100.0) } else { UNKNOWN.to_owned() }
}

const UNKNOWN: &str = "–";
const NO_COST: ProxyCost =
    ProxyCost { micros: f64::NAN, user_micros: f64::NAN, system_micros: f64::NAN, busy: f64::NAN };
const COLUMNS: [&str; 11] =
    ["", "req/s", "µs/req", "user", "sys", "req/core-s", "p50 µs", "p99 µs", "load µs", "busy p/l", "errors"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hdrhistogram::Histogram;

    use super::*;
    use crate::procfs::CpuTime;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn an_outcome_becomes_microseconds_per_request() {
        let figures = Figures::of(&outcome(100_000, 2, 1_000, 0));
        let cost = figures.proxy.expect("a proxy was watched");
        assert_eq!(figures.requests_per_second, 50_000.0);
        assert!((cost.micros - 10.0).abs() < 1e-9, "{cost:?}");
        assert!((cost.user_micros - 2.5).abs() < 1e-9 && (cost.system_micros - 7.5).abs() < 1e-9, "{cost:?}");
        assert!((cost.busy - 0.5).abs() < 1e-9, "{cost:?}");
        assert!((figures.load_micros - 5.0).abs() < 1e-9, "{figures:?}");
    }

    #[test]
    fn a_window_without_requests_shows_dashes_and_not_zero() {
        let figures = Figures::of(&outcome(0, 2, 1_000, 7));
        let cells = figures.cells();
        assert_eq!((cells[1].as_str(), cells[9].as_str()), (UNKNOWN, "7"));
    }

    #[test]
    fn errors_of_all_rounds_are_summed() {
        let rounds =
            [Figures { errors: 1, ..Figures::default() }, Figures { errors: 2, ..Figures::default() }];
        assert_eq!(Figures::median(&rounds).errors, 3);
    }

    #[test]
    fn the_ratio_is_theirs_over_ours_with_the_range_of_the_rounds() {
        let report = report(&[8.0, 10.0, 10.0], &[16.0, 14.0, 15.0]);
        let ratio = report.ratio("nginx").expect("both ran");
        assert!((ratio.of_medians - 1.5).abs() < 1e-9, "{ratio:?}");
        assert!((ratio.lowest - 1.4).abs() < 1e-9 && (ratio.highest - 2.0).abs() < 1e-9, "{ratio:?}");
        assert_eq!(report.ratio("haproxy"), None);
        let text = report.to_string();
        assert!(text.contains("nginx µs ÷ ringress µs: 1.50 (rounds 1.40 to 2.00)"), "{text}");
        assert_eq!(report.to_json()["peers"]["nginx"]["rounds"].as_array().map(Vec::len), Some(3));
    }

    fn report(ours: &[f64], theirs: &[f64]) -> ScenarioReport {
        let rounds = |micros: &[f64]| micros.iter().map(|&micros| figures(micros)).collect();
        ScenarioReport {
            scenario: &crate::scenario::ALL[0],
            peers: vec![("ringress", rounds(ours)), ("nginx", rounds(theirs))],
            errors: BTreeMap::new(),
        }
    }

    fn figures(micros: f64) -> Figures {
        Figures { proxy: Some(ProxyCost { micros, ..ProxyCost::default() }), ..Figures::default() }
    }

    fn outcome(requests: u64, seconds: u64, proxy_millis: u64, errors: u64) -> Outcome {
        let millis = Duration::from_millis;
        Outcome {
            requests,
            elapsed: Duration::from_secs(seconds),
            latency: Histogram::new(3).expect("three digits are allowed"),
            errors: BTreeMap::from([("status 502".to_owned(), errors)]),
            reconnects: 0,
            proxy: Some(CpuTime {
                total: millis(proxy_millis),
                user: millis(proxy_millis / 4),
                system: millis(proxy_millis * 3 / 4),
            }),
            load: CpuTime { total: millis(500), ..CpuTime::default() },
        }
    }
}
