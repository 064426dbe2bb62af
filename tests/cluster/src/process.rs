//! One process: started, listened to, stopped.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

/// How long anything may take: far beyond what it takes on a busy machine.
pub const WITHIN: Duration = Duration::from_secs(30);

/// Names a directory in which the log of every process is kept.
const KEEP_LOGS: &str = "DARKTOWER_KEEP_LOGS";

/// A running `darktower`; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    id: u32,
    handle: OwnedFd,
    log: Receiver<String>,
    out: Receiver<String>,
    exit: Receiver<ExitStatus>,
    seen: Vec<String>,
}

/// A program of the house: the one that `variable` names, or the one built
/// beside the tests.
pub fn program(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("the path of this test");
    let built = test.ancestors().nth(2).expect("a target directory");
    built.join(name)
}

/// The program that must be there.
fn built(name: &str, variable: &str) -> PathBuf {
    let program = program(name, variable);
    assert!(
        program.exists(),
        "{} is not there: build its package first",
        program.display()
    );
    program
}

/// A program that inherits no setting of ours.
fn clean(program: &OsStr) -> Command {
    let mut command = Command::new(program);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("DARKTOWER_") {
            command.env_remove(variable);
        }
    }
    command
}

fn lines(from: impl Read + Send + 'static, mut kept: Option<File>) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Some(kept) = &mut kept {
                writeln!(kept, "{line}").expect("a log is kept");
            }
            if sender.send(line).is_err() && kept.is_none() {
                return;
            }
        }
    });
    receiver
}

/// Where the log of this process is kept, where somebody wants to read it.
fn kept(name: &str, id: u32) -> Option<File> {
    let directory = PathBuf::from(std::env::var_os(KEEP_LOGS)?);
    let path = directory.join(format!("{}-{id}.jsonl", name.replace(' ', "-")));
    Some(File::create(&path).expect("a directory for logs"))
}

impl Process {
    /// Starts `darktower <arguments>` in `directory` with `settings` as
    /// environment variables and no others of its prefix.
    pub fn start(arguments: &[&str], directory: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_by(&[], arguments, directory, settings)
    }

    /// The same by another program, which becomes `darktower` once it has prepared the ground.
    pub fn start_by(
        by: &[&str],
        arguments: &[&str],
        directory: &Path,
        settings: &[(&str, &str)],
    ) -> Self {
        let program = built("darktower", "DARKTOWER_BIN");
        let mut words: Vec<_> = by.iter().map(OsStr::new).collect();
        words.push(program.as_os_str());
        Self::start_as(&words, arguments, directory, settings)
    }

    /// The same of the program that `words` begin with, such as another release.
    pub fn start_as(
        words: &[&OsStr],
        arguments: &[&str],
        directory: &Path,
        settings: &[(&str, &str)],
    ) -> Self {
        let (first, more) = words.split_first().expect("a program");
        let mut command = clean(first);
        command.args(more).args(arguments).current_dir(directory);
        command.envs(settings.iter().copied());
        Self::spawn(arguments.join(" "), command)
    }

    /// Starts `darktower-bot <arguments>`, whose output is a JSON object a line.
    pub fn start_bot(arguments: &[&str]) -> Self {
        let mut command = clean(built("darktower-bot", "DARKTOWER_BOT").as_os_str());
        command.args(arguments);
        Self::spawn("bot".to_owned(), command)
    }

    fn spawn(name: String, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (id, pid) = (child.id(), Pid::from_child(&child));
        let handle = pidfd_open(pid, PidfdFlags::empty()).expect("a handle on the process");
        let log = lines(child.stderr.take().expect("its log"), kept(&name, id));
        let out = lines(child.stdout.take().expect("its output"), None);
        let (ended, exit) = channel();
        std::thread::spawn(move || {
            if let Ok(status) = child.wait() {
                // A test that has ended does not ask any more.
                let _asked = ended.send(status);
            }
        });
        Self {
            name,
            id,
            handle,
            log,
            out,
            exit,
            seen: Vec::new(),
        }
    }

    /// Its number, to look at it from outside while it runs.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The next log line, as JSON, for which `wanted` is true.
    pub fn log(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.log.recv_timeout(left) else {
                panic!(
                    "`darktower {}` never said it; it said:\n{}",
                    self.name,
                    self.seen.join("\n")
                );
            };
            self.seen.push(line.clone());
            if let Ok(value) = serde_json::from_str(&line)
                && wanted(&value)
            {
                return value;
            }
        }
    }

    /// Waits until the process is ready; the addresses it listens on are in
    /// what is returned.
    pub fn ready(&mut self) -> Value {
        self.log(|line| line["metadata"]["event"] == "ready")["metadata"].clone()
    }

    /// What it writes to standard output until it ends.
    pub fn output(&mut self) -> String {
        let deadline = Instant::now() + WITHIN;
        let mut text = String::new();
        let left = || deadline.saturating_duration_since(Instant::now());
        while let Ok(line) = self.out.recv_timeout(left()) {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// What it says until it ends, unread lines only.
    pub fn last_words(&mut self) -> String {
        let deadline = Instant::now() + WITHIN;
        let mut text = String::new();
        let left = || deadline.saturating_duration_since(Instant::now());
        while let Ok(line) = self.log.recv_timeout(left()) {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// Asks it to stop, as an operator does.
    pub fn terminate(&self) {
        pidfd_send_signal(&self.handle, Signal::TERM).expect("it runs");
    }

    /// Ends it without a word.
    pub fn kill(&self) {
        pidfd_send_signal(&self.handle, Signal::KILL).expect("it runs");
    }

    /// Stands still, as under a debugger, until [`Process::wake`].
    pub fn pause(&self) {
        pidfd_send_signal(&self.handle, Signal::STOP).expect("it runs");
    }

    /// Goes on.
    pub fn wake(&self) {
        pidfd_send_signal(&self.handle, Signal::CONT).expect("it runs");
    }

    /// How it ended.
    pub fn exit(&mut self) -> ExitStatus {
        match self.exit.recv_timeout(WITHIN) {
            Ok(status) => status,
            Err(_) => panic!("`darktower {}` does not end", self.name),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = pidfd_send_signal(&self.handle, Signal::KILL);
    }
}

/// An address from a ready line.
pub fn address(ready: &Value, name: &str) -> SocketAddr {
    let text = ready[name].as_str().unwrap_or_default();
    match text.parse() {
        Ok(address) => address,
        Err(_) => panic!("no address `{name}` in {ready}"),
    }
}
