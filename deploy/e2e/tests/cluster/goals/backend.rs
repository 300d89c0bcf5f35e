//! A backend inside the box that notes when it was asked last.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::support::World;

/// The address of the nodes: endpoints may have it, and every pod reaches it.
pub(crate) const ADDRESS: &str = "198.18.0.1";

/// Answers 200 to every request until it is dropped.
pub(crate) struct Backend {
    pub(crate) port: u16,
    asked: Arc<Mutex<Asked>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What it was asked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    pub(crate) requests: u64,
    pub(crate) last: Option<Instant>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Backend {
    /// Listens on a port of the box; it says its port in every answer.
    pub(crate) fn start(world: &World, port: u16) -> anyhow::Result<Self> {
        let asked = Arc::new(Mutex::new(Asked::default()));
        let (end, ended) = oneshot::channel();
        let (started, starts) = std::sync::mpsc::channel();
        let (cluster, noted) = (world.cluster().clone(), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            let served = cluster.enter_network().and_then(|()| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let address: SocketAddr = format!("{ADDRESS}:{port}").parse()?;
                    let listener = TcpListener::bind(address).await.context("a backend")?;
                    let _ = started.send(());
                    tokio::select! {
                        served = serve(listener, noted) => served,
                        _ = ended => Ok(()),
                    }
                })
            });
            if let Err(error) = served {
                eprintln!("backend {port}: {error:#}");
            }
        });
        starts.recv().context("the backend does not listen")?;
        Ok(Self { port, asked, end: Some(end), thread: Some(thread) })
    }

    pub(crate) fn asked(&self) -> Asked {
        *self.asked.lock().expect("a backend does not panic")
    }
}

async fn serve(listener: TcpListener, asked: Arc<Mutex<Asked>>) -> anyhow::Result<()> {
    let port = listener.local_addr()?.port();
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(converse(stream, port, Arc::clone(&asked)));
    }
}

async fn converse(mut stream: TcpStream, port: u16, asked: Arc<Mutex<Asked>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    while stream.read_buf(&mut bytes).await? > 0 {
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            bytes.drain(..end + 4);
            {
                let mut asked = asked.lock().expect("a backend does not panic");
                asked.requests += 1;
                asked.last = Some(Instant::now());
            }
            let body = port.to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await?;
        }
    }
    Ok(())
}
