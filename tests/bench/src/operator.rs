//! The operator as a process under its own ServiceAccount, as `deploy/` runs it, and what it uses by the kernel's word.

use std::path::Path;
use std::time::Duration;

use control_plane::{Server, free_port, http_get};

use crate::cluster::{Cluster, OPERATOR};
use crate::error::{Doing, Error, Result};
use crate::provider::server::now;

/// Clock ticks in a second (`getconf CLK_TCK`): the same on every Linux.
const TICKS: f64 = 100.0;

/// A running operator. Dropping it ends it.
pub struct Operator {
    server: Server,
    /// When its process was started, in milliseconds since 1970.
    pub started: u64,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// The most memory that it ever had resident, in MB (10^6 bytes).
    pub peak_memory: f64,
    /// The memory that it has resident now, in MB.
    pub memory: f64,
    /// The processor time in user and kernel mode, in seconds.
    pub cpu: f64,
}

impl Operator {
    /// Starts it, and returns when its caches are filled. With a Lease, as in a Pod.
    pub async fn start(cluster: &Cluster, binary: &Path) -> Result<Self> {
        let port = free_port()?;
        let arguments = [
            "run".to_owned(),
            format!("--listen=127.0.0.1:{port}"),
            "--allow-http=127.0.0.1".to_owned(),
            "--allow-address=127.0.0.0/8".to_owned(),
            format!("--lease-namespace={}", OPERATOR.0),
        ];
        let kubeconfig = cluster.kubeconfig.display().to_string();
        let started = now();
        let environment = [("KUBECONFIG", kubeconfig.as_str()), ("RUST_LOG", "")];
        let mut server = Server::start("operator", cluster.plane.dir(), binary, &arguments, &environment)?;
        let ready = || async {
            match http_get(port, "/readyz").await {
                Ok(answer) if answer.contains(" 200 ") => Ok(()),
                Ok(answer) => Err(answer),
                Err(error) => Err(error.to_string()),
            }
        };
        server.until_ready(Duration::from_secs(120), "/readyz", ready).await?;
        Ok(Self { server, started })
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        let process = self.server.process()?;
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).doing("read /proc");
        usage(&read("status")?, &read("stat")?).ok_or_else(|| Error::new("/proc does not show memory and times"))
    }

    /// Stops it as a Pod is stopped.
    pub async fn stop(self) -> Result<()> {
        Ok(self.server.stop(Duration::from_secs(45)).await?)
    }
}

/// Reads `/proc/PID/status` and `/proc/PID/stat` (proc_pid_stat(5): fields 14 and 15).
fn usage(status: &str, stat: &str) -> Option<Usage> {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()
    };
    // The name of the program is in parentheses and may contain anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Usage {
        peak_memory: kib("VmHWM:")? * 1024.0 / 1e6,
        memory: kib("VmRSS:")? * 1024.0 / 1e6,
        cpu: (ticks(11)? + ticks(12)?) / TICKS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_as_the_kernel_writes_it() {
        let status = "Name:\toperator\nVmHWM:\t   50000 kB\nVmRSS:\t   25000 kB\n";
        let stat = "42 (a (strange) name) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 4 0 1 2 3";
        let found = usage(status, stat).unwrap();
        assert!((found.peak_memory - 51.2).abs() < 1e-9 && (found.memory - 25.6).abs() < 1e-9);
        assert!((found.cpu - 2.0).abs() < 1e-9);
        assert_eq!(usage("", stat), None);
    }
}
