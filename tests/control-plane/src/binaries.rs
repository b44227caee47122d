//! Where the binaries come from: a folder that the user names, the cache, or a
//! build.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::{Doing, Error};
use crate::go_build;

/// What has to be there for a control plane to start.
const NEEDED: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];
const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// A folder with etcd, kube-apiserver, kubectl and (if it was built here)
/// kube-controller-manager.
#[derive(Debug, Clone)]
pub struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// The folder that `KUBEBUILDER_ASSETS` names, if it is set; else the one in
    /// the cache; else builds them with Go, which takes minutes the first time.
    /// `progress` gets a line at each step of a build and nothing otherwise.
    ///
    /// The cache is `membership-operator/control-plane/<hash>` in
    /// `$XDG_CACHE_HOME` or `~/.cache`; the hash is of go.mod, go.sum and how
    /// they are built. One process builds at a time, the others wait; a build
    /// that was interrupted leaves nothing that counts.
    ///
    /// Blocks the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::MissingBinaries`] if `KUBEBUILDER_ASSETS` names a folder that
    /// lacks one; [`Error::Build`] with the output of `go`; [`Error::Io`] if the
    /// cache can't be written or there is no Go.
    pub fn obtain(progress: &dyn Fn(&str)) -> Result<Self, Error> {
        match env::var_os("KUBEBUILDER_ASSETS").filter(|dir| !dir.is_empty()) {
            Some(dir) => Self::in_dir(dir),
            None => Self::cached_or_built(&cache()?, progress),
        }
    }

    /// The binaries in a folder. kube-controller-manager may be missing (as it
    /// is in what setup-envtest downloads) until it is asked for.
    ///
    /// # Errors
    ///
    /// [`Error::MissingBinaries`] with the names of the others that are.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        // Servers run with this as the program's path from wherever they are.
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        let missing: Vec<_> = NEEDED.into_iter().filter(|name| !dir.join(name).is_file()).collect();
        if missing.is_empty() { Ok(Self { dir }) } else { Err(Error::MissingBinaries { dir, missing }) }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Path of kubectl.
    #[must_use]
    pub fn kubectl(&self) -> PathBuf {
        self.dir.join("kubectl")
    }

    pub(crate) fn etcd(&self) -> PathBuf {
        self.dir.join("etcd")
    }

    pub(crate) fn apiserver(&self) -> PathBuf {
        self.dir.join("kube-apiserver")
    }

    pub(crate) fn controller_manager(&self) -> Result<PathBuf, Error> {
        let path = self.dir.join(CONTROLLER_MANAGER);
        if path.is_file() {
            Ok(path)
        } else {
            Err(Error::MissingBinaries { dir: self.dir.clone(), missing: vec![CONTROLLER_MANAGER] })
        }
    }

    fn cached_or_built(cache: &Path, progress: &dyn Fn(&str)) -> Result<Self, Error> {
        let dir = cache.join(go_build::key());
        // The folder gets its name when all are built, so one that is there is
        // whole, and no lock is needed to look.
        if let Ok(found) = Self::in_dir(&dir) {
            return Ok(found);
        }
        fs::create_dir_all(cache).doing(|| format!("create {}", cache.display()))?;
        let _lock = lock(&cache.join("lock"), progress)?;
        if let Ok(found) = Self::in_dir(&dir) {
            return Ok(found);
        }
        let began = Instant::now();
        let partial = cache.join("partial");
        remove(&partial)?;
        go_build::into(&partial, progress)?;
        remove(&dir)?;
        fs::rename(&partial, &dir).doing(|| format!("create {}", dir.display()))?;
        progress(&format!("control plane: all built in {} s, kept in {}", began.elapsed().as_secs(), dir.display()));
        Self::in_dir(dir)
    }
}

/// Where built binaries are kept, of all versions.
fn cache() -> Result<PathBuf, Error> {
    let of = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    of("XDG_CACHE_HOME")
        .or_else(|| of("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("membership-operator/control-plane"))
        .ok_or(Error::State("neither XDG_CACHE_HOME nor HOME is set: nowhere to keep binaries"))
}

/// Waits until no other process builds. The lock ends with the file that is returned, or with this process.
fn lock(path: &Path, progress: &dyn Fn(&str)) -> Result<File, Error> {
    let doing = || format!("lock {}", path.display());
    let file = File::create(path).doing(doing)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress("control plane: another process is building it, waiting for that");
            file.lock().doing(doing)?;
        }
        Err(TryLockError::Error(error)) => return Err(error).doing(doing),
    }
    Ok(file)
}

/// Removes what an interrupted build left.
fn remove(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.doing(|| format!("remove {}", dir.display())),
    }
}
