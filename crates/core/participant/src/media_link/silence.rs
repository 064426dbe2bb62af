//! Whether it is the media handler that is silent, or the way from it, while this end's network works.

use std::time::Duration;

/// A ping to the handler without an answer for so long, and nothing else from it, is a doubt.
const DOUBTFUL: Duration = Duration::from_millis(200);
/// So long, and the controller hears of it.
const UNANSWERED: Duration = Duration::from_millis(700);
/// For so long the controller must have been heard meanwhile: after an outage of both it may only be back first.
const WITNESSED: Duration = Duration::from_millis(700);
/// And without a longer pause.
const PAUSE: Duration = Duration::from_millis(600);

/// What is known of one silence.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Silence {
    /// The first ping that was sent in it.
    asked: Option<Duration>,
    /// Since when, and when last, the controller has been heard in it.
    witness: Option<(Duration, Duration)>,
    is_doubted: bool,
    is_said: bool,
}

impl Silence {
    /// The handler was asked whether it is there.
    pub(crate) fn asked(&mut self, now: Duration) {
        self.asked.get_or_insert(now);
    }

    /// Whether a ping is under way.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// When to [look](Self::look).
    pub(crate) fn doubtful_at(&self) -> Option<Duration> {
        let asked = self.asked.filter(|_| !self.is_doubted);
        asked.map(|asked| asked + DOUBTFUL)
    }

    /// Looks at the clock.
    pub(crate) fn look(&mut self, now: Duration) {
        self.is_doubted = self.asked.is_some_and(|asked| now >= asked + DOUBTFUL);
    }

    /// Whether the controller is worth asking what the network is like.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_doubted
    }

    /// The controller was heard. Whether it is to be told now, once in a silence, that the handler is not.
    pub(crate) fn witnessed(&mut self, now: Duration) -> bool {
        let Some(asked) = self.asked else {
            return false;
        };
        let since = match self.witness {
            Some((since, last)) if now <= last + PAUSE => since,
            _ => now,
        };
        self.witness = Some((since, now));
        let is_long = now >= asked + UNANSWERED && now >= since + WITNESSED;
        let is_news = is_long && !self.is_said;
        self.is_said |= is_news;
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// When it is told of a handler asked at 0, where the controller is heard at these times.
    fn told(heard: &[u32]) -> Vec<u32> {
        let mut silence = Silence::default();
        silence.asked(Duration::ZERO);
        let heard = heard.iter().copied();
        heard.filter(|at| silence.witnessed(MS * *at)).collect()
    }

    #[test]
    fn a_silent_handler_is_told_of_once_while_the_controller_is_heard() {
        let each_quarter: Vec<_> = (1..20).map(|n| n * 250).collect();
        assert_eq!(told(&each_quarter), [1000]);
        assert_eq!(told(&[10, 400, 710, 800, 1200]), [710]);
    }

    #[test]
    fn an_outage_of_both_is_no_silence_of_the_handler() {
        // Heard until it began, and from its end on: the handler has a moment more.
        assert_eq!(told(&[100, 5000, 5200, 5600]), [] as [u32; 0]);
        assert_eq!(told(&[100, 5000, 5200, 5600, 5700]), [5700]);
        assert_eq!(told(&[]), [] as [u32; 0]);
    }

    #[test]
    fn one_that_was_not_asked_is_not_silent() {
        let mut silence = Silence::default();
        assert!(!silence.witnessed(Duration::from_secs(5)));
        silence.look(Duration::from_secs(5));
        assert!(!silence.is_doubtful());
        silence.asked(MS * 100);
        silence.look(MS * 299);
        assert!(!silence.is_doubtful());
        assert_eq!(silence.doubtful_at(), Some(MS * 300));
        silence.look(MS * 300);
        assert!(silence.is_doubtful());
        assert_eq!(silence.doubtful_at(), None);
    }
}
