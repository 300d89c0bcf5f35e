//! Sends plain-text clients to https with the same host, path and query.

use ringress_shared::policy::HttpsRedirect;

use super::RequestFacts;
use crate::exchange::{Answer, Token};
use crate::http::Head;

pub(super) fn on_request(policy: &HttpsRedirect, head: &Head, facts: &RequestFacts) -> Option<Answer> {
    if facts.is_https {
        return None;
    }
    let mut location = b"https://".to_vec();
    location.extend_from_slice(head.hostname());
    if policy.port != 443 {
        location.extend_from_slice(format!(":{}", policy.port).as_bytes());
    }
    // `OPTIONS *` names no path.
    location.extend_from_slice(if head.path() == b"*" { b"/" } else { head.path() });
    if let Some(query) = head.query() {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    let mut answer = Answer::new(policy.status, Token::None, "this route is served over https");
    answer.location = Some(location);
    Some(answer)
}
