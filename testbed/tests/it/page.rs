//! The page at `/`, as browsers load it.

mod forms;
mod insight;
mod served;
mod slow;
