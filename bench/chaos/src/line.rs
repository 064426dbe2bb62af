//! One participant's own way to everything: what is cut is that participant's, and nobody else's.

use std::net::SocketAddr;

use darktower_client::Via;
use darktower_link::relay::{Config, Relay};

use crate::system::System;

/// Relays to the API and to each node, of one participant alone.
pub(crate) struct Line {
    api: Relay,
    nodes: Vec<(SocketAddr, Relay)>,
}

impl Line {
    /// To the first global controller, and to all controllers and handlers that there are now.
    pub(crate) fn lay(system: &System) -> anyhow::Result<Self> {
        let relay = |to| Relay::start(Config::new(to));
        let nodes = system.controllers.iter().chain(&system.handlers);
        let nodes = nodes.map(|node| Ok((node.addr, relay(node.addr)?)));
        Ok(Self {
            api: relay(system.globals[0].addr)?,
            nodes: nodes.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Where the API is at its end.
    pub(crate) fn api(&self) -> String {
        format!("http://{}", self.api.addr())
    }

    /// Where the nodes are at its end.
    pub(crate) fn ways(&self) -> Via {
        let nodes = self.nodes.iter();
        Via::Relays(nodes.map(|(to, relay)| (*to, relay.addr())).collect())
    }

    /// Nothing passes any more, or everything again.
    pub(crate) fn cut(&self, is_cut: bool) -> anyhow::Result<()> {
        let nodes = self.nodes.iter().map(|(_, relay)| relay);
        for relay in nodes.chain([&self.api]) {
            relay.blackout(is_cut)?;
        }
        Ok(())
    }
}
