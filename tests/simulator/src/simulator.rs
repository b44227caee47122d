//! Both providers, started together.

use std::io;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::front::{Clock, Front, Handler, serve};
use crate::worlds::World;
use crate::{Infisical, Zitadel};

/// The two simulated providers, each on its own port on 127.0.0.1. Dropping it closes the ports and all connections.
pub struct Simulator {
    infisical: Infisical,
    zitadel: Zitadel,
    servers: Vec<JoinHandle<()>>,
}

/// The handlers of both, without ports.
#[derive(Clone)]
pub struct Handlers {
    /// Infisical's.
    pub infisical: Handler,
    /// ZITADEL's.
    pub zitadel: Handler,
}

impl Simulator {
    /// Starts both, empty, on ports that are free.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn start() -> io::Result<Self> {
        Self::start_on(0, 0).await
    }

    /// Starts both, empty, on these ports (0: one that is free).
    ///
    /// # Errors
    /// When a port can't be opened.
    pub async fn start_on(infisical_port: u16, zitadel_port: u16) -> io::Result<Self> {
        let (infisical_listener, infisical_front) = opened(infisical_port).await?;
        let (zitadel_listener, zitadel_front) = opened(zitadel_port).await?;
        let infisical = Infisical::new(infisical_front);
        let zitadel = Zitadel::new(zitadel_front);
        let servers = vec![serve(infisical_listener, infisical.clone()), serve(zitadel_listener, zitadel.clone())];
        Ok(Self { infisical, zitadel, servers })
    }

    /// Creates both, empty, in this process and without a port: requests are passed to the handlers. Their clocks show
    /// the time of `now`.
    pub fn in_process(now: impl Fn() -> Timestamp + Clone + Send + Sync + 'static) -> (Self, Handlers) {
        let front = |url: &str| Front::with_clock(url.to_owned(), Clock::showing(now.clone()));
        let infisical = Infisical::new(front("http://infisical.test"));
        let zitadel = Zitadel::new(front("http://zitadel.test"));
        let handlers =
            Handlers { infisical: Handler::into(infisical.clone()), zitadel: Handler::into(zitadel.clone()) };
        (Self { infisical, zitadel, servers: Vec::new() }, handlers)
    }

    /// Adds a world to what is there.
    pub fn load(&self, world: &World) {
        self.infisical.load(&world.infisical);
        self.zitadel.load(&world.zitadel);
    }

    /// The simulated Infisical.
    pub fn infisical(&self) -> &Infisical {
        &self.infisical
    }

    /// The simulated ZITADEL.
    pub fn zitadel(&self) -> &Zitadel {
        &self.zitadel
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

async fn opened(port: u16) -> io::Result<(TcpListener, Front)> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let front = Front::new(format!("http://{}", listener.local_addr()?));
    Ok((listener, front))
}
