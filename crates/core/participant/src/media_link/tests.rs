use super::*;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn assignment(url: &str) -> MediaAssignment {
    MediaAssignment {
        url: url.to_owned(),
        ..MediaAssignment::default()
    }
}

/// A link to `a`, whose path is believed to carry 2 Mbit/s.
fn link() -> MediaLink {
    let mut link = MediaLink::new(String::new());
    link.assigned(s(0), &assignment("https://a/v1/media"));
    link.up(s(0));
    let allocation = Allocation {
        estimate_bps: 2_000_000,
        shares: Vec::new(),
    };
    let body = Some(server_control::Body::Allocation(allocation));
    let said = framing::encode(&darktower_wire::media_control::ServerControl { body });
    link.control(s(1), &said).unwrap();
    link
}

fn next_url(link: &mut MediaLink) -> String {
    loop {
        match link.effect() {
            Some(Effect::Connect { url, .. }) => return url.0,
            Some(_) => {}
            None => panic!("it does not connect"),
        }
    }
}

#[test]
fn one_that_is_refused_says_why_waits_longer_each_time_and_gets_in_by_itself() {
    let mut link = link();
    let (mut now, mut waits) = (s(2), Vec::new());
    for _ in 0..5 {
        link.down(now, Code::Overloaded);
        assert_eq!(link.refused(), Some(Code::Overloaded));
        let again = link.deadline().unwrap();
        waits.push(again - now);
        now = again;
        link.tick(now);
        // A session opens to be told why it is closed.
        link.up(now);
        assert_eq!(link.state(), LinkState::Connecting);
    }
    assert!(waits.is_sorted() && waits[4] > s(4), "{waits:?}");
    link.control(now, &welcome()).unwrap();
    assert_eq!((link.state(), link.refused()), (LinkState::Up, None));
    link.down(now, Code::Overloaded);
    assert_eq!(link.deadline(), Some(now), "the first time again");
    link.assigned(now, &assignment("https://b/v1/media"));
    assert_eq!(link.refused(), None, "another handler has not said so");
}

fn welcome() -> Bytes {
    let body = Some(server_control::Body::Welcome(Default::default()));
    framing::encode(&darktower_wire::media_control::ServerControl { body })
}

#[test]
fn another_handler_is_told_what_the_path_carried() {
    let mut link = link();
    next_url(&mut link);
    link.assigned(s(2), &assignment("https://b/v1/media"));
    assert!(next_url(&mut link).ends_with("&carried_bps=2000000"));
    link.up(s(2));
    link.down(s(3), Code::ConnectionLost);
    link.tick(s(4));
    let url = next_url(&mut link);
    assert!(
        url.ends_with("&carried_bps=1500000"),
        "the network may be another: {url}"
    );
}

/// Ticks at each deadline up to `until`; what was wanted meanwhile, but for pings.
fn run(link: &mut MediaLink, until: Duration) -> Vec<Effect> {
    let mut wanted = Vec::new();
    while let Some(at) = link.deadline().filter(|at| *at <= until) {
        link.tick(at);
        wanted.extend(std::iter::from_fn(|| link.effect()));
    }
    wanted.retain(|effect| !matches!(effect, Effect::WriteControl(_) | Effect::OpenControl(_)));
    wanted
}

#[test]
fn beside_a_silent_link_another_is_opened_and_the_first_that_speaks_stays() {
    let is_beside = |effect: &Effect| matches!(effect, Effect::Connect { beside: true, .. });
    let mut link = link();
    run(&mut link, s(1));
    let wanted = run(&mut link, s(9));
    assert!(wanted.iter().all(is_beside), "{wanted:?}");
    assert_eq!(wanted.len(), 2, "{wanted:?}");
    assert_eq!(link.state(), LinkState::Connecting);
    link.heard(s(10));
    assert_eq!(link.effect(), Some(Effect::Keep));
    assert_eq!(link.state(), LinkState::Up);

    assert!(run(&mut link, s(14)).iter().all(is_beside));
    link.beside(s(14));
    assert_eq!(run(&mut link, s(15)), [Effect::Replace]);
    link.up(s(15));
    assert_eq!(link.state(), LinkState::Up);
    let wanted = run(&mut link, s(25));
    assert_eq!(wanted.last(), Some(&Effect::Replace));
    assert!(!link.is_up(), "the silent one is given up");
}

#[test]
fn what_a_path_carried_long_ago_is_not_said() {
    let mut link = link();
    next_url(&mut link);
    link.assigned(s(12), &assignment("https://b/v1/media"));
    assert!(!next_url(&mut link).contains("carried"));
}

#[test]
fn where_the_silent_link_ends_the_one_beside_it_is_the_next() {
    let mut link = link();
    run(&mut link, s(8));
    link.down(s(8), Code::ConnectionLost);
    assert_eq!(link.effect(), Some(Effect::Replace));
    assert_eq!(link.state(), LinkState::Connecting);
    assert_eq!(run(&mut link, s(9)), [], "nothing else is opened");
    link.up(s(9));
    assert_eq!(link.state(), LinkState::Up);
    // With none beside it, or where the handler sends it away, it begins anew.
    link.down(s(10), Code::ConnectionLost);
    let wanted = run(&mut link, s(10));
    assert!(matches!(
        wanted[..],
        [Effect::Connect { beside: false, .. }]
    ));
    link.up(s(11));
    run(&mut link, s(15));
    link.down(s(15), Code::Draining);
    let wanted = run(&mut link, s(16));
    assert!(matches!(
        wanted[..],
        [Effect::Connect { beside: false, .. }]
    ));
}

#[test]
fn while_the_controller_is_silent_its_link_alone_tries() {
    let mut link = link();
    run(&mut link, s(1));
    link.controller_silent(s(2), true);
    assert_eq!(run(&mut link, s(9)), []);
    link.controller_silent(s(9), false);
    let wanted = run(&mut link, s(10));
    assert!(matches!(wanted[..], [Effect::Connect { beside: true, .. }]));

    link.heard(s(10));
    assert_eq!(link.effect(), Some(Effect::Keep));
    link.controller_silent(s(11), true);
    link.down(s(18), Code::ConnectionLost);
    assert_eq!(run(&mut link, s(20)), [], "one that is gone waits as well");
    link.controller_silent(s(20), false);
    assert_eq!(run(&mut link, s(20)).len(), 1);
}

#[test]
fn a_controller_that_is_heard_again_ends_its_waiting() {
    let mut link = link();
    link.controller_silent(s(2), true);
    link.down(s(3), Code::ConnectionLost);
    // After twelve seconds it tries by itself: at 14, and, each attempt failing, again and again.
    let mut attempts = 0;
    for second in 3..60 {
        for effect in run(&mut link, s(second)) {
            attempts += usize::from(matches!(effect, Effect::Connect { .. }));
        }
    }
    assert!((4..8).contains(&attempts), "{attempts}");
    // Whether it waits or tries in vain in that moment: the next attempt is as soon as may be.
    link.controller_silent(s(60), false);
    run(&mut link, s(60));
    link.down(s(61), Code::ConnectFailed);
    assert!(matches!(
        run(&mut link, s(61))[..],
        [Effect::Connect { .. }]
    ));
}

#[test]
fn a_controller_that_stays_silent_holds_it_back_for_twelve_seconds() {
    let mut link = link();
    run(&mut link, s(1));
    link.controller_silent(s(2), true);
    link.down(s(3), Code::ConnectionLost);
    assert_eq!(run(&mut link, Duration::from_millis(13_900)), []);
    assert_eq!(run(&mut link, s(14)).len(), 1);
}
