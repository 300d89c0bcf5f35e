//! Classes that objects name and nobody defines: `dev` serves them, `run` and a cluster would not.

use std::collections::{BTreeMap, BTreeSet};

use ringress_shared::origin::ObjectRef;
use ringress_translate::{Claim, ClassVerdict};

/// The objects of each class that nobody defines.
pub(super) type Undefined = BTreeMap<String, BTreeSet<ObjectRef>>;

/// What claims say of their classes.
pub(super) fn undefined<'c>(claims: impl IntoIterator<Item = &'c Claim>) -> Undefined {
    let mut classes = Undefined::new();
    for claim in claims {
        if let ClassVerdict::Created(class) = &claim.class {
            classes.entry(class.clone()).or_default().insert(claim.origin.object.clone());
        }
    }
    classes
}

/// What to say of a class that was not undefined before.
pub(super) fn warning(class: &str, objects: &BTreeSet<ObjectRef>, controller: &str) -> String {
    let Some(first) = objects.first() else { return String::new() };
    let others = match objects.len() {
        1 => String::new(),
        2 => " and 1 other".to_owned(),
        count => format!(" and {} others", count - 1),
    };
    format!(
        "{first}{others}: spec.ingressClassName: IngressClass {class} is defined by nobody; dev serves it all the same, \
         a cluster and ringress run would not; create it with spec.controller: {controller}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_one_object_and_counts_the_others() {
        let objects = |count: usize| {
            (1..=count).map(|number| ObjectRef::new("Ingress", "shop", &number.to_string())).collect()
        };
        assert!(
            warning("web", &objects(1), "c/d")
                .starts_with("Ingress shop/1: spec.ingressClassName: IngressClass web ")
        );
        assert!(warning("web", &objects(2), "c/d").starts_with("Ingress shop/1 and 1 other: "));
        assert!(warning("web", &objects(3), "c/d").starts_with("Ingress shop/1 and 2 others: "));
        assert!(warning("web", &objects(3), "c/d").ends_with("spec.controller: c/d"));
    }
}
