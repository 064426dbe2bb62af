//! How often one address may ask: of this instance, and of all that share the
//! state.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use darktower_store::StateStore;
use darktower_wire::Code;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::Config;
use crate::problem::Problem;

/// What all instances count together, they count by this: long enough that a
/// burst is a small part of it, short enough that nobody waits for long.
const WINDOW: Duration = Duration::from_secs(10);

/// A state store that did not count is not asked for so long; the limits of
/// each instance hold meanwhile.
const UNCOUNTED: Duration = Duration::from_secs(5);

/// The limits, each per address.
pub(crate) struct Limits {
    lookups: Limit,
    creations: Limit,
    clock: DefaultClock,
    state: Arc<dyn StateStore>,
    uncounted_until: Mutex<Option<Instant>>,
}

struct Limit {
    name: &'static str,
    own: DefaultKeyedRateLimiter<IpAddr>,
    /// Requests in a window that one instance alone lets through at most: what
    /// keeps within that is refused by none.
    together: u64,
}

impl Limit {
    fn new(name: &'static str, per_second: u32, burst: u32) -> Self {
        // Nothing at all would be a service that is off: one is the least.
        let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let (per_second, burst) = (at_least_one(per_second), at_least_one(burst));
        Self {
            name,
            own: RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)),
            together: u64::from(per_second.get()) * WINDOW.as_secs() + u64::from(burst.get()),
        }
    }
}

/// Who is counted: an address, or the network that one IPv6 host usually owns whole.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

impl Limits {
    pub(crate) fn new(config: &Config, state: Arc<dyn StateStore>) -> Self {
        let (lookups, creations) = (config.lookups_per_second, config.creations_per_second);
        Self {
            lookups: Limit::new("lookups", lookups, config.lookup_burst),
            creations: Limit::new("creations", creations, config.creation_burst),
            clock: DefaultClock::default(),
            state,
            uncounted_until: Mutex::new(None),
        }
    }

    /// Whether `address` may look up a meeting or ask for a token now.
    pub(crate) async fn lookup(&self, address: IpAddr) -> Result<(), Problem> {
        self.check(&self.lookups, address).await
    }

    /// Whether `address` may create a meeting now.
    pub(crate) async fn creation(&self, address: IpAddr) -> Result<(), Problem> {
        self.check(&self.creations, address).await
    }

    async fn check(&self, limit: &Limit, address: IpAddr) -> Result<(), Problem> {
        let address = counted(address);
        limit.own.check_key(&address).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            Problem::from(Code::RateLimited).retry_after(wait)
        })?;
        if self.is_uncounted() {
            return Ok(());
        }
        let key = format!("{}/{address}", limit.name);
        match self.state.count(&key, WINDOW).await {
            Ok(count) if count > limit.together => {
                Err(Problem::from(Code::RateLimited).retry_after(WINDOW))
            }
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::info!(%error, "requests are not counted together for a while");
                self.count_again_at(Instant::now() + UNCOUNTED);
                Ok(())
            }
        }
    }

    fn is_uncounted(&self) -> bool {
        let until = self.uncounted_until.lock();
        until
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| Instant::now() < until)
    }

    fn count_again_at(&self, when: Instant) {
        let until = self.uncounted_until.lock();
        *until.unwrap_or_else(PoisonError::into_inner) = Some(when);
    }

    /// Forgets addresses that have been silent long enough to have their whole burst again.
    pub(crate) fn sweep(&self) {
        for limit in [&self.lookups.own, &self.creations.own] {
            limit.retain_recent();
            limit.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_is_counted_once() {
        let of = |text: &str| counted(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
