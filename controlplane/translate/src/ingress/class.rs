//! Whose an Ingress is: by class, by default class, by the legacy annotation.
//!
//! Order: `spec.ingressClassName` (the class must exist and have our `spec.controller`; in a folder that lacks it, it is
//! ours where `--ingress-class` names it), else the annotation
//! `kubernetes.io/ingress.class`, else the default class where the API server has not applied it, else the flag.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use ringress_shared::origin::{ObjectRef, Origin};

use crate::claim::ClassVerdict;
use crate::objects::{Stored, Table};
use crate::problem::{Problem, annotation_field};
use crate::settings::Settings;

const LEGACY: &str = "kubernetes.io/ingress.class";
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

/// The classes, as verdicts need them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Classes {
    /// `spec.controller` by name.
    controllers: BTreeMap<Arc<str>, String>,
    default: Option<Arc<str>>,
    problems: Vec<Problem>,
}

impl Classes {
    pub(crate) fn read(table: &Table<IngressClass>, settings: &Settings) -> Self {
        let controllers = table.iter().map(|(key, class)| {
            let spec = class.object.spec.as_ref();
            (key.name.clone(), spec.and_then(|spec| spec.controller.clone()).unwrap_or_default())
        });
        let mut classes = Self { controllers: controllers.collect(), ..Self::default() };
        if settings.apply_default_class {
            classes.choose_default(table);
        }
        classes
    }

    /// As the API server does it: of several default classes the newest, then the first by name.
    fn choose_default(&mut self, table: &Table<IngressClass>) {
        let mut defaults: Vec<_> = table.iter().filter(|(_, class)| is_default(class)).collect();
        defaults.sort_by_key(|(key, class)| {
            let created = class.object.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (std::cmp::Reverse(created), key.name.clone())
        });
        let Some((winner, _)) = defaults.first() else { return };
        self.default = Some(winner.name.clone());
        let losers = defaults.iter().skip(1);
        self.problems = losers
            .map(|(key, _)| Problem::several_default_classes(&key.reference("IngressClass"), &winner.name))
            .collect();
    }

    /// What is wrong with the classes themselves.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whose the object is.
    pub(crate) fn verdict(&self, ingress: &Ingress, settings: &Settings) -> ClassVerdict {
        if let Some(class) = class_name(ingress) {
            return self.named(class, settings);
        }
        if let Some(value) = legacy(ingress) {
            return match value == settings.ingress_class {
                true => ClassVerdict::Annotated(value.to_owned()),
                false => ClassVerdict::OtherAnnotation(value.to_owned()),
            };
        }
        match &self.default {
            Some(class) if self.is_ours(class, settings) => ClassVerdict::Default(class.to_string()),
            _ if settings.watch_ingress_without_class => ClassVerdict::WithoutClass,
            Some(class) => ClassVerdict::DefaultNotOwned {
                class: class.to_string(),
                controller: self.controllers[class].clone(),
            },
            None => ClassVerdict::NoClass,
        }
    }

    fn named(&self, class: &str, settings: &Settings) -> ClassVerdict {
        let class = class.to_owned();
        match self.controllers.get(class.as_str()) {
            Some(controller) if *controller == settings.controller_class => ClassVerdict::Named(class),
            Some(controller) => ClassVerdict::NotOwned { class, controller: controller.clone() },
            // In a cluster the class object is what people make; a folder has the flag.
            None if settings.create_named_classes
                || settings.apply_default_class && class == settings.ingress_class =>
            {
                ClassVerdict::Created(class)
            }
            None => ClassVerdict::NotFound(class),
        }
    }

    fn is_ours(&self, class: &str, settings: &Settings) -> bool {
        self.controllers.get(class).is_some_and(|controller| *controller == settings.controller_class)
    }
}

/// What should be said of a verdict.
pub(crate) fn problems(
    object: &ObjectRef,
    ingress: &Ingress,
    verdict: &ClassVerdict,
    settings: &Settings,
) -> Vec<Problem> {
    let at = |field: &str| Origin { object: object.clone(), field: field.into() };
    let class_field = at("spec.ingressClassName");
    let ours = &settings.controller_class;
    let verdict = match verdict {
        ClassVerdict::NotOwned { class, controller }
        | ClassVerdict::DefaultNotOwned { class, controller } => {
            Some(Problem::class_not_owned(&class_field, class, controller, ours))
        }
        ClassVerdict::NotFound(class) => Some(Problem::class_not_found(&class_field, class, ours)),
        ClassVerdict::OtherAnnotation(value) => Some(Problem::annotation_class_not_ours(
            &at(&annotation_field(LEGACY)),
            value,
            &settings.ingress_class,
        )),
        ClassVerdict::NoClass => Some(Problem::no_class(&class_field)),
        ClassVerdict::Named(_)
        | ClassVerdict::Default(_)
        | ClassVerdict::Annotated(_)
        | ClassVerdict::WithoutClass
        | ClassVerdict::Created(_) => None,
    };
    let both = class_name(ingress)
        .zip(legacy(ingress))
        .map(|(class, value)| Problem::two_classes(&at(&annotation_field(LEGACY)), value, class));
    verdict.into_iter().chain(both).collect()
}

fn class_name(ingress: &Ingress) -> Option<&str> {
    let name = ingress.spec.as_ref()?.ingress_class_name.as_deref()?;
    Some(name).filter(|name| !name.is_empty())
}

fn legacy(ingress: &Ingress) -> Option<&str> {
    let value = ingress.metadata.annotations.as_ref()?.get(LEGACY)?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}

fn is_default(class: &Stored<IngressClass>) -> bool {
    let annotations = class.object.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(IS_DEFAULT)).is_some_and(|value| value == "true")
}
