//! CPU time of a process tree, from `/proc`.
//!
//! Two sources, because neither has everything: `schedstat` counts nanoseconds but per thread, `stat` splits into
//! user and system but in ticks of 10 ms. The split is therefore only as good as the window is long and the
//! proxy is busy.

use std::{fs, io, ops::Sub, time::Duration};

/// Ticks per second of `/proc/PID/stat`: part of the Linux ABI, whatever the kernel's own tick is.
const TICKS_PER_SECOND: u64 = 100;

/// "No such process", the same number on every Linux.
const ESRCH: i32 = 3;

/// A process and everything below it, as it was when asked.
#[derive(Debug, Clone)]
pub(crate) struct ProcessTree {
    processes: Vec<u32>,
}

/// CPU time that a tree has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    /// From `schedstat`, exact.
    pub(crate) total: Duration,
    /// From `stat`, in ticks.
    pub(crate) user: Duration,
    /// From `stat`, in ticks.
    pub(crate) system: Duration,
}

impl ProcessTree {
    /// `root` and its descendants.
    ///
    /// # Errors
    /// `/proc` cannot be read, or the process is gone.
    pub(crate) fn of(root: u32) -> io::Result<Self> {
        let parents = parents()?;
        let mut processes = vec![root];
        let mut next = 0;
        while let Some(&parent) = processes.get(next) {
            processes.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
            next += 1;
        }
        fs::metadata(format!("/proc/{root}"))?;
        Ok(Self { processes })
    }

    /// This process alone.
    pub(crate) fn own() -> Self {
        Self { processes: vec![std::process::id()] }
    }

    /// The sum over every thread of every process of the tree.
    ///
    /// # Errors
    /// A process of the tree is gone: its time would be missing from the sum.
    pub(crate) fn cpu_time(&self) -> io::Result<CpuTime> {
        let mut sum = CpuTime::default();
        for pid in &self.processes {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let stat = parse_stat(&stat).ok_or_else(|| malformed("stat"))?;
            sum.user += ticks(stat.user_ticks);
            sum.system += ticks(stat.system_ticks);
            for thread in numbered(&format!("/proc/{pid}/task"))? {
                sum.total += thread_runtime(*pid, thread)?;
            }
        }
        Ok(sum)
    }

    /// The processes, the root first.
    pub(crate) fn processes(&self) -> &[u32] {
        &self.processes
    }
}

impl Sub for CpuTime {
    type Output = CpuTime;

    fn sub(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            total: self.total.saturating_sub(earlier.total),
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// The cores that a process may run on, in the kernel's notation ("0", "0-3,8").
pub(crate) fn allowed_cores(pid: u32) -> io::Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    field(&status, "Cpus_allowed_list:").map(str::to_owned).ok_or_else(|| malformed("status"))
}

/// Descriptors that this process may open; `None` is no limit.
pub(crate) fn descriptor_limit() -> io::Result<Option<u64>> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let rest = field(&limits, "Max open files").ok_or_else(|| malformed("limits"))?;
    Ok(rest.split_whitespace().next().and_then(|soft| soft.parse().ok()))
}

fn parents() -> io::Result<Vec<(u32, u32)>> {
    let mut pairs = Vec::new();
    for pid in numbered("/proc")? {
        // A process that ended since the listing has no parent to report.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        pairs.extend(parse_stat(&text).map(|stat| (pid, stat.parent)));
    }
    Ok(pairs)
}

fn thread_runtime(pid: u32, thread: u32) -> io::Result<Duration> {
    match fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")) {
        Ok(text) => parse_schedstat(&text).ok_or_else(|| malformed("schedstat")),
        // A helper thread that ended between the listing and now, before the file was opened or before it was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => {
            Ok(Duration::ZERO)
        }
        Err(error) => Err(error),
    }
}

fn numbered(folder: &str) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    user_ticks: u64,
    system_ticks: u64,
}

/// proc(5): fields 4, 14 and 15. The second field is the program's name in parentheses and may itself hold
/// spaces and parentheses, so counting starts after the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, after_name) = text.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let number = |position: usize| fields.get(position - 3)?.parse::<u64>().ok();
    Some(Stat { parent: u32::try_from(number(4)?).ok()?, user_ticks: number(14)?, system_ticks: number(15)? })
}

/// `runtime wait slices`, all since the thread began, the first two in nanoseconds.
fn parse_schedstat(text: &str) -> Option<Duration> {
    text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / TICKS_PER_SECOND)
}

fn malformed(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc: {file} is not as proc(5) describes it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_name_with_spaces_and_parentheses() {
        let line =
            "4711 (nginx: wor (k) er) S 4700 4700 4700 0 -1 4194368 120 0 0 0 250 731 3 4 20 0 1 0 77 5 6";
        assert_eq!(parse_stat(line), Some(Stat { parent: 4700, user_ticks: 250, system_ticks: 731 }));
    }

    #[test]
    fn a_short_or_foreign_line_is_refused() {
        for wrong in ["", "1 init S 0", "1 (init) S 0 0 0", "1 (x) S a 0 0 0 0 0 0 0 0 0 1 1"] {
            assert_eq!(parse_stat(wrong), None, "{wrong:?}");
        }
        for wrong in ["", "x 1 2"] {
            assert_eq!(parse_schedstat(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn schedstat_counts_nanoseconds() {
        assert_eq!(parse_schedstat("98286 72076 2\n"), Some(Duration::from_nanos(98286)));
    }

    #[test]
    fn own_time_grows_with_work_and_is_about_what_stat_says() {
        let tree = ProcessTree::own();
        let cpu_time = || tree.cpu_time().expect("own /proc is readable");
        let (before, begun) = (cpu_time(), std::time::Instant::now());
        let mut used = CpuTime::default();
        while used.total < Duration::from_millis(100) {
            assert!(begun.elapsed() < Duration::from_secs(30), "working for 30 s shows as {used:?}");
            used = cpu_time() - before;
        }
        let split = used.user + used.system;
        assert!(split.abs_diff(used.total) < Duration::from_millis(500), "{used:?}");
    }

    #[test]
    fn a_tree_holds_the_children() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().expect("sleep exists");
        let tree = ProcessTree::of(std::process::id()).expect("own tree");
        let found = tree.processes().contains(&child.id());
        child.kill().expect("the child is ours");
        child.wait().expect("the child is ours");
        assert!(found, "{tree:?}");
        assert!(ProcessTree::of(child.id()).is_err());
    }

    #[test]
    fn limits_and_cores_of_this_process_are_readable() {
        assert!(descriptor_limit().expect("limits").is_none_or(|limit| limit > 0));
        assert!(!allowed_cores(std::process::id()).expect("status").is_empty());
    }
}
