//! So many in a minute.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Events per minute over all connections.
#[derive(Default)]
pub(super) struct Bucket(Mutex<Option<(u32, f64, Instant)>>);

impl Bucket {
    pub(super) fn takes(&self, per_minute: u32, now: Instant) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = f64::from(per_minute);
        let left = match *state {
            Some((limit, left, at)) if limit == per_minute => {
                full.min(left + now.duration_since(at).as_secs_f64() * full / 60.0)
            }
            _ => full,
        };
        let takes = left >= 1.0;
        *state = Some((per_minute, if takes { left - 1.0 } else { left }, now));
        takes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_minute_of_events_and_then_one_by_one() {
        let (bucket, start) = (Bucket::default(), Instant::now());
        let taken = |at: Instant| (0..100).filter(|_| bucket.takes(60, at)).count();
        assert_eq!(taken(start), 60);
        assert_eq!(taken(start + Duration::from_secs(3)), 3);
        assert_eq!(taken(start + Duration::from_secs(600)), 60);
        assert!(bucket.takes(61, start), "another limit is another bucket");
    }
}
