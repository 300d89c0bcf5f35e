//! Parts that must not end: a panic is caught where it happens, said as the defect that it is, and the part is started again.
//!
//! Without that a task that panicked is just gone: what it did is never done again, while everything else says that all is
//! well. What a part has in its hands when it panics is dropped with it, so whoever starts it again makes it anew.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::source::kube::backoff::Backoff;
use crate::source::kube::watch::random;

/// Runs a part until it ends by itself, and starts it again after a pause whenever it panics.
pub(crate) async fn supervise<F: Future<Output = ()>>(part: &'static str, start: impl FnMut() -> F) {
    supervise_and_tell(part, start, |_| {}).await;
}

/// As [`supervise`]; tells each panic, and `None` once the part has gone on for a while after one.
pub(crate) async fn supervise_and_tell<F: Future<Output = ()>>(
    part: &'static str,
    mut start: impl FnMut() -> F,
    tell: impl Fn(Option<&Panicked>),
) {
    let mut pauses = Backoff::new(PAUSE, PAUSE_MAX);
    let mut has_panicked = false;
    loop {
        let mut run = pin!(caught(start()));
        let ended = match timeout(STEADY, &mut run).await {
            Ok(ended) => ended,
            Err(_) => {
                pauses.succeeded();
                if std::mem::take(&mut has_panicked) {
                    tracing::info!(part, "goes on since it was started again");
                    tell(None);
                }
                run.await
            }
        };
        let Err(panicked) = ended else { return };
        has_panicked = true;
        let pause = pauses.failed(random(), None);
        let pause_s = pause.as_secs_f64();
        tracing::error!(part, error = %panicked, pause_s, "a defect of ringress: a part panicked; it is started again");
        tell(Some(&panicked));
        sleep(pause).await;
    }
}

/// Runs to the end, or to a panic.
///
/// # Errors
/// It panicked; what it had in its hands is dropped.
pub(crate) async fn caught<T>(run: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut run = pin!(run);
    poll_fn(|context| {
        // Nothing of a future that panicked is looked at again.
        let polled = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context)));
        match polled {
            Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(Panicked::of(&*panic))),
        }
    })
    .await
}

/// Something panicked, with this message.
#[derive(Debug, thiserror::Error)]
#[error("panicked: {0}")]
pub(crate) struct Panicked(pub(crate) String);

impl Panicked {
    pub(crate) fn of(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Self(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default())
    }

    /// For places that show what fails.
    pub(crate) fn as_defect(&self) -> String {
        format!("{self}; this is a defect of ringress, and it is started again")
    }
}

/// The first pause after a panic, and the longest: what panics at once each time must not keep a core busy.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What has gone on for so long after a panic goes on.
const STEADY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use tokio::time::Instant;

    use super::*;
    use crate::captured::Captured;

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_said_and_started_again_after_growing_pauses_until_it_ends() {
        let log = Captured::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let (starts, told) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let begun = Instant::now();
        let part = || async {
            starts.borrow_mut().push(begun.elapsed());
            // Not at its first poll, as most do.
            tokio::task::yield_now().await;
            let count = starts.borrow().len();
            assert!(count == 4, "start {count}");
        };
        let tell = |panicked: Option<&Panicked>| told.borrow_mut().push(panicked.map(ToString::to_string));
        supervise_and_tell("part", part, tell).await;
        let said = |count: usize| Some(format!("panicked: start {count}"));
        assert_eq!(*told.borrow(), [said(1), said(2), said(3)]);
        let starts = starts.into_inner();
        let pauses: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (pause, longest) in pauses.iter().zip([1, 2, 4]) {
            let longest = Duration::from_secs(longest);
            assert!((longest / 2..=longest + Duration::from_millis(1)).contains(pause), "{pauses:?}");
        }
        let text = log.text();
        assert_eq!(text.matches("ERROR").count(), 3, "{text}");
        assert!(text.contains("a defect of ringress") && text.contains("start 2"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_for_a_while_is_well_again() {
        let (starts, told) = (Cell::new(0), RefCell::new(Vec::new()));
        let part = || async {
            starts.set(starts.get() + 1);
            assert!(starts.get() > 1, "the first");
            sleep(STEADY * 2).await;
        };
        let tell = |panicked: Option<&Panicked>| told.borrow_mut().push(panicked.is_some());
        supervise_and_tell("part", part, tell).await;
        assert_eq!(*told.borrow(), [true, false]);
    }

    #[tokio::test]
    async fn what_does_not_panic_gives_what_it_gives() {
        assert_eq!(caught(async { 7 }).await.unwrap(), 7);
    }
}
