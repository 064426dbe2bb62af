//! How processes that are to stand back do so, as the kernel shares processors out.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;

/// Whether what this process starts may give itself more of the processors than it was given.
pub(crate) fn may_lift() -> anyhow::Result<bool> {
    const SYS_NICE: u64 = 1 << 23;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = held.context("no capabilities are told")?.trim();
    Ok(u64::from_str_radix(held, 16)? & SYS_NICE != 0)
}

/// Makes each session that a descendant of `process` began as nice as that. Where the kernel groups processes by session
/// (`sched_autogroup`) it shares processors out among the groups first: a browser in a session of its own gets as much as
/// everybody else together, however nice each of its processes is.
pub(crate) fn sessions_below(process: u32, nice: i8) -> anyhow::Result<()> {
    if !Path::new("/proc/self/autogroup").exists() {
        return Ok(());
    }
    let (_, own) = parent_and_session(process)?;
    let mut sessions = BTreeSet::new();
    for child in descendants(process)? {
        // One that has ended meanwhile needs nothing.
        sessions.extend(parent_and_session(child).ok().map(|(_, session)| session));
    }
    sessions.remove(&own);
    for session in sessions {
        std::fs::write(format!("/proc/{session}/autogroup"), nice.to_string())
            .with_context(|| format!("session {session} does not stand back"))?;
    }
    Ok(())
}

fn descendants(process: u32) -> anyhow::Result<BTreeSet<u32>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.parse().ok());
        // One that has ended meanwhile is nobody's child.
        let known = id.and_then(|id| Some((id, parent_and_session(id).ok()?.0)));
        parents.extend(known);
    }
    let mut all = BTreeSet::from([process]);
    loop {
        let below = parents.iter().filter(|(_, parent)| all.contains(parent));
        let found: BTreeSet<u32> = below.map(|(id, _)| *id).collect();
        let before = all.len();
        all.extend(found);
        if all.len() == before {
            break;
        }
    }
    all.remove(&process);
    Ok(all)
}

/// Behind the name, which is in brackets, stand the state, the parent, the group and the session (proc_pid_stat(5)).
fn parent_and_session(process: u32) -> anyhow::Result<(u32, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("a name")?;
    let mut fields = rest.split_whitespace().skip(1);
    let parent = fields.next().context("a parent")?.parse()?;
    let session = fields.nth(1).context("a session")?.parse()?;
    Ok((parent, session))
}
