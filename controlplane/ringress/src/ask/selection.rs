//! Which namespaces a verb speaks of.

/// One namespace, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    All,
    Namespace(String),
}

impl Selection {
    /// Whether objects of that namespace are meant; those of none always are.
    pub(crate) fn takes(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(name) => namespace.is_empty() || name == namespace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_without_a_namespace_are_always_meant() {
        let shop = Selection::Namespace("shop".to_owned());
        for (namespace, expected) in [("shop", true), ("", true), ("shop2", false)] {
            assert_eq!(shop.takes(namespace), expected, "{namespace}");
            assert!(Selection::All.takes(namespace));
        }
    }
}
