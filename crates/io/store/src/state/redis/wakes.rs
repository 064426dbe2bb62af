//! Who waits for what, on the one connection that hears it all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{PushInfo, PushKind, Value};
use tokio::sync::watch;

/// The channels that somebody here waits for. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    channels: Arc<Mutex<BTreeMap<Vec<u8>, watch::Sender<()>>>>,
}

impl Waiting {
    fn channels(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, watch::Sender<()>>> {
        // Every change below is complete before anything can panic.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `channel` from now on; an error from the receiver means that nothing more is heard.
    pub(super) fn wait(&self, channel: &str) -> watch::Receiver<()> {
        let mut channels = self.channels();
        let waiting = channels.entry(channel.into()).or_default();
        waiting.subscribe()
    }

    /// Forgets the channel where nobody waits for it any more; whether it is unknown then.
    pub(super) fn forget(&self, channel: &str) -> bool {
        let mut channels = self.channels();
        let key = channel.as_bytes();
        let is_idle = |waiting: &watch::Sender<()>| waiting.receiver_count() == 0;
        if channels.get(key).is_some_and(is_idle) {
            channels.remove(key);
        }
        !channels.contains_key(key)
    }

    /// Nothing more is heard of what was waited for until now: whoever waits looks and asks anew.
    pub(super) fn end(&self) {
        self.channels().clear();
    }

    /// What the server says unasked.
    pub(super) fn hear(&self, push: &PushInfo) {
        match (&push.kind, push.data.first()) {
            (PushKind::SMessage, Some(Value::BulkString(channel))) => {
                if let Some(waiting) = self.channels().get(channel) {
                    waiting.send_replace(());
                }
            }
            // The channel's slot has moved to another server.
            (PushKind::SUnsubscribe, Some(Value::BulkString(channel))) => {
                self.channels().remove(channel);
            }
            (PushKind::Disconnection, _) => self.end(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(kind: PushKind, channel: &str) -> PushInfo {
        let data = vec![Value::BulkString(channel.into()), Value::Nil];
        PushInfo { kind, data }
    }

    #[test]
    fn a_channel_is_heard_until_nobody_waits() {
        let waiting = Waiting::default();
        let (mut one, other) = (waiting.wait("one"), waiting.wait("other"));
        waiting.hear(&push(PushKind::SMessage, "one"));
        assert!(one.has_changed().unwrap() && !other.has_changed().unwrap());
        one.mark_unchanged();
        assert!(!waiting.forget("one"));
        drop(one);
        assert!(waiting.forget("one"));
        waiting.hear(&push(PushKind::SMessage, "one"));
    }

    #[test]
    fn a_lost_connection_or_subscription_ends_the_waiting() {
        let waiting = Waiting::default();
        let (one, other) = (waiting.wait("one"), waiting.wait("other"));
        waiting.hear(&push(PushKind::SUnsubscribe, "one"));
        assert!(one.has_changed().is_err() && other.has_changed().is_ok());
        waiting.hear(&push(PushKind::Disconnection, ""));
        assert!(other.has_changed().is_err());
    }
}
