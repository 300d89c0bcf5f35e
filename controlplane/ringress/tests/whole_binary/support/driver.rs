//! Both drivers, for every test that moves bytes.

use std::sync::OnceLock;

/// How the shards under test do their input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Completion rings.
    IoUring,
    /// Readiness polling.
    Epoll,
}

impl Driver {
    /// As `--io-driver` spells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }

    /// Whether tests of this driver can run here; says why where they cannot.
    ///
    /// The kernel is asked directly: a ringress that fails to build its ring must fail the test, not skip it.
    pub(crate) fn is_available(self) -> bool {
        if std::env::var("RINGRESS_TEST_DRIVER").is_ok_and(|wanted| wanted != self.as_str()) {
            println!("skipped: RINGRESS_TEST_DRIVER asks for the other driver");
            return false;
        }
        if self == Self::IoUring && !kernel_has_rings() {
            println!("skipped: the kernel refuses io_uring to this process");
            return false;
        }
        true
    }
}

fn kernel_has_rings() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| io_uring::IoUring::new(8).is_ok())
}

/// Makes two tests out of each function that takes a [`Driver`], one for each driver.
macro_rules! on_both_drivers {
    ($($(#[$attribute:meta])* fn $name:ident($driver:ident) $body:block)+) => {$(
        mod $name {
            use super::*;

            fn run($driver: $crate::support::Driver) $body

            $(#[$attribute])*
            #[test]
            fn io_uring() {
                if $crate::support::Driver::IoUring.is_available() {
                    run($crate::support::Driver::IoUring);
                }
            }

            $(#[$attribute])*
            #[test]
            fn epoll() {
                if $crate::support::Driver::Epoll.is_available() {
                    run($crate::support::Driver::Epoll);
                }
            }
        }
    )+};
}
pub(crate) use on_both_drivers;
