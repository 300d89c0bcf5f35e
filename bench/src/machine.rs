//! What has to stand beside every figure: kernel, processor, congestion control, build.

use std::fs;

use serde_json::{Value, json};

/// Where the figures were taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// `Linux 6.1.0 …`.
    pub(crate) kernel: String,
    /// Model of the processor.
    pub(crate) processor: String,
    /// Online processors.
    pub(crate) processors: usize,
    /// Algorithm that new TCP connections get.
    pub(crate) congestion_control: String,
}

impl Machine {
    /// Reads `/proc`; what cannot be read is "unknown", since no figure depends on it.
    pub(crate) fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let (processor, processors) = parse_cpuinfo(&cpuinfo);
        Self {
            kernel: line("/proc/sys/kernel/osrelease"),
            processor,
            processors,
            congestion_control: line("/proc/sys/net/ipv4/tcp_congestion_control"),
        }
    }

    /// What makes figures of this run worse than they could be, one sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.congestion_control != "cubic" {
            warnings.push(format!(
                "congestion control is {}; bulk over loopback is dearer and noisier than with cubic \
                 (as root: sysctl -w net.ipv4.tcp_congestion_control=cubic)",
                self.congestion_control
            ));
        }
        if cfg!(debug_assertions) {
            warnings.push("this is a debug build of the generator; use cargo run --release".to_owned());
        }
        warnings
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "kernel": self.kernel,
            "processor": self.processor,
            "processors": self.processors,
            "congestion_control": self.congestion_control,
        })
    }
}

fn line(path: &str) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => UNKNOWN.to_owned(),
    }
}

fn parse_cpuinfo(text: &str) -> (String, usize) {
    let values = |key: &'static str| {
        text.lines().filter_map(move |line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    let model = values("model name").next().unwrap_or(UNKNOWN).to_owned();
    (model, values("processor").count())
}

const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpuinfo_gives_model_and_count() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC 9B14\nflags\t: fpu\n\nprocessor\t: 1\nmodel name\t: AMD EPYC 9B14\n";
        assert_eq!(parse_cpuinfo(text), ("AMD EPYC 9B14".to_owned(), 2));
        assert_eq!(parse_cpuinfo("processor : 0\n"), (UNKNOWN.to_owned(), 1));
    }

    #[test]
    fn anything_but_cubic_is_advised_against() {
        let machine = |congestion: &str| Machine {
            kernel: String::new(),
            processor: String::new(),
            processors: 2,
            congestion_control: congestion.to_owned(),
        };
        let advised = |congestion| machine(congestion).warnings().iter().any(|w| w.contains("sysctl"));
        assert!(advised("bbr"));
        assert!(!advised("cubic"));
    }
}
