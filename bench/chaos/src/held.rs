//! What processes hold in memory, as the kernel counts it.

use anyhow::Context as _;
use darktower_cluster_tests::Process;

/// Resident now, in bytes.
pub(crate) fn resident(process: &Process) -> anyhow::Result<f64> {
    counted(process, "VmRSS:")
}

/// The most that was resident at a time since [`forget_peak`], in bytes.
pub(crate) fn peak(process: &Process) -> anyhow::Result<f64> {
    counted(process, "VmHWM:")
}

/// What was resident before counts no more.
pub(crate) fn forget_peak(process: &Process) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{}/clear_refs", process.id()), "5").context("clear_refs")
}

fn counted(process: &Process, name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: f64 = kibibytes.with_context(|| format!("no {name}"))?.parse()?;
    Ok(kibibytes * 1024.0)
}
