//! Problems with classes.

use ringress_shared::origin::{ObjectRef, Origin};

use super::Level::{Info, Warning};
use super::{Problem, Reason, finding};

impl Problem {
    /// The class belongs to another controller.
    pub fn class_not_owned(origin: &Origin, class: &str, controller: &str, ours: &str) -> Self {
        let message = format!(
            "class {class} belongs to {controller}, so this object is left to it; use a class whose \
             spec.controller is {ours}, or run with --controller-class={controller}"
        );
        finding(Info, Reason::ClassNotOwned, "class-not-ours", message).at(origin)
    }

    /// The class does not exist.
    pub fn class_not_found(origin: &Origin, class: &str, ours: &str) -> Self {
        let message = format!(
            "IngressClass {class} does not exist, so nothing of this object is served; create it with \
             spec.controller: {ours}"
        );
        finding(Warning, Reason::ClassNotFound, "class-not-ours", message).at(origin)
    }

    /// The legacy annotation names somebody else.
    pub fn annotation_class_not_ours(origin: &Origin, value: &str, ours: &str) -> Self {
        let message = format!(
            "annotation kubernetes.io/ingress.class is {value}, so this object is left to that controller; set \
             spec.ingressClassName, or the annotation to {ours}"
        );
        finding(Info, Reason::ClassNotOwned, "class-not-ours", message).at(origin)
    }

    /// No class at all.
    pub fn no_class(origin: &Origin) -> Self {
        let message = "the object names no class and was given none by default, so nothing of it is served; set \
                       spec.ingressClassName (a class that is the default counts for objects made after it), or run \
                       with --watch-ingress-without-class";
        finding(Warning, Reason::NoClass, "no-class", message.into()).at(origin)
    }

    /// Class and legacy annotation stand side by side.
    pub fn two_classes(origin: &Origin, annotation: &str, class: &str) -> Self {
        let message = format!(
            "annotation kubernetes.io/ingress.class: {annotation} stands beside spec.ingressClassName: {class}, which \
             wins; remove the annotation"
        );
        finding(Warning, Reason::InvalidAnnotation, "two-classes", message).at(origin)
    }

    /// More than one class is the default.
    pub fn several_default_classes(class: &ObjectRef, winner: &str) -> Self {
        let message = format!(
            "more than one IngressClass is the default; the newest, {winner}, is used; remove the annotation \
             ingressclass.kubernetes.io/is-default-class from the others"
        );
        let field = "metadata.annotations[ingressclass.kubernetes.io/is-default-class]";
        finding(Warning, Reason::SeveralDefaultClasses, "several-default-classes", message).of(class, field)
    }
}
