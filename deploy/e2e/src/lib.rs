//! A cluster in a box: a real API server, its controllers, and a kubelet that runs pods as processes.
//!
//! Everything lives in namespaces of its own (network, processes, mounts), so that no address of a box exists on the
//! machine and nothing of it survives its first process. Addresses are from 198.18.0.0/15, the range for benchmarks.
//!
//! ```text
//! up ─► unshare ─► init (process 1 of the box) ─► supervise
//!                                                  ├─ etcd, kube-apiserver, kube-controller-manager
//!                                                  ├─ kubelet: nodes, binding, pods ─► container (one process each)
//!                                                  ├─ services: LoadBalancer addresses ─► nftables
//!                                                  └─ control socket: faults, state
//! exec ─► nsenter ─► COMMAND, with KUBECONFIG and PATH
//! down ─► kills process 1, and with it everything
//! ```
//!
//! It plays no scheduler beyond spreading pods over nodes, enforces no resource limits, has no cluster DNS and no IPv6.
#![forbid(unsafe_code)]

pub mod args;
mod backends;
pub mod binaries;
pub mod boxes;
mod certificates;
mod container;
pub mod control;
mod control_plane;
mod down;
mod exec;
mod fault;
mod init;
mod install;
mod kubelet;
mod net;
mod progress;
mod service;
mod supervise;
pub mod up;

use std::process::ExitCode;

use args::{Cli, Verb};

/// Does what the arguments say.
///
/// # Errors
/// In one line, with the next step: for the person at the terminal.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.verb {
        Verb::Up(args) => up::run(&args),
        Verb::Exec(args) => exec::run(&args),
        Verb::Down(args) => down::run(&args),
        Verb::List => down::list(),
        Verb::Fault(args) => fault::run(args),
        Verb::Backends(args) => backends::run(&args),
        Verb::Init(args) => init::run(&args.command),
        Verb::Supervise(args) => supervise::run(&args.folder),
        Verb::Container(args) if args.inside => container::become_it(&args.spec),
        Verb::Container(args) => container::hold(&args.spec),
        Verb::Pause => init::pause(),
    }
}
