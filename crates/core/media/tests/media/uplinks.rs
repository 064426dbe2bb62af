//! What a publisher makes of its uplink, told by reports alone.

use darktower_link::{Conditions, Queue};
use darktower_media::Bitrate;

use crate::browser::Browser;
use crate::pair::ms;

fn link(rate_kbps: u64, round_trip_ms: u64) -> Conditions {
    Conditions {
        delay: ms(round_trip_ms / 2),
        rate_bps: Some(rate_kbps * 1000),
        ..Conditions::default()
    }
}

fn total(browser: &Browser, at: u64) -> u64 {
    let targets = browser.targets(ms(at));
    targets.into_iter().flatten().map(Bitrate::bps).sum::<u64>() / 1000
}

/// The longest time without new sound in a span after the start, in milliseconds.
fn longest_gap(browser: &Browser, from: u64, to: u64) -> u64 {
    let sound = browser.frames(None, ms(from), ms(to));
    assert!(sound.len() > 10);
    let gaps = sound.windows(2).map(|two| two[1].at - two[0].at);
    gaps.max().unwrap_or_default().as_millis() as u64
}

#[test]
fn n1_the_top_layer_is_sent_soon() {
    for seed in 1..=4 {
        let mut browser = Browser::new(link(5000, 40), seed, true);
        browser.run_until(ms(20_000));
        assert!(browser.targets(ms(0))[2].is_none(), "begins carefully");
        for at in (2000..20_000).step_by(100) {
            assert!(total(&browser, at) > 2000, "at {at}, seed {seed}");
        }
        let top = browser.frames(Some(2), ms(2000), ms(20_000));
        assert!(top.len() > 520, "{}, seed {seed}", top.len());
        assert!(longest_gap(&browser, 0, 20_000) < 100, "seed {seed}");
    }
}

#[test]
fn n7_an_uplink_that_becomes_slow_sheds_layers_and_keeps_its_sound() {
    let deep = |rate| Conditions {
        queue: Queue::Time(ms(1000)),
        ..link(rate, 40)
    };
    let shallow = |rate| link(rate, 40);
    let scripts: [(&dyn Fn(u64) -> Conditions, u64); 2] = [(&shallow, 200), (&deep, 320)];
    for (form, most_gap) in scripts {
        for seed in 1..=4 {
            let mut browser = Browser::new(form(3000), seed, true);
            browser.schedule(ms(8000), form(400));
            browser.schedule(ms(20_000), form(3000));
            browser.run_until(ms(32_000));
            assert!(total(&browser, 7900) > 2000, "before, seed {seed}");
            for at in (9000..20_000).step_by(100) {
                assert!(total(&browser, at) <= 400, "at {at}, seed {seed}");
            }
            let gap = longest_gap(&browser, 0, 32_000);
            assert!(gap <= most_gap, "{gap}, seed {seed}");
            let small = browser.frames(Some(0), ms(12_000), ms(20_000));
            assert!(small.len() > 180, "{}, seed {seed}", small.len());
            assert!(total(&browser, 29_000) > 2000, "back, seed {seed}");
        }
    }
}

#[test]
fn n4_jitter_takes_no_layer_away() {
    for seed in 1..=4 {
        let jitter = Conditions {
            jitter: ms(60),
            ..link(5000, 40)
        };
        let mut browser = Browser::new(jitter, seed, true);
        browser.run_until(ms(20_000));
        for at in (5000..20_000).step_by(100) {
            assert!(total(&browser, at) > 2000, "at {at}, seed {seed}");
        }
    }
}

#[test]
fn n9_after_a_blackout_pictures_come_within_a_second() {
    for seed in 1..=4 {
        let dark = Conditions {
            blackout: true,
            ..link(3000, 40)
        };
        let mut browser = Browser::new(link(3000, 40), seed, true);
        browser.schedule(ms(8000), dark);
        browser.schedule(ms(10_000), link(3000, 40));
        browser.run_until(ms(16_000));
        let small = browser.frames(Some(0), ms(10_000), ms(11_000));
        let fresh = small.iter().find(|one| one.captured > ms(11_000));
        assert!(fresh.is_some(), "seed {seed}");
        assert!(total(&browser, 15_000) > 2000, "seed {seed}");
    }
}

/// Each length of an outage falls otherwise into the reports.
#[test]
fn a_short_blackout_is_no_slow_path() {
    for length in [300, 500, 700, 900, 1000, 1200, 1500] {
        for seed in 1..=4 {
            let dark = Conditions {
                blackout: true,
                ..link(3000, 40)
            };
            let mut browser = Browser::new(link(3000, 40), seed, true);
            browser.layers_wanted(0b001);
            browser.schedule(ms(8000), dark);
            browser.schedule(ms(8000 + length), link(3000, 40));
            browser.run_until(ms(14_000));
            let whole = total(&browser, 7900);
            for at in (8000..14_000).step_by(50) {
                let target = total(&browser, at);
                assert!(
                    target >= whole / 2,
                    "{target} of {whole} at {at} after {length} ms, seed {seed}"
                );
            }
        }
    }
}

#[test]
fn pictures_without_sound_come_back_after_a_long_blackout() {
    for seed in 1..=4 {
        let dark = Conditions {
            blackout: true,
            ..link(3000, 40)
        };
        let mut browser = Browser::new(link(3000, 40), seed, true);
        browser.speaks = false;
        browser.layers_wanted(0b001);
        browser.schedule(ms(8000), dark);
        browser.schedule(ms(16_000), link(3000, 40));
        browser.run_until(ms(24_000));
        // The browser's own probes double up to some four seconds.
        let small = browser.frames(Some(0), ms(16_000), ms(22_000));
        let fresh = small.iter().find(|one| one.captured > ms(17_000));
        println!(
            "{:?} {:?} {:?} {}",
            browser.settings,
            browser.estimate(),
            fresh,
            small.len()
        );
        assert!(fresh.is_some(), "seed {seed}");
    }
}

#[test]
fn pictures_without_sound_come_back_after_a_path_that_carried_none() {
    for seed in 1..=8 {
        let mut browser = Browser::new(link(3000, 40), seed, true);
        browser.speaks = false;
        browser.layers_wanted(0b001);
        browser.schedule(ms(8000), link(30, 40));
        browser.schedule(ms(20_000), link(3000, 40));
        browser.run_until(ms(40_000));
        let dark = browser.targets(ms(19_000));
        assert_eq!(dark, [None; 3], "nothing fits, seed {seed}");
        let small = browser.frames(Some(0), ms(20_000), ms(40_000));
        let fresh = small.iter().find(|one| one.captured > ms(21_000));
        let back = fresh.map(|one| one.at - ms(21_000));
        println!("{seed}: {back:?}");
        // Tests that fail are four seconds apart.
        assert!(back.is_some_and(|back| back < ms(6000)), "seed {seed}");
    }
}

#[test]
fn a_handler_that_says_nothing_gets_what_publishers_always_sent() {
    let mut browser = Browser::new(link(5000, 40), 1, false);
    browser.run_until(ms(8000));
    assert!(total(&browser, 3000) > 2000);
    assert_eq!(browser.estimate(), Bitrate::from_kbps(2500));
}

#[test]
fn layers_that_nobody_wants_cost_nothing_until_they_are_wanted() {
    let mut browser = Browser::new(link(5000, 40), 1, true);
    browser.run_until(ms(4000));
    browser.layers_wanted(0b001);
    browser.run_until(ms(6000));
    assert_eq!(browser.targets(ms(4001))[1..], [None, None]);
    assert!(browser.frames(Some(2), ms(4100), ms(6000)).is_empty());
    assert!(browser.frames(Some(0), ms(4100), ms(6000)).len() > 50);
    browser.layers_wanted(0b101);
    browser.run_until(ms(8000));
    let top = browser.frames(Some(2), ms(6000), ms(8000));
    assert_eq!(top.first().map(|one| one.number), Some(0), "a key frame");
    assert!(top[0].at < ms(7300), "soon");
    assert!(browser.frames(Some(1), ms(6100), ms(8000)).is_empty());
}

#[test]
fn encoders_are_told_of_real_changes_only() {
    let mut browser = Browser::new(link(5000, 40), 1, true);
    browser.run_until(ms(20_000));
    let steady = browser.settings.iter();
    let steady = steady.filter(|(at, ..)| *at > ms(6000)).count();
    assert!(steady <= 6, "{steady} settings in fifteen seconds");
}

/// Its processors have other things to do for a while, again and again.
#[test]
fn a_sender_that_is_late_itself_believes_no_less_of_its_path() {
    for seed in 1..=4 {
        let mut browser = Browser::new(link(3000, 40), seed, true);
        browser.run_until(ms(8000));
        for second in 8..20 {
            browser.lag = ms(150 + 10 * seed);
            browser.run_until(ms(second * 1000 + 600));
            browser.lag = ms(2);
            browser.run_until(ms(second * 1000 + 1000));
        }
        for at in (8000..20_000).step_by(100) {
            assert!(total(&browser, at) > 2000, "at {at}, seed {seed}");
        }
    }
}
