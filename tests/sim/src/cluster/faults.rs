//! What goes wrong, by the dice of the seed.

use std::time::Duration;

use super::messages::{Out, Place};
use super::{Cluster, Happening};

const MS: Duration = Duration::from_millis(1);

impl Cluster {
    fn dice(&mut self, sides: u64) -> u64 {
        self.random.next_u64() % sides
    }

    fn one_of(&mut self, places: &[Place]) -> Option<Place> {
        let n = places.len() as u64;
        (n > 0).then(|| places[self.dice(n) as usize])
    }

    fn some_server(&mut self) -> Option<Place> {
        let places: Vec<_> = self.servers().collect();
        self.one_of(&places)
    }

    /// A while that ends with the faults.
    fn a_while(&mut self, most_ms: u64) -> Duration {
        let wanted = MS * (200 + self.dice(most_ms)) as u32;
        (self.now + wanted).min(self.quiet_from)
    }

    pub(super) fn misfortune(&mut self) {
        if self.now >= self.quiet_from {
            return;
        }
        let next = self.now + MS * (200 + self.dice(2000)) as u32;
        self.queue.send(next, Happening::Misfortune);
        let sides = 16 + u64::from(self.hands_on);
        match self.dice(sides) {
            0 | 1 => {
                if let Some(place) = self.some_server() {
                    self.kill(place);
                }
            }
            2 | 3 => {
                if let Some(place) = self.some_server() {
                    let until = self.a_while(6000);
                    self.note(format!("{place:?} is paused until {until:?}"));
                    self.paused.insert(place, until);
                }
            }
            4 => {
                if let Some(place) = self.some_server() {
                    self.drain(place);
                }
            }
            5 | 6 => {
                if let Some(place) = self.some_server() {
                    self.cut(place, Place::Store, 6000);
                }
            }
            7 | 8 => {
                let servers: Vec<_> = self.servers().collect();
                if let (Some(a), Some(b)) = (self.one_of(&servers), self.one_of(&servers)) {
                    self.cut(a, b, 6000);
                }
            }
            9 | 10 => {
                let person = Place::Person(self.dice(self.persons.len() as u64) as u8);
                if let Some(server) = self.some_server() {
                    self.cut(person, server, 8000);
                }
            }
            11 => {
                // The whole network of a person.
                let person = Place::Person(self.dice(self.persons.len() as u64) as u8);
                let until = self.a_while(15_000);
                self.note(format!("{person:?} is offline until {until:?}"));
                let servers: Vec<_> = self.servers().collect();
                for server in servers {
                    self.cuts.insert((person, server), until);
                    self.cuts.insert((server, person), until);
                }
            }
            12 => self.store_fails(),
            16 => self.hand_on(),
            _ => self.someone_acts(),
        }
    }

    fn hand_on(&mut self) {
        let awake = |n: &u8| {
            let until = self.paused.get(&Place::Controller(*n));
            until.is_none_or(|until| *until <= self.now)
        };
        let places = self.controllers.keys().filter(|n| awake(n));
        let places: Vec<_> = places.map(|n| Place::Controller(*n)).collect();
        let Some(place @ Place::Controller(n)) = self.one_of(&places) else {
            return;
        };
        self.note(format!("{place:?} hands a meeting on"));
        let mut out = Out::default();
        if let Some(controller) = self.controllers.get_mut(&n) {
            controller.hand_on(self.now, &mut out);
        }
        self.carry(place, out);
        self.arm(place);
    }

    /// Both ways, or one.
    fn cut(&mut self, a: Place, b: Place, most_ms: u64) {
        if a == b {
            return;
        }
        let until = self.a_while(most_ms);
        let ways = self.dice(3);
        let word = ["both ways", "there", "back"][ways as usize];
        self.note(format!(
            "{a:?} and {b:?} are cut apart, {word}, until {until:?}"
        ));
        if ways != 2 {
            self.cuts.insert((a, b), until);
        }
        if ways != 1 {
            self.cuts.insert((b, a), until);
        }
    }

    fn store_fails(&mut self) {
        if self.store.is_away {
            return;
        }
        // Two thirds of them for less than there is between two renewals, and half of those for so short that most
        // owners do not see that it was gone.
        let longest = [200, 1500, 4000][self.dice(3) as usize];
        let until = self.now + MS * self.dice(longest) as u32;
        let lost = MS * (self.dice(2) * self.dice(1000)) as u32;
        self.note(format!(
            "the store is away until {until:?} and loses {lost:?}"
        ));
        self.store.is_away = true;
        self.queue.send(until, Happening::StoreBack(lost));
    }

    fn someone_acts(&mut self) {
        let at = self.dice(self.persons.len() as u64) as usize;
        let mut out = Out::default();
        let (now, wants) = (self.now, self.persons[at].wants);
        match (wants, self.dice(4)) {
            (false, _) => {
                self.comes(at);
            }
            (true, 0) => {
                self.note(format!("person-{at} leaves"));
                let (meeting, id) = (self.persons[at].meeting, self.persons[at].id);
                self.model.leaves(meeting, id);
                self.persons[at].go(now, &mut out);
            }
            (true, 1) => {
                // The host removes somebody.
                let meeting = self.persons[at].meeting;
                let mut others = self.persons.iter().filter(|it| it.meeting == meeting);
                let host = others.clone().position(|it| it.is_host);
                let guest = others
                    .find(|it| !it.is_host && it.wants)
                    .map(|it| (it.place, it.id));
                if let (Some(_), Some((place, id))) = (host, guest)
                    && let Some(host) = self
                        .persons
                        .iter()
                        .position(|it| it.meeting == meeting && it.is_host)
                {
                    self.note(format!("person-{host} removes {place:?}"));
                    self.model.leaves(meeting, id);
                    let remove = serde_json::json!({"do": "remove", "participant": id});
                    self.persons[host].command(now, remove, &mut out);
                    self.carry(self.persons[host].place, out);
                    return self.arm(Place::Person(host as u8));
                }
            }
            (true, _) => {
                let muted = self.dice(2) == 0;
                self.note(format!("person-{at} mutes: {muted}"));
                let id = self.persons[at].id;
                self.model.mutes.wished(id, muted);
                self.persons[at].mute(now, muted, &mut out);
            }
        }
        let place = self.persons[at].place;
        self.carry(place, out);
        self.arm(place);
    }
}
