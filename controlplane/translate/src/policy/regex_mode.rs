//! `use-regex` and `rewrite-target` of ingress-nginx: one object that has them makes it take all paths of the host, of every
//! object, as expressions without case and without an end.
//!
//! Nothing is matched or rewritten here. What a protected path covered there has to be known to be closed here.

use ringress_shared::route::Dialect;

use super::{Annotations, value};
use crate::settings::Settings;

/// What an object asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'o> {
    use_regex: bool,
    rewrite_target: Option<&'o str>,
}

pub(crate) fn read<'o>(annotations: Annotations<'o>, settings: &Settings) -> Asked<'o> {
    let given = |name| annotations.of_nginx(name, settings).filter(|value| !value.is_empty());
    let given = |name| if settings.compat == Dialect::Strict { given(name) } else { None };
    Asked {
        use_regex: given("use-regex").is_some_and(|value| value::truth(value) != Some(false)),
        rewrite_target: given("rewrite-target"),
    }
}

impl Asked<'_> {
    /// Whether it asks for anything.
    pub(crate) fn is_something(self) -> bool {
        self.use_regex || self.rewrite_target.is_some()
    }

    /// Whether a host with these paths is put into regex mode. A rewrite to the path itself is none.
    pub(crate) fn takes(self, paths: &[&str]) -> bool {
        self.use_regex || self.rewrite_target.is_some_and(|target| paths.iter().any(|path| *path != target))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ringress_shared::origin::ObjectRef;

    use super::*;

    #[test]
    fn a_regex_or_a_rewrite_to_another_path_puts_a_host_into_regex_mode() {
        for (name, value, paths, expected) in [
            ("use-regex", "true", vec!["/"], true),
            ("use-regex", "yes", vec!["/"], true),
            ("use-regex", "false", vec!["/a(.*)"], false),
            ("use-regex", "", vec!["/a(.*)"], false),
            ("rewrite-target", "/", vec!["/"], false),
            ("rewrite-target", "/", vec!["/", "/api"], true),
            ("rewrite-target", "/$1", vec!["/"], true),
            ("rewrite-target", "", vec!["/"], false),
            ("app-root", "/x", vec!["/"], false),
        ] {
            let object = ObjectRef::new("Ingress", "d", "i");
            let key = format!("nginx.ingress.kubernetes.io/{name}");
            let values = BTreeMap::from([(key, value.to_owned())]);
            let asked = read(Annotations::new(&object, Some(&values)), &Settings::default());
            assert_eq!(asked.takes(&paths), expected, "{name}: {value:?} {paths:?}");
        }
    }
}
