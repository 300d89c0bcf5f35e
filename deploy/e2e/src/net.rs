//! The network of a box: addresses, the namespaces of pods, packets that are dropped on purpose.
//!
//! Every pod has one end of a veth pair and a /32 address; the other end and the route to it are in the namespace of the
//! box, which plays the router. There is no common segment, so every packet between two pods crosses the box: addresses
//! translated on the way out are translated back on the way home.
//!
//! ```text
//! pod eth0 198.18.1.7/32 ──veth── box: route 198.18.1.7 dev pod7, 198.18.0.1 on lo (API server, default gateway)
//! fake pods 198.18.128.0/18: local to the box, answered there
//! LoadBalancers 198.18.255.0/24: translated to ready endpoints before routing
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The API server, and the default gateway of every pod.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Where the kubelet probes from: a black hole lets these pass.
pub(crate) const PROBER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// Addresses of Services.
pub(crate) const SERVICES: &str = "198.19.0.0/16";
/// The Service `kubernetes`, which the API server takes for itself.
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// Where the API server listens.
pub(crate) const API_PORT: u16 = 6443;
/// Where the kubelet listens, for all nodes.
pub(crate) const KUBELET_PORT: u16 = 10250;

/// Addresses to give away and to take back.
#[derive(Debug)]
pub(crate) struct Addresses {
    first: u32,
    last: u32,
    next: u32,
    taken: BTreeSet<u32>,
}

impl Addresses {
    fn between(first: Ipv4Addr, last: Ipv4Addr) -> Self {
        let (first, last) = (first.to_bits(), last.to_bits());
        Self { first, last, next: first, taken: BTreeSet::new() }
    }

    /// Of pods with processes.
    pub(crate) fn of_pods() -> Self {
        Self::between(Ipv4Addr::new(198, 18, 1, 1), Ipv4Addr::new(198, 18, 127, 254))
    }

    /// Of fake pods.
    pub(crate) fn of_fakes() -> Self {
        Self::between(Ipv4Addr::new(198, 18, 128, 1), Ipv4Addr::new(198, 18, 254, 254))
    }

    /// Of Services of type LoadBalancer.
    pub(crate) fn of_balancers() -> Self {
        Self::between(Ipv4Addr::new(198, 18, 255, 1), Ipv4Addr::new(198, 18, 255, 254))
    }

    /// The next one that is free, in turn: an address comes back as late as can be, so that whoever still holds the old
    /// one is found out. `None` where all are taken.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        let from = self.next;
        let free =
            (from..=self.last).chain(self.first..from).find(|address| !self.taken.contains(address))?;
        self.taken.insert(free);
        self.next = if free == self.last { self.first } else { free + 1 };
        Some(Ipv4Addr::from_bits(free))
    }

    /// Marks one as taken; false where somebody has it, or where it is no address of these.
    pub(crate) fn reserve(&mut self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address.to_bits()) && self.taken.insert(address.to_bits())
    }

    pub(crate) fn give_back(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address.to_bits());
    }
}

/// The address of a virtual node, counted from 0.
pub(crate) fn node_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, 11 + index)
}

/// Prepares the namespaces that this process is the first in.
///
/// # Errors
/// A command is missing or refused.
pub(crate) fn prepare() -> anyhow::Result<()> {
    // Names of pod networks stay inside: the mounts are this box's own.
    fs::create_dir_all("/run/netns")?;
    run("mount", &["-t", "tmpfs", "tmpfs", "/run/netns"])?;
    ip(&format!(
        "link set lo up\n\
         address add {GATEWAY}/32 dev lo\n\
         address add {PROBER}/32 dev lo\n\
         route add local 198.18.128.0/17 dev lo src {GATEWAY}\n\
         route add local {SERVICES} dev lo src {GATEWAY}\n"
    ))?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot turn forwarding on")?;
    nft(&format!(
        "table ip faults {{\n\
           set dark {{ type ipv4_addr; }}\n\
           chain check {{\n\
             ip saddr {PROBER} return\n ip daddr {PROBER} return\n\
             ip saddr @dark drop\n ip daddr @dark drop\n\
           }}\n\
           chain arriving {{ type filter hook prerouting priority -300; jump check; }}\n\
           chain forwarded {{ type filter hook forward priority 0; jump check; }}\n\
           chain leaving {{ type filter hook output priority 0; jump check; }}\n\
         }}\n"
    ))
}

/// The network of one pod or node: a named namespace behind a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    /// Its name under /run/netns, and that of the link outside.
    pub(crate) name: String,
    /// Its address.
    pub(crate) address: Ipv4Addr,
}

impl Network {
    /// Named after its address, which is unique while it lives and short enough for a link.
    pub(crate) fn of(address: Ipv4Addr) -> Self {
        let [_, _, third, fourth] = address.octets();
        Self { name: format!("pod-{third}-{fourth}"), address }
    }

    /// Makes it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        let Self { name, address } = self;
        ip(&format!(
            "netns add {name}\n\
             link add {name} type veth peer name eth0 netns {name}\n\
             link set {name} up\n\
             route add {address}/32 dev {name} src {GATEWAY}\n"
        ))?;
        ip_in(
            name,
            &format!(
                "link set lo up\n\
                 address add {address}/32 dev eth0\n\
                 link set eth0 up\n\
                 route add {GATEWAY} dev eth0 scope link\n\
                 route add default via {GATEWAY} dev eth0\n"
            ),
        )
    }

    /// Takes it away, with whatever still holds a socket in it left without a link.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        ip(&format!("link del {0}\nnetns del {0}\n", self.name))
    }

    /// Drops its packets, or lets them pass again.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn darken(&self, dark: bool) -> anyhow::Result<()> {
        // Adding twice is fine, deleting what is not there is refused: adding first makes both repeatable.
        let add = format!("add element ip faults dark {{ {} }}\n", self.address);
        if dark {
            return nft(&add);
        }
        nft(&format!("{add}delete element ip faults dark {{ {} }}\n", self.address))
    }
}

/// One transaction of nftables.
///
/// # Errors
/// nft is missing or refuses.
pub(crate) fn nft(rules: &str) -> anyhow::Result<()> {
    feed(Command::new("nft").args(["-f", "-"]), rules)
}

fn ip(lines: &str) -> anyhow::Result<()> {
    feed(Command::new("ip").args(["-batch", "-"]), lines)
}

fn ip_in(network: &str, lines: &str) -> anyhow::Result<()> {
    feed(Command::new("ip").args(["-n", network, "-batch", "-"]), lines)
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    feed(Command::new(program).args(arguments), "")
}

fn feed(command: &mut Command, input: &str) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says why by its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{program}: {} (asked: {})", String::from_utf8_lossy(&output.stderr).trim(), input.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_last() {
        let mut addresses = Addresses::between(Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 3));
        let first = addresses.take().unwrap();
        addresses.give_back(first);
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(198, 18, 0, 2)));
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(198, 18, 0, 3)));
        assert_eq!(addresses.take(), Some(first));
        assert_eq!(addresses.take(), None, "all are taken");
    }

    #[test]
    fn only_free_addresses_of_the_range_are_reserved() {
        let mut addresses = Addresses::of_balancers();
        assert!(addresses.reserve(Ipv4Addr::new(198, 18, 255, 1)));
        assert!(!addresses.reserve(Ipv4Addr::new(198, 18, 255, 1)), "taken");
        assert!(!addresses.reserve(Ipv4Addr::new(192, 0, 2, 1)), "not ours");
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(198, 18, 255, 2)));
    }

    #[test]
    fn link_names_fit_the_kernel() {
        for address in [Ipv4Addr::new(198, 18, 127, 254), node_address(15)] {
            assert!(Network::of(address).name.len() <= 15);
        }
    }
}
