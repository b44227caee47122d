//! One control plane for all tests of a test binary.

use control_plane::{Binaries, ControlPlane, Error, Options};
use tokio::sync::OnceCell;

static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();

/// The control plane that the tests of this binary share. It ends with the
/// process.
pub async fn plane() -> Result<&'static ControlPlane, Error> {
    PLANE
        .get_or_try_init(async || {
            let binaries = Binaries::obtain(&|line| eprintln!("{line}"))?;
            ControlPlane::start(&binaries, Options::default()).await
        })
        .await
}
