//! What the process holds of the machine, by the names that Prometheus gives it everywhere.

use std::fmt;
use std::fs;

use super::page::Page;

/// Open descriptors and how many there may be: accepting stops where they meet. What cannot be read is left out.
pub(super) fn descriptors(page: &mut Page<'_>) -> fmt::Result {
    page.gauge("process_open_fds", "Open file descriptors.", |gauge| {
        open().map_or(Ok(()), |count| gauge.sample(&[], count))
    })?;
    page.gauge("process_max_fds", "File descriptors that the process may open.", |gauge| {
        max().map_or(Ok(()), |count| gauge.sample(&[], count))
    })
}

fn open() -> Option<u64> {
    // One of them is the list itself.
    let entries = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(entries.saturating_sub(1))
}

/// `None` also where there is no limit.
fn max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    soft_limit(&limits)
}

/// `Max open files            1024                 4096                 files`
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_is_counted() {
        // Other tests open and close files meanwhile, far fewer than these.
        let before = open().unwrap();
        let files: Vec<_> = (0..500).map(|_| fs::File::open("/proc/self/limits").unwrap()).collect();
        assert!(open().unwrap() >= before + 400, "{before}");
        drop(files);
        assert!(max().unwrap() > 500);
    }

    #[test]
    fn the_soft_limit_counts() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(
            soft_limit("Max open files            unlimited            unlimited            files\n"),
            None
        );
        assert_eq!(soft_limit(""), None);
    }
}
