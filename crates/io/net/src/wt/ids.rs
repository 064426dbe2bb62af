//! Connection ids that say which shard a connection lives on.

use std::sync::Arc;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Length of our connection ids, in bytes: the shard, a nonce, a tag.
const LEN: usize = 8;
const NONCE: usize = 4;

/// Makes ids for one shard and knows those of its siblings. The shard stands first and in clear: whoever balances
/// load by it (RFC 9000 §5.1 allows it to) needs no key.
pub(super) struct ShardIds {
    shard: u8,
    key: Arc<hmac::Key>,
    random: SystemRandom,
    /// In place of randomness where the system has none, so that ids differ all the same.
    count: u32,
}

impl ShardIds {
    pub(super) fn new(shard: u8, key: Arc<hmac::Key>) -> Self {
        Self {
            shard,
            key,
            random: SystemRandom::new(),
            count: 0,
        }
    }

    fn tag(&self, front: &[u8]) -> [u8; LEN - 1 - NONCE] {
        let mut tag = [0; LEN - 1 - NONCE];
        let whole = hmac::sign(&self.key, front);
        tag.copy_from_slice(&whole.as_ref()[..LEN - 1 - NONCE]);
        tag
    }
}

impl ConnectionIdGenerator for ShardIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [self.shard; LEN];
        if self.random.fill(&mut id[1..=NONCE]).is_err() {
            self.count = self.count.wrapping_add(1);
            id[1..=NONCE].copy_from_slice(&self.count.to_be_bytes());
        }
        let tag = self.tag(&id[..=NONCE]);
        id[NONCE + 1..].copy_from_slice(&tag);
        ConnectionId::new(&id)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        match id.len() == LEN && id[NONCE + 1..] == self.tag(&id[..=NONCE]) {
            true => Ok(()),
            false => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        LEN
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// The shard that a datagram's first packet belongs to, where its connection id is one of ours: in a short header
/// (RFC 9000 §17.3) it begins at the second byte. A long header says nothing of it, for a client's first packets carry
/// an id of its own making; such packets stay where the kernel put them, as all of a handshake's do.
pub(super) fn shard_of(datagram: &[u8]) -> Option<u8> {
    match datagram {
        [first, shard, ..] if first & 0x80 == 0 && datagram.len() > LEN => Some(*shard),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_know_each_others_ids_and_strangers_do_not() {
        let key = |byte| Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32]));
        let mut one = ShardIds::new(1, key(7));
        let two = ShardIds::new(2, key(7));
        let stranger = ShardIds::new(1, key(8));
        let id = one.generate_cid();
        assert_ne!(id, one.generate_cid());
        assert!(one.validate(&id).is_ok() && two.validate(&id).is_ok());
        assert!(stranger.validate(&id).is_err());
        let mut packet = vec![0x40];
        packet.extend_from_slice(&id);
        packet.push(0);
        assert_eq!(shard_of(&packet), Some(1));
        packet[0] = 0xc0;
        assert_eq!(shard_of(&packet), None);
        assert_eq!(shard_of(&[0x40]), None);
    }
}
