//! A Secret that broke, said where people look: at the Ingresses that use it. Pure.
//!
//! While the last good certificate is served, nothing is wrong with an Ingress, so translation names the Secret alone; but its
//! owner watches the Ingress, and the certificate ends one day. A Secret may have thousands of users, so the first of them by name
//! are told, and how many there are.

use ringress_shared::origin::ObjectRef;
use ringress_translate::objects::Key;
use ringress_translate::{Objects, Problem, Reason};

/// What is to be said at a user of a broken Secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    /// As a problem of the user.
    pub(super) problem: Problem,
    /// How many other Ingresses use the Secret. Says nothing new: a number that changes is no reason to say it again.
    pub(super) others: usize,
}

impl Use {
    /// How many others there are, as the end of a sentence.
    pub(super) fn note(&self) -> String {
        match self.others {
            0 => String::new(),
            1 => " (1 other Ingress uses it)".to_owned(),
            others => format!(" ({others} other Ingresses use it)"),
        }
    }
}

/// The users of all Secrets of which the last good version is served, as far as they are ours.
pub(super) fn of_broken(problems: &[Problem], objects: &Objects, is_ours: impl Fn(&Key) -> bool) -> Vec<Use> {
    let is_broken =
        |problem: &&Problem| problem.reason == Reason::Quarantined && &*problem.object.kind == "Secret";
    problems.iter().filter(is_broken).flat_map(|problem| users(problem, objects, &is_ours)).collect()
}

fn users(problem: &Problem, objects: &Objects, is_ours: impl Fn(&Key) -> bool) -> Vec<Use> {
    let secret = &problem.object;
    let first = Key::new(&secret.namespace, "");
    let beside = objects.ingresses.iter_from(&first).take_while(|(key, _)| key.namespace == secret.namespace);
    let mut told: Vec<(ObjectRef, String)> = Vec::new();
    let mut count = 0usize;
    for (key, stored) in beside {
        let entries = stored.object.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
        let entry = entries.enumerate().find(|(_, tls)| tls.secret_name.as_deref() == Some(&*secret.name));
        let Some((index, _)) = entry.filter(|_| is_ours(key)) else { continue };
        count += 1;
        if told.len() < TOLD_MAX {
            told.push((key.reference("Ingress"), format!("spec.tls[{index}].secretName")));
        }
    }
    let at = |(object, field): (ObjectRef, String)| Use {
        problem: Problem {
            object,
            field,
            message: format!("{secret}: {}: {}", problem.field, problem.message),
            ..problem.clone()
        },
        others: count - 1,
    };
    told.into_iter().map(at).collect()
}

/// So many users of a Secret are told.
const TOLD_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use ringress_translate::manifest::json::object;

    /// Ingresses of two namespaces that use the Secret `cert`, beside others.
    fn objects(users: usize) -> Objects {
        let mut objects = Objects::default();
        let mut put = |namespace: &str, name: &str, secrets: &str| {
            let text = format!(
                r#"{{"metadata":{{"namespace":"{namespace}","name":"{name}"}},"spec":{{"tls":[{secrets}]}}}}"#
            );
            objects.insert(object("Ingress", &text).unwrap());
        };
        let (other, cert) = (r#"{"secretName":"other"}"#, r#"{"secretName":"cert"}"#);
        (0..users).for_each(|number| put("shop", &format!("web-{number:02}"), &format!("{other},{cert}")));
        put("shop", "foreign", cert);
        put("shop", "beside", other);
        put("stock", "web", cert);
        objects
    }

    fn broken(kind: &str, reason: Reason) -> Problem {
        let problem = Problem::undecodable(&ObjectRef::new(kind, "shop", "cert"), "data[tls.key]", "why");
        Problem { reason, message: "the last good one is served: why".to_owned(), ..problem }
    }

    fn told(problem: &Problem, users: usize) -> Vec<Use> {
        of_broken(std::slice::from_ref(problem), &objects(users), |key| &*key.name != "foreign")
    }

    #[test]
    fn users_of_our_class_are_told_with_the_field_the_secret_and_what_is_served() {
        let told = told(&broken("Secret", Reason::Quarantined), 1);
        let said: Vec<_> = told.iter().map(|user| user.problem.to_string()).collect();
        let message = "Secret shop/cert: data[tls.key]: the last good one is served: why";
        assert_eq!(said, [format!("Ingress shop/web-00: spec.tls[1].secretName: {message}")]);
        assert_eq!(told[0].note(), "");
    }

    #[test]
    fn of_many_users_the_first_are_told_and_the_others_counted() {
        let told = told(&broken("Secret", Reason::Quarantined), 30);
        let names: Vec<_> = told.iter().map(|user| user.problem.object.name.to_string()).collect();
        assert_eq!(names, (0..10).map(|number| format!("web-{number:02}")).collect::<Vec<_>>());
        assert!(told.iter().all(|user| user.note() == " (29 other Ingresses use it)"), "{told:?}");
    }

    #[test]
    fn nothing_is_said_of_what_is_no_broken_secret() {
        assert!(told(&broken("Secret", Reason::CertificateExpired), 3).is_empty());
        assert!(told(&broken("Ingress", Reason::Quarantined), 3).is_empty());
    }
}
