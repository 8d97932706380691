//! What was inflated last, as far as a match may reach back.

/// Bytes of the ring that is written to: twice as far as a match may reach back (RFC 1951, section 2), so that what is
/// written beyond the end of something never is what may still be copied.
pub(super) const RING: usize = 64 << 10;

/// The longest match.
const MOST_LENGTH: usize = 258;

/// Bytes that are copied at once.
pub(super) const STEP: usize = 32;

/// Bytes behind the ring: for two literals and a match that begin just before its end, and what copying in steps writes
/// beyond that.
const SPARE: usize = 2 + MOST_LENGTH + STEP;

/// What was written last; its end is followed by its beginning.
pub(super) type Ring = [u8; RING + SPARE];

pub(super) fn empty() -> Box<Ring> {
    // Never on the stack.
    let ring: Result<Box<Ring>, _> = vec![0; RING + SPARE].into_boxed_slice().try_into();
    ring.unwrap_or_else(|_| Box::new([0; RING + SPARE]))
}

/// Copies any match that does not reach back too far. Writes up to [`STEP`] bytes beyond its end.
#[inline(never)]
pub(super) fn copy_any(ring: &mut Ring, at: usize, distance: usize, length: usize) {
    let from = at.wrapping_sub(distance) % RING;
    if distance >= STEP && from + length + STEP <= RING {
        for step in (0..length).step_by(STEP) {
            ring.copy_within(from + step..from + step + STEP, at + step);
        }
    } else {
        // What lies before `at` goes on behind the ring's end; what lies behind it is older, and goes on at the beginning.
        let round = if from < at { ring.len() } else { RING };
        for place in 0..length {
            ring[at + place] = ring[(from + place) % round];
        }
    }
}
