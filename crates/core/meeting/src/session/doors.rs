//! Where to connect: the controller that has the meeting, and those that take it
//! where that one is gone.

use darktower_wire::signal::{Controller, Elsewhere};

/// Others that are kept: more are of no use, and what a controller says is bounded.
const MOST: usize = 8;

/// The doors of a session. `None` stands for the one that the API named.
#[derive(Debug, Default)]
pub(super) struct Doors {
    here: Option<Controller>,
    others: Vec<Controller>,
    /// Tried since the last one that opened.
    tried: usize,
    /// The next attempt goes past `here`.
    past_here: bool,
    /// Where the last attempt went.
    trying: Option<Controller>,
}

impl Doors {
    /// A controller says who else there is. With `moved`, the meeting is there.
    pub(super) fn told(&mut self, elsewhere: Elsewhere) {
        self.others = elsewhere.controllers;
        self.others.truncate(MOST);
        if elsewhere.moved {
            self.past_here = !self.others.is_empty();
            self.tried = 0;
        }
    }

    /// The one that had the meeting has it no more: the others come first. Of one
    /// that was only tried, the next in turn comes anyway.
    pub(super) fn leave_here(&mut self) {
        if self.tried == 0 {
            self.past_here = !self.others.is_empty();
        }
    }

    /// Each was tried once more, and none let this end in.
    pub(super) fn are_all_shut(&self) -> bool {
        self.tried > 0 && self.tried.is_multiple_of(self.others.len() + 1)
    }

    /// The API named one anew: it comes first.
    pub(super) fn found(&mut self) {
        self.here = None;
        self.tried = 0;
        self.past_here = false;
    }

    /// Whether there is anywhere else to go.
    pub(super) fn is_choice(&self) -> bool {
        !self.others.is_empty()
    }

    /// Where the next attempt goes: in turn, so that nobody is left out.
    pub(super) fn next(&mut self) -> Option<Controller> {
        let at = (self.tried + usize::from(self.past_here)) % (self.others.len() + 1);
        self.tried += 1;
        self.trying = match at.checked_sub(1) {
            Some(other) => self.others.get(other).cloned(),
            None => self.here.clone(),
        };
        self.trying.clone()
    }

    /// The connection that stands goes on; whatever was tried beside it does not count.
    pub(super) fn keep(&mut self) {
        self.tried = 0;
        self.trying = None;
        self.past_here = false;
    }

    /// The last attempt got into the meeting.
    pub(super) fn proved(&mut self) {
        if self.tried > 0 {
            self.here = self.trying.take();
        }
        self.tried = 0;
        self.past_here = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller(name: &str) -> Controller {
        Controller {
            url: name.to_owned(),
            ..Controller::default()
        }
    }

    fn next(doors: &mut Doors) -> String {
        doors.next().map_or("api".to_owned(), |door| door.url)
    }

    fn elsewhere(names: &[&str], moved: bool) -> Elsewhere {
        Elsewhere {
            controllers: names.iter().map(|name| controller(name)).collect(),
            moved,
        }
    }

    #[test]
    fn the_only_door_is_tried_again_and_again() {
        let mut doors = Doors::default();
        doors.leave_here();
        assert!(!doors.is_choice());
        assert_eq!([next(&mut doors), next(&mut doors)], ["api", "api"]);
    }

    #[test]
    fn doors_are_tried_in_turn_from_here_or_past_it() {
        let mut doors = Doors::default();
        next(&mut doors);
        doors.proved();
        doors.told(elsewhere(&["b", "c"], false));
        let turns: Vec<_> = (0..4).map(|_| next(&mut doors)).collect();
        assert_eq!(turns, ["api", "b", "c", "api"]);
        doors.proved();
        assert_eq!(next(&mut doors), "api");
        doors.proved();
        doors.leave_here();
        let turns: Vec<_> = (0..4).map(|_| next(&mut doors)).collect();
        assert_eq!(turns, ["b", "c", "api", "b"]);
    }

    #[test]
    fn when_all_are_shut_the_one_that_is_found_comes_first() {
        let mut doors = Doors::default();
        doors.told(elsewhere(&["b"], true));
        next(&mut doors);
        doors.proved();
        doors.leave_here();
        let shut: Vec<_> = (0..4)
            .map(|_| (next(&mut doors), doors.are_all_shut()))
            .map(|(_, shut)| shut)
            .collect();
        assert_eq!(shut, [false, true, false, true]);
        doors.found();
        assert!(!doors.are_all_shut());
        assert_eq!([next(&mut doors), next(&mut doors)], ["api", "b"]);
    }

    #[test]
    fn who_opened_is_here_from_then_on() {
        let mut doors = Doors::default();
        next(&mut doors);
        doors.told(elsewhere(&["b", "c"], true));
        assert_eq!(next(&mut doors), "b");
        doors.told(elsewhere(&["api-2", "c"], false));
        doors.proved();
        assert_eq!(next(&mut doors), "b");
        assert_eq!(next(&mut doors), "api-2");
    }

    #[test]
    fn what_a_controller_says_is_bounded() {
        let mut doors = Doors::default();
        doors.told(elsewhere(&["x"; 1000], false));
        assert_eq!(doors.others.len(), MOST);
    }
}
