//! Which kernels may have a ring: ≥ 5.15, or 5.10.N with N ≥ 186. Earlier 5.10 corrupted memory under io_uring.

/// What `uname` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// `uname -r`
    pub(crate) release: String,
    /// `uname -v`
    pub(crate) version: String,
}

impl Kernel {
    pub(crate) fn running() -> Self {
        let uname = rustix::system::uname();
        Self {
            release: uname.release().to_string_lossy().into_owned(),
            version: uname.version().to_string_lossy().into_owned(),
        }
    }

    /// # Errors
    /// The reason for which `auto` leaves io_uring alone.
    pub(crate) fn may_have_a_ring(&self) -> Result<(), String> {
        // Debian's release is `5.10.0-30-cloud-amd64`; the real patch level stands in the version only.
        let numbers = debian_version(&self.version).or_else(|| leading_numbers(&self.release));
        match numbers {
            Some((major, minor, _)) if (major, minor) >= (5, 15) => Ok(()),
            Some((5, 10, patch)) if patch >= 186 => Ok(()),
            Some((major, minor, patch)) => {
                Err(format!("kernel {major}.{minor}.{patch} is older than 5.15 and 5.10.186"))
            }
            None => Err(format!("kernel {:?} is unknown", self.release)),
        }
    }
}

/// `#1 SMP Debian 5.10.223-1 (2024-08-10)` gives 5.10.223.
fn debian_version(version: &str) -> Option<(u32, u32, u32)> {
    leading_numbers(version.split_once("Debian ")?.1)
}

fn leading_numbers(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_judged_by_their_real_patch_level() {
        for (release, version, allowed) in [
            ("6.18.44", "#1 SMP", true),
            ("5.15.0-100-generic", "#110-Ubuntu SMP", true),
            ("5.10.0-30-cloud-amd64", "#1 SMP Debian 5.10.223-1 (2024-08-10)", true),
            ("5.10.0-8-cloud-amd64", "#1 SMP Debian 5.10.46-4 (2021-08-03)", false),
            ("5.10.186", "#1 SMP", true),
            ("5.10.185", "#1 SMP", false),
            ("5.14.0-427.el9.x86_64", "#1 SMP PREEMPT_DYNAMIC", false),
            ("4.19.0", "#1", false),
            ("5.11.22", "#1", false),
            ("custom", "", false),
        ] {
            let kernel = Kernel { release: release.into(), version: version.into() };
            assert_eq!(kernel.may_have_a_ring().is_ok(), allowed, "{release} {version}");
        }
    }
}
