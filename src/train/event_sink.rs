//! Who watches a rank.

use crate::{distributed::World, events::RankEvent};

/// Where a rank's events go. Progress of the run is told by rank 0 alone; what concerns one rank
/// is told by that rank.
pub struct EventSink {
    sink: Box<dyn FnMut(&RankEvent)>,
    is_main: bool,
}

impl EventSink {
    /// Sends events to `sink`.
    pub fn new(world: &World, sink: Box<dyn FnMut(&RankEvent)>) -> Self {
        Self { sink, is_main: world.is_main() }
    }

    /// Tells what is the same for all ranks, once.
    pub fn tell(&mut self, event: &RankEvent) {
        if self.is_main {
            (self.sink)(event);
        }
    }

    /// Tells what is true of this rank.
    pub fn tell_own(&mut self, event: &RankEvent) {
        (self.sink)(event);
    }
}
