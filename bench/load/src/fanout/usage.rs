//! What a process costs, from the kernel's accounting.
//!
//! CPU is the time on a core of every thread (`/proc/<pid>/task/*/schedstat`, nanoseconds, user and system together, what
//! the kernel did for it in interrupts on loopback included). The kernel's total for the process
//! (`/proc/<pid>/stat`, clock ticks) is read along: it knows threads that have ended meanwhile. How long threads waited
//! for a core that others had says whether a measurement was made on a quiet machine.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;

/// CPU time at one moment.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Of each: on a core, and waiting for one.
    threads: BTreeMap<u32, [u64; 2]>,
    ticks: u64,
}

/// A clock tick in `/proc/<pid>/stat`: USER_HZ is 100 on every Linux of today.
const TICK: Duration = Duration::from_millis(10);

/// Thread times and process total are read one after the other.
const APART: Duration = Duration::from_millis(60);

impl Usage {
    /// Of the process so far.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let mut threads = BTreeMap::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread: u32 = entry?.file_name().to_string_lossy().parse()?;
            // A thread may end between the listing and the reading.
            if let Ok(text) =
                std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat"))
            {
                threads.insert(thread, times(&text)?);
            }
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let ticks = ticks(&stat).context("/proc/<pid>/stat is not as documented")?;
        Ok(Self { threads, ticks })
    }

    /// CPU used from `before` to `self`. Fails where the two accounts differ by more than they can by rounding.
    pub fn since(&self, before: &Self) -> anyhow::Result<Duration> {
        let used = self.grown(before, 0);
        let total = TICK * u32::try_from(self.ticks.saturating_sub(before.ticks))?;
        let tolerated = APART + used / 33;
        anyhow::ensure!(
            used.abs_diff(total) <= tolerated,
            "the kernel accounts {total:?} to the process and {used:?} to its threads"
        );
        Ok(used)
    }

    /// How long threads could have run from `before` to `self` and had no core.
    pub fn waited_since(&self, before: &Self) -> Duration {
        self.grown(before, 1)
    }

    fn grown(&self, before: &Self, which: usize) -> Duration {
        let grown = self.threads.iter().map(|(thread, now)| {
            let had = before.threads.get(thread).map_or(0, |it| it[which]);
            now[which].saturating_sub(had)
        });
        Duration::from_nanos(grown.sum())
    }
}

/// Time on a core of the calling thread.
pub fn of_this_thread() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(times(&text)?[0]))
}

/// On a core, and waiting for one, in nanoseconds.
fn times(schedstat: &str) -> anyhow::Result<[u64; 2]> {
    let mut fields = schedstat.split_whitespace();
    let mut next = || fields.next().context("a short schedstat");
    Ok([next()?.parse()?, next()?.parse()?])
}

/// utime and stime, the fields 14 and 15; the name in parentheses may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Memory of the process that is resident, in kB.
pub fn resident_kb(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.context("no VmRSS")?.trim().trim_end_matches("kB");
    Ok(kb.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_past_any_name() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 1 0 1";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (x) S 1"), None);
        assert_eq!(times("55 7 3\n").unwrap(), [55, 7]);
        assert!(times("").is_err());
    }

    #[test]
    fn work_done_here_is_accounted_to_this_process_and_thread() {
        let pid = std::process::id();
        let (before, mine) = (Usage::of(pid).unwrap(), of_this_thread().unwrap());
        let mut sum = 0_u64;
        while of_this_thread().unwrap() < mine + Duration::from_millis(100) {
            sum = (0..10_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        let used = Usage::of(pid).unwrap().since(&before).unwrap();
        assert!(used >= Duration::from_millis(90), "{used:?}");
        assert!(resident_kb(pid).unwrap() > 100);
    }
}
