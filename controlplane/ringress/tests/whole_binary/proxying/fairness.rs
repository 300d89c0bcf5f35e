//! One client's load is not another client's wait.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::client::is_timeout;
use crate::support::{Client, Launch, Ringress, Upstream, on_both_drivers, wait_until};

/// The longest that another client may wait.
const SOON: Duration = Duration::from_millis(500);
/// The flood ends by itself: a shard that serves nobody else must fail the test, not hang it.
const FLOOD_MAX: Duration = Duration::from_secs(6);
/// Pipelined at once.
const BATCH: usize = 5_000;

on_both_drivers! {
    fn a_client_that_pipelines_without_end_starves_nobody_on_its_shard(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).shards(1).flags(&["--access-log=off"]).serving(&[&upstream]).start();
        let mut kept = ringress.client();
        assert_eq!(kept.get("a.test", "/before").status, 200);
        let flood = Flood::start(&ringress);
        wait_until("the flood is answered", || flood.answered_bytes() > 100_000);
        let mut waits = Vec::new();
        for _ in 0..25 {
            waits.push(time_of(|| assert_eq!(kept.get("a.test", "/kept").status, 200)));
            waits.push(time_of(|| assert_eq!(ringress.get("a.test", "/new").status, 200)));
            // The others come now and then; the flood never pauses.
            std::thread::sleep(Duration::from_millis(30));
        }
        let (lasted, answered) = flood.stop();
        let longest = waits.iter().max().copied().unwrap_or_default();
        println!("fairness on {}: {answered} bytes of answers to the flood, others waited up to {longest:?}", driver.as_str());
        assert!(longest < SOON, "others waited {waits:?}");
        assert!(lasted, "the flood was over before the others were done");
        assert!(answered > 1_000_000, "there was no flood: {answered} bytes of answers");
    }
}

fn time_of(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// A client that pipelines requests which no route takes, and reads as fast as it can.
struct Flood {
    client: Client,
    stopped: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    sender: JoinHandle<bool>,
    reader: JoinHandle<()>,
}

impl Flood {
    fn start(ringress: &Ringress) -> Self {
        let client = ringress.client();
        let stopped = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let (mut sends, mut reads) = (client.stream(), client.stream());
        let (until, count) = (Arc::clone(&stopped), Arc::clone(&answered));
        let sender = std::thread::spawn(move || {
            let batch = "GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n".repeat(BATCH);
            let began = Instant::now();
            while !until.load(Ordering::SeqCst) {
                if began.elapsed() > FLOOD_MAX || sends.write_all(batch.as_bytes()).is_err() {
                    return false;
                }
            }
            true
        });
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            loop {
                match reads.read(&mut buffer) {
                    Ok(bytes @ 1..) => count.fetch_add(bytes, Ordering::SeqCst),
                    Err(error) if is_timeout(&error) => continue,
                    _ => return,
                };
            }
        });
        Self { client, stopped, answered, sender, reader }
    }

    fn answered_bytes(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// Ends it; whether it went on until now, and how many bytes of answers it got.
    fn stop(self) -> (bool, usize) {
        self.stopped.store(true, Ordering::SeqCst);
        let answered = self.answered_bytes();
        let lasted = self.sender.join().unwrap();
        drop(self.client.stream().shutdown(Shutdown::Both));
        self.reader.join().unwrap();
        (lasted, answered)
    }
}
