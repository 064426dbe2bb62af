//! What of a microphone is sent.

use darktower_sound::gate::{Gate, Kind, Turn};
use darktower_sound::voice::Heard;

fn heard(minus_dbov: u8, voice: bool) -> Heard {
    Heard {
        minus_dbov,
        voice,
        stands_out: voice,
    }
}

fn turns(gate: &mut Gate, heard: Heard, muted: bool, count: usize) -> Vec<Turn> {
    (0..count).map(|_| gate.take(heard, muted)).collect()
}

#[test]
fn a_quiet_room_rests_and_says_so_each_400_ms() {
    let mut gate = Gate::new(Kind::Voice);
    assert_eq!(
        turns(&mut gate, heard(20, true), false, 50),
        [Turn::Send; 50]
    );
    let quiet = turns(&mut gate, heard(70, false), false, 109);
    assert_eq!(quiet[..9], [Turn::Send; 9]);
    for (at, turn) in quiet[9..].iter().enumerate() {
        let wanted = if at < 3 || at % 20 == 0 {
            Turn::Rest
        } else {
            Turn::Pause
        };
        assert_eq!(*turn, wanted, "packet {at} of the pause");
    }
    assert_eq!(gate.take(heard(20, true), false), Turn::Send);
    assert_eq!(gate.take(heard(70, false), false), Turn::Send);
}

#[test]
fn a_loud_background_and_soft_music_are_sent() {
    let mut gate = Gate::new(Kind::Voice);
    assert!(
        turns(&mut gate, heard(40, false), false, 500)
            .iter()
            .all(|turn| *turn == Turn::Send)
    );
    let mut gate = Gate::new(Kind::Sound);
    assert!(
        turns(&mut gate, heard(75, false), false, 500)
            .iter()
            .all(|turn| *turn == Turn::Send)
    );
    assert_eq!(
        turns(&mut gate, heard(127, false), false, 100)[99],
        Turn::Pause
    );
}

#[test]
fn who_is_muted_says_so_and_then_nothing() {
    let mut gate = Gate::new(Kind::Voice);
    gate.take(heard(20, true), false);
    let muted = turns(&mut gate, heard(20, true), true, 200);
    assert_eq!(muted[..3], [Turn::Rest; 3]);
    assert!(muted[3..].iter().all(|turn| *turn == Turn::Pause));
    assert_eq!(gate.take(heard(20, true), false), Turn::Send);
}
