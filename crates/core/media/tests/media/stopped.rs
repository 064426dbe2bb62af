//! Bytes of a stream that was given up may still be under way.

use bytes::Bytes;
use darktower_media::subscriber::{self, Config, Input, Output, Subscriber};
use darktower_media::{OpenError, Opener};
use darktower_wire::Code;
use darktower_wire::ids::ParticipantId;

use crate::pair::ms;

struct NoKey;

impl Opener for NoKey {
    fn open(
        &mut self,
        _: ParticipantId,
        _: &[u8],
        _: &[u8],
        _: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        Err(OpenError::BadTag)
    }
}

fn data(bytes: &'static [u8]) -> Input {
    Input::StreamData {
        stream: 1,
        bytes: Bytes::from_static(bytes),
        fin: false,
    }
}

#[test]
fn what_comes_after_a_stop_is_not_taken_for_another_stream() {
    let mut subscriber = Subscriber::new(Config::default());
    subscriber.handle(ms(0), subscriber::Input::Connected, &mut NoKey);
    subscriber.handle(ms(1), data(b"\x99 is no type of stream"), &mut NoKey);
    let stop = Output::Stop {
        stream: 1,
        code: Code::BadFrameHeader,
    };
    assert_eq!(subscriber.poll(), Some(stop));
    subscriber.handle(ms(2), data(b"\x98 came from the same"), &mut NoKey);
    assert_eq!(subscriber.poll(), None);
    assert_eq!(subscriber.counters().refused_malformed, 1);
    // On another connection the number means another stream.
    subscriber.handle(ms(3), subscriber::Input::Disconnected, &mut NoKey);
    subscriber.handle(ms(4), subscriber::Input::Connected, &mut NoKey);
    subscriber.handle(ms(5), data(b"\x99 is no type of stream"), &mut NoKey);
    assert_eq!(subscriber.counters().refused_malformed, 2);
}
