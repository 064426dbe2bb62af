//! A small share of the processors for servers that stand on machines of their own where people meet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where control groups are; of the first version, and of the second, with what a share is told by.
const GROUPS: [(&str, &str, &str); 2] = [
    ("/sys/fs/cgroup/cpu", "cpu.shares", "100"),
    ("/sys/fs/cgroup", "cpu.weight", "10"),
];

const MEMBERS: &str = "cgroup.procs";

/// `inner`, whose descendants together get a tenth of what everybody else in the system gets, where both want all. Each
/// backend of PostgreSQL begins a session of its own, and where the kernel groups processes by session
/// (`sched_autogroup`) one of them gets as much as everybody else together. Where this user may not say so, `inner` is
/// what it was.
pub(crate) fn aside(inner: Command) -> Command {
    let Some(members) = members() else {
        return inner;
    };
    let mut outer = Command::new("sh");
    outer.args(["-c", r#"echo $$ > "$0" && exec "$@""#]);
    outer.arg(members).arg(inner.get_program());
    outer.args(inner.get_args()).stdin(Stdio::null());
    outer
}

/// What a process enters the group by. The group stays for the next one.
fn members() -> Option<PathBuf> {
    let of_group = |(above, share, value): (&str, &str, &str)| {
        let group = Path::new(above).join("darktower-servers");
        let members = group.join(MEMBERS);
        if !Path::new(above).join(MEMBERS).exists() {
            return None;
        }
        if !members.exists() {
            fs::create_dir(&group).ok()?;
        }
        fs::write(group.join(share), value).ok()?;
        Some(members)
    };
    GROUPS.into_iter().find_map(of_group)
}
