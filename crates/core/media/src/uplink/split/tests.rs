use proptest::prelude::*;

use super::*;

fn layer(width_px: u32, height_px: u32, kbps: u64) -> LayerShape {
    LayerShape {
        width_px,
        height_px,
        max_bitrate: Bitrate::from_kbps(kbps),
        temporal_layers: 3,
    }
}

/// The layers of one camera (rank 1) or screen (rank 0), all on.
fn wants(rank: u8, maxima: &[u64]) -> Vec<Want> {
    let layers = (0..).zip(maxima);
    layers
        .map(|(at, &kbps)| {
            let (min, max) = range(&layer(0, 0, kbps), at == 0);
            let (order, on) = ((at, rank), true);
            Want {
                min,
                max,
                order,
                on,
            }
        })
        .collect()
}

fn kbps(shares: Vec<Option<Bitrate>>) -> Vec<u64> {
    let each = shares.into_iter();
    each.map(|share| share.map_or(0, |share| share.bps() / 1000))
        .collect()
}

#[test]
fn lower_layers_come_before_upper_ones() {
    let camera = wants(1, &[150, 500, 1700]);
    let given = |budget| kbps(split(Bitrate::from_kbps(budget), &camera));
    assert_eq!(given(5000), [150, 500, 1700]);
    assert_eq!(given(1500), [150, 500, 850]);
    // The minima first (60, 200 and 680), then upwards from the lowest.
    assert_eq!(given(960), [80, 200, 680]);
    assert_eq!(given(930), [150, 500, 0]);
    assert_eq!(given(260), [60, 200, 0]);
    assert_eq!(given(259), [150, 0, 0]);
    assert_eq!(given(59), [0, 0, 0]);
}

#[test]
fn a_screen_comes_before_a_camera() {
    let mut both = wants(1, &[150, 500]);
    both.extend(wants(0, &[400]));
    let shares = kbps(split(Bitrate::from_kbps(470), &both));
    assert_eq!(shares, [70, 0, 400], "and is sharp before faces grow");
}

#[test]
fn a_layer_that_is_off_comes_back_with_room_to_spare() {
    let mut camera = wants(1, &[150, 500]);
    let just = Bitrate::from_kbps(260);
    assert_eq!(kbps(split(just, &camera)), [60, 200]);
    camera[1].on = false;
    assert_eq!(kbps(split(just, &camera)), [150, 0]);
    let more = Bitrate::from_kbps(290);
    assert_eq!(kbps(split(more, &camera)), [90, 200]);
}

#[test]
fn what_is_not_said_is_taken_from_the_picture() {
    let (_, max) = range(&layer(1280, 720, 0), false);
    assert_eq!(max, Bitrate::from_bps(1280 * 720 * BITS_PER_PIXEL_SECOND));
    assert_eq!(range(&LayerShape::default(), false).1, UNKNOWN);
}

proptest! {
    #[test]
    fn no_more_is_given_than_there_is(
        budget in 0..10_000u64,
        maxima in prop::collection::vec(prop::collection::vec(0..5_000u64, 1..4), 0..6),
    ) {
        let tracks = (0..).zip(&maxima);
        let all: Vec<Want> = tracks.flat_map(|(at, one)| wants(at % 2, one)).collect();
        let budget = Bitrate::from_kbps(budget);
        let shares = split(budget, &all);
        prop_assert!(shares.iter().flatten().copied().sum::<Bitrate>() <= budget);
        for (share, want) in shares.iter().zip(&all) {
            prop_assert!(share.is_none_or(|share| (want.min..=want.max).contains(&share)));
        }
        // More budget never takes a layer away.
        let richer = split(budget + Bitrate::from_kbps(500), &all);
        let kept = shares.iter().zip(&richer).all(|(less, more)| less.is_none() || more.is_some());
        prop_assert!(kept);
    }
}
