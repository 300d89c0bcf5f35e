//! The page of metrics as it is written: one family after the other, in the words of the OpenMetrics format.

use std::fmt::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram as Latency;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelSetEncoder, LabelValueEncoder,
    MetricEncoder,
};
use prometheus_client::metrics::MetricType;

/// The page.
pub(super) struct Page<'p> {
    encoder: DescriptorEncoder<'p>,
}

/// One metric of the page.
pub(super) struct Family<'p> {
    encoder: MetricEncoder<'p>,
    kind: MetricType,
}

/// Names and values.
type Labels = [(&'static str, String)];

impl<'p> Page<'p> {
    pub(super) fn new(encoder: DescriptorEncoder<'p>) -> Self {
        Self { encoder }
    }

    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        fill: impl FnOnce(&mut Family<'_>) -> fmt::Result,
    ) -> fmt::Result {
        // The encoder puts the suffix to the samples itself.
        let name = name.strip_suffix("_total").unwrap_or(name);
        self.family(name, help, MetricType::Counter, fill)
    }

    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        fill: impl FnOnce(&mut Family<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, fill)
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        fill: impl FnOnce(&mut Family<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, fill)
    }

    /// A metric that knows its own samples.
    pub(super) fn shown(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.encoder.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        fill: impl FnOnce(&mut Family<'_>) -> fmt::Result,
    ) -> fmt::Result {
        fill(&mut Family { encoder: self.encoder.encode_descriptor(name, help, None, kind)?, kind })
    }
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: &Labels, value: u64) -> fmt::Result {
        if labels.is_empty() {
            return write_value(&mut self.encoder, self.kind, value);
        }
        write_value(&mut self.encoder.encode_family(&EscapedAll(labels))?, self.kind, value)
    }

    /// Durations in microseconds, shown in seconds.
    pub(super) fn latency(&mut self, labels: &Labels, latency: &Latency<u64>) -> fmt::Result {
        let Buckets { sum, count, buckets } = Buckets::of(latency);
        let labels = EscapedAll(labels);
        self.encoder.encode_family(&labels)?.encode_histogram::<NoLabels>(sum, count, &buckets, None)
    }
}

fn write_value(encoder: &mut MetricEncoder<'_>, kind: MetricType, value: u64) -> fmt::Result {
    match kind {
        MetricType::Counter => encoder.encode_counter::<NoLabels, _, f64>(&value, None),
        _ => encoder.encode_gauge(&value),
    }
}

type NoLabels = [(&'static str, &'static str); 0];

/// Labels whose values come from objects: the library writes values as they are, so a quote or a line end in a name could
/// forge a line of the page.
#[derive(Debug)]
struct EscapedAll<'l>(&'l Labels);

impl EncodeLabelSet for EscapedAll<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let mut labels = self.0.iter().map(|(name, value)| (*name, Escaped(value)));
        labels.try_for_each(|label| [label].encode(encoder))
    }
}

/// The value of a label, as the format wants it between quotes.
#[derive(Debug)]
struct Escaped<'v>(&'v str);

impl EncodeLabelValue for Escaped<'_> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(['\\', '"', '\n']) {
            let plain = part.trim_end_matches(['\\', '"', '\n']);
            encoder.write_str(plain)?;
            encoder.write_str(match &part[plain.len()..] {
                "\\" => r"\\",
                "\"" => r#"\""#,
                "\n" => r"\n",
                _ => "",
            })?;
        }
        Ok(())
    }
}

/// A latency histogram in a few wide buckets.
struct Buckets {
    sum: f64,
    count: u64,
    /// Upper bound in seconds, and what lies between the one before and it.
    buckets: Vec<(f64, u64)>,
}

impl Buckets {
    fn of(latency: &Latency<u64>) -> Self {
        let mut buckets: Vec<(f64, u64)> =
            BOUNDS.iter().chain(&[f64::MAX]).map(|bound| (*bound, 0)).collect();
        let mut sum = 0.0;
        for value in latency.iter_recorded() {
            let seconds = Duration::from_micros(value.value_iterated_to()).as_secs_f64();
            let count = value.count_since_last_iteration();
            sum += seconds * count as f64;
            let at = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
            buckets[at].1 += count;
        }
        Self { sum, count: latency.len(), buckets }
    }
}

/// Seconds: from a cached answer next door to a patient client.
const BOUNDS: [f64; 8] = [0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with one sample.
    #[derive(Debug)]
    struct OneSample(&'static str);

    impl prometheus_client::collector::Collector for OneSample {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
            Page::new(encoder).gauge("g", "Help.", |gauge| {
                gauge.sample(&[("name", self.0.to_owned()), ("other", "x".to_owned())], 1)
            })
        }
    }

    #[test]
    fn no_label_forges_a_line() {
        for (value, shown) in [
            ("web", "web"),
            ("", ""),
            ("x\"} 1\nringress_fake{a=\"b", r#"x\"} 1\nringress_fake{a=\"b"#),
            (r"back\slash\n", r"back\\slash\\n"),
            ("\n\"\\", r#"\n\"\\"#),
        ] {
            let mut registry = prometheus_client::registry::Registry::default();
            registry.register_collector(Box::new(OneSample(value)));
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(samples, [format!("g{{name=\"{shown}\",other=\"x\"}} 1")], "{value:?}");
        }
    }

    #[test]
    fn every_duration_lands_in_the_bucket_that_takes_it() {
        let mut latency = Latency::new(3).unwrap();
        for micros in [1, 500, 501, 90_000, 60_000_000] {
            latency.record(micros).unwrap();
        }
        let Buckets { sum, count, buckets } = Buckets::of(&latency);
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(count, 5);
        assert!((60.0..60.2).contains(&sum), "{sum}");
    }
}
