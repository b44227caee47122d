//! A TCP proxy in front of a server, whose connections go silent on command.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::error::{Doing, Error};

/// Passes connections on to a port of this machine.
///
/// What [`TcpProxy::silence`] does is what a load balancer does that forgot
/// its flows: a connection stays open, and nothing passes any more in either
/// direction, while a new connection works. Dropping the proxy closes all.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    silenced: watch::Sender<()>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl TcpProxy {
    /// Starts a proxy, on a free port of 127.0.0.1, for the server that listens
    /// on `target` there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if no port can be had.
    pub async fn start(target: u16) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.doing(|| "listen as a proxy".into())?;
        let port = listener.local_addr().doing(|| "find the proxy's port".into())?.port();
        let (silenced, accepted) = (watch::Sender::new(()), Arc::<AtomicUsize>::default());
        let serving = serve(listener, target, silenced.subscribe(), Arc::clone(&accepted));
        Ok(Self { port, silenced, accepted, task: tokio::spawn(serving) })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there have been so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// From now on nothing passes on the connections that are open.
    pub fn silence(&self) {
        self.silenced.send_replace(());
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: u16, silenced: watch::Receiver<()>, accepted: Arc<AtomicUsize>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        accepted.fetch_add(1, Ordering::SeqCst);
        let mut silenced = silenced.clone();
        silenced.mark_unchanged();
        connections.spawn(pass(client, (Ipv4Addr::LOCALHOST, target).into(), silenced));
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(mut client: TcpStream, target: SocketAddr, mut silenced: watch::Receiver<()>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    // Requests are small, and each is waited for.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let silent = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => false,
        changed = silenced.changed() => changed.is_ok(),
    };
    if silent {
        std::future::pending::<()>().await;
    }
}
