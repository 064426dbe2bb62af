//! How often one address may ask.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use darktower_wire::Code;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::Config;
use crate::problem::Problem;

/// The limits of one instance, each per address.
#[derive(Debug)]
pub(crate) struct Limits {
    lookups: DefaultKeyedRateLimiter<IpAddr>,
    creations: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
}

fn limiter(per_second: u32, burst: u32) -> DefaultKeyedRateLimiter<IpAddr> {
    // Nothing at all would be a service that is off: one is the least.
    let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
    RateLimiter::keyed(quota)
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
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            lookups: limiter(config.lookups_per_second, config.lookup_burst),
            creations: limiter(config.creations_per_second, config.creation_burst),
            clock: DefaultClock::default(),
        }
    }

    /// Whether `address` may look up a meeting or ask for a token now.
    pub(crate) fn lookup(&self, address: IpAddr) -> Result<(), Problem> {
        self.check(&self.lookups, address)
    }

    /// Whether `address` may create a meeting now.
    pub(crate) fn creation(&self, address: IpAddr) -> Result<(), Problem> {
        self.check(&self.creations, address)
    }

    fn check(
        &self,
        limiter: &DefaultKeyedRateLimiter<IpAddr>,
        address: IpAddr,
    ) -> Result<(), Problem> {
        limiter.check_key(&counted(address)).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            Problem::from(Code::RateLimited).retry_after(wait)
        })
    }

    /// Forgets addresses that have been silent long enough to have their whole burst again.
    pub(crate) fn sweep(&self) {
        for limiter in [&self.lookups, &self.creations] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
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
