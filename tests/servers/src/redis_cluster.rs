//! A Redis Cluster.

use tempfile::TempDir;

use crate::process::eventually;
use crate::redis::Door;
use crate::{Port, Redis, With};

/// What a node that is silent is thought dead after: see the failover row of the facts we measured.
const NODE_TIMEOUT_MS: &str = "2000";

const SLOTS: usize = 16_384;

/// Three masters, each with the same number of replicas.
#[derive(Debug)]
pub struct RedisCluster {
    /// Masters first, then the first replica of each, and so on.
    nodes: Vec<Redis>,
    _bus: Vec<Port>,
}

const MASTERS: usize = 3;

/// A name of forty hexadecimal digits.
fn name(node: usize) -> String {
    format!("{:040x}", node + 1)
}

impl RedisCluster {
    /// One that asks for nothing: starts it and waits until it takes writes and every replica follows.
    pub fn start(replicas: usize) -> Self {
        Self::start_with(replicas, With::default())
    }

    /// The same with one that asks for what `with` says, among its nodes too.
    pub fn start_with(replicas: usize, with: With<'_>) -> Self {
        let count = MASTERS * (1 + replicas);
        let ports: Vec<Port> = (0..count).map(|_| Port::take()).collect();
        let bus: Vec<Port> = (0..count).map(|_| Port::take()).collect();
        let known = |me: usize| {
            let line = |node: usize| {
                let (at, bus) = (ports[node].number(), bus[node].number());
                let me = if node == me { "myself," } else { "" };
                let (role, of) = match node < MASTERS {
                    true => ("master", "-".to_owned()),
                    false => ("slave", name(node % MASTERS)),
                };
                let (first, after) = (node * SLOTS / MASTERS, (node + 1) * SLOTS / MASTERS);
                let slots = match node < MASTERS {
                    true => format!(" {first}-{}", after - 1),
                    false => String::new(),
                };
                let epoch = node % MASTERS + 1;
                let name = name(node);
                format!(
                    "{name} 127.0.0.1:{at}@{bus} {me}{role} {of} 0 0 {epoch} connected{slots}\n"
                )
            };
            let lines: String = (0..count).map(line).collect();
            format!("{lines}vars currentEpoch {MASTERS} lastVoteEpoch 0\n")
        };
        // Each is told beforehand who the others are: they need not be introduced.
        let told: Vec<String> = (0..count).map(known).collect();
        let nodes = ports.into_iter().enumerate().map(|(node, port)| {
            let directory = TempDir::new().expect("a directory");
            let file = directory.path().join("nodes.conf");
            std::fs::write(file, &told[node]).expect("a file");
            let mut more = vec![
                ("cluster-port", bus[node].number().to_string()),
                ("cluster-enabled", "yes".to_owned()),
                ("cluster-config-file", "nodes.conf".to_owned()),
                ("cluster-node-timeout", NODE_TIMEOUT_MS.to_owned()),
                ("cluster-require-full-coverage", "no".to_owned()),
                ("repl-diskless-sync-delay", "0".to_owned()),
            ];
            if let Some(password) = with.password {
                more.push(("masterauth", password.to_owned()));
            }
            if with.authority.is_some() {
                let names = ["tls-cluster", "tls-replication"];
                more.extend(names.map(|name| (name, "yes".to_owned())));
            }
            let door = Door::at(&port, with, directory.path());
            Redis::start_as(directory, port, door, &more)
        });
        let cluster = Self {
            nodes: nodes.collect(),
            _bus: bus,
        };
        cluster.wait();
        cluster
    }

    /// Waits until every node, all of which run, finds the cluster whole, and every replica follows.
    pub fn wait(&self) {
        let says = |node: &Redis, what: &[&str], word: &str| node.ask(what).contains(word);
        for node in &self.nodes {
            let state = || node.ask(&["CLUSTER", "INFO"]) + &node.ask(&["INFO", "replication"]);
            eventually(
                || {
                    says(node, &["CLUSTER", "INFO"], "cluster_state:ok")
                        && (says(node, &["INFO", "replication"], "role:master")
                            || says(node, &["INFO", "replication"], "master_link_status:up"))
                },
                || format!("no cluster: {}", state()),
            );
        }
    }

    /// Where it is: all its nodes, without a password.
    pub fn url(&self) -> String {
        let places = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()));
        let scheme = self.nodes.first().map_or("redis", Redis::scheme);
        let places: Vec<_> = places.collect();
        format!("{scheme}-cluster://{}", places.join(","))
    }

    /// A node; the masters of the beginning are 0, 1 and 2.
    pub fn node(&mut self, node: usize) -> &mut Redis {
        &mut self.nodes[node]
    }

    /// The node that is master of `key`'s slot, as those alive see it.
    pub fn master_of(&self, key: &str) -> usize {
        let alive = self
            .nodes
            .iter()
            .find(|node| node.is_running())
            .expect("one is alive");
        let slot: usize = alive
            .ask(&["CLUSTER", "KEYSLOT", key])
            .trim()
            .parse()
            .expect("a slot");
        let nodes = alive.ask(&["CLUSTER", "NODES"]);
        let serves = |line: &&str| {
            let mut words = line.split(' ');
            let is_master = words
                .clone()
                .nth(2)
                .is_some_and(|flags| flags.contains("master"));
            is_master
                && words.any(|word| {
                    let range = word.split_once('-').map(|(a, b)| (a.parse(), b.parse()));
                    matches!(range, Some((Ok(first), Ok(last))) if (first..=last).contains(&slot))
                })
        };
        let line = nodes.lines().find(serves);
        let name = line.and_then(|line| line.split(' ').next());
        (0..self.nodes.len())
            .find(|node| Some(crate::redis_cluster::name(*node).as_str()) == name)
            .unwrap_or_else(|| panic!("nobody serves slot {slot}: {nodes}"))
    }
}
