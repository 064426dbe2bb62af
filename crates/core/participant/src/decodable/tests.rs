use super::*;

const ALL: [&str; 3] = ["vp09.00.31.08", "vp8", "av01.0.08M.08"];

fn id(n: u8) -> ParticipantId {
    ParticipantId([n; 16])
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A roster at a time; who has said nothing has an empty list. Whether it changes anything.
fn follow(decodable: &mut Decodable, now: Duration, others: &[(u8, &[&str])]) -> bool {
    let list = |list: &[&str]| list.iter().map(|&codec| codec.to_owned()).collect();
    let others: Vec<_> = others
        .iter()
        .map(|(n, said)| (id(*n), list(said)))
        .collect();
    let before = decodable.families().cloned();
    decodable.follow(now, others.into_iter());
    decodable.families() != before.as_ref()
}

fn families(decodable: &Decodable) -> Option<Vec<&str>> {
    let families = decodable.families()?;
    Some(families.iter().map(String::as_str).collect())
}

/// Does all that time demands until `until`, and tells when something changed.
fn run(decodable: &mut Decodable, until: Duration) -> Vec<Duration> {
    let mut changes = Vec::new();
    while let Some(at) = decodable.deadline().filter(|at| *at <= until) {
        if decodable.review(at) {
            changes.push(at);
        }
        assert_ne!(decodable.deadline(), Some(at), "a deadline that is met");
    }
    changes
}

#[test]
fn it_is_what_each_of_the_others_says() {
    let mut decodable = Decodable::default();
    assert_eq!(families(&decodable), None);
    let others: [(u8, &[&str]); 2] = [(1, &ALL), (2, &["vp8", "vp09.02.10.10"])];
    assert!(follow(&mut decodable, ms(0), &others));
    assert_eq!(families(&decodable), Some(vec!["vp09", "vp8"]));
    assert_eq!(decodable.deadline(), None);
    assert!(!follow(&mut decodable, ms(10), &others));
}

/// Who goes straight in tells what it decodes after its first picture.
#[test]
fn a_newcomer_who_has_said_nothing_yet_changes_nothing_until_it_does() {
    let mut decodable = Decodable::default();
    follow(&mut decodable, ms(0), &[(1, &ALL)]);
    assert!(!follow(&mut decodable, ms(100), &[(1, &ALL), (2, &[])]));
    assert_eq!(run(&mut decodable, ms(1500)), []);
    let able: [(u8, &[&str]); 2] = [(1, &ALL), (2, &ALL)];
    assert!(!follow(&mut decodable, ms(1500), &able));
    assert_eq!(run(&mut decodable, ms(60_000)), []);
    assert_eq!(families(&decodable), Some(vec!["av01", "vp09", "vp8"]));
    // And one who cannot is heeded in the moment in which it says so.
    let unable: [(u8, &[&str]); 2] = [(1, &ALL), (2, &["vp8"])];
    assert!(follow(&mut decodable, ms(61_000), &unable));
    assert_eq!(families(&decodable), Some(vec!["vp8"]));
}

#[test]
fn alone_with_one_who_has_said_nothing_anything_will_do_for_a_while() {
    let mut decodable = Decodable::default();
    assert!(!follow(&mut decodable, ms(0), &[(1, &[])]));
    assert_eq!(families(&decodable), None);
    assert_eq!(run(&mut decodable, ms(60_000)), [PATIENCE]);
    assert_eq!(families(&decodable), Some(vec!["vp8"]));
}

/// An end of a former release, without a track of its own.
#[test]
fn who_never_says_anything_is_sent_what_everybody_decodes_and_climbs_with_its_answer() {
    let mut decodable = Decodable::default();
    let silent: [(u8, &[&str]); 2] = [(1, &ALL), (2, &[])];
    follow(&mut decodable, ms(0), &[(1, &ALL)]);
    follow(&mut decodable, ms(100), &silent);
    // What else happens meanwhile does not make anybody wait longer.
    follow(&mut decodable, ms(2900), &silent);
    assert_eq!(run(&mut decodable, ms(10_000)), [ms(100) + PATIENCE]);
    assert_eq!(families(&decodable), Some(vec!["vp8"]));
    follow(&mut decodable, ms(10_000), &silent);
    assert_eq!(run(&mut decodable, ms(20_000)), []);
    let able: [(u8, &[&str]); 2] = [(1, &ALL), (2, &ALL)];
    assert!(!follow(&mut decodable, ms(20_000), &able));
    assert_eq!(run(&mut decodable, ms(60_000)), [ms(20_000) + CALM]);
    assert_eq!(families(&decodable), Some(vec!["av01", "vp09", "vp8"]));
}

#[test]
fn who_comes_and_goes_changes_the_codec_once() {
    let mut decodable = Decodable::default();
    let mut changes = Vec::new();
    let with: [(u8, &[&str]); 2] = [(1, &ALL), (2, &["vp8"])];
    for round in 0..20 {
        let (comes, goes) = (ms(6000 * round), ms(6000 * round + 2000));
        changes.extend(run(&mut decodable, comes));
        changes.extend(follow(&mut decodable, comes, &with).then_some(comes));
        changes.extend(follow(&mut decodable, goes, &with[..1]).then_some(goes));
    }
    assert_eq!(changes, [ms(0)]);
    // One who is waited for takes the place of one who is gone.
    let next: [(u8, &[&str]); 2] = [(1, &ALL), (3, &[])];
    assert!(!follow(&mut decodable, ms(120_000), &next));
    assert_eq!(run(&mut decodable, ms(180_000)), []);
    assert_eq!(families(&decodable), Some(vec!["vp8"]));
}

#[test]
fn alone_anything_will_do() {
    let mut decodable = Decodable::default();
    follow(&mut decodable, ms(0), &[(1, &["vp8"])]);
    follow(&mut decodable, ms(1000), &[]);
    assert_eq!(run(&mut decodable, ms(60_000)), [ms(1000) + CALM]);
    assert_eq!(families(&decodable), None);
}
