//! The relay against arithmetic, over real sockets. Lower bounds on time are exact; upper bounds stand in
//! the model's tests, where time is virtual and no other process can take the processor away.

// clippy knows a test by its attribute, and the functions between tests have none.
#![allow(clippy::unwrap_used)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use darktower_link::relay::{Config, Relay};
use darktower_link::{Conditions, Loss, Queue};

/// Longer than anything here takes on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(20);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A bound UDP socket that gives up in the end.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn connected(to: SocketAddr) -> UdpSocket {
    let socket = socket();
    socket.connect(to).unwrap();
    socket
}

/// A UDP target and a relay to it.
fn udp_relay(configure: impl FnOnce(Config) -> Config) -> (UdpSocket, Relay) {
    let target = socket();
    let relay = Relay::start(configure(Config::new(target.local_addr().unwrap()))).unwrap();
    (target, relay)
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (bytes, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..bytes].to_vec(), from)
}

fn nothing_comes(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).unwrap();
    let nothing = socket
        .recv(&mut [0; 16])
        .is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
    socket.set_nonblocking(false).unwrap();
    nothing
}

/// Asks the relay until its report is as wanted.
fn wait_for(relay: &Relay, wanted: impl Fn(&darktower_link::relay::Report) -> bool) {
    let begun = Instant::now();
    loop {
        let report = relay.report().unwrap();
        if wanted(&report) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{report:?}");
        thread::yield_now();
    }
}

#[test]
fn a_round_trip_takes_the_delay_of_both_ways_and_never_less() {
    let (target, relay) = udp_relay(|config| config.round_trip(ms(100)));
    let echo = thread::spawn(move || {
        for _ in 0..10 {
            let (packet, from) = receive(&target);
            target.send_to(&packet, from).unwrap();
        }
    });
    let client = connected(relay.addr());
    for number in 0..10_u8 {
        let begun = Instant::now();
        client.send(&[number]).unwrap();
        assert_eq!(receive(&client).0, [number]);
        assert!(begun.elapsed() >= ms(100), "{:?}", begun.elapsed());
    }
    echo.join().unwrap();
}

#[test]
fn order_is_kept_under_jitter_and_every_packet_is_counted() {
    let jittery = Conditions {
        jitter: ms(5),
        ..Conditions::delayed(ms(2))
    };
    let (target, relay) = udp_relay(|config| config.both(jittery));
    let client = connected(relay.addr());
    // As many as a socket's buffer holds for certain, however slow the reader.
    for number in 0..200_u16 {
        client.send(&number.to_be_bytes()).unwrap();
    }
    for number in 0..200_u16 {
        assert_eq!(receive(&target).0, number.to_be_bytes());
    }
    let report = relay.report().unwrap();
    assert_eq!(
        (report.up.sent, report.up.delivered, report.udp_flows),
        (200, 200, 1)
    );
    assert_eq!(report.refused, 0);
}

#[test]
fn a_rate_is_not_exceeded_and_nothing_is_lost_that_fits_the_queue() {
    // 100 packets of 1,250 bytes at 1 Mbit/s are one second; the queue takes them all.
    let narrow = Conditions {
        rate_bps: Some(1_000_000),
        queue: Queue::Time(ms(2000)),
        ..Conditions::default()
    };
    let (target, relay) = udp_relay(|config| Config {
        up: narrow,
        ..config
    });
    let client = connected(relay.addr());
    let begun = Instant::now();
    for _ in 0..100 {
        client.send(&[0; 1250]).unwrap();
    }
    for number in 1..=100_u64 {
        assert_eq!(receive(&target).0.len(), 1250);
        assert!(
            begun.elapsed() >= ms(10 * number),
            "{number} packets in {:?}",
            begun.elapsed()
        );
    }
    assert_eq!(relay.report().unwrap().up.overflowed, 0);
}

#[test]
fn a_full_queue_drops() {
    let narrow = Conditions {
        rate_bps: Some(8_000),
        queue: Queue::Bytes(3_000),
        ..Conditions::default()
    };
    let (_target, relay) = udp_relay(|config| config.both(narrow));
    let client = connected(relay.addr());
    for _ in 0..10 {
        client.send(&[0; 1000]).unwrap();
    }
    // A second each: were they sent within one, three would fit.
    wait_for(&relay, |report| report.up.sent == 10);
    assert!(relay.report().unwrap().up.overflowed > 0);
}

#[test]
fn loss_is_within_binomial_bounds_and_the_same_for_the_same_seed() {
    let survivors = |seed| {
        let lossy = Conditions {
            loss: Loss::Random(0.1),
            ..Conditions::default()
        };
        let (target, relay) = udp_relay(|config| Config {
            seed,
            ..config.both(lossy)
        });
        let client = connected(relay.addr());
        let mut arrived = Vec::new();
        for batch in 0..100_u16 {
            for number in batch * 20..batch * 20 + 20 {
                client.send(&number.to_be_bytes()).unwrap();
            }
            // In batches, so that no kernel buffer between us can overflow.
            wait_for(&relay, |report| {
                let done = report.up.delivered + report.up.lost;
                done == u64::from(batch + 1) * 20
            });
            let delivered = relay.report().unwrap().up.delivered;
            while (arrived.len() as u64) < delivered {
                arrived.push(receive(&target).0);
            }
        }
        arrived
    };
    let first = survivors(7);
    // Of 2,000, mean 1,800, deviation 13: six deviations.
    assert!((1720..=1880).contains(&first.len()), "{}", first.len());
    assert_eq!(first, survivors(7));
    assert_ne!(first, survivors(8));
}

#[test]
fn a_blackout_delivers_nothing_and_recovers() {
    let (target, relay) = udp_relay(|config| config.both(Conditions::delayed(ms(1))));
    let client = connected(relay.addr());
    client.send(b"before").unwrap();
    assert_eq!(receive(&target).0, b"before");
    relay.blackout(true).unwrap();
    client.send(b"lost").unwrap();
    wait_for(&relay, |report| report.up.blacked_out == 1);
    assert!(nothing_comes(&target));
    relay.blackout(false).unwrap();
    client.send(b"after").unwrap();
    assert_eq!(receive(&target).0, b"after");
}

#[test]
fn rebinding_changes_the_port_and_the_old_one_leads_nowhere() {
    let (target, relay) = udp_relay(|config| config);
    let client = connected(relay.addr());
    client.send(b"1").unwrap();
    let (_, before) = receive(&target);
    relay.rebind().unwrap();
    client.send(b"2").unwrap();
    let (_, after) = receive(&target);
    assert_ne!(before, after);
    target.send_to(b"to nobody", before).unwrap();
    target.send_to(b"to the client", after).unwrap();
    assert_eq!(receive(&client).0, b"to the client");
    assert_eq!(relay.report().unwrap().down.sent, 1);
}

#[test]
fn a_client_that_goes_to_another_network_has_another_address() {
    let (target, relay) = udp_relay(|config| config);
    let client = connected(relay.addr());
    client.send(b"1").unwrap();
    let (_, before) = receive(&target);
    let elsewhere = IpAddr::from([127, 0, 0, 2]);
    assert_ne!(before.ip(), elsewhere);
    relay.rebind_to(elsewhere).unwrap();
    client.send(b"2").unwrap();
    let (_, after) = receive(&target);
    assert_eq!(after.ip(), elsewhere);
    target.send_to(b"to nobody", before).unwrap();
    target.send_to(b"to the client", after).unwrap();
    assert_eq!(receive(&client).0, b"to the client");
    assert_eq!(relay.report().unwrap().down.sent, 1);
    // An address that this machine does not have moves nobody.
    relay.rebind_to([192, 0, 2, 1].into()).unwrap();
    client.send(b"3").unwrap();
    assert_eq!(receive(&target).1, after);
}

#[test]
fn clients_have_flows_of_their_own() {
    let (target, relay) = udp_relay(|config| config);
    let clients = [connected(relay.addr()), connected(relay.addr())];
    let mut froms = Vec::new();
    for (client, name) in clients.iter().zip([b"a", b"b"]) {
        client.send(name).unwrap();
        let (packet, from) = receive(&target);
        target.send_to(&packet, from).unwrap();
        assert_eq!(receive(client).0, name);
        froms.push(from);
    }
    assert_ne!(froms[0], froms[1]);
}

#[test]
fn flows_are_bounded_and_the_idle_are_forgotten() {
    let (target, relay) = udp_relay(|config| Config {
        most_flows: 2,
        idle: ms(50),
        ..config
    });
    let clients: Vec<UdpSocket> = (0..3).map(|_| connected(relay.addr())).collect();
    for client in &clients {
        client.send(b"x").unwrap();
        receive(&target);
        assert!(relay.report().unwrap().udp_flows <= 2);
    }
    wait_for(&relay, |report| report.udp_flows == 0);
    assert_eq!(relay.report().unwrap().up.delivered, 3);
}

#[test]
fn a_target_that_is_not_there_at_first_is_reached_when_it_comes() {
    let target = socket();
    let addr = target.local_addr().unwrap();
    drop(target);
    let relay = Relay::start(Config::new(addr)).unwrap();
    let client = connected(relay.addr());
    client.send(b"nobody there").unwrap();
    wait_for(&relay, |report| report.up.delivered == 1);
    let target = UdpSocket::bind(addr).unwrap();
    target.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(b"hello").unwrap();
    assert_eq!(receive(&target).0, b"hello");
}

/// A TCP target that answers one connection with `serve`, a relay to it, a client of that, and the time
/// just before that connected: nothing can have set out earlier.
fn tcp_relay<T: Send + 'static>(
    configure: impl FnOnce(Config) -> Config,
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (Relay, TcpStream, JoinHandle<T>, Instant) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = Relay::start(configure(Config::new(listener.local_addr().unwrap()))).unwrap();
    let begun = Instant::now();
    let client = TcpStream::connect(relay.addr()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let served = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        serve(stream)
    });
    (relay, client, served, begun)
}

fn read_all(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut random = darktower_link::Random::new(3, 3);
    (0..bytes).map(|_| random.next_u64() as u8).collect()
}

#[test]
fn a_stream_arrives_whole_both_ways_whatever_the_link_does_to_it() {
    let rough = Conditions {
        jitter: ms(2),
        loss: Loss::Random(0.02),
        rate_bps: Some(100_000_000),
        duplicate: 0.5,
        reorder: 0.5,
        ..Conditions::delayed(ms(1))
    };
    let (relay, mut client, served, _) = tcp_relay(
        |config| config.both(rough),
        |mut stream| {
            let got = read_all(&stream);
            stream.write_all(&got).unwrap();
        },
    );
    let sent = noise(1_000_000);
    client.write_all(&sent).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_all(&client) == sent);
    served.join().unwrap();
    wait_for(&relay, |report| report.tcp_flows == 0);
    assert!(relay.report().unwrap().up.recovered > 0);
}

#[test]
fn connecting_costs_a_round_trip_and_asking_another() {
    let (_relay, mut client, served, begun) = tcp_relay(
        |config| config.round_trip(ms(60)),
        |mut stream| {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            stream.write_all(&byte).unwrap();
        },
    );
    // The kernel lets the client speak at once; what it says sets out after a round trip.
    client.write_all(b"?").unwrap();
    assert_eq!(read_all(&client), b"?");
    assert!(begun.elapsed() >= ms(120), "{:?}", begun.elapsed());
    served.join().unwrap();
}

#[test]
fn a_stream_is_paced_and_a_full_queue_holds_up_its_sender() {
    let narrow = Conditions {
        rate_bps: Some(2_000_000),
        queue: Queue::Time(ms(50)),
        ..Conditions::default()
    };
    let (relay, mut client, served, begun) = tcp_relay(
        |config| Config {
            down: narrow,
            ..config
        },
        |mut stream| {
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(&noise(250_000)).unwrap();
        },
    );
    client.write_all(b"?").unwrap();
    let got = read_all(&client);
    // A second's worth.
    assert!(begun.elapsed() >= ms(1000), "{:?}", begun.elapsed());
    assert!(got == noise(250_000));
    served.join().unwrap();
    assert_eq!(relay.report().unwrap().down.overflowed, 0);
}

#[test]
fn a_stream_survives_a_blackout() {
    let (relay, mut client, served, _) = tcp_relay(
        |config| config.both(Conditions::delayed(ms(1))),
        |mut stream| {
            let mut word = [0; 6];
            for _ in 0..2 {
                stream.read_exact(&mut word).unwrap();
                stream.write_all(&word).unwrap();
            }
        },
    );
    let mut word = [0; 6];
    client.write_all(b"before").unwrap();
    client.read_exact(&mut word).unwrap();
    relay.blackout(true).unwrap();
    let before = relay.report().unwrap();
    client.write_all(b"during").unwrap();
    wait_for(&relay, |report| report.up.sent > before.up.sent);
    assert_eq!(relay.report().unwrap().up.delivered, before.up.delivered);
    relay.blackout(false).unwrap();
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"during");
    served.join().unwrap();
}

#[test]
fn a_reset_and_a_refusal_reach_the_client() {
    // Closing with unread data resets.
    let (relay, mut client, served, _) = tcp_relay(
        |config| config,
        |mut stream| {
            stream.read_exact(&mut [0]).unwrap();
        },
    );
    client.write_all(b"more than one byte").unwrap();
    assert_eq!(
        client.read(&mut [0]).unwrap_err().kind(),
        io::ErrorKind::ConnectionReset
    );
    served.join().unwrap();
    wait_for(&relay, |report| report.tcp_flows == 0);

    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let relay = Relay::start(Config::new(nobody)).unwrap();
    let mut client = TcpStream::connect(relay.addr()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(
        client.read(&mut [0]).unwrap_err().kind(),
        io::ErrorKind::ConnectionReset
    );
    wait_for(&relay, |report| report.tcp_flows == 0);
}

#[test]
fn a_client_that_goes_during_the_handshake_leaves_nothing_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config::new(listener.local_addr().unwrap()).round_trip(ms(20));
    let relay = Relay::start(config).unwrap();
    drop(TcpStream::connect(relay.addr()).unwrap());
    let (stream, _) = listener.accept().unwrap();
    assert_eq!(read_all(&stream), b"");
    drop(stream);
    wait_for(&relay, |report| report.tcp_flows == 0 && report.up.sent > 0);
}

#[test]
fn the_program_says_where_it_listens_and_does_what_it_is_told() {
    let target = socket();
    let mut program = Command::new(env!("CARGO_BIN_EXE_darktower-link"))
        .args(["--to", &target.local_addr().unwrap().to_string()])
        .args([
            "--delay",
            "1ms",
            "--queue",
            "100ms",
            "--seed",
            "7",
            "--control",
        ])
        .args(["--up", r#"{"rate_bps":10000000}"#])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = program.stdin.take().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let listen: SocketAddr = next()["listen"].as_str().unwrap().parse().unwrap();
    let client = connected(listen);
    client.send(b"hello").unwrap();
    assert_eq!(receive(&target).0, b"hello");

    writeln!(input, r#"{{"blackout":true}}"#).unwrap();
    assert_eq!(next()["up"]["delivered"], 1);
    writeln!(
        input,
        r#"{{"blackout":false,"rebind":true,"direction":"both"}}"#
    )
    .unwrap();
    assert_eq!(next()["ok"], true);
    writeln!(input, "nonsense").unwrap();
    assert_eq!(next()["ok"], false);
    client.send(b"again").unwrap();
    assert_eq!(receive(&target).0, b"again");

    drop(input);
    assert!(program.wait().unwrap().success());
}
