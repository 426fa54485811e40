//! The scheduler's own time: it runs with the wall clock but never steps back.

/// Follows a wall clock. While that runs forward, so does this, by as much (a jump included, since real time may
/// have passed in a suspend); a step back counts as no time at all, and waiting goes on from there at the clock's
/// new reading.
pub(super) struct Timeline {
    elapsed_ms: u64,
    wall_ms: u64,
}

impl Timeline {
    pub fn new(wall_ms: u64) -> Self {
        Self { elapsed_ms: 0, wall_ms }
    }

    pub fn observe(&mut self, wall_ms: u64) {
        self.elapsed_ms += wall_ms.saturating_sub(self.wall_ms);
        self.wall_ms = wall_ms;
    }

    /// Milliseconds that have passed since the scheduler's start.
    pub fn now_ms(&self) -> u64 {
        self.elapsed_ms
    }

    /// The wall clock as it was last read.
    pub fn wall_ms(&self) -> u64 {
        self.wall_ms
    }

    /// The scheduler time of a wall time as the clock reads now; past times become the present.
    pub fn scheduler_time_of(&self, wall_ms: u64) -> u64 {
        self.elapsed_ms.saturating_add(wall_ms.saturating_sub(self.wall_ms))
    }

    /// The wall time of a scheduler time as the clock reads now; past times become the present.
    pub fn wall_time_of(&self, scheduler_ms: u64) -> u64 {
        self.wall_ms.saturating_add(scheduler_ms.saturating_sub(self.elapsed_ms))
    }
}
