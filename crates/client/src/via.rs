//! Where peers are reached, if not where they say.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use darktower_net::Url;
use darktower_participant::Link;

/// Where peers are reached instead of where their URLs say, such as at relays.
#[derive(Clone, Debug, Default)]
pub enum Via {
    /// Where they say.
    #[default]
    Themselves,
    /// All media handlers here.
    Media(SocketAddr),
    /// Those at these addresses at others.
    Relays(BTreeMap<SocketAddr, SocketAddr>),
}

impl Via {
    pub(crate) fn to(&self, link: Link, url: &Url) -> Option<SocketAddr> {
        match self {
            Self::Themselves => None,
            Self::Media(at) => (link == Link::Media).then_some(*at),
            Self::Relays(relays) => {
                let ip = url.host_str()?.trim_matches(['[', ']']).parse().ok()?;
                let at = SocketAddr::new(ip, url.port_or_known_default()?);
                relays.get(&at).copied()
            }
        }
    }
}
