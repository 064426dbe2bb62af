//! Whatever comes: no panic, bounded memory, samples that are samples.

use std::time::Duration;

use darktower_sound::RATE;
use darktower_sound::player::{Heading, Player};
use darktower_sound::playout::{Packet, Play, Playout};
use proptest::prelude::*;

fn any_packet() -> impl Strategy<Value = Packet> {
    let number = prop_oneof![0u64..2000, any::<u64>()];
    let capture = prop_oneof![0u64..40_000_000, any::<u64>()];
    let length = prop_oneof![Just(20_000u32), any::<u32>()];
    (number, capture, length, any::<bool>()).prop_map(|(number, capture_us, length_us, rest)| {
        Packet {
            number,
            capture_us,
            length_us,
            rest,
        }
    })
}

proptest! {
    #[test]
    fn any_packets_in_any_order_are_borne(
        steps in proptest::collection::vec((0u64..200_000, any_packet(), 0u8..4), 1..400)
    ) {
        let mut playout = Playout::new();
        let mut now = Duration::from_secs(1);
        for (later, packet, pulls) in steps {
            now += Duration::from_micros(later);
            playout.push(now, packet, ());
            for _ in 0..pulls {
                match playout.pull(now) {
                    Play::Packet { speed, .. } => prop_assert!((0.85..=1.15).contains(&speed)),
                    Play::Conceal(time) | Play::Silence(time) => {
                        prop_assert!(time > Duration::ZERO && time <= Duration::from_millis(5));
                        now += time;
                    }
                }
            }
            let report = playout.report(now);
            prop_assert!(report.target_us <= 300_000);
        }
    }

    #[test]
    fn any_sound_in_any_order_stays_sound(
        steps in proptest::collection::vec((0u64..60_000, 0u64..80, 0usize..1500, -2f32..2.0), 1..120)
    ) {
        let mut player = Player::new();
        let mut now = Duration::from_secs(1);
        for (later, number, length, amplitude) in steps {
            now += Duration::from_micros(later);
            let heading = Heading { number, capture_us: number * 20_000, rest: number % 7 == 0 };
            player.push(now, heading, vec![[amplitude, -amplitude]; length]);
            let mut out = vec![[0.0; 2]; (later * u64::from(RATE) / 1_000_000) as usize];
            player.pull(now, &mut out);
            // A step at a gap's beginning is carried on for a moment, so twice full scale at most.
            prop_assert!(out.iter().flatten().all(|one| one.is_finite() && one.abs() <= 8.0));
        }
    }
}
