//! Why a store did not do what it was asked.

use darktower_wire::Code;

/// A store's refusal or failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backend does not answer; nothing is known of what it did.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// The backend did not answer in time.
    #[error("the store did not answer in time")]
    TimedOut,
    /// What should be unique is there already.
    #[error("{0} is taken")]
    Taken(&'static str),
    /// What was asked for exceeds a bound of the store.
    #[error("{0}")]
    TooMuch(&'static str),
    /// What the store holds, or was given, makes no sense.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
    /// The store's schema is not the one this program needs.
    #[error("the database could not be brought up to date: {0}")]
    Migration(String),
}

impl Error {
    /// Whether the same may succeed when the store is well again; else it never will.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::TimedOut | Self::TooMuch(_) => true,
            Self::Taken(_) | Self::Corrupt(_) | Self::Migration(_) => false,
        }
    }

    /// The code it is reported with.
    pub fn code(&self) -> Code {
        match self {
            Self::Unavailable(_) => Code::Unavailable,
            Self::TimedOut => Code::TimedOut,
            Self::TooMuch(_) => Code::Overloaded,
            Self::Taken(_) | Self::Corrupt(_) | Self::Migration(_) => Code::Internal,
        }
    }
}
