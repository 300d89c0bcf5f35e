//! io_uring where a container's seccomp profile refuses it, as most do.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::support::{Driver, Launch, Upstream};

/// Runs `test` in a thread whose processes get `errno` from `io_uring_setup`.
fn without_rings(errno: i32, test: impl FnOnce() + Send + 'static) {
    let filtered = std::thread::spawn(move || {
        let rules = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
        let refuse = SeccompAction::Errno(errno.unsigned_abs());
        let machine = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, machine).unwrap();
        seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
        test();
    });
    filtered.join().unwrap();
}

#[test]
fn auto_serves_over_epoll_and_says_why() {
    // Docker's default profile says EPERM, gVisor and old kernels ENOSYS.
    for (errno, reason) in [(libc::EPERM, "Operation not permitted"), (libc::ENOSYS, "not implemented")] {
        without_rings(errno, move || {
            let upstream = Upstream::named("web");
            let ringress = Launch::new(Driver::Epoll).io_driver("auto").serving(&[&upstream]).start();
            assert_eq!(ringress.get("a.test", "/").status, 200);
            assert!(ringress.metric("ringress_io_driver", "driver=\"epoll\"") >= 2.0);
            let ready = ringress.admin("/readyz").text();
            assert!(ready.contains("epoll") && ready.contains(reason), "{ready}");
            assert!(ringress.logs().contains(reason), "{}", ringress.logs());
        });
    }
}

#[test]
fn who_asks_for_io_uring_is_told_that_it_is_refused() {
    without_rings(libc::EPERM, || {
        let mut ringress = Launch::new(Driver::IoUring).spawn();
        let status = ringress.wait_exit();
        assert_eq!(status.code(), Some(2));
        let said = ringress.logs();
        assert!(said.contains("--io-driver auto"), "{said}");
        assert_eq!(said.matches("Operation not permitted").count(), 1, "once, not for every rung: {said}");
    });
}
