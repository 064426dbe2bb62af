//! Native participants in meetings that the three real services hold.

mod bot;
mod churn;
mod hear;
mod house;
