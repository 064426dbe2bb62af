//! One server process: started, looked at, ended.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take: far beyond what it takes on a busy machine.
pub const WITHIN: Duration = Duration::from_secs(30);

/// Waits until `reached` says so; panics with what `otherwise` says after [`WITHIN`].
pub(crate) fn eventually(reached: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    within(WITHIN, Duration::from_millis(5), reached, otherwise);
}

/// The same after `time`, looking each `every`.
pub(crate) fn within(
    time: Duration,
    every: Duration,
    mut reached: impl FnMut() -> bool,
    otherwise: impl Fn() -> String,
) {
    let deadline = Instant::now() + time;
    while !reached() {
        assert!(Instant::now() < deadline, "{}", otherwise());
        std::thread::sleep(every);
    }
}

/// Where Debian puts PostgreSQL's own programs: those of the newest version that is installed.
pub(crate) fn postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let versions = versions.filter_map(|version| {
        let version = version.ok()?;
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        Some((number, version.path().join("bin")))
    });
    versions.max().map(|(_, place)| place)
}

/// The program in the search path or where Debian puts it.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = postgres().into_iter().chain([PathBuf::from("/usr/sbin")]);
    let mut places = usual.chain(std::env::split_paths(&path));
    match places.find_map(|place| Some(place.join(name)).filter(|it| it.exists())) {
        Some(found) => found,
        None => panic!("`{name}` is not installed: `make setup` does that"),
    }
}

/// `name`, to be run as `user` (where we are root; PostgreSQL refuses to be), and told `with_us` when the thread that
/// started it ends.
pub(crate) fn command(name: &str, user: Option<&str>, with_us: &str) -> Command {
    let mut command = Command::new(program("setpriv"));
    if let Some(user) = user.filter(|_| rustix::process::geteuid().is_root()) {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command.args(["--pdeathsig", with_us, "--"]);
    command.arg(program(name)).stdin(Stdio::null());
    command
}

/// Runs it to its end; what it wrote to standard output.
pub(crate) fn run(mut command: Command) -> String {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A server that runs, and its log.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// What asks it to end at once.
    by: Signal,
}

impl Process {
    /// Starts it with its output in `log` and waits until that says `ready` once more than it does already.
    pub(crate) fn start(mut command: Command, log: &Path, ready: &str, by: Signal) -> Self {
        let said = |log: &Path| {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            (text.matches(ready).count(), text)
        };
        let (before, _) = said(log);
        let file = File::options().create(true).append(true).open(log);
        let file = file.expect("a log file");
        let err = file.try_clone().expect("a second handle");
        let child = command.stdout(file).stderr(err).spawn();
        let child = child.expect("the server starts");
        let mut process = Self {
            child,
            log: log.to_owned(),
            by,
        };
        eventually(
            || {
                let ended = process.child.try_wait().expect("its state");
                assert_eq!(ended, None, "{command:?}: {}", process.text());
                said(log).0 > before
            },
            || format!("{command:?} is not ready: {}", said(log).1),
        );
        process
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }

    /// Ends it by `signal` and waits for that.
    pub(crate) fn end(mut self, signal: Signal) {
        self.signal(signal);
        self.child.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // A stopped process hears nothing but the end.
            self.signal(Signal::CONT);
            self.signal(self.by);
            // There is nobody to tell that it cannot be waited for.
            let _ended = self.child.wait();
        }
    }
}

/// Gives `path` to `user`, where we are root.
pub(crate) fn give(path: &Path, user: &str) {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("chown");
        command.args([OsStr::new("-R"), OsStr::new(user), path.as_os_str()]);
        run(command);
    }
}

/// A directory that a server's user may look into.
pub(crate) fn directory() -> TempDir {
    let directory = TempDir::new().expect("a directory");
    let open = Permissions::from_mode(0o711);
    std::fs::set_permissions(directory.path(), open).expect("it is ours");
    directory
}

pub(crate) fn file(path: PathBuf, text: &str) -> PathBuf {
    std::fs::write(&path, text).expect("a file");
    path
}
