//! The memory of one process.

use darktower_store::MemoryState;

async fn make() -> (MemoryState, ()) {
    (MemoryState::new(), ())
}

darktower_store::state_conformance!(make);
