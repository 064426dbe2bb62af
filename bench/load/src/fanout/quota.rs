//! A part of the machine's processors for one process, by a control group of the kernel: on few processors the load would
//! else take what the process is to be measured on.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where control groups are; of the first version, and of the second.
const GROUPS: [&str; 2] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"];
/// What is used up is there again after so long.
const PERIOD_US: u64 = 10_000;

/// A group that goes with the process in it.
#[derive(Debug)]
pub struct Quota {
    group: PathBuf,
}

impl Quota {
    /// The process and all its threads get so many cores, such as 0.6. Fails where this user may not say so.
    pub fn of(cores: f64, pid: u32) -> anyhow::Result<Self> {
        let most = ((cores * PERIOD_US as f64) as u64).max(1_000);
        let is_first = Path::new(GROUPS[0]).join("cpu.cfs_quota_us").exists();
        let above = if is_first { GROUPS[0] } else { GROUPS[1] };
        let group = Path::new(above).join(format!("darktower-bench-{pid}"));
        let quota = Self {
            group: group.clone(),
        };
        let refused = || format!("no control group {} for the processors", group.display());
        fs::create_dir(&group).with_context(refused)?;
        let write = |name: &str, value: String| fs::write(group.join(name), value);
        let written = match is_first {
            true => write("cpu.cfs_period_us", PERIOD_US.to_string())
                .and_then(|()| write("cpu.cfs_quota_us", most.to_string())),
            false => write("cpu.max", format!("{most} {PERIOD_US}")),
        };
        written.with_context(refused)?;
        write("cgroup.procs", pid.to_string()).with_context(refused)?;
        Ok(quota)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // It can be removed once nobody is in it.
        if let Err(error) = fs::remove_dir(&self.group) {
            let group = self.group.display();
            // A bench without standard error still has its result.
            let _ = writeln!(std::io::stderr(), "{group} is left behind: {error}");
        }
    }
}
