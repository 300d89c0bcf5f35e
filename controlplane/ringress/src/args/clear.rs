//! Flags of `clear-status`.

use std::path::PathBuf;

use clap::Args;
use ringress_controller::source::kube::Access;
use ringress_controller::status::Clearing;

use super::cluster::is_label;
use super::{Mistakes, values};

/// Whose addresses are taken out, and where.
#[derive(Debug, Args)]
pub(crate) struct ClearArgs {
    /// The namespace in which ringress ran; default: the one of the context.
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The Lease by which its replicas elected a leader: --election-id of run.
    #[arg(long, value_name = "NAME", default_value = "ringress-leader")]
    election_id: String,
    /// Look at Ingresses of these namespaces only, separated by commas or repeated. Default: all.
    #[arg(long, value_name = "NAMESPACE,...", value_delimiter = ',')]
    watch_namespace: Vec<String>,
    /// Leave Ingresses of these namespaces as they are, and the Leases: a ringress that runs serves them. For namespaces that an
    /// upgrade took out of its --watch-namespace.
    #[arg(long, value_name = "NAMESPACE,...", value_delimiter = ',', conflicts_with = "leases_only")]
    except_namespace: Vec<String>,
    /// Leave all Ingresses as they are, and take the Leases away alone.
    #[arg(long)]
    leases_only: bool,
    /// Also where the Lease is held: the rights of whoever holds it are gone.
    #[arg(long)]
    force: bool,
    /// Context of the kubeconfig; without it its current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Kubeconfig; without it KUBECONFIG, ~/.kube/config, then the service account of the pod.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl ClearArgs {
    /// The typed values, or everything that is wrong.
    pub(crate) fn check(self) -> Result<Clearing, Mistakes> {
        let mut mistakes = Mistakes::default();
        let own = self.namespace.iter().map(|name| ("namespace", name));
        let watched = self.watch_namespace.iter().map(|name| ("watch-namespace", name));
        let served = self.except_namespace.iter().map(|name| ("except-namespace", name));
        for (flag, name) in own.chain(watched).chain(served) {
            if name.is_empty() || !is_label(name) {
                mistakes.add(format!("--{flag} {name:?} is no name of a namespace"));
            }
        }
        if let Err(why) = values::name(&self.election_id) {
            mistakes.add(format!("--election-id {:?} {why}", self.election_id));
        }
        mistakes.unless_any(Clearing {
            access: Access {
                kubeconfig: self.kubeconfig.filter(|path| !path.as_os_str().is_empty()),
                context: self.context.filter(|name| !name.is_empty()),
            },
            namespace: self.namespace,
            election_id: self.election_id,
            watched: self.watch_namespace.into_iter().collect(),
            served: self.except_namespace.into_iter().collect(),
            keeps_addresses: self.leases_only,
            is_forced: self.force,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Verb};
    use super::*;

    fn read(arguments: &[&str]) -> Result<Clearing, String> {
        let cli = Cli::try_read([&["ringress", "clear-status"], arguments].concat()).unwrap();
        let Verb::ClearStatus(args) = cli.verb else { panic!("{:?}", cli.verb) };
        args.check().map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn whose_addresses_are_meant_is_said_by_the_lease() {
        let clearing = read(&["-n", "edge", "--election-id=edge-leader", "--watch-namespace=a,b"]).unwrap();
        assert_eq!((clearing.namespace.as_deref(), &*clearing.election_id), (Some("edge"), "edge-leader"));
        assert_eq!(clearing.watched, ["a".to_owned(), "b".to_owned()].into());
        assert!(!clearing.is_forced && read(&["--force"]).unwrap().is_forced);
        assert!(!clearing.keeps_addresses && read(&["--leases-only"]).unwrap().keeps_addresses);
        assert_eq!(read(&["--except-namespace=a"]).unwrap().served, ["a".to_owned()].into());
        assert_eq!(read(&[]).unwrap().election_id, "ringress-leader");
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let lists = ["--watch-namespace=a,B", "--except-namespace=C"];
        let told = read(&[&["-n", "No", "--election-id="][..], &lists].concat()).unwrap_err();
        let wrong = [
            "--namespace \"No\"",
            "--election-id \"\"",
            "--watch-namespace \"B\"",
            "--except-namespace \"C\"",
        ];
        for part in wrong {
            assert!(told.contains(part), "{told}");
        }
    }
}
