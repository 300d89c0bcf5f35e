//! A client that reads its configuration again when the API server does not accept its credentials, or shows a certificate that its
//! authority has not signed.
//!
//! kube reads the files of a service account once a minute, and those that a kubeconfig names at the start only. A token that stops
//! to hold (its ServiceAccount was made anew, the keys of the cluster were changed) would be shown on, although its file has
//! another one; and whose authority was replaced would never be trusted again. So a call that ends in this way has the
//! configuration read again, whole, and is sent once more with what it says now.
//!
//! However many calls are refused, that happens once in a while and for all of them together: credentials that stay wrong cost one
//! more call in that time. What goes on being refused is told to the caller, with what was refused.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use tokio::time::Instant;
use tower_service::Service;

use super::{Access, AccessError};

/// Sends calls with the newest credentials.
#[derive(Clone)]
pub(super) struct Renewed(Arc<Inner>);

struct Inner {
    access: Access,
    current: Mutex<Connected>,
    /// Locked while credentials are read.
    renewals: tokio::sync::Mutex<Renewals>,
}

/// A client as the configuration says it, once.
#[derive(Clone)]
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) credentials: Arc<Credentials>,
}

/// What the API server is shown; travels with an answer that says that it is not accepted.
#[derive(Debug)]
pub(in crate::source::kube) struct Credentials {
    /// What it is and where it stands, without its value.
    pub(in crate::source::kube) what: String,
    /// What to do where it is refused.
    pub(in crate::source::kube) next: &'static str,
}

#[derive(Default)]
struct Renewals {
    last: Option<Instant>,
    fails: bool,
}

impl Renewed {
    pub(super) fn new(access: Access, connected: Connected) -> Self {
        let current = Mutex::new(connected);
        Self(Arc::new(Inner { access, current, renewals: tokio::sync::Mutex::default() }))
    }
}

impl Service<Request<Body>> for Renewed {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, kube::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.send(request).await })
    }
}

impl Inner {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let again = duplicate(&request);
        let shown = self.current();
        let mut answered = shown.client.send(request).await;
        let is_outdated = match &answered {
            Ok(response) => response.status() == StatusCode::UNAUTHORIZED,
            Err(error) => is_untrusted(error),
        };
        if !is_outdated {
            return answered;
        }
        if let (Some(newer), Some(request)) = (self.renew(&shown).await, again) {
            answered = newer.client.send(request).await;
        }
        if let Ok(response) = &mut answered
            && response.status() == StatusCode::UNAUTHORIZED
        {
            response.extensions_mut().insert(self.current().credentials);
        }
        answered
    }

    /// What there is instead of credentials that are not accepted; `None` where it is too early to look.
    async fn renew(&self, refused: &Connected) -> Option<Connected> {
        let mut renewals = self.renewals.lock().await;
        let current = self.current();
        if !Arc::ptr_eq(&current.credentials, &refused.credentials) {
            // Another call that was refused has read them meanwhile.
            return Some(current);
        }
        if renewals.last.is_some_and(|last| last.elapsed() < BETWEEN_RENEWALS) {
            return None;
        }
        renewals.last = Some(Instant::now());
        let connected = self.access.connect().await;
        let is_news = std::mem::replace(&mut renewals.fails, connected.is_err()) != connected.is_err();
        match connected {
            Ok(connected) => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = connected.clone();
                Some(connected)
            }
            Err(error) => {
                if is_news {
                    let AccessError(error) = error;
                    tracing::warn!(error, "credentials are not accepted and cannot be read again");
                }
                None
            }
        }
    }

    fn current(&self) -> Connected {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether the certificate of the API server was not accepted.
fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // An error of input names the source of what it holds, not what it holds.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    false
}

/// A body that flows cannot be sent twice.
fn duplicate(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// Credentials are not read more often than this.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(1);
