//! Everything that plays a part: started, and struck when it is over.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use control_plane::{Binaries, ControlPlane, Error, Kubectl, Options};
use simulator::{Infisical, Simulator, Zitadel, worlds};

use super::operator::Operator;

/// The URLs that stand in `deploy/examples/`.
const EXAMPLE_PORTS: (u16, u16) = (18080, 18081);
/// The namespace of `deploy/examples/`.
pub const NAMESPACE: &str = "team-a";

/// The running parts.
pub struct Stage {
    /// The control plane.
    pub plane: ControlPlane,
    /// The operator.
    pub operator: Operator,
    simulator: Simulator,
}

/// The repository's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file or folder of the repository, for kubectl.
fn path(of: &str) -> String {
    root().join(of).display().to_string()
}

impl Stage {
    /// Starts everything and applies `crds/`, `deploy/` and the providers of `deploy/examples/`.
    pub async fn set() -> Result<Self, Error> {
        let binaries = tokio::task::spawn_blocking(|| Binaries::obtain(&|line| println!("{line}"))).await.unwrap()?;
        println!("starting etcd, kube-apiserver and kube-controller-manager …");
        let began = Instant::now();
        let options = Options { controller_manager: true, ..Options::default() };
        let plane = ControlPlane::start(&binaries, options).await?;
        println!("  ready after {:.1} s at {}", began.elapsed().as_secs_f64(), plane.url());

        let (infisical, zitadel) = EXAMPLE_PORTS;
        let simulator = match Simulator::start_on(infisical, zitadel).await {
            Ok(simulator) => simulator,
            Err(_) => Simulator::start().await.expect("two free ports"),
        };
        simulator.load(&worlds::demo());
        println!(
            "  Infisical (simulated) at {}, ZITADEL (simulated) at {}",
            simulator.infisical().url(),
            simulator.zitadel().url()
        );

        let kubectl = plane.kubectl();
        show(&kubectl, &["apply", "--filename", &path("crds")]).await?;
        kubectl.ok(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).await?;
        show(&kubectl, &["apply", "--kustomize", &path("deploy")]).await?;
        let operator = Operator::start(&plane, &binary(), "operator").await?;
        println!("  operator running as the ServiceAccount membership-system/membership-operator");
        Ok(Self { plane, operator, simulator })
    }

    /// Infisical, as it is.
    pub fn infisical(&self) -> &Infisical {
        self.simulator.infisical()
    }

    /// ZITADEL, as it is.
    pub fn zitadel(&self) -> &Zitadel {
        self.simulator.zitadel()
    }

    /// kubectl in the examples' namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let mut all = vec!["--namespace", NAMESPACE];
        all.extend(arguments);
        println!("  $ kubectl {}", arguments.join(" "));
        match self.plane.kubectl().run(&all).await {
            Ok(output) => {
                let text = format!("{}{}", output.stdout, output.stderr);
                text.lines().for_each(|line| println!("    {line}"));
                text
            }
            Err(error) => error.to_string(),
        }
    }

    /// Asks kubectl until it says `wanted`, ten seconds at most; what it said last.
    pub async fn wait_for(&self, arguments: &[&str], wanted: &str) -> String {
        let mut all = vec!["--namespace", NAMESPACE];
        all.extend(arguments);
        println!("  $ kubectl {}", arguments.join(" "));
        let began = Instant::now();
        loop {
            let said = self.plane.kubectl().ok(&all).await.unwrap_or_else(|error| error.to_string());
            if said.contains(wanted) || began.elapsed() > Duration::from_secs(10) {
                println!("    {said}");
                return said;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// `kubectl apply` of one file of `deploy/examples/`, with the ports that the simulator has; what it printed.
    pub async fn apply_example(&self, file: &str) -> String {
        let text = std::fs::read_to_string(root().join("deploy/examples").join(file)).unwrap_or_default();
        let text = text
            .replace(&format!("http://127.0.0.1:{}", EXAMPLE_PORTS.0), self.infisical().url())
            .replace(&format!("http://127.0.0.1:{}", EXAMPLE_PORTS.1), self.zitadel().url());
        self.apply(&text, &format!("deploy/examples/{file}")).await
    }

    /// `kubectl apply` of a text; what it printed.
    pub async fn apply(&self, text: &str, name: &str) -> String {
        println!("  $ kubectl apply -f {name}");
        let arguments = ["--namespace", NAMESPACE, "apply", "--filename", "-"];
        let output = self.plane.kubectl().run_with_input(&arguments, text).await;
        let said =
            output.map_or_else(|error| error.to_string(), |output| format!("{}{}", output.stdout, output.stderr));
        said.lines().for_each(|line| println!("    {line}"));
        said
    }

    /// Applies the examples and stays until Ctrl-C.
    pub async fn playground(&self) {
        for file in super::scenes::examples() {
            self.apply_example(file).await;
        }
        println!("\nThe playground is up. In another terminal:\n");
        println!("  export KUBECONFIG={}", self.plane.admin_kubeconfig().display());
        println!("  kubectl --namespace {NAMESPACE} get pm --watch");
        println!("  curl {}/_simulator/requests      # what Infisical was asked", self.infisical().url());
        println!("  curl {}/_simulator/requests      # what ZITADEL was asked", self.zitadel().url());
        println!("  tail -f {}", self.operator.log_file().display());
        println!("\nCtrl-C ends it.");
        let _ = tokio::signal::ctrl_c().await;
    }

    /// Stops everything, and says whether all of it went.
    pub async fn strike(self) -> Result<(), Error> {
        let dir = self.plane.dir().to_owned();
        self.operator.stop().await?;
        drop(self.simulator);
        self.plane.stop().await?;
        let began = Instant::now();
        while dir.exists() && began.elapsed() < Duration::from_secs(15) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if dir.exists() { Err(Error::State("the control plane's folder is still there")) } else { Ok(()) }
    }
}

async fn show(kubectl: &Kubectl, arguments: &[&str]) -> Result<(), Error> {
    let said = kubectl.ok(arguments).await?;
    said.lines().for_each(|line| println!("  {line}"));
    Ok(())
}

/// The operator's binary, which the Makefile builds beside this program.
fn binary() -> PathBuf {
    let here = std::env::current_exe().expect("a program knows where it is");
    let target = here.parent().and_then(Path::parent).expect("examples/ lies in the target folder");
    target.join("membership-operator")
}
