//! What Redis was asked, by its own count (`INFO commandstats`).

/// Calls so far, or from one moment to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Requests of services: every one is a script, a subscription or a publication.
    pub(crate) requests: u64,
    /// Commands that the scripts ran.
    pub(crate) commands: u64,
    /// Time that Redis spent in requests, in microseconds.
    pub(crate) us: u64,
}

/// What clients call; everything else is called by the scripts.
const REQUESTS: [&str; 4] = ["evalsha", "eval", "ssubscribe", "subscribe"];
/// What this bench itself asks, what only connecting takes.
const NOT_COUNTED: [&str; 6] = ["info", "ping", "hello", "client", "cluster", "command"];

impl Stats {
    /// From the text of `INFO commandstats`.
    pub(crate) fn read(text: &str) -> Self {
        let mut stats = Self::default();
        for line in text.lines() {
            let Some((name, fields)) = line
                .strip_prefix("cmdstat_")
                .and_then(|rest| rest.split_once(':'))
            else {
                continue;
            };
            let field = |wanted: &str| {
                let found = fields.split(',').find_map(|it| it.strip_prefix(wanted));
                found.and_then(|it| it.parse::<u64>().ok()).unwrap_or(0)
            };
            let command = name.split('|').next().unwrap_or(name);
            if REQUESTS.contains(&command) {
                stats.requests += field("calls=");
                stats.us += field("usec=");
            } else if !NOT_COUNTED.contains(&command) {
                stats.commands += field("calls=");
            }
        }
        stats
    }

    /// What came since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(before.requests),
            commands: self.commands.saturating_sub(before.commands),
            us: self.us.saturating_sub(before.us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_requests_and_what_they_run_are_commands() {
        let text = "# Commandstats\r\n\
            cmdstat_evalsha:calls=7,usec=90,usec_per_call=1.00,rejected_calls=0,failed_calls=0\r\n\
            cmdstat_hget:calls=20,usec=5,usec_per_call=1.00,rejected_calls=0,failed_calls=0\r\n\
            cmdstat_client|setinfo:calls=3,usec=5,usec_per_call=1.00,rejected_calls=0,failed_calls=0\r\n\
            cmdstat_info:calls=3,usec=5,usec_per_call=1.00,rejected_calls=0,failed_calls=0\r\n";
        let stats = Stats::read(text);
        assert_eq!((stats.requests, stats.commands, stats.us), (7, 20, 90));
    }
}
