//! Where the events of a rank go.

use crate::{distributed::World, events::RankEvent};

/// Sends the events of a rank to its reader. Rank 0 alone sends events of the run; every rank
/// sends its own.
pub struct EventSink {
    sink: Box<dyn FnMut(&RankEvent)>,
    is_main: bool,
}

impl EventSink {
    /// Sends events to `sink`.
    pub fn new(world: &World, sink: Box<dyn FnMut(&RankEvent)>) -> Self {
        Self { sink, is_main: world.is_main() }
    }

    /// Sends an event that is the same on all ranks, from rank 0 only.
    pub fn send(&mut self, event: &RankEvent) {
        if self.is_main {
            (self.sink)(event);
        }
    }

    /// Sends an event of this rank.
    pub fn send_own(&mut self, event: &RankEvent) {
        (self.sink)(event);
    }
}
