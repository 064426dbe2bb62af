//! A participant that does what it is told.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::process::program;

/// The program `darktower-bot` in a meeting; it ends with the test.
#[derive(Debug)]
pub struct Bot {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
    /// Its id, of hexadecimal digits.
    pub id: String,
}

impl Bot {
    /// One that is in the meeting of this code, with more arguments.
    pub fn join(api: SocketAddr, code: &str, more: &[&str]) -> Self {
        let mut bot = Command::new(program("darktower-bot", "DARKTOWER_BOT"));
        bot.args(["--server", &format!("http://{api}")]);
        bot.args(["--meeting", &format!("{code}#k=AAECAwQFBgcICQoLDA0ODw")]);
        bot.args(more);
        let bot = bot.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = bot.expect("the bot starts");
        let out = child.stdout.take().expect("its output");
        let mut bot = Self {
            child,
            says: BufReader::new(out).lines(),
            id: String::new(),
        };
        let joined = bot.until("joined");
        let id = joined["participant"].as_str();
        bot.id = id.expect("an id").to_owned();
        bot
    }

    /// What it says next of this kind.
    pub fn until(&mut self, event: &str) -> Value {
        for line in self.says.by_ref() {
            let line = line.expect("a line");
            let said: Value = serde_json::from_str(&line).expect("JSON");
            assert_ne!(said["event"], "error", "{said}");
            if said["event"] == event {
                return said;
            }
        }
        panic!("the bot ends without {event}");
    }

    /// How many frames of others it has opened, as it says next; it says so each second.
    pub fn opened(&mut self) -> u64 {
        let counted = self.until("counters");
        let tracks = counted["tracks"].as_array().expect("tracks");
        let frames = tracks.iter().map(|track| track["frames"].as_u64());
        frames.map(|frames| frames.expect("a count")).sum()
    }

    /// An order, as the program takes them.
    pub fn told(&mut self, order: &Value) {
        let orders = self.child.stdin.as_mut().expect("its orders");
        writeln!(orders, "{order}").expect("it reads");
    }

    /// Until it is out, by itself.
    pub fn ends(mut self) {
        self.until("summary");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}
