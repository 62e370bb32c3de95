//! Programs that are killed or cut off, messages that are malformed or kill their workers.

mod broker_crashes;
mod broker_facts;
mod cut_off;
mod dead_letters;
mod durability;
mod ending_well;
mod killers;
mod malformed;
mod poison;
mod too_large;
mod unreadable;
