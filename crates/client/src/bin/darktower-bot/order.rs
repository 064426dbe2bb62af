//! What a bot can be told on standard input.

use std::io::BufRead as _;
use std::path::PathBuf;

use darktower_client::Command;
use serde::Deserialize;
use tokio::sync::broadcast;

/// Orders nobody has carried out yet.
const WAITING: usize = 256;

/// One line of input.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    Leave,
    Vanish,
    State,
    Publish(PathBuf),
    Mute {
        handle: u32,
        muted: bool,
    },
    Unpublish {
        handle: u32,
    },
    Wish(Command),
    /// Standard input has ended.
    NoMore,
    NotUnderstood(String),
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Own {
    Leave,
    Vanish,
    State,
    Publish { file: PathBuf },
    Mute { handle: u32, muted: bool },
    Unpublish { handle: u32 },
}

#[derive(Deserialize)]
struct Address {
    bot: Option<usize>,
}

fn parse(line: &str) -> (Option<usize>, Order) {
    let to = serde_json::from_str(line).ok();
    let order = match serde_json::from_str(line) {
        Ok(Own::Leave) => Order::Leave,
        Ok(Own::Vanish) => Order::Vanish,
        Ok(Own::State) => Order::State,
        Ok(Own::Publish { file }) => Order::Publish(file),
        Ok(Own::Mute { handle, muted }) => Order::Mute { handle, muted },
        Ok(Own::Unpublish { handle }) => Order::Unpublish { handle },
        Err(_) => match serde_json::from_str(line) {
            Ok(wish) => Order::Wish(wish),
            Err(error) => Order::NotUnderstood(error.to_string()),
        },
    };
    (to.and_then(|it: Address| it.bot), order)
}

/// Reads standard input and passes it to all bots.
pub(crate) struct Orders(broadcast::Receiver<(Option<usize>, Order)>);

/// The orders for one bot.
pub(crate) struct Mine {
    number: usize,
    all: broadcast::Receiver<(Option<usize>, Order)>,
}

impl Orders {
    pub(crate) fn listen() -> Self {
        let (sender, receiver) = broadcast::channel(WAITING);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                if !line.trim().is_empty() && sender.send(parse(&line)).is_err() {
                    return;
                }
            }
            // An error says that no bot is left to be told.
            let _ = sender.send((None, Order::NoMore));
        });
        Self(receiver)
    }

    pub(crate) fn subscribe(&self, number: usize) -> Mine {
        Mine {
            number,
            all: self.0.resubscribe(),
        }
    }
}

impl Mine {
    /// The next order. Never, once standard input has ended.
    pub(crate) async fn next(&mut self) -> Order {
        loop {
            match self.all.recv().await {
                Ok((to, order)) if to.is_none_or(|to| to == self.number) => return order,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
