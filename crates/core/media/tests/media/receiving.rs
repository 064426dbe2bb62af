//! The subscriber alone: order, gaps, repeats, and what it does not believe.

use bytes::Bytes;
use darktower_media::subscriber::{Config, Input, Output, Subscriber, Track};
use darktower_media::{Kind, Sealer};
use darktower_wire::ids::{ParticipantId, TrackId};
use darktower_wire::media::{Header, STREAM_GROUP, put_entry_length};

use crate::pair::{CAMERA, MICROPHONE, ms};
use crate::sealing::{ALICE, BOB, CAROL, Keys};

struct End {
    subscriber: Subscriber,
    keys: Keys,
}

impl End {
    fn new() -> Self {
        let mut end = Self {
            subscriber: Subscriber::new(Config::default()),
            keys: Keys::of(BOB),
        };
        end.tell(0, Input::Connected);
        for (id, kind) in [(CAMERA, Kind::Video), (MICROPHONE, Kind::Audio)] {
            let (owner, muted) = (ALICE, false);
            end.tell(
                0,
                Input::Track(Track {
                    id,
                    owner,
                    kind,
                    muted,
                }),
            );
        }
        end
    }

    fn tell(&mut self, at: u64, input: Input) -> Vec<Output> {
        self.subscriber.handle(ms(at), input, &mut self.keys);
        std::iter::from_fn(|| self.subscriber.poll()).collect()
    }

    /// Group and number of each frame delivered by this.
    fn frames(&mut self, at: u64, input: Input) -> Vec<(u64, u64)> {
        let outputs = self.tell(at, input).into_iter();
        let places = outputs.filter_map(|output| match output {
            Output::Frame(opened) => Some((opened.header.group, opened.header.frame)),
            _ => None,
        });
        places.collect()
    }
}

fn sealed(by: ParticipantId, track: TrackId, group: u64, frame: u64) -> Vec<u8> {
    let key = frame == 0 || track == MICROPHONE;
    sealed_as(
        by,
        Header {
            track,
            group,
            frame,
            key,
            ..Header::default()
        },
    )
}

fn sealed_as(by: ParticipantId, header: Header) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    let clear = bytes.clone();
    Keys::of(by).seal(&clear, &[5; 20], &mut bytes);
    bytes
}

fn sound(frame: u64) -> Input {
    Input::Datagram(sealed(ALICE, MICROPHONE, 1, frame).into())
}

fn entry(frame: &[u8], first: bool) -> Bytes {
    let mut bytes = Vec::new();
    if first {
        bytes.push(STREAM_GROUP);
    }
    put_entry_length(&mut bytes, frame.len());
    bytes.extend(frame);
    bytes.into()
}

fn picture(group: u64, frame: u64) -> Input {
    let bytes = entry(&sealed(ALICE, CAMERA, group, frame), frame == 0);
    Input::StreamData {
        stream: group,
        bytes,
        fin: false,
    }
}

#[test]
fn sound_is_put_in_order_and_never_waited_for_too_long() {
    let mut end = End::new();
    assert_eq!(end.frames(0, sound(0)), [(1, 0)]);
    assert_eq!(end.frames(1, sound(2)), []);
    assert_eq!(end.frames(2, sound(1)), [(1, 1), (1, 2)]);
    assert_eq!(end.frames(3, sound(5)), []);
    assert_eq!(end.frames(40, sound(4)), []);
    assert_eq!(end.subscriber.deadline(), Some(ms(63)));
    assert_eq!(end.frames(62, Input::Tick), []);
    assert_eq!(
        end.frames(63, Input::Tick),
        [(1, 4), (1, 5)],
        "number 3 is given up"
    );
    assert_eq!(end.frames(64, sound(3)), [], "and late");
}

#[test]
fn what_was_seen_is_refused() {
    let mut end = End::new();
    end.tell(0, sound(0));
    end.tell(0, sound(2));
    for repeat in [sound(0), sound(2)] {
        assert_eq!(end.frames(1, repeat), []);
    }
    assert_eq!(end.frames(2, picture(1, 0)), [(1, 0)]);
    assert_eq!(end.frames(2, picture(1, 1)), [(1, 1)]);
    let again = entry(&sealed(ALICE, CAMERA, 1, 0), true);
    assert_eq!(
        end.frames(
            3,
            Input::StreamData {
                stream: 50,
                bytes: again,
                fin: true
            }
        ),
        []
    );
    assert_eq!(end.subscriber.counters().refused_replay, 3);
}

#[test]
fn the_tail_of_an_overtaken_group_is_late_and_no_repeat() {
    let mut end = End::new();
    assert_eq!(end.frames(0, picture(1, 0)), [(1, 0)]);
    assert_eq!(end.frames(1, picture(2, 0)), []);
    assert_eq!(end.frames(1000, Input::Tick), [(2, 0)]);
    let tail = Input::StreamData {
        stream: 50,
        bytes: entry(&sealed(ALICE, CAMERA, 1, 1), true),
        fin: true,
    };
    assert_eq!(end.frames(1001, tail), []);
    let counted = end.subscriber.counters();
    assert_eq!((counted.refused_replay, counted.dropped), (0, 1));
}

#[test]
fn another_senders_frame_is_refused() {
    let mut end = End::new();
    let bytes = sealed(CAROL, MICROPHONE, 1, 0).into();
    assert_eq!(end.frames(0, Input::Datagram(bytes)), []);
    let bytes = entry(&sealed(CAROL, CAMERA, 1, 0), true);
    assert_eq!(
        end.frames(
            0,
            Input::StreamData {
                stream: 9,
                bytes,
                fin: false
            }
        ),
        []
    );
    assert_eq!(end.subscriber.counters().refused_sender, 2);
    assert_eq!(end.frames(1, picture(2, 0)), [(2, 0)]);
}

#[test]
fn a_changed_copy_beside_the_true_frame_does_no_harm() {
    let mut end = End::new();
    assert_eq!(end.frames(0, picture(1, 0)), [(1, 0)]);
    let mut changed = sealed(ALICE, CAMERA, 1, 1);
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    let bytes = entry(&changed, true);
    assert_eq!(
        end.frames(
            1,
            Input::StreamData {
                stream: 9,
                bytes,
                fin: false
            }
        ),
        []
    );
    assert_eq!(end.frames(2, picture(1, 1)), [(1, 1)]);
    assert_eq!(end.subscriber.counters().refused_bad_tag, 1);
    assert_eq!(end.subscriber.counters().key_frames_wanted, 0);
}

#[test]
fn a_missing_picture_ends_the_group_and_asks() {
    let mut end = End::new();
    end.tell(0, picture(1, 0));
    let mut changed = sealed(ALICE, CAMERA, 1, 1);
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    let bytes = entry(&changed, false);
    end.tell(
        1,
        Input::StreamData {
            stream: 1,
            bytes,
            fin: false,
        },
    );
    let outputs = end.tell(2, picture(1, 2));
    let (track, layer) = (CAMERA, 0);
    assert!(
        outputs.contains(&Output::KeyFrameWanted { track, layer }),
        "{outputs:?}"
    );
    assert!(
        outputs
            .iter()
            .any(|one| matches!(one, Output::Stop { stream: 1, .. }))
    );
    assert_eq!(end.frames(3, picture(2, 0)), [(2, 0)]);
}

#[test]
fn a_new_group_waits_a_moment_for_the_tail_of_the_old_one() {
    let mut end = End::new();
    end.tell(0, picture(1, 0));
    assert_eq!(end.frames(10, picture(2, 0)), []);
    assert_eq!(end.frames(12, picture(1, 1)), [(1, 1)]);
    let (stream, bytes, fin) = (1, Bytes::new(), true);
    // The end of the stream is the end of the group.
    let ended = Input::StreamData { stream, bytes, fin };
    assert_eq!(end.frames(14, ended), [(2, 0)]);
    assert_eq!(end.frames(15, picture(3, 0)), []);
    assert_eq!(end.frames(35, Input::Tick), [(3, 0)], "waited long enough");
    assert_eq!(end.frames(36, picture(2, 1)), [], "stale");
}

#[test]
fn a_track_may_be_told_of_after_its_first_frames() {
    let mut end = End::new();
    let id = TrackId(77);
    let bytes = entry(&sealed(ALICE, id, 1, 0), true);
    assert_eq!(
        end.frames(
            0,
            Input::StreamData {
                stream: 1,
                bytes,
                fin: false
            }
        ),
        []
    );
    let (owner, kind, muted) = (ALICE, Kind::Video, false);
    assert_eq!(
        end.frames(
            50,
            Input::Track(Track {
                id,
                owner,
                kind,
                muted
            })
        ),
        [(1, 0)]
    );
}

#[test]
fn a_key_frame_is_asked_for_when_none_comes() {
    let mut end = End::new();
    let asked = |outputs: Vec<Output>| {
        outputs
            .iter()
            .filter(|one| matches!(one, Output::KeyFrameWanted { .. }))
            .count()
    };
    assert_eq!(end.subscriber.deadline(), Some(ms(500)));
    assert_eq!(asked(end.tell(500, Input::Tick)), 1);
    assert_eq!(asked(end.tell(1499, Input::Tick)), 0);
    assert_eq!(asked(end.tell(1500, Input::Tick)), 1);
    let (id, owner, kind, muted) = (CAMERA, ALICE, Kind::Video, true);
    assert_eq!(
        asked(end.tell(
            9000,
            Input::Track(Track {
                id,
                owner,
                kind,
                muted
            })
        )),
        0
    );
    assert_eq!(end.subscriber.deadline(), None, "nobody sends anything");
}

#[test]
fn what_lies_is_stopped() {
    let mut end = End::new();
    for (stream, bytes) in [
        (91, vec![9, 9, 9]),
        (92, vec![STREAM_GROUP, 0xff, 0xff, 0xff, 0xff]),
    ] {
        let bytes = Bytes::from(bytes);
        let outputs = end.tell(
            0,
            Input::StreamData {
                stream,
                bytes,
                fin: false,
            },
        );
        let stopped =
            |one: &Output| matches!(one, Output::Stop { stream: at, .. } if *at == stream);
        assert!(stream == 92 || outputs.iter().any(stopped), "{outputs:?}");
    }
    // A frame announced and never sent is given up.
    let outputs = end.tell(600, Input::Tick);
    assert!(
        outputs
            .iter()
            .any(|one| matches!(one, Output::Stop { stream: 92, .. })),
        "{outputs:?}"
    );
    assert_eq!(end.frames(601, picture(1, 0)), [(1, 0)]);
}

/// A picture of a layer, captured then; each group on a stream of its own.
fn layered(layer: u8, group: u64, frame: u64, capture_ms: u64) -> Input {
    let header = Header {
        track: CAMERA,
        layer,
        group,
        frame,
        key: frame == 0,
        capture_us: capture_ms * 1000,
        ..Header::default()
    };
    Input::StreamData {
        stream: u64::from(layer) * 1000 + group,
        bytes: entry(&sealed_as(ALICE, header), frame == 0),
        fin: false,
    }
}

fn ended(layer: u8, group: u64) -> Input {
    Input::StreamData {
        stream: u64::from(layer) * 1000 + group,
        bytes: Bytes::new(),
        fin: true,
    }
}

impl End {
    /// Layer, capture time and whether it is to be shown, of each picture delivered.
    fn shown(&mut self, at: u64, input: Input) -> Vec<(u8, u64, bool)> {
        let outputs = self.tell(at, input).into_iter();
        let pictures = outputs.filter_map(|output| match output {
            Output::Frame(one) => {
                let header = one.header;
                Some((header.layer, header.capture_us / 1000, !one.behind))
            }
            _ => None,
        });
        pictures.collect()
    }
}

#[test]
fn another_layer_goes_on_where_its_group_begins() {
    let mut end = End::new();
    assert_eq!(end.shown(0, layered(0, 1, 0, 0)), [(0, 0, true)]);
    assert_eq!(end.shown(33, layered(0, 1, 1, 33)), [(0, 33, true)]);
    // The same picture comes in the larger layer, and the smaller one ends.
    assert_eq!(end.shown(35, layered(1, 7, 0, 33)), []);
    assert_eq!(end.shown(36, ended(0, 1)), [(1, 33, false)], "it was shown");
    assert_eq!(end.shown(66, layered(1, 7, 1, 66)), [(1, 66, true)]);
    // And back, by a key frame that overtakes the end of the larger.
    assert_eq!(end.shown(99, layered(0, 2, 0, 99)), []);
    assert_eq!(end.shown(119, Input::Tick), [(0, 99, true)]);
    assert_eq!(end.subscriber.counters().key_frames_wanted, 0);
}

#[test]
fn a_group_that_began_earlier_is_caught_up_with_before_it_is_shown() {
    let mut end = End::new();
    end.tell(0, layered(0, 1, 0, 900));
    end.tell(33, layered(0, 1, 1, 933));
    // From the handler's cache: 300 ms old.
    for (frame, capture) in [(0, 633), (1, 700), (2, 800), (3, 900)] {
        assert_eq!(end.shown(40, layered(1, 5, frame, capture)), []);
    }
    assert_eq!(
        end.shown(66, layered(0, 1, 2, 966)),
        [(0, 966, true)],
        "meanwhile"
    );
    assert_eq!(
        end.shown(80, layered(1, 5, 4, 966)).len(),
        5,
        "it has come up"
    );
    assert_eq!(end.shown(99, layered(1, 5, 5, 999)), [(1, 999, true)]);
    assert_eq!(
        end.shown(100, layered(0, 1, 3, 999)),
        [],
        "the old layer is left"
    );
}

#[test]
fn what_is_older_is_decoded_and_not_shown_where_nothing_else_comes() {
    let mut end = End::new();
    end.tell(0, layered(0, 1, 0, 900));
    end.tell(10, layered(1, 5, 0, 700));
    assert_eq!(end.shown(20, ended(0, 1)), [(1, 700, false)]);
    assert_eq!(end.shown(30, layered(1, 5, 1, 800)), [(1, 800, false)]);
    assert_eq!(end.shown(40, layered(1, 5, 2, 933)), [(1, 933, true)]);
}

#[test]
fn a_group_of_another_layer_that_never_comes_up_is_given_up() {
    let mut end = End::new();
    end.tell(0, layered(0, 1, 0, 900));
    end.tell(10, layered(1, 5, 0, 700));
    for frame in 1..100 {
        let at = frame * 33;
        assert_eq!(
            end.shown(at, layered(0, 1, frame, 900 + at)),
            [(0, 900 + at, true)]
        );
        end.tell(at, Input::Tick);
    }
    assert_eq!(end.subscriber.kept_bytes(), 0);
    assert_eq!(end.subscriber.counters().dropped, 1);
    assert_eq!(end.subscriber.counters().key_frames_wanted, 0);
}

#[test]
fn a_clock_that_begins_anew_does_not_leave_a_track_dark() {
    let mut end = End::new();
    end.tell(0, layered(0, 1, 0, 3_600_000));
    end.tell(10, ended(0, 1));
    assert_eq!(end.shown(20, layered(0, 2, 0, 5)), [(0, 5, true)]);
}

#[test]
fn left_out_temporal_layers_are_no_loss() {
    let mut end = End::new();
    for frame in [0, 2, 4, 8, 9, 10] {
        assert_eq!(end.frames(frame * 33, picture(1, frame)), [(1, frame)]);
    }
    assert_eq!(end.subscriber.counters().key_frames_wanted, 0);
}

#[test]
fn what_is_hidden_is_not_asked_for() {
    let mut end = End::new();
    let track = CAMERA;
    end.tell(
        0,
        Input::Shown {
            track,
            shown: false,
        },
    );
    assert_eq!(end.subscriber.deadline(), None);
    end.tell(9000, Input::Shown { track, shown: true });
    assert_eq!(end.subscriber.deadline(), Some(ms(9500)));
    let asked = end.tell(9500, Input::Tick);
    assert!(
        matches!(asked[..], [Output::KeyFrameWanted { .. }]),
        "{asked:?}"
    );
}

#[test]
fn sound_that_was_not_forwarded_for_a_while_is_not_waited_for() {
    let mut end = End::new();
    assert_eq!(end.frames(0, sound(0)), [(1, 0)]);
    assert_eq!(end.frames(5000, sound(250)), [(1, 250)]);
    assert_eq!(end.frames(5020, sound(252)), [], "this one is");
    assert_eq!(end.frames(5080, Input::Tick), [(1, 252)]);
}
