//! From a head to a rule and one of its backends.

use ringress_shared::hostname::normalise_host;
use ringress_shared::id::RuleId;
use ringress_shared::listener::Routing;
use ringress_shared::policy::PolicySet;
use ringress_shared::route::{
    Backend, Lookup, NoTrace, NormalPath, PathError, RequestView, Rule, RuleTimeouts, Target, normalise,
};

use super::{Answer, Env, Token};
use crate::http::Head;
use crate::random::Random;

/// Why no rule took a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// No rule names the host.
    Host,
    /// The host has no rule for the path.
    Path,
}

/// What an exchange keeps of its rule: `Copy` values, so that no snapshot is held while a body flows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Routed {
    /// The rule.
    pub rule: RuleId,
    /// Where it leads this request.
    pub target: Target,
    /// How long endpoints may take.
    pub timeouts: RuleTimeouts,
    /// The most bytes of a request body.
    pub body_bytes_max: Option<u64>,
}

impl Routed {
    pub(super) fn new<'p>(rule: &Rule, target: Target, sets: impl Iterator<Item = &'p PolicySet>) -> Self {
        let body_limits = sets.filter_map(|policies| {
            let PolicySet { body_limit, denied: _, https_redirect: _ } = policies;
            body_limit.map(|limit| limit.body_bytes_max)
        });
        Self { rule: rule.id, target, timeouts: rule.timeouts, body_bytes_max: body_limits.min() }
    }
}

pub(super) struct Refusal {
    pub(super) answer: Answer,
    pub(super) no_route: Option<NoRoute>,
}

pub(super) fn find<'s>(head: &Head, env: &mut Env<'s>) -> Result<&'s Rule, Refusal> {
    let path = normal_path(head).map_err(|error| Refusal::bad_path(path_message(error)))?;
    let host = normalise_host(head.authority(), env.host);
    let listener: &'s ringress_shared::listener::Listener = env.listener;
    let Routing::Http(table) = &listener.routing;
    match table.find(host, &path, head, env.scratch, &mut NoTrace) {
        Lookup::Found(found) => Ok(found.rule),
        Lookup::NoHost => Err(Refusal::not_found(NoRoute::Host, "no rule names this host")),
        Lookup::NoPath => Err(Refusal::not_found(NoRoute::Path, "no rule of this host takes this path")),
        Lookup::Ambiguous => Err(Refusal::bad_path("an encoded slash in the path would choose another rule")),
    }
}

/// `OPTIONS *` has no path: it is matched as the root, which every host-wide rule takes.
fn normal_path(head: &Head) -> Result<NormalPath<'_>, PathError> {
    if head.path() == b"*" { normalise(b"/") } else { normalise(head.path()) }
}

/// By weight; `None` where nothing has any.
pub(super) fn choose_backend<'b>(backends: &'b [Backend], random: &mut Random) -> Option<&'b Backend> {
    match backends {
        [only] if only.weight > 0 => Some(only),
        several => {
            let total: usize = several.iter().map(|backend| backend.weight as usize).sum();
            let mut left = random.below(total);
            several.iter().find(|backend| {
                let weight = backend.weight as usize;
                let found = left < weight;
                left = left.saturating_sub(weight);
                found
            })
        }
    }
}

fn path_message(error: PathError) -> &'static str {
    match error {
        PathError::Encoding => "the path has a % without two hexadecimal digits",
        PathError::Nul => "the path has an encoded NUL",
        PathError::AboveRoot => "the path climbs above its root",
        PathError::Relative => "the path does not start with a slash",
    }
}

impl Refusal {
    fn bad_path(message: &'static str) -> Self {
        Self { answer: Answer::closing(400, Token::HttpRequestError, message), no_route: None }
    }

    fn not_found(no_route: NoRoute, message: &'static str) -> Self {
        Self { answer: Answer::new(404, Token::DestinationNotFound, message), no_route: Some(no_route) }
    }
}

impl RequestView for Head {
    fn method(&self) -> &[u8] {
        Head::method(self)
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.find_name(name.as_bytes())
    }

    fn query(&self) -> Option<&[u8]> {
        Head::query(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use ringress_shared::id::UpstreamId;

    #[test]
    fn backends_are_chosen_by_weight() {
        let backend = |weight, name: &str| Backend {
            weight,
            target: Target::Upstream(UpstreamId::of(&[name])),
            policies: Arc::default(),
        };
        let backends = [backend(0, "never"), backend(1, "a"), backend(3, "b")];
        let mut random = Random::new(3);
        let mut seen = [0; 3];
        for _ in 0..4_000 {
            let chosen = choose_backend(&backends, &mut random).unwrap();
            seen[backends.iter().position(|backend| backend == chosen).unwrap()] += 1;
        }
        assert_eq!(seen[0], 0);
        assert!((900..1_100).contains(&seen[1]), "{seen:?}");
        assert_eq!(choose_backend(&[], &mut random), None);
        assert_eq!(choose_backend(&[backend(0, "off")], &mut random), None);
    }
}
