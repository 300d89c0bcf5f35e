//! Everything that is wrong with the arguments, told together.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Everything that is wrong with the arguments.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<String>);

impl Mistakes {
    /// How many there are so far.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add(&mut self, mistake: String) {
        self.0.push(mistake);
    }

    pub(super) fn read<T: Default>(
        &mut self,
        flag: &str,
        text: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        self.read_or(flag, text, read, T::default())
    }

    /// The value, or `otherwise` so that reading goes on and finds the other mistakes too.
    pub(super) fn read_or<T>(
        &mut self,
        flag: &str,
        text: &str,
        read: impl Fn(&str) -> Result<T, String>,
        otherwise: T,
    ) -> T {
        match read(text) {
            Ok(value) => value,
            Err(why) => {
                self.0.push(format!("--{flag} {text:?} {why}"));
                otherwise
            }
        }
    }

    pub(super) fn one_of<T: Copy + Default>(&mut self, flag: &str, text: &str, known: &[(&str, T)]) -> T {
        match known.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => *value,
            None => {
                let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
                self.0.push(format!("--{flag} {text:?} is none of {}", names.join(", ")));
                T::default()
            }
        }
    }

    pub(super) fn unless_any<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.0 {
            writeln!(f, "error: {mistake}")?;
        }
        Ok(())
    }
}

/// Stands in for an address that could not be read; never used, because the mistake is reported.
pub(super) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
