//! Who owns meetings by the word of Redis, looked at all the time.

use std::process::Stdio;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// Between two looks, in seconds.
const LOOK: &str = "0.02";
/// Keys: lease, fence, log.
const OWNER: &str = "
local lease = redis.call('HMGET', KEYS[1], 'owner', 'fence')
local granted = redis.call('GET', KEYS[2])
local written = redis.call('HGET', KEYS[3], 'fence')
local owner = string.gsub(lease[1] or '', '.', function(byte) return string.format('%02x', string.byte(byte)) end)
return (owner == '' and '-' or owner) .. ' ' .. (lease[2] or '0') .. ' ' .. (granted or '0') .. ' ' .. (written or '0')
";

/// What Redis holds of a meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    /// `-`: the lease has lapsed.
    owner: String,
    /// Of the lease, 0 where that has lapsed; the last one granted; and that by which was written last.
    fence: u64,
    granted: u64,
    written: u64,
}

/// A watch on who owns a meeting.
pub(crate) struct Owners {
    meeting: String,
    client: Child,
    changes: JoinHandle<anyhow::Result<Vec<Held>>>,
}

impl Owners {
    /// Of this meeting, in the Redis of this port.
    pub(crate) fn watch(port: u16, meeting: &str) -> anyhow::Result<Self> {
        let key = |what: &str| format!("darktower:{{m:{meeting}}}:{what}");
        let mut client = Command::new("redis-cli")
            .args(["-p", &port.to_string(), "-r", "-1", "-i", LOOK])
            .args(["EVAL", OWNER, "3"])
            .args(["lease", "fence", "log"].map(key))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("redis-cli does not start: `make setup` installs it")?;
        let said = client.stdout.take().context("its output")?;
        let changes = tokio::spawn(async move {
            let (mut lines, mut changes) = (BufReader::new(said).lines(), Vec::new());
            while let Some(line) = lines.next_line().await? {
                let held = parse(&line).with_context(|| format!("Redis said {line}"))?;
                if changes.last() != Some(&held) {
                    changes.push(held);
                }
            }
            Ok(changes)
        });
        Ok(Self {
            meeting: meeting.to_owned(),
            client,
            changes,
        })
    }

    /// Ends it. It must have gone from one to another, each owner by a newer fence than all before, and nothing may have
    /// been written by an older one after a newer.
    pub(crate) async fn changed_in_order(mut self) -> anyhow::Result<()> {
        self.client.kill().await?;
        let changes = self.changes.await??;
        in_order(&changes).with_context(|| format!("{}: {changes:?}", self.meeting))
    }
}

fn in_order(changes: &[Held]) -> anyhow::Result<()> {
    let first = changes.first().context("Redis said nothing")?;
    let last = changes.last().unwrap_or(first);
    anyhow::ensure!(
        first.fence > 0 && last.fence > first.fence && last.owner != first.owner,
        "it did not go to another"
    );
    anyhow::ensure!(last.written == last.fence, "its owner wrote nothing");
    for pair in changes.windows(2) {
        let [before, after] = pair else { continue };
        let back = after.granted < before.granted || after.written < before.written;
        let shared = after.fence == before.fence && after.owner != before.owner;
        let older = after.fence != 0 && after.fence != after.granted;
        anyhow::ensure!(!(back || shared || older), "it had two owners");
    }
    Ok(())
}

fn parse(line: &str) -> Option<Held> {
    let mut words = line.split(' ');
    let owner = words.next()?.to_owned();
    let mut number = || words.next()?.parse().ok();
    Some(Held {
        owner,
        fence: number()?,
        granted: number()?,
        written: number()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Held, in_order, parse};

    fn held(lines: &[&str]) -> Vec<Held> {
        let lines = lines.iter();
        lines.map(|line| parse(line).expect("a look")).collect()
    }

    #[test]
    fn a_lease_that_lapses_and_goes_to_another_is_in_order() {
        let all = ["a 5 5 5", "- 0 5 5", "b 6 6 5", "b 6 6 6"];
        assert!(in_order(&held(&all)).is_ok());
    }

    #[test]
    fn two_owners_are_found() {
        let last = "b 6 6 6";
        for wrong in ["b 5 5 5", "a 5 6 5", "a 4 4 5", "a 5 5 4"] {
            let all = ["a 5 5 5", wrong, last];
            assert!(in_order(&held(&all)).is_err(), "{wrong}");
        }
        assert!(in_order(&held(&["a 5 5 5"])).is_err(), "nobody took over");
        let silent = ["a 5 5 5", "b 6 6 5"];
        assert!(in_order(&held(&silent)).is_err(), "nothing was written");
    }
}
