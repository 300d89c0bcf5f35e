//! Which namespaces a release serves, by its own flags.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use ringress_controller::source::kube::escape;

use super::{Cluster, Refusal, Selection};

/// The namespaces that a release serves, and the flag that says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Watched {
    narrowed: Option<Narrowed>,
    /// `None`: all of them, or not known.
    namespaces: Option<BTreeSet<String>>,
}

/// A flag, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Narrowed {
    Names(String),
    Selector(String),
}

const NAMES: &str = "watch-namespace";

const SELECTOR: &str = "watch-namespace-selector";

impl Watched {
    /// As the flags say, whose values are not empty; which namespaces a selector takes is not known yet.
    pub(crate) fn of<'f>(told: impl Fn(&str) -> Option<&'f str>) -> Self {
        if let Some(names) = told(NAMES) {
            let namespaces = names.split(',').map(|name| name.trim().to_owned()).collect();
            return Self { narrowed: Some(Narrowed::Names(names.to_owned())), namespaces: Some(namespaces) };
        }
        let selector = told(SELECTOR).map(|selector| Narrowed::Selector(selector.to_owned()));
        Self { narrowed: selector, namespaces: None }
    }

    /// Asks which namespaces the selector takes, where there is one.
    ///
    /// # Errors
    /// That may not be known: then nothing is called unwatched.
    pub(crate) async fn select(&mut self, cluster: &Cluster) -> Result<(), Refusal> {
        let Some(Narrowed::Selector(selector)) = &self.narrowed else { return Ok(()) };
        let query = format!("&labelSelector={}", escape(selector));
        let found = cluster.objects::<Namespace>(("/api/v1", "namespaces"), &Selection::All, &query).await?;
        self.namespaces = Some(found.into_iter().filter_map(|found| found.metadata.name).collect());
        Ok(())
    }

    pub(crate) fn has(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|names| names.contains(namespace))
    }

    /// The flag with its value; empty where all namespaces are served.
    pub(crate) fn flag(&self) -> String {
        match &self.narrowed {
            Some(Narrowed::Names(names)) => format!("--{NAMES}={names}"),
            Some(Narrowed::Selector(selector)) => format!("--{SELECTOR}={selector}"),
            None => String::new(),
        }
    }

    /// What has it serve a namespace that it leaves out.
    pub(crate) fn next_step(&self, namespace: &str) -> String {
        match &self.narrowed {
            Some(Narrowed::Selector(_)) => {
                format!("give the namespace {namespace} labels that the flag asks for")
            }
            Some(Narrowed::Names(_)) | None => format!("let the flag have namespace {namespace}"),
        }
    }
}

#[cfg(test)]
impl Watched {
    /// With what a selector was found to take.
    pub(crate) fn selected(self, namespaces: &[&str]) -> Self {
        Self { namespaces: Some(namespaces.iter().map(|name| (*name).to_owned()).collect()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(flags: &[(&str, &'static str)]) -> Watched {
        Watched::of(|name| flags.iter().find(|(flag, _)| *flag == name).map(|(_, value)| *value))
    }

    #[test]
    fn without_a_flag_every_namespace_is_served() {
        assert!(of(&[]).has("shop") && of(&[]).flag().is_empty());
    }

    #[test]
    fn names_are_those_of_the_flag_and_no_others() {
        let watched = of(&[(NAMES, "edge, shop")]);
        assert_eq!(["edge", "shop", "other", ""].map(|name| watched.has(name)), [true, true, false, false]);
        assert_eq!(watched.flag(), "--watch-namespace=edge, shop");
        assert_eq!(watched.next_step("far"), "let the flag have namespace far");
    }

    #[test]
    fn what_a_selector_takes_is_known_once_it_was_asked() {
        let watched = of(&[(SELECTOR, "team=a")]);
        assert!(watched.has("shop"), "nothing is called unwatched that was not asked for");
        let asked = watched.selected(&["edge"]);
        assert_eq!((asked.has("edge"), asked.has("shop")), (true, false));
        assert_eq!(asked.flag(), "--watch-namespace-selector=team=a");
        assert_eq!(asked.next_step("shop"), "give the namespace shop labels that the flag asks for");
    }
}
